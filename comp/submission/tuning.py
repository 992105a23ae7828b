"""Tuning post-processing on validation images, as far as their number justifies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from comp.declare.competition import Competition
from comp.submission.jackknife import STANDARD_ERRORS, surest
from comp.submission.postprocessing import Clip, CutPoints, PostProcessing, Thresholds, untuned
from comp.submission.temperature import TEMPERATURES, tune_clip

Array = npt.NDArray[Any]
Decided = TypeVar("Decided", bound=Thresholds | CutPoints)

CANDIDATE_THRESHOLDS = np.geomspace(0.03, 0.7, 32)
ROUNDS = 2


def tune(
    competition: Competition,
    classes: Sequence[str],
    targets: Array,
    probabilities: Array,
    hottest: float = TEMPERATURES[1],
) -> PostProcessing:
    """Tune the post-processing on these validation images, as far as their number justifies.

    hottest: the highest temperature; 1 where it is tuned on single models for the mean of several, because a mean is
        already less confident than each of them.
    """
    start, metric = untuned(competition, classes), competition.scoring

    def worth(predictions: Array, rows: Array | slice = slice(None)) -> float:
        return metric.worth(targets[rows], predictions[rows], classes)

    if isinstance(start, Clip) and metric.tuned == "temperature":
        return tune_clip(start, worth, probabilities, hottest)
    # The fast way needs a mean over rows, which a custom score may not be.
    if metric.tuned == "each tag" and metric.beta and metric.is_named:
        return _tune_mean_f(cast(Thresholds, start), metric.beta, targets, probabilities)
    if isinstance(start, CutPoints):
        return _tune_cuts(start, _remembered(worth), probabilities)
    candidates = CANDIDATE_THRESHOLDS.tolist()
    if isinstance(start, Thresholds):
        # One threshold for all tags is best where the hits of all tags are counted together.
        worth, alike = _remembered(worth), (Thresholds((one,) * len(classes)) for one in candidates)
        start = surest(start, alike, worth, probabilities)
        if metric.tuned == "each tag":  # 32 scores per tag, and a few more for each gain
            start = _one_by_one(start, "thresholds", lambda *_: candidates, worth, probabilities)
        return start
    if metric.tuned == "rounding":
        # The metric rewards confidence: probabilities above the threshold become 1, the others 0.
        return surest(start, (Thresholds((1 - one, one)) for one in candidates), worth, probabilities)
    return start


def _remembered(worth: Callable[..., float]) -> Callable[..., float]:
    """Cache a slow score by its decisions: with few rows most candidates make the same ones."""
    known: dict[bytes, float] = {}

    def known_or_new(made: Array, rows: Array | slice = slice(None)) -> float:
        some = rows.tobytes() if isinstance(rows, np.ndarray) else b""
        key = blake2b(made.tobytes() + some, digest_size=16).digest()
        if key not in known:
            known[key] = worth(made, rows)
        return known[key]

    return known_or_new


def _one_by_one(
    start: Decided,
    field: str,
    candidates: Callable[[Decided, int], Iterable[float]],
    worth: Callable[..., float],
    probabilities: Array,
    rounds: int = 1,
) -> Decided:
    """Move each of a field's numbers in turn to the surest of the candidates for its place."""
    for place in [*range(len(getattr(start, field)))] * rounds:
        before, after = getattr(start, field)[:place], getattr(start, field)[place + 1 :]
        fields: list[dict[str, Any]] = [{field: (*before, float(one), *after)} for one in candidates(start, place)]
        start = surest(start, [replace(start, **moved) for moved in fields], worth, probabilities)
    return start


def _tune_cuts(start: CutPoints, worth: Callable[..., float], probabilities: Array) -> CutPoints:
    expected = probabilities @ np.array(start.grades)

    def candidates(now: CutPoints, place: int) -> Array:
        bounds = (min(now.grades), *now.cuts, max(now.grades))
        low, high = bounds[place], bounds[place + 2]
        inside = expected[(expected > low) & (expected < high)]
        # Even steps, and quantiles of the images: a rare class has few images, with expected grades far from its own.
        steps = np.linspace(low, high, len(CANDIDATE_THRESHOLDS) // 2 + 2)[1:-1]
        shares = np.quantile(inside, np.linspace(0, 1, len(steps) + 2)[1:-1]) if len(inside) else []
        return np.unique([*steps, *shares])

    # A single cut needs one round, as no other cut moves.
    return _one_by_one(start, "cuts", candidates, worth, probabilities, rounds=min(ROUNDS, len(start.cuts)))


def _tune_mean_f(start: Thresholds, beta: float, targets: Array, probabilities: Array) -> Thresholds:
    """A faster `_one_by_one` for the mean over rows of F-beta: a candidate costs (N,), whatever the number of tags."""
    thresholds = np.array(start.thresholds)
    tags = (probabilities > thresholds).astype(np.int64)
    true, hits, given = targets.sum(axis=1), (targets * tags).sum(axis=1), tags.sum(axis=1)
    for _ in range(ROUNDS):
        for tag in range(len(thresholds)):
            is_true, probability = targets[:, tag], probabilities[:, tag]
            before = (probability > thresholds[tag]).astype(np.int64)
            other_hits, other_given = hits - is_true * before, given - before
            now, surest = _f_of_rows(true, hits, given, beta), 0.0
            for candidate in CANDIDATE_THRESHOLDS:
                after = (probability > candidate).astype(np.int64)
                gain = _f_of_rows(true, other_hits + is_true * after, other_given + after, beta) - now
                sure = gain.mean() - STANDARD_ERRORS * gain.std() / np.sqrt(len(gain))
                if sure > surest:
                    surest, thresholds[tag] = sure, candidate
                    hits, given = other_hits + is_true * after, other_given + after
    return Thresholds(tuple(map(float, thresholds)))


def _f_of_rows(true: Array, hits: Array, given: Array, beta: float) -> Array:
    """F-beta of each row (N,) from its numbers of true tags, given tags, and hits.

    A row without true and given tags scores 0, as in scikit-learn with `zero_division=0`.
    """
    return (1 + beta**2) * hits / np.maximum(beta**2 * true + given, 1)
