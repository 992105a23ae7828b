"""How well each class or tag is predicted: figures, calibration, and what a tag's threshold does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

if TYPE_CHECKING:
    import numpy.typing as npt

    from comp.report.outcomes import Outcomes

    Array = npt.NDArray[Any]

BINS = 10
CANDIDATES = np.linspace(0.01, 0.99, 99)


@dataclass(frozen=True)
class OfClass:
    """One class's figures; those that have nothing to be counted from are no numbers.

    score: F-beta. average_precision: of its probability against the rest. loss: the mean of its images'; of a tag, of
    its own column.
    """

    name: str
    images: int
    predicted: int
    precision: float
    recall: float
    score: float
    average_precision: float
    loss: float


def figures(outcomes: Outcomes, beta: float = 1.0) -> list[OfClass]:
    """The figures of every class or tag, in their order."""
    count = len(outcomes.classes)
    truth, predicted = (
        part if outcomes.tags else np.eye(count, dtype=int)[part] for part in (outcomes.targets, outcomes.predicted)
    )
    precision, recall, score, images = precision_recall_fscore_support(
        truth, predicted, beta=beta, zero_division=np.nan
    )
    clipped = outcomes.probabilities.clip(1e-7, 1 - 1e-7)
    rows = []
    for place, name in enumerate(outcomes.classes):
        of_it = truth[:, place] == 1
        if outcomes.tags:
            loss = float(-np.where(of_it, np.log(clipped[:, place]), np.log(1 - clipped[:, place])).mean())
        else:
            loss = float(outcomes.losses[of_it].mean()) if of_it.any() else float("nan")
        average = average_precision_score(of_it, clipped[:, place]) if of_it.any() else float("nan")
        numbers = (precision[place], recall[place], score[place], average, loss)
        rows.append(OfClass(name, int(images[place]), int(predicted[:, place].sum()), *map(float, numbers)))
    return rows


def reliability(confidences: Array, true: Array) -> tuple[Array, Array, Array, float]:
    """Mean confidence, share that is true and count of each tenth that has any, (B,), and the calibration error.

    confidences, true: (M,). The error is the expected one: the mean distance of the two, weighed by the
    counts (Guo et al. 2017, arXiv:1706.04599).
    """
    bins = np.clip((confidences * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    predicted, observed = (
        np.bincount(bins, weights=values, minlength=BINS)[filled] / counts[filled]
        for values in (confidences, true.astype(float))
    )
    error = float((np.abs(predicted - observed) * counts[filled]).sum() / max(len(confidences), 1))
    return predicted, observed, counts[filled], error


def confidences(outcomes: Outcomes, probabilities: Array) -> tuple[Array, Array]:
    """What is to be calibrated (M,), and if it is true (M,): the class predicted, the second of two, or every tag."""
    if outcomes.tags:
        return probabilities.ravel(), outcomes.targets.ravel() == 1
    if len(outcomes.classes) == 2:
        return probabilities[:, 1], outcomes.targets == 1
    chosen = probabilities.argmax(axis=1)
    return probabilities[np.arange(len(chosen)), chosen], chosen == outcomes.targets


def threshold_curve(truth: Array, probabilities: Array, beta: float) -> Array:
    """F-beta (T,) of one tag, (N,) of 0 and 1, at each of CANDIDATES."""
    chosen = probabilities[:, None] > CANDIDATES
    hits = (chosen & (truth[:, None] == 1)).sum(axis=0)
    whole = beta**2 * truth.sum() + chosen.sum(axis=0)
    curve: Array = (1 + beta**2) * hits / np.maximum(whole, 1)
    return curve
