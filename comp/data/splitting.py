"""The split: which rows validate. Stratified by class, or by tags, and drawn from a seed alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from sklearn.model_selection import train_test_split

from comp.errors import DataError
from comp.metrics import Target


def targets_of(table: pd.DataFrame, classes: Sequence[str], target: Target) -> npt.NDArray[np.int64]:
    """The labels as numbers: (N,) places in ``classes`` for one class per image, (N, C) of 0 and 1 for tags."""
    index = {name: place for place, name in enumerate(classes)}
    if target == "single":
        return np.array([index[name] for name in table["label"]], dtype=np.int64)
    tags = np.zeros((len(table), len(classes)), dtype=np.int64)
    for row, names in enumerate(table["label"]):
        tags[row, [index[name] for name in names]] = 1
    return tags


def draw_split(targets: npt.NDArray[np.int64], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """True for the rows that validate (N,), about ``share`` of them.

    One class per image: every class has its share; a class with a single image trains. Tags: iterative stratification
    (Sechidis et al. 2011, 10.1007/978-3-642-23808-6_10). Raises DataError when there are too few rows to split.
    """
    rows = np.arange(len(targets))
    counts = np.bincount(targets) if targets.ndim == 1 else None
    candidates = rows if counts is None else rows[counts[targets] > 1]
    smallest = 2 if counts is None else max(int((counts > 1).sum()), 1)
    # Of the candidates, not of all rows: where many classes have one image, one of two would validate with both.
    validating = max(round(len(candidates) * share), smallest)
    if len(candidates) < 2 * smallest or validating > len(candidates) - smallest:
        raise DataError(
            f"{len(rows)} labelled images are too few to split off {share:.0%} for validation; "
            "train with --all-data, or add images."
        )
    if targets.ndim == 1:
        chosen = train_test_split(
            candidates, test_size=validating, stratify=targets[candidates], random_state=seed, shuffle=True
        )[1]
    else:
        splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=validating / len(rows), random_state=seed)
        chosen = next(splitter.split(rows[:, None], targets))[1]
    return np.isin(rows, chosen)
