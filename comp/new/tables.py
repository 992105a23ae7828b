"""Tables that may have labels: their rows to train on, those of two joined, and the source that is found in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from comp.declare.labels.table import LabelSource

MOST_PARTS = 4
# What rows to train on, to validate on and to predict are called.
PARTS = (r"^train", r"^(?:val|dev)", r"test")


@dataclass(frozen=True)
class Found:
    """A label source that fits, its classes in order, and what it was seen by.

    sure: how much speaks for it. doubts: what a person should look at. column: of the labels, if they have one.
    rows: the share of a table's rows that name an image. path: of the table, if there is one. known: whether the sample
    submission tells its column. unique: whether each row has an image of its own.
    """

    source: LabelSource
    classes: tuple[str, ...]
    seen: str
    sure: float
    doubts: tuple[str, ...] = ()
    column: str = ""
    rows: float = 1.0
    path: str = ""
    known: bool = True
    unique: bool = True


class Parts(NamedTuple):
    """The column of a table that says what its rows are for, and its values for each."""

    column: str
    train: str
    valid: str
    test: Sequence[str]


@dataclass(frozen=True)
class LabelTable:
    """A table that may have labels, and the other that it is joined with.

    rows: those to train on, without the column of ``parts``.
    """

    path: str
    whole: pd.DataFrame
    join: str = ""

    @cached_property
    def parts(self) -> Parts | None:
        return parts_of(self.whole)

    @property
    def where(self) -> Sequence[str]:
        return (self.parts.column, self.parts.train) if self.parts else ()

    @cached_property
    def rows(self) -> pd.DataFrame:
        if self.parts is None:
            return self.whole
        chosen = self.whole[self.parts.column] == self.parts.train
        return self.whole[chosen].drop(columns=self.parts.column)


def parts_of(table: pd.DataFrame) -> Parts | None:
    """What the rows of a table are for, where a column says so."""
    for column in table.columns:
        values = sorted(set(table[column]))
        if len(values) > MOST_PARTS:
            continue
        train, valid, test = ([one for one in values if re.search(which, one, re.IGNORECASE)] for which in PARTS)
        if len(train) == 1 and len(valid) < 2 and (test or valid):
            return Parts(column, train[0], "".join(valid), tuple(test))
    return None


def joined(tables: Mapping[str, pd.DataFrame]) -> Iterator[LabelTable]:
    """Tables with the columns of another, by those that both have and of which each value is there once."""
    for path, table in tables.items():
        for other, known in tables.items():
            shared = [column for column in table if column in known]
            if other != path and shared and len(shared) < known.shape[1] and not known.duplicated(shared).any():
                yield LabelTable(path, table.merge(known, on=shared), other)
