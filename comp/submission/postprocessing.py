"""Post-processing: from probabilities to what the metric compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, get_args

import numpy as np
import numpy.typing as npt

from comp.declare.competition import Competition
from comp.declare.metrics import grades_of

Array = npt.NDArray[Any]

CLIPS = (1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
# For a log loss, the sum of the floors of all classes of an image, or of a tag's yes and no: test images may have a
# worse mistake than any validation image.
OF_MISTAKES = 1e-3
# The floor of probabilities: zero has no logarithm.
FAINTEST = 1e-15


@dataclass(frozen=True)
class Clip:
    """Probabilities clipped ``smallest`` away from 0 and 1, so that a confident mistake costs a log loss less.

    temperature: divides the logits before clipping: above 1 for an over-confident model, below 1 for an under-confident
        one, as a mean over views is (Guo et al. 2017, arXiv:1706.04599).
    sums_to_one: the probabilities of a row sum to one before and after (one class per image).
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
    """The class whose interval between cut points contains the expected grade: (N, C) to (N,).

    grades: the number that each class stands for, in the order of the classes (C,).
    cuts: ascending; an expected grade above the first is at least the second grade, and so on (C - 1,).
    """

    grades: tuple[float, ...]
    cuts: tuple[float, ...]
    words: ClassVar[str] = "the class is submitted whose interval between cut points contains the expected grade"

    def __call__(self, probabilities: Array) -> Array:
        places = np.searchsorted(self.cuts, probabilities @ np.array(self.grades), side="left")
        return np.asarray(np.argsort(self.grades, kind="stable")[places])


@dataclass(frozen=True)
class Ranking:
    """The `count` most probable classes, the best first: (N, C) to (N, count)."""

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
    """The post-processing for predictions of these classes (N, C), before any validation image is seen.

    A tag's threshold is 1 / (1 + β²), the best as F nears one. For a weighted kappa, the expected grade is cut
    half way between neighbours; for another score of two classes, the second one's probability is cut at a half.
    """
    metric = competition.scoring
    if metric.takes == "numbers":
        return AsPredicted()
    if metric.takes == "ranking":
        return Ranking(min(getattr(competition.submission, "count", len(classes)), len(classes)))
    if metric.takes == "confidence":
        return Confidence()
    if metric.takes == "classes":
        # The most probable class is the best only for an accuracy.
        cut = (0.0, 1.0) if len(classes) == 2 and metric.tuned != "most probable" else None
        grades = grades_of(classes) if metric.tuned == "grades" else cut
        half_way = tuple((low + high) / 2 for low, high in pairwise(sorted(grades or ())))
        return MostProbable() if grades is None else CutPoints(grades, half_way)
    if metric.takes == "tags":
        return Thresholds((1 / (1 + (metric.beta or 1) ** 2),) * len(classes))
    sums_to_one = competition.target in ("single", "shares")
    smallest = OF_MISTAKES / (len(classes) if sums_to_one else 2) if metric.tuned == "temperature" else CLIPS[0]
    return Clip(smallest, sums_to_one=sums_to_one)


def to_record(postprocessing: PostProcessing) -> dict[str, Any]:
    return {"kind": type(postprocessing).__name__, **asdict(postprocessing)}


def from_record(record: dict[str, Any]) -> PostProcessing:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    return KINDS[str(fields.pop("kind"))](**fields)
