"""What was predicted of labelled images, judged image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.report.mistakes import LIKELY, SMALLEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Outcomes:
    """Labelled images and what was predicted of them, N of them over C classes or tags.

    targets: (N,) places in ``classes``, or (N, C) of 0 and 1. predicted: the same of what was predicted.
    folds: the part of each row (N,), ``valid`` or the number of its fold.
    losses: (N,), as `comp.report.mistakes.top_losses` counts them. uncertainty: (N,), the entropy of what is predicted,
    as a share of the largest there could be. dearest: (N,) the place of the class that costs most: of one class per
    image the label's, of tags the one that was missed or invented worst.
    """

    ids: Sequence[str]
    classes: Sequence[str]
    folds: Sequence[str]
    targets: Array
    predicted: Array
    probabilities: Array
    losses: Array
    uncertainty: Array
    dearest: Array

    @property
    def tags(self) -> bool:
        return self.targets.ndim == 2

    @property
    def right(self) -> Array:
        """(N,): whether all was predicted as it is labelled."""
        same: Array = self.targets == self.predicted
        return np.all(same, axis=1) if self.tags else same


def judge(
    ids: Sequence[str],
    folds: Sequence[str],
    targets: Array,
    probabilities: Array,
    classes: Sequence[str],
    thresholds: Sequence[float] | None = None,
) -> Outcomes:
    """The outcomes of probabilities (N, C); of tags a probability above its threshold (C,), or a half, predicts one."""
    clipped = probabilities.clip(SMALLEST, 1 - SMALLEST)
    rows = np.arange(len(targets))
    if targets.ndim == 1:
        predicted = probabilities.argmax(axis=1)
        losses, dearest = -np.log(clipped[rows, targets]), targets
        entropy = -(clipped * np.log(clipped)).sum(axis=1) / np.log(len(classes))
    else:
        predicted = (probabilities > np.array(thresholds or [LIKELY] * len(classes))).astype(targets.dtype)
        by_tag = -np.where(targets == 1, np.log(clipped), np.log(1 - clipped))
        losses, dearest = by_tag.mean(axis=1), by_tag.argmax(axis=1)
        binary = clipped * np.log(clipped) + (1 - clipped) * np.log(1 - clipped)
        entropy = -binary.mean(axis=1) / np.log(2)
    return Outcomes(ids, classes, folds, targets, predicted, probabilities, losses, entropy, dearest)


def orders(outcomes: Outcomes) -> dict[str, Array]:
    """Rows in the orders that are worth looking at: the dearest, the least certain, and the most surely right first."""
    right = np.flatnonzero(outcomes.right)
    return {
        "loss": np.argsort(-outcomes.losses, kind="stable"),
        "uncertain": np.argsort(-outcomes.uncertainty, kind="stable"),
        "sure": right[np.argsort(outcomes.losses[right], kind="stable")],
    }


def worth_a_picture(outcomes: Outcomes, most: int) -> list[int]:
    """At most so many rows, the dearest first: the ends of all orders, and of every class the dearest and surest."""
    ordered = orders(outcomes)
    chosen: dict[int, None] = {}
    for order, share in (("loss", 0.35), ("uncertain", 0.15), ("sure", 0.15)):
        chosen.update(dict.fromkeys(ordered[order][: int(most * share)].tolist()))
    by_class = [_of_class(outcomes, place, ordered["loss"]) for place in range(len(outcomes.classes))]
    for turn in range(most):
        # The first, the last, the second, the last but one: of few there are the dearest and the surest.
        place = turn // 2 if turn % 2 == 0 else -1 - turn // 2
        more = [int(rows[place]) for rows in by_class if len(rows) > turn]
        if not more or len(chosen) >= most:
            break
        for row in more:
            if len(chosen) < most:
                chosen.setdefault(row)
    return [row for row in ordered["loss"].tolist() if row in chosen]


def _of_class(outcomes: Outcomes, place: int, order: Array) -> Array:
    of_it = outcomes.targets[order, place] == 1 if outcomes.tags else outcomes.targets[order] == place
    found: Array = order[of_it]
    return found
