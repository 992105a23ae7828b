"""How far a score could have been another, had other rows been scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from comp.declare.metrics import Metric

    Array = npt.NDArray[Any]

DRAWS = 500
COVERED = (2.5, 97.5)  # percentiles


def interval(
    metric: Metric, targets: Array, predictions: Array, groups: Array | None = None, seed: int = 0
) -> tuple[float, float]:
    """The bootstrap's 95 % interval of a score (Efron 1979, 10.1214/aos/1176344552), from the percentiles of 500 draws.

    targets, predictions: as the metric takes them, (N, …). groups: of each row (N,); those of one are drawn together,
    as rows that resemble each other say less than as many that don't. Draws that the metric can't score, like those of
    one class, don't count; with none left both ends are NaN.
    """
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(DRAWS):
        rows = rng.integers(len(targets), size=len(targets)) if groups is None else _drawn_groups(groups, rng)
        scores.append(metric(targets[rows], predictions[rows]))
    defined = np.array(scores)[np.isfinite(scores)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, COVERED)
    return float(low), float(high)


def _drawn_groups(groups: Array, rng: np.random.Generator) -> Array:
    """The rows of as many groups as there are, drawn with replacement."""
    numbered = np.unique(groups, return_inverse=True)[1]
    count = numbered.max() + 1
    times = np.bincount(rng.integers(count, size=count), minlength=count)
    return np.repeat(np.arange(len(groups)), times[numbered])
