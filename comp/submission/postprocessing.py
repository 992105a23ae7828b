"""Post-processing: from probabilities to what the metric compares, tuned on validation images only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from comp.declare.competition import Competition

Array = npt.NDArray[Any]

CLIPS = (1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
TEMPERATURES = (0.5, 2.0)
# A temperature is taken for a gain in log-likelihood of more than one, as Akaike's criterion asks of a parameter.
LIKELIHOOD_OF_A_PARAMETER = 1.0
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
        tempered = probabilities if self.temperature == 1 else self._tempered(probabilities)
        clipped = tempered.clip(self.smallest, 1 - self.smallest)
        result: Array = clipped / clipped.sum(axis=1, keepdims=True) if self.sums_to_one else clipped
        return result

    def _tempered(self, probabilities: Array) -> Array:
        yes, no = (part.clip(FAINTEST, 1) ** (1 / self.temperature) for part in (probabilities, 1 - probabilities))
        tempered: Array = yes / (yes.sum(axis=1, keepdims=True) if self.sums_to_one else yes + no)
        return tempered


@dataclass(frozen=True)
class MostProbable:
    """The class with the highest probability: (N, C) to (N,)."""

    def __call__(self, probabilities: Array) -> Array:
        chosen: Array = probabilities.argmax(axis=1)
        return chosen


@dataclass(frozen=True)
class Thresholds:
    """The tags whose probability exceeds their threshold: (N, C) to (N, C) of 0 and 1."""

    thresholds: tuple[float, ...]

    def __call__(self, probabilities: Array) -> Array:
        return (probabilities > np.array(self.thresholds)).astype(np.int64)


PostProcessing = Clip | MostProbable | Thresholds


def untuned(competition: Competition, classes: Sequence[str]) -> PostProcessing:
    """Of predictions for these classes (N, C), before any validation image is seen.

    A tag's threshold is 1 / (1 + β²), the best as F nears one.
    """
    metric = competition.scoring
    if metric.takes == "classes":
        return MostProbable()
    if metric.takes == "tags":
        return Thresholds((1 / (1 + (metric.beta or 1) ** 2),) * len(classes))
    return Clip(CLIPS[0], sums_to_one=competition.target in ("single", "shares"))


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
    if isinstance(start, Clip) and metric.name == "log_loss":
        return _tune_clip(start, partial(metric, targets, classes=classes), probabilities, hottest)
    if isinstance(start, Thresholds):
        return _tune_thresholds(start, metric.beta or 1, targets, probabilities)
    return start


def _tune_clip(start: Clip, score: Callable[[Array], float], probabilities: Array, hottest: float) -> Clip:
    def loss(clip: Clip) -> float:
        return score(clip(probabilities))

    found = minimize_scalar(
        lambda logarithm: loss(replace(start, temperature=float(np.exp(logarithm)))),
        bounds=np.log((TEMPERATURES[0], hottest)),
        method="bounded",
    )
    tempered = replace(start, temperature=float(np.exp(found.x)))
    if len(probabilities) * (loss(start) - loss(tempered)) > LIKELIHOOD_OF_A_PARAMETER:
        start = tempered
    return min((replace(start, smallest=smallest) for smallest in CLIPS), key=loss)


def _tune_thresholds(start: Thresholds, beta: float, targets: Array, probabilities: Array) -> Thresholds:
    thresholds = np.array(start.thresholds)
    for _ in range(ROUNDS):
        for tag in range(len(thresholds)):
            tags = (probabilities > thresholds).astype(np.int64)
            now, surest = _f_of_rows(targets, tags, beta), 0.0
            for candidate in CANDIDATE_THRESHOLDS:
                tags[:, tag] = probabilities[:, tag] > candidate
                gain = _f_of_rows(targets, tags, beta) - now
                sure = gain.mean() - STANDARD_ERRORS * gain.std() / np.sqrt(len(gain))
                if sure > surest:
                    surest, thresholds[tag] = sure, candidate
    return Thresholds(tuple(map(float, thresholds)))


def _f_of_rows(targets: Array, tags: Array, beta: float) -> Array:
    """F-beta of each row (N,); a row without tags in truth and prediction scores 0, as scikit-learn has it here."""
    hits = (targets * tags).sum(axis=1)
    whole = beta**2 * targets.sum(axis=1) + tags.sum(axis=1)
    scores: Array = (1 + beta**2) * hits / np.maximum(whole, 1)
    return scores


def to_record(postprocessing: PostProcessing) -> dict[str, Any]:
    """The post-processing as JSON can hold it."""
    return {"kind": type(postprocessing).__name__, **asdict(postprocessing)}


def from_record(record: dict[str, Any]) -> PostProcessing:
    """The post-processing that `to_record` wrote."""
    kinds: dict[str, Callable[..., PostProcessing]] = {kind.__name__: kind for kind in (Clip, MostProbable, Thresholds)}
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    return kinds[str(fields.pop("kind"))](**fields)
