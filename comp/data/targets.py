"""The labels of a table as numbers, and how many rows each class has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.declare.metrics import Target


def targets_of(table: pd.DataFrame, classes: Sequence[str], target: Target) -> npt.NDArray[Any]:
    """The targets: (N,) indices in ``classes`` for one class per image, (N, C) of 0 and 1 for tags, of floats else."""
    if target not in ("single", "multi"):
        numbers = [[value for _, value in label] for label in table["label"]]
        return np.array(numbers, np.float64).reshape(len(table), len(classes))
    index = {name: number for number, name in enumerate(classes)}
    labels = table["label"].to_list()
    if target == "single":
        return np.array([index[name] for name in labels], dtype=np.int64)
    tags = np.zeros((len(table), len(classes)), dtype=np.int64)
    rows = np.repeat(np.arange(len(labels)), [len(names) for names in labels])
    tags[rows, [index[name] for names in labels for name in names]] = 1
    return tags


def class_counts(targets: npt.NDArray[Any], classes: int = 0) -> npt.NDArray[Any]:
    """The rows per class or tag (C,) in targets (N,) or (N, C), or sums of numbers; ``classes``: the least C."""
    return np.bincount(targets, minlength=classes) if targets.ndim == 1 else targets.sum(axis=0)
