"""Columns of the table as inputs of a head, with statistics of the training images only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.declare.columns import Columns, in_table
from comp.errors import DataError

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})


@dataclass(frozen=True)
class Encoding:
    """How columns become inputs (N, K): standardised numbers, then one-hot categories.

    numbers: mean and standard deviation of each column. categories: the training images' categories in each column, ""
    for missing ones.
    """

    numbers: Mapping[str, Sequence[float]]
    categories: Mapping[str, Sequence[str]]

    @property
    def width(self) -> int:
        """K, the number of inputs."""
        return len(self.numbers) + sum(map(len, self.categories.values()))

    def __call__(self, table: pd.DataFrame) -> npt.NDArray[np.float32]:
        """The inputs (N, K) of a table's images. A missing number is 0, the mean; an unseen category all zeros."""
        blocks = [np.empty((len(table), 0))]
        for name, (mean, deviation) in self.numbers.items():
            standardised = (_numbers(table, name) - mean) / deviation
            blocks.append(np.nan_to_num(standardised)[:, None])
        for name, known in self.categories.items():
            blocks.append(_categories(table, name)[:, None] == np.array(known, object))
        return np.concatenate(blocks, axis=1).astype(np.float32)

    def lines(self, table: pd.DataFrame, what: str) -> Iterator[str]:
        """A line per column with missing numbers or categories, or unseen ones, in a table of ``what``."""
        for name, (mean, _) in self.numbers.items():
            if missing := int(np.isnan(_numbers(table, name)).sum()):
                yield f"column {name!r}: {missing} of {len(table)} {what} have none and are given the mean, {mean:.4g}"
        for name, known in self.categories.items():
            values = _categories(table, name)
            if "" in known and (missing := int((values == "").sum())):
                yield f"column {name!r}: {missing} of {len(table)} {what} have none, which is a category of its own"
            if unseen := sorted(set(values) - set(known)):
                count = int(np.isin(values, unseen).sum())
                yield (
                    f"column {name!r}: {count} of {len(table)} {what} have a category that no training image has, "
                    f"the first {unseen[0]!r}, and are given none"
                )


def encoding_of(columns: Columns, training: pd.DataFrame) -> Encoding:
    """The encoding from the training images; raises DataError for a column that isn't of numbers."""
    numbers = {}
    for name in columns.numbers:
        values = _numbers(training, name)
        if np.isnan(values).all():
            raise DataError(f"Columns: no training image has a number in column {name!r}; leave it out.")
        # Rounding may give equal numbers a deviation above zero.
        varies = np.nanmin(values) < np.nanmax(values)
        numbers[name] = [float(np.nanmean(values)), float(np.nanstd(values)) if varies else 1.0]
    return Encoding(numbers, {name: sorted(set(_categories(training, name))) for name in columns.categories})


def _numbers(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """The column's values (N,), NaN where missing."""
    text = table[in_table(name)]
    missing = text.str.lower().isin(MISSING)
    values = pd.to_numeric(text.mask(missing), errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(values) & ~missing.to_numpy()
    if wrong.any():
        raise DataError(
            f"Columns: {name!r} is {text[wrong].iloc[0]!r} for image {table['id'][wrong].iloc[0]!r}, but it should be "
            "a number; name the column among `categories`, or mend it."
        )
    return values


def _categories(table: pd.DataFrame, name: str) -> npt.NDArray[Any]:
    """The column's values (N,), "" where missing."""
    text = table[in_table(name)]
    return text.mask(text.str.lower().isin(MISSING), "").to_numpy(object)
