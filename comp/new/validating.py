"""The validation set that a competition gives, among its tables or JSONs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pandas as pd

from comp.declare.labels.given import GivenSplit
from comp.declare.labels.table import LabelSource
from comp.new.columns import FEW
from comp.new.look import Look
from comp.new.matching import below
from comp.new.tables import CsvSource, Found, parts_of

VALID = re.compile(r"(^|[_\W])(val|dev)", re.IGNORECASE)


def of_parts(look: Look, best: Found, table: pd.DataFrame) -> Found | None:
    """With the rows of the same table that validate, where a column says which."""
    parts = parts_of(table)
    if parts is None or not parts.valid or not isinstance(best.source, CsvSource):
        return None
    train = replace(best.source, shared=True)
    valid = validating(look, replace(train, where=(parts.column, parts.valid)), table)
    return replace(best, source=GivenSplit(train, valid or train))


def with_validation(best: Found, alike: Sequence[str], read: Callable[[str], LabelSource | None]) -> Found:
    """With the labels of a validation set, where one of the tables that are alike has such; others are named."""
    left = {path for path in alike if best.path and path != best.path}
    path = next((path for path in sorted(left) if VALID.search(PurePosixPath(path).stem)), "")
    if path and (valid := read(path)):
        left.remove(path)
        train = replace(best.source, shared=True) if isinstance(best.source, CsvSource) else best.source
        best = replace(best, source=GivenSplit(train, valid), seen=f"{best.seen}; those of {path} validate")
    doubt = f"images in {', '.join(sorted(left))} are not trained on"
    return replace(best, doubts=(*best.doubts, doubt)) if left else best


def validating(look: Look, source: CsvSource, table: pd.DataFrame) -> LabelSource | None:
    """A source with the folder that has the images of a table's rows, where most of them name images of one."""
    where, source = source.where, replace(source, shared=True)
    rows = table[table[where[0]].isin(where[1:])] if where else table
    values = set(rows.get(source.image, ()))
    named = [place for place in look.images.below if VALID.search(PurePosixPath(place).name)]
    for place in (*sorted(named, key=len), source.folder, *look.images.largest):
        if len(below(look.images, place, values).images) > (1 - FEW) * len(values):
            return replace(source, folder=place)
    return source if "{" in source.image + source.folder else None
