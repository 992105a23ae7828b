"""Turn tables in long form, with a row for each image and class or number, into wide ones with a row per image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from comp.declare.labels.columns import CsvColumns, LongRows
from comp.declare.labels.csv import parts_of_rows, widened
from comp.declare.labels.table import LabelSource
from comp.new.groups import GROUP_NAMES
from comp.new.look import Look
from comp.new.sample import SampleTable

MOST_CLASSES = 200


@dataclass(frozen=True)
class LongForm:
    """The long form of a competition's tables.

    row: the pattern of rows' names, with {id} and {class}. tables: the column with the values, by the table's path.
    unread: the other columns, by the table's path.
    """

    row: str
    classes: Sequence[str]
    tables: dict[str, str] = field(default_factory=dict)
    unread: dict[str, list[str]] = field(default_factory=dict)

    def source(self, found: LabelSource) -> LabelSource:
        """The source that reads the labels from the long table, where they were found in a widened one."""
        if not isinstance(found, LongRows) or found.csv not in self.tables:
            return found
        long = replace(found, row=self.row, value=self.tables[found.csv])
        return replace(long, target="multi") if isinstance(long, CsvColumns) else long


def made_wide(look: Look, sample: SampleTable) -> tuple[Look, SampleTable, LongForm | None]:
    """The look and the sample submission with wide tables, where the ids combine each image with each class."""
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
    """The ways to split all ids into image and class, every image with every class, at one of their separators."""
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
    """The column of values in a long table: the sample submission's, or the only one; None for other tables."""
    endings = tuple(long.row.replace("{id}", "").replace("{class}", name) for name in long.classes)
    if sample.id not in table or not table[sample.id].str.endswith(endings).all():
        return None
    others = [str(name) for name in table if name != sample.id]
    asked = [name for name in others if name == sample.columns[0]] or others
    return asked[0] if len(asked) == 1 else None
