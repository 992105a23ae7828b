"""Recognise images that are rows of a table, with a pixel per column or all in one, and files that aren't ordinary."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from posixpath import splitext
from typing import Any

import pandas as pd

from comp.declare.labels.files import READ_BY, Folders, TestImages
from comp.declare.labels.table import in_order
from comp.declare.reading import PixelTable
from comp.errors import DataError
from comp.new.look import FEWEST_PIXELS, Look, numbers_in
from comp.new.matching import Asked
from comp.new.sample import SampleTable
from comp.new.tables import Found, parts_of


@dataclass(frozen=True)
class _Pair:
    """The training and test rows: tables with the same columns of pixels, or parts of one table.

    where: the column and the values that select each part. cells: whether a cell has all pixels of a channel.
    """

    train: str
    test: str
    pixels: Sequence[str]
    cells: bool
    labels: Sequence[str]
    where: tuple[Sequence[str], Sequence[str]] = ((), ())


def pixel_tables(look: Look, sample: SampleTable) -> tuple[list[PixelTable], Found, Asked, str, int] | None:
    """The preparation, labels, test images, reader and side in pixels for images that are rows; None without any.

    Test images that no column names are numbered in the order of their rows. Raises DataError where there is no single
    column of classes, where a table with a pixel per column has another column, or where no column has the sample
    submission's ids and these aren't consecutive numbers.
    """
    tables = {path: table for path, table in look.tables.items() if path != sample.path and len(table)}
    pairs = sorted(_pairs(tables, sample), key=lambda pair: ("train" not in pair.train.lower(), pair.train))
    if not pairs:
        return None
    pair, ids = pairs[0], set(sample.ids)
    train, test = tables[pair.train], tables[pair.test]
    seen = f"{pair.train} has the pixels of an image in a row"
    if len(pair.labels) != 1 or sample.takes == "numbers":
        others = ", ".join(map(repr, pair.labels[:5])) or "nothing"
        raise DataError(
            f"{seen}, and beside them {others} instead of a single column of classes; write the images out and read "
            "the labels with LabelFunction: docs/bring-your-own.md."
        )
    label = pair.labels[0]
    able = [str(name) for name in test if name not in pair.pixels and test[name].is_unique and set(test[name]) <= ids]
    image, first = able[0] if able else None, 1
    if image is None:
        numbers = sorted(int(one) for one in ids if one.isdecimal())
        if not numbers or numbers != list(range(numbers[0], numbers[0] + len(sample.ids))):
            raise DataError(
                f"{seen}, but no column of {pair.test} has the ids of {sample.path}, like {sample.ids.iloc[0]!r}; add "
                "a column with the ids."
            )
        first = numbers[0]
    columns = list(pair.pixels) if pair.cells else []
    unused = () if pair.cells else [name for name in train if name not in (*pair.pixels, label, image)]
    if unused:
        raise DataError(f"{seen}, but its column {unused[0]!r} is not a pixel; remove it from {pair.train}.")
    made = [
        PixelTable(
            table=pair.train,
            into="train",
            pixels=columns,
            image=image if image in train else None,
            label=label,
            where=pair.where[0],
        ),
        PixelTable(table=pair.test, into="test", pixels=columns, image=image, where=pair.where[1], first=first),
    ]
    suffix = ".npy" if pair.cells and not _are_bytes(train, columns) else ""
    trained = train[train[pair.where[0][0]].isin(pair.where[0][1:])] if pair.where[0] else train
    classes = in_order(set(trained[label]))
    other = sorted({one.train for one in pairs} - {pair.train, pair.test})
    doubts = (f"images in {', '.join(other)} are not trained on",) if other else ()
    if pair.where[0]:
        doubts = (*doubts, f"rows with {pair.where[0][1]!r} in {pair.where[0][0]!r} are trained on")
    labels = Found(
        Folders("prepared/train", suffix=suffix),
        classes,
        f"{seen}, and {len(classes)} classes in {label!r}",
        sure=3,
        doubts=doubts,
        column=label,
    )
    source = TestImages("prepared/test", suffix=suffix)
    asked = Asked(source, frozenset(), None, False, f"{pair.test} has the test images")
    count = numbers_in(train[columns[0]].iloc[0]) if columns else len(pair.pixels)
    return made, labels, asked, "npy" if suffix else "images", isqrt(count)


def _pairs(tables: dict[str, pd.DataFrame], sample: SampleTable) -> Iterator[_Pair]:
    def labels(table: pd.DataFrame, without: Sequence[str]) -> list[str]:
        others = [str(name) for name in table.columns.difference([*without, sample.id], sort=False)]
        return [name for name in others if name in sample.columns] or others

    # Looking through tens of thousands of columns takes minutes, so the first row stands for the others.
    first = {path: table.iloc[0] for path, table in tables.items()}
    cells = {
        path: [str(name) for name, cell in row.items() if _is_image(numbers_in(cell))] for path, row in first.items()
    }
    for path, table in tables.items():
        if (parts := parts_of(table) if cells[path] else None) is None:
            continue
        counts = table[parts.column].value_counts()
        for some in (parts.test, *((part,) for part in parts.test)):
            if sum(counts[part] for part in some) == len(sample.ids):
                where = [parts.column, parts.train], [parts.column, *some]
                yield _Pair(path, path, cells[path], True, labels(table, (*cells[path], parts.column)), where)
                break
    for test, asked in tables.items():
        for train, labelled in tables.items():
            shared = [name for name in cells[test] if name in cells[train]]
            if not shared:
                able = asked.columns.intersection(labelled.columns, sort=False).drop(sample.id, errors="ignore")
                shared = [str(name) for name in able[pd.to_numeric(first[test][able], errors="coerce").notna()]]
            own = [name for name in labels(labelled, shared) if name not in asked]
            if train != test and own and (shared == cells[test] != [] or _is_image(len(shared))):
                yield _Pair(train, test, shared, bool(cells[test]), own)


def _is_image(count: int) -> bool:
    return count >= FEWEST_PIXELS and isqrt(count) ** 2 == count


def _are_bytes(table: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Whether a PNG can hold the pixels, judged by the first row."""
    values = pd.Series(" ".join(table[name].iloc[0] for name in columns).replace(",", " ").split())
    numbers = pd.to_numeric(values.str.strip("[]"))
    return len(columns) in (1, 3) and bool(((numbers % 1 == 0) & numbers.between(0, 255)).all())


def reader_of(look: Look, source: Any) -> str:
    """The reader for most images in a label source's folder or below it, among those with the source's suffix."""
    source = getattr(source, "train", source)
    pattern = getattr(source, "pattern", "") or f"{source.folder}/*{getattr(source, 'suffix', '')}"
    place, ending = re.split(r"[{*]", pattern)[0].rpartition("/")[0] or ".", splitext(pattern)[1].lower()
    suffixes = [splitext(path)[1].lower() for path in look.images_below.get(place, ())]
    own = Counter(suffix for suffix in suffixes if suffix.endswith(ending.rstrip(".*")))
    return READ_BY.get(own.most_common(1)[0][0], "images") if own else "images"
