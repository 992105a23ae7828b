"""Tables that may have labels: their training and validation rows, joins of two tables, and the sources found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from comp.declare.labels.given import GivenSplit
from comp.declare.labels.naming import Names
from comp.declare.labels.placing import Rows
from comp.declare.labels.table import LabelSource
from comp.errors import first_few
from comp.new.columns import FEW
from comp.new.look import Look
from comp.new.sample import SampleTable, is_sample

MOST_PARTS = 4
# The values that mark training, validation and test rows.
PARTS = (r"^train", r"^(?:val|dev)", r"test")
VALID = re.compile(r"(^|[_\W])(val|dev)", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A label source that fits, its classes in order, and the evidence for it in words.

    sure: a score of the evidence. doubts: points that the user should check. column: the labels' column, if there is
    one. rows: the share of a table's rows that name an image. path: the table's, if there is one. known: whether the
    sample submission confirms the labels. unique: whether each row has its own image. unnamed: the number of images in
    the folder that no row names, where all of them should be labelled.
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
    unnamed: int = 0


class Parts(NamedTuple):
    """The column that splits a table's rows into parts, and its values for each part; ``valid`` may be empty."""

    column: str
    train: str
    valid: str
    test: Sequence[str]


@dataclass(frozen=True)
class LabelTable:
    """A table that may have labels; ``join`` is the table that it was joined with.

    rows: the training rows, without the column of ``parts``.
    """

    path: str
    whole: pd.DataFrame
    join: str = ""

    @cached_property
    def parts(self) -> Parts | None:
        return parts_of(self.whole)

    @cached_property
    def rows(self) -> pd.DataFrame:
        if self.parts is None:
            return self.whole
        chosen = self.whole[self.parts.column] == self.parts.train
        return self.whole[chosen].drop(columns=self.parts.column)


def parts_of(table: pd.DataFrame) -> Parts | None:
    """The parts of a table's rows, where a column marks them."""
    for column in table.columns:
        values = sorted(set(table[column]))
        if len(values) > MOST_PARTS:
            continue
        train, valid, test = ([one for one in values if re.search(which, one, re.IGNORECASE)] for which in PARTS)
        if len(train) == 1 and len(valid) < 2 and (test or valid):
            return Parts(column, train[0], "".join(valid), tuple(test))
    return None


def joined(tables: Mapping[str, pd.DataFrame]) -> Iterator[LabelTable]:
    """Tables joined with another one, by the columns that both have, if no two rows of the other agree in these."""
    for path, table in tables.items():
        for other, known in tables.items():
            shared = [column for column in table if column in known]
            if other != path and shared and len(shared) < known.shape[1] and not known.duplicated(shared).any():
                yield LabelTable(path, table.merge(known, on=shared), other)


def unread_columns(look: Look, labels: Found, sample: SampleTable) -> Iterator[str]:
    """Lines on unread columns that both the labelled and the test images have."""
    source = getattr(labels.source, "train", labels.source)
    told, answered = look.tables.get(labels.path, pd.DataFrame()), list(sample.table)
    image, read = getattr(source, "image", ""), {*named_in(vars(source).values()), *labels.classes}
    if join := getattr(source, "join", ""):
        read.update(told.columns.intersection(look.tables[join].columns))
    for path, table in look.tables.items():
        # A table with the sample submission's columns has answers, not inputs.
        if path == labels.path or list(table) == answered or is_sample(path):
            continue
        if image not in table or not set(sample.ids) <= set(table[image]):
            continue
        beside = [str(name) for name in table if name in told and name != image and str(name) not in read]
        telling = [name for name in beside if told[name].nunique() > 1 and not _are_names(told[name])]
        if telling:
            yield (
                f"{first_few(telling)}: in {labels.path} and in {path}, but not read; `columns=Columns(...)` makes "
                "columns inputs beside the images: docs/bring-your-own.md"
            )


def named_in(values: Iterable[object]) -> Iterator[str]:
    """The names of columns in a declaration, also those inside patterns."""
    for value in values:
        if isinstance(value, str):
            yield from (value, *re.findall(r"\{([^{}]+)\}", value))
        elif isinstance(value, Sequence):
            yield from named_in(value)


def _are_names(values: pd.Series[str]) -> bool:
    """Whether each row has a different text, which is no use as an input."""
    return values.is_unique and bool(pd.to_numeric(values, errors="coerce").isna().any())


def of_parts(look: Look, best: Found, tables: Mapping[str, pd.DataFrame]) -> Found | None:
    """The source with the validation rows of the same table, where a column marks them; else None."""
    table, source = tables[best.path], best.source
    parts = parts_of(table)
    if parts is None or not parts.valid or not isinstance(source, Rows):
        return None
    rows = table[table[parts.column] == parts.valid]
    train = replace(source, shared=True)
    valid = validating(look, replace(train, where=(parts.column, parts.valid)), rows)
    return replace(best, source=GivenSplit(train, valid or train))


def with_validation(best: Found, alike: Sequence[str], read: Callable[[str], LabelSource | None]) -> Found:
    """The source with a validation set's labels from a similar table, if one has them; other tables become a doubt."""
    left = {path for path in alike if best.path and path != best.path}
    path = next((path for path in sorted(left) if VALID.search(PurePosixPath(path).stem)), "")
    if path and (valid := read(path)):
        left.remove(path)
        train = replace(best.source, shared=True) if isinstance(best.source, Rows) else best.source
        best = replace(best, source=GivenSplit(train, valid), seen=f"{best.seen}; those of {path} validate")
    doubt = f"images in {', '.join(sorted(left))} are not trained on"
    return replace(best, doubts=(*best.doubts, doubt)) if left else best


def validating(look: Look, source: LabelSource, rows: pd.DataFrame, path: str = "") -> LabelSource | None:
    """The source for validation rows, read like the training rows; None where it can't be told.

    Its folder is one with images of nearly all rows, or made of the rows' columns as in the training source.

    path: the validation rows' table, where that is another one.
    """
    if not isinstance(source, Rows):
        return None
    source = replace(source, csv=path or source.csv, shared=True)
    values = set(rows.get(source.image, pd.Series(dtype=str)))
    named = [place for place in look.images_below if VALID.search(PurePosixPath(place).name)]
    for place in (*sorted(named, key=len), source.folder, *look.largest_folders):
        names = Names(look.images_below.get(place, ()), roots=(PurePosixPath(place), PurePosixPath()))
        if sum(names.find(value) is not None for value in values) > (1 - FEW) * len(values):
            return replace(source, folder=place)
    return source if "{" in source.image + source.folder else None
