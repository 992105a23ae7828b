"""Tables in long form, with a row for each image and class, or number, made wide: a row for each image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from comp.declare.labels.columns import CsvColumns, LongRows
from comp.declare.labels.csv import parts_of_rows, widened
from comp.declare.labels.table import LabelSource
from comp.new.labels import GROUP_NAMES
from comp.new.look import Look
from comp.new.sample import SampleTable

MOST_CLASSES = 200


@dataclass(frozen=True)
class LongForm:
    """How rows are named after image and class, the classes, and of the tables that have such rows the values' column.

    tables: by their paths. unread: of each the other columns.
    """

    row: str
    classes: Sequence[str]
    tables: dict[str, str] = field(default_factory=dict)
    unread: dict[str, list[str]] = field(default_factory=dict)

    def source(self, found: LabelSource) -> LabelSource:
        """What reads the labels that were found in tables made wide."""
        if not isinstance(found, LongRows) or found.csv not in self.tables:
            return found
        long = replace(found, row=self.row, value=self.tables[found.csv])
        return replace(long, target="multi") if isinstance(long, CsvColumns) else long


def made_wide(look: Look, sample: SampleTable) -> tuple[Look, SampleTable, LongForm | None]:
    """Files and sample submission with wide tables, where its ids name each image with each of the labels' classes."""
    if len(sample.columns) != 1 or not look.image_names.isdisjoint(sample.ids):
        return look, sample, None
    for long in _ways(sample.ids):
        tables, wide, unread = {}, {}, {}
        for path, table in look.tables.items():
            value = _value_of(table, sample, long) if path != sample.path else None
            if value is not None:
                tables[path] = value
                unread[path] = [str(name) for name in table if name not in (sample.id, value)]
                images = parts_of_rows(table[sample.id], long.row, long.classes)[0]
                named = [name for name in unread[path] if re.search(GROUP_NAMES, name)]
                groups = [name for name in named if (table.groupby(images)[name].nunique() == 1).all()]
                wide[path] = widened(table, sample.id, long.row, long.classes, value, groups)
        if tables or any(set(long.classes) <= set(table) for table in look.tables.values()):
            asked = widened(sample.table, sample.id, long.row, long.classes, sample.columns[0])
            return (
                replace(look, tables={**look.tables, **wide}),
                replace(sample, table=asked),
                replace(long, tables=tables, unread=unread),
            )
    return look, sample, None


def _ways(ids: pd.Series[str]) -> Iterator[LongForm]:
    """How each id can be an image and a class, each with each: at one of its marks, from the right or the left."""
    for mark in ("__", "_", "-", ".", " "):
        pieces = ids.str.split(mark)
        for place in (-1, 1, -2, 2, -3, 3):
            if (ids.str.count(re.escape(mark)) < abs(place)).any():
                continue
            images, classes = (pieces.str[part].str.join(mark) for part in (slice(place), slice(place, None)))
            names = list(dict.fromkeys(classes))
            if 1 < len(names) <= MOST_CLASSES and images.nunique() * len(names) == len(ids) and ids.is_unique:
                yield LongForm(f"{{id}}{mark}{{class}}", names)


def _value_of(table: pd.DataFrame, sample: SampleTable, long: LongForm) -> str | None:
    """The column of the values, called as in the sample submission or alone, where the ids have these classes."""
    endings = tuple(long.row.replace("{id}", "").replace("{class}", name) for name in long.classes)
    if sample.id not in table or not table[sample.id].str.endswith(endings).all():
        return None
    others = [str(name) for name in table if name != sample.id]
    asked = [name for name in others if name == sample.columns[0]] or others
    return asked[0] if len(asked) == 1 else None
