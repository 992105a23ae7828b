"""Where a model errs: the classes it confuses, and the images that cost it most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

SMALLEST = 1e-7
LIKELY = 0.5


def most_confused(targets: Array, probabilities: Array, classes: Sequence[str]) -> pd.DataFrame:
    """The mistakes by how often they were made, most often first.

    targets: (N,) of one class per image, or (N, C) of tags. probabilities: (N, C).
    One class: columns ``label``, ``predicted``, ``count``. Tags: columns ``tag``, ``missed``, ``invented``, with a tag
    predicted where it is more likely than not.
    """
    if targets.ndim == 2:
        predicted = probabilities > LIKELY
        table = pd.DataFrame(
            {
                "tag": list(classes),
                "missed": ((targets == 1) & ~predicted).sum(axis=0),
                "invented": ((targets == 0) & predicted).sum(axis=0),
            }
        )
        worst_first = (table["missed"] + table["invented"]).sort_values(ascending=False, kind="stable").index
        return table.loc[worst_first].reset_index(drop=True)
    names = np.array(classes)
    chosen = probabilities.argmax(axis=1)
    wrong = chosen != targets
    pairs = pd.DataFrame({"label": names[targets[wrong]], "predicted": names[chosen[wrong]]})
    counted = pairs.value_counts().rename("count").reset_index()
    return counted.sort_values(["count", "label", "predicted"], ascending=[False, True, True], ignore_index=True)


def top_losses(ids: Sequence[str], targets: Array, probabilities: Array, classes: Sequence[str]) -> pd.DataFrame:
    """The images by the loss they cost, dearest first: ``id``, ``label``, ``predicted``, ``probability``, ``loss``.

    targets: (N,) of one class per image, or (N, C) of tags. probabilities: (N, C).
    One class: the probability is the label's. Tags: the loss is the mean over the tags, the probability that of the tag
    that costs most, which ``predicted`` names with a minus where it was missed and a plus where it was invented.
    """
    names, clipped = np.array(classes), probabilities.clip(SMALLEST, 1 - SMALLEST)
    rows = np.arange(len(targets))
    if targets.ndim == 1:
        probability, losses = probabilities[rows, targets], -np.log(clipped[rows, targets])
        labels, predicted = names[targets], names[probabilities.argmax(axis=1)]
    else:
        by_tag = -np.where(targets == 1, np.log(clipped), np.log(1 - clipped))
        losses, dearest = by_tag.mean(axis=1), by_tag.argmax(axis=1)
        probability = probabilities[rows, dearest]
        labels = np.array([" ".join(names[tags == 1]) for tags in targets], dtype=object)
        signs = np.where(targets[rows, dearest] == 1, "-", "+")
        predicted = np.array([f"{sign}{name}" for sign, name in zip(signs, names[dearest], strict=True)], dtype=object)
    table = pd.DataFrame(
        {"id": list(ids), "label": labels, "predicted": predicted, "probability": probability, "loss": losses}
    )
    return table.sort_values("loss", ascending=False, kind="stable", ignore_index=True)
