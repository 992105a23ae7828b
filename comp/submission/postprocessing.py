"""Post-processing: from probabilities to what the metric compares, tuned on validation images only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from operator import itemgetter
from typing import Any, ClassVar, cast, get_args

import numpy as np
import numpy.typing as npt

from comp.declare.competition import Competition
from comp.declare.metrics import grades_of
from comp.submission.jackknife import error_of, error_up_to, rests_of

Array = npt.NDArray[Any]

CLIPS = (1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
# Probability that a log loss lets the outcomes of a class or tag share, however sure a model is: validation images may
# have no label as wrong as one to predict.
OF_MISTAKES = 1e-3
TEMPERATURES = (0.5, 2.0)
# How far the logarithms of temperatures that models need lie from 0: the standard deviation.
USUAL = 0.2
# As a share of a temperature, for the slope and the curvature of a score.
STEP = 0.05
# Zero has no logarithm.
FAINTEST = 1e-15
CANDIDATE_THRESHOLDS = np.geomspace(0.03, 0.7, 32)
# A threshold is moved only for a gain this many standard errors above zero: it is the best of 32 candidates, and with
# fewer validation rows the best candidate is chance. On 160 rows of planet, choosing the best outright lost 0.009 F2.
STANDARD_ERRORS = 3.0
ROUNDS = 2


@dataclass(frozen=True)
class Clip:
    """Probabilities kept ``smallest`` away from 0 and 1, so that one sure mistake doesn't cost the log loss dearly.

    temperature: what the logits are divided by before, above 1 for a model that is too sure, below 1 for one that is
        not sure enough, as a mean over views is (Guo et al. 2017, arXiv:1706.04599).
    sums_to_one: the probabilities of a row sum to one before and after, those of one class per image.
    """

    smallest: float
    temperature: float = 1.0
    sums_to_one: bool = False

    def __call__(self, probabilities: Array) -> Array:
        if self.temperature != 1:
            yes, no = (part.clip(FAINTEST, 1) ** (1 / self.temperature) for part in (probabilities, 1 - probabilities))
            probabilities = yes / (yes.sum(axis=1, keepdims=True) if self.sums_to_one else yes + no)
        clipped = probabilities.clip(self.smallest, 1 - self.smallest)
        return np.asarray(clipped / clipped.sum(axis=1, keepdims=True) if self.sums_to_one else clipped)


@dataclass(frozen=True)
class MostProbable:
    """The class with the highest probability: (N, C) to (N,)."""

    words: ClassVar[str] = "the most probable class is submitted"

    def __call__(self, probabilities: Array) -> Array:
        return np.asarray(probabilities.argmax(axis=1))


@dataclass(frozen=True)
class Thresholds:
    """The tags whose probability exceeds their threshold: (N, C) to (N, C) of 0 and 1.

    never_none: the most probable tag is taken where none exceeds its own.
    """

    thresholds: tuple[float, ...]
    never_none: bool = False
    words: ClassVar[str] = "classes and tags above their thresholds count as 1, the others as 0"

    def __call__(self, probabilities: Array) -> Array:
        tags = (probabilities > np.array(self.thresholds)).astype(np.int64)
        if self.never_none and len(empty := np.flatnonzero(~tags.any(axis=1))):
            tags[empty, probabilities[empty].argmax(axis=1)] = 1
        return tags


@dataclass(frozen=True)
class CutPoints:
    """The class whose grade the expected grade is cut to: (N, C) to (N,).

    grades: the number that each class stands for, in the order of the classes (C,).
    cuts: ascending; an expected grade above the first is at least the second grade, and so on (C - 1,).
    """

    grades: tuple[float, ...]
    cuts: tuple[float, ...]
    words: ClassVar[str] = "the class is submitted that the expected grade is cut to"

    def __call__(self, probabilities: Array) -> Array:
        places = np.searchsorted(self.cuts, probabilities @ np.array(self.grades), side="left")
        return np.asarray(np.argsort(self.grades, kind="stable")[places])


@dataclass(frozen=True)
class Ranking:
    """So many of the classes, the most probable first: (N, C) to (N, count)."""

    count: int
    words: ClassVar[str] = "the most probable classes are submitted, the best first"

    def __call__(self, probabilities: Array) -> Array:
        return np.asarray(np.argsort(-probabilities, axis=1, kind="stable")[:, : self.count])


@dataclass(frozen=True)
class Confidence:
    """The most probable class and its probability: (N, C) to (N, 2)."""

    words: ClassVar[str] = "the most probable class is submitted with its probability"

    def __call__(self, probabilities: Array) -> Array:
        return np.stack([probabilities.argmax(axis=1), probabilities.max(axis=1)], axis=1)


@dataclass(frozen=True)
class AsPredicted:
    """Numbers as they are, (N, K)."""

    words: ClassVar[str] = "numbers are submitted as predicted"

    def __call__(self, numbers: Array) -> Array:
        return numbers


PostProcessing = Clip | MostProbable | Thresholds | CutPoints | Ranking | Confidence | AsPredicted
KINDS: dict[str, Callable[..., PostProcessing]] = {kind.__name__: kind for kind in get_args(PostProcessing)}


def untuned(competition: Competition, classes: Sequence[str]) -> PostProcessing:
    """Of predictions for these classes (N, C), before any validation image is seen.

    A tag's threshold is 1 / (1 + β²), the best as F nears one. Grades are cut half way between neighbours, where a
    weighted kappa counts their distances.
    """
    metric = competition.scoring
    if metric.takes == "numbers":
        return AsPredicted()
    if metric.takes == "ranking":
        return Ranking(min(getattr(competition.submission, "count", len(classes)), len(classes)))
    if metric.takes == "confidence":
        return Confidence()
    if metric.takes == "classes":
        # The most probable class is right for an accuracy alone.
        cut = (0.0, 1.0) if len(classes) == 2 and metric.tuned != "most probable" else None
        grades = grades_of(classes) if metric.tuned == "grades" else cut
        half_way = tuple((low + high) / 2 for low, high in pairwise(sorted(grades or ())))
        return MostProbable() if grades is None else CutPoints(grades, half_way)
    if metric.takes == "tags":
        return Thresholds((1 / (1 + (metric.beta or 1) ** 2),) * len(classes))
    sums_to_one = competition.target in ("single", "shares")
    smallest = OF_MISTAKES / (len(classes) if sums_to_one else 2) if metric.tuned == "temperature" else CLIPS[0]
    return Clip(smallest, sums_to_one=sums_to_one)


def tune(
    competition: Competition,
    classes: Sequence[str],
    targets: Array,
    probabilities: Array,
    hottest: float = TEMPERATURES[1],
) -> PostProcessing:
    """The post-processing that scores best on these validation images, as far as their number bears it out.

    hottest: the highest temperature; 1 where it is for the mean of several models and was tuned on single ones: a mean
        is less sure than any of them already.
    """
    start, metric = untuned(competition, classes), competition.scoring

    def worth(predictions: Array, rows: Array | slice = slice(None)) -> float:
        return metric.worth(targets[rows], predictions[rows], classes)

    if isinstance(start, Clip) and metric.tuned == "temperature":
        return _tune_clip(start, worth, probabilities, hottest)
    # Of a score of one's own nobody knows what it is a mean of.
    if metric.tuned == "each tag" and metric.beta and metric.is_named:
        return _tune_mean_f(cast(Thresholds, start), metric.beta, targets, probabilities)
    if isinstance(start, CutPoints):
        return _tune_cuts(start, _remembered(worth), probabilities)
    candidates = CANDIDATE_THRESHOLDS.tolist()
    if isinstance(start, Thresholds):
        # The same for all tags is best where the hits of all are counted together.
        worth, alike = _remembered(worth), (Thresholds((one,) * len(classes)) for one in candidates)
        start = cast(Thresholds, _surest(start, alike, worth, probabilities))
        return _tune_each(start, worth, probabilities) if metric.tuned == "each tag" else start
    if metric.tuned == "rounding":
        # What is sure counts most: a probability is made 1 above the threshold, else 0.
        return _surest(start, (Thresholds((1 - one, one)) for one in candidates), worth, probabilities)
    return start


def _surest(
    start: PostProcessing, candidates: Iterable[PostProcessing], worth: Callable[..., float], probabilities: Array
) -> PostProcessing:
    """The candidate whose gain over ``start`` is the surest, if one's is sure at all.

    worth: of processed predictions, on all rows or on some; the more the better.
    """
    now, rests = start(probabilities), list(rests_of(len(probabilities)))
    best, surest, before = start, 0.0, worth(now)

    @cache
    def without(block: int) -> float:
        return worth(now, rests[block])

    gains = ((worth(candidate(probabilities)) - before, candidate) for candidate in candidates if rests)
    # The largest first: the error of a gain takes many scores, and a gain below what is sure already can't be surer.
    for gain, candidate in sorted((found for found in gains if found[0] > 0), key=itemgetter(0), reverse=True):
        if gain <= surest:
            break
        made = candidate(probabilities)
        gained = (worth(made, rest) - without(block) for block, rest in enumerate(rests))
        sure = gain - STANDARD_ERRORS * error_up_to((gain - surest) / STANDARD_ERRORS, gained, len(rests))
        if sure > surest:
            best, surest = candidate, sure
    return best


def _remembered(worth: Callable[..., float]) -> Callable[..., float]:
    """The same, computed once for equal decisions: of few rows most candidates make equal ones, and it may be slow."""
    known: dict[bytes, float] = {}

    def known_or_new(made: Array, rows: Array | slice = slice(None)) -> float:
        some = rows.tobytes() if isinstance(rows, np.ndarray) else b""
        key = blake2b(made.tobytes() + some, digest_size=16).digest()
        if key not in known:
            known[key] = worth(made, rows)
        return known[key]

    return known_or_new


def _tune_cuts(start: CutPoints, worth: Callable[..., float], probabilities: Array) -> PostProcessing:
    expected = probabilities @ np.array(start.grades)
    # A single cut has no others to follow.
    for _ in range(min(ROUNDS, len(start.cuts))):
        for place in range(len(start.cuts)):
            bounds = (min(start.grades), *start.cuts, max(start.grades))
            low, high = bounds[place], bounds[place + 2]
            inside = expected[(expected > low) & (expected < high)]
            # Even steps, and as many images to each: rare classes have few images, and expected grades far from theirs.
            steps = np.linspace(low, high, len(CANDIDATE_THRESHOLDS) // 2 + 2)[1:-1]
            shares = np.quantile(inside, np.linspace(0, 1, len(steps) + 2)[1:-1]) if len(inside) else []
            moved = (
                replace(start, cuts=(*start.cuts[:place], float(cut), *start.cuts[place + 1 :]))
                for cut in np.unique([*steps, *shares])
            )
            start = cast(CutPoints, _surest(start, moved, worth, probabilities))
    return start


def _tune_clip(start: Clip, worth: Callable[..., float], probabilities: Array, hottest: float) -> Clip:
    """The best temperature, as far as the images bear it out: it hangs on the few that are wrong."""
    from scipy.optimize import minimize_scalar  # takes longer to import than `comp new` to look at most competitions

    found = minimize_scalar(
        lambda logarithm: -worth(replace(start, temperature=float(np.exp(logarithm)))(probabilities)),
        bounds=np.log((TEMPERATURES[0], hottest)),
        method="bounded",
    )
    error = error_of_temperature(replace(start, temperature=float(np.exp(found.x))), worth, probabilities)
    tempered = replace(start, temperature=float(np.exp(shrunk(found.x, error))))
    tempered = max(start, tempered, key=lambda clip: worth(clip(probabilities)))
    clips = (
        replace(tempered, smallest=smallest)
        for smallest in CLIPS
        # Rows without a mistake don't tell how seldom there is one.
        if smallest > start.smallest or smallest * probabilities.size >= 1
    )
    return cast(Clip, _surest(tempered, clips, worth, probabilities))


def shrunk(logarithm: float, error: float) -> float:
    """A temperature's logarithm with this standard error, drawn towards 0: the posterior mean where USUAL is normal."""
    return float(logarithm / (1 + (error / USUAL) ** 2))


def spread(error: float) -> float:
    """How far a logarithm that was `shrunk` may lie from the right one: the posterior's standard deviation."""
    return USUAL if np.isinf(error) else float(error * USUAL / np.hypot(error, USUAL))


def error_of_temperature(clip: Clip, worth: Callable[..., float], probabilities: Array) -> float:
    """The standard error of the logarithm of a temperature near the best, from a Newton step on each block's rest.

    The likelihood's curvature alone would call it too certain: losses have long tails. worth: as `_surest` takes it.
    """

    def with_floor(smallest: float) -> float:
        near = [
            replace(clip, smallest=smallest, temperature=clip.temperature / (1 + step))(probabilities)
            for step in (-STEP, 0, STEP)
        ]

        def best(some: Array) -> float:
            low, middle, high = (worth(made, some) for made in near)
            curvature = 2 * middle - low - high
            return STEP * (high - low) / 2 / curvature if curvature > 0 else np.inf

        with np.errstate(invalid="ignore"):  # inf - inf
            return float(error_of(best, len(probabilities)))

    # Of a temperature's inverse a log loss is convex, but where a mistake comes to lie below the floor.
    return next(filter(np.isfinite, map(with_floor, (clip.smallest, FAINTEST))), np.inf)


def _tune_each(start: Thresholds, worth: Callable[..., float], probabilities: Array) -> PostProcessing:
    """Each tag's threshold moved in turn, by a score of anything: 32 scores a tag, and a few for each gain."""
    for tag in range(len(start.thresholds)):
        moved = (
            replace(start, thresholds=(*start.thresholds[:tag], one, *start.thresholds[tag + 1 :]))
            for one in CANDIDATE_THRESHOLDS.tolist()
        )
        start = cast(Thresholds, _surest(start, moved, worth, probabilities))
    return start


def _tune_mean_f(start: Thresholds, beta: float, targets: Array, probabilities: Array) -> Thresholds:
    """As `_tune_each`, for the mean over rows of F-beta: a candidate costs (N,) whatever the number of tags."""
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
    """F-beta of each row (N,) from its counts of tags: those true, those given, and the hits among them.

    A row without tags in truth and prediction scores 0, as scikit-learn has it here.
    """
    scores: Array = (1 + beta**2) * hits / np.maximum(beta**2 * true + given, 1)
    return scores


def to_record(postprocessing: PostProcessing) -> dict[str, Any]:
    """The post-processing as JSON can hold it."""
    return {"kind": type(postprocessing).__name__, **asdict(postprocessing)}


def from_record(record: dict[str, Any]) -> PostProcessing:
    """The post-processing that `to_record` wrote."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    return KINDS[str(fields.pop("kind"))](**fields)
