"""The validation set that a competition gives, among its tables or JSONs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pandas as pd

from comp.declare.labels.given import GivenSplit
from comp.declare.labels.naming import Names
from comp.declare.labels.placing import Rows
from comp.declare.labels.table import LabelSource
from comp.new.columns import FEW
from comp.new.look import Look
from comp.new.tables import Found, parts_of

VALID = re.compile(r"(^|[_\W])(val|dev)", re.IGNORECASE)


def of_parts(look: Look, best: Found, tables: Mapping[str, pd.DataFrame]) -> Found | None:
    """With the rows of the same table that validate, where a column says which."""
    table, source = tables[best.path], best.source
    parts = parts_of(table)
    if parts is None or not parts.valid or not isinstance(source, Rows):
        return None
    rows = table[table[parts.column] == parts.valid]
    train = replace(source, shared=True)
    valid = validating(look, replace(train, where=(parts.column, parts.valid)), rows)
    return replace(best, source=GivenSplit(train, valid or train))


def with_validation(best: Found, alike: Sequence[str], read: Callable[[str], LabelSource | None]) -> Found:
    """With the labels of a validation set, where one of the tables that are alike has such; others are named."""
    left = {path for path in alike if best.path and path != best.path}
    path = next((path for path in sorted(left) if VALID.search(PurePosixPath(path).stem)), "")
    if path and (valid := read(path)):
        left.remove(path)
        train = replace(best.source, shared=True) if isinstance(best.source, Rows) else best.source
        best = replace(best, source=GivenSplit(train, valid), seen=f"{best.seen}; those of {path} validate")
    doubt = f"images in {', '.join(sorted(left))} are not trained on"
    return replace(best, doubts=(*best.doubts, doubt)) if left else best


def validating(look: Look, source: LabelSource, rows: pd.DataFrame, path: str = "") -> LabelSource | None:
    """What reads other rows as a source reads its own, where most of them name images of one folder.

    path: of the table that they are of, where that is another.
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
