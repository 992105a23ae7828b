"""Images that are rows of tables, a pixel in each column or all in one, and files that are no ordinary images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from math import isqrt
from posixpath import splitext
from typing import Any

import pandas as pd

from comp.declare.labels.files import READ_BY, Folders, TestImages
from comp.declare.labels.table import LabelSource, in_order
from comp.declare.reading import PixelTable
from comp.errors import DataError
from comp.new.asked import Asked
from comp.new.look import FEWEST_PIXELS, Look, numbers_in
from comp.new.sample import SampleTable
from comp.new.tables import Found, parts_of


def pixel_tables(look: Look, sample: SampleTable) -> tuple[list[PixelTable], Found, Asked, str] | None:
    """What to prepare of rows that are images, their labels, those to predict and how they are read.

    None where there are none. Images to predict that no column names are numbered in the order of their rows.
    Raises DataError where they have no column of classes, or the sample submission's ids are others.
    """
    tables = {path: table for path, table in look.tables.items() if path != sample.path and len(table)}
    pairs = sorted(_pairs(tables, sample), key=lambda pair: ("train" not in pair[0].table.lower(), pair[0].table))
    if not pairs:
        return None
    (to_train, to_predict, beside), ids = pairs[0], set(sample.ids)
    train, test = tables[to_train.table], tables[to_predict.table]
    seen = f"{to_train.table} has the pixels of an image in a row"
    if len(beside) != 1 or sample.takes == "numbers":
        others = ", ".join(map(repr, beside[:5])) or "nothing"
        raise DataError(
            f"{seen}, and beside them {others}, which is no single column of classes; write the images out and read "
            "the labels with LabelFunction: docs/bring-your-own.md."
        )
    label, pixels = beside[0], to_train.pixels
    able = (str(name) for name in test if test[name].is_unique and set(test[name]) <= ids)
    image, first = next(able, None), min((int(one) for one in ids if one.isdecimal()), default=0)
    if image is None and ids != {str(number) for number in range(first, first + len(sample.ids))}:
        raise DataError(
            f"{seen}, but no column of {to_predict.table} has the ids of {sample.path}, like {sample.ids.iloc[0]!r}; "
            "add one that has them."
        )
    unused = [name for name in train if name not in (label, image, *(pixels or _numbers_of_both(train, test, sample)))]
    if unused and not pixels:
        raise DataError(f"{seen}, and {unused[0]!r} beside them, which is no pixel; leave it out of {to_train.table}.")
    made = [
        replace(to_train, image=image if image in train else None, label=label),
        replace(to_predict, image=image, first=1 if image else first),
    ]
    suffix = ".npy" if pixels and not _are_bytes(train, pixels) else ""
    other = sorted({one.table for one, *_ in pairs} - {to_train.table, to_predict.table})
    doubts = [f"images in {', '.join(other)} are not trained on"] if other else []
    if where := to_train.where:
        train = train[train[where[0]].isin(where[1:])]
        doubts.append(f"rows with {where[1]!r} in {where[0]!r} are trained on")
    classes = in_order(set(train[label]))
    source, has = Folders("prepared/train", suffix=suffix), f"{seen}, and {len(classes)} classes in {label!r}"
    labels = Found(source, classes, has, sure=3, doubts=tuple(doubts), column=label)
    source_of_test, said = TestImages("prepared/test", suffix=suffix), f"{to_predict.table} has the images to predict"
    return made, labels, Asked(source_of_test, frozenset(), said), "npy" if suffix else "images"


def _pairs(
    tables: dict[str, pd.DataFrame], sample: SampleTable
) -> Iterator[tuple[PixelTable, PixelTable, Sequence[str]]]:
    """The rows to train on and those to predict, and the columns that may have labels.

    They are parts of one table, or tables with the same columns of pixels: of one in each, or of all of a channel.
    """

    def labels(table: pd.DataFrame, without: Sequence[str]) -> list[str]:
        others = [str(name) for name in table if name not in without and name != sample.id]
        return [name for name in others if name in sample.columns] or others

    cells = {
        path: [str(name) for name in table if _is_image(numbers_in(table[name].iloc[0]))]
        for path, table in tables.items()
    }
    for path, table in tables.items():
        if (parts := parts_of(table) if cells[path] else None) is None:
            continue
        counts = table[parts.column].value_counts()
        for some in (parts.test, *((part,) for part in parts.test)):
            if sum(counts[part] for part in some) == len(sample.ids):
                train = PixelTable(table=path, into="train", pixels=cells[path], where=[parts.column, parts.train])
                test = replace(train, into="test", where=[parts.column, *some])
                yield train, test, labels(table, (*cells[path], parts.column))
                break
    for path, other in permutations(tables, 2):
        pixels = [name for name in cells[other] if name in cells[path]]
        shared = pixels or _numbers_of_both(tables[path], tables[other], sample)
        own = [name for name in labels(tables[path], shared) if name not in tables[other]]
        if own and (pixels == cells[other] != [] or _is_image(len(shared))):
            train = PixelTable(table=path, into="train", pixels=pixels)
            yield train, replace(train, table=other, into="test"), own


def _numbers_of_both(train: pd.DataFrame, test: pd.DataFrame, sample: SampleTable) -> list[str]:
    """The columns of numbers that both tables have."""
    shared = (str(name) for name in test if name in train and name != sample.id)
    return [name for name in shared if pd.to_numeric(test[name], errors="coerce").notna().all()]


def _is_image(count: int) -> bool:
    return count >= FEWEST_PIXELS and isqrt(count) ** 2 == count


def _are_bytes(table: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Whether pixels are what a PNG holds, as far as the first rows tell."""
    values = pd.Series(" ".join(table[name].iloc[0] for name in columns).replace(",", " ").split())
    numbers = pd.to_numeric(values.str.strip("[]"))
    return len(columns) in (1, 3) and bool(((numbers % 1 == 0) & numbers.between(0, 255)).all())


def reader_of(look: Look, source: LabelSource) -> str:
    """How most of a label source's images are read."""
    suffixes = Counter(splitext(path)[1].lower() for path in images_of(look, source))
    return READ_BY.get(suffixes.most_common(1)[0][0], "images") if suffixes else "images"


def images_of(look: Look, source: Any) -> list[str]:
    """The images in a label source's folder, or below it, that end as its own do."""
    source = getattr(source, "train", source)
    pattern = getattr(source, "pattern", "") or f"{source.folder}/*{getattr(source, 'suffix', '')}"
    place, ending = re.split(r"[{*]", pattern)[0].rpartition("/")[0] or ".", splitext(pattern)[1].lower()
    return [path for path in look.images.below.get(place, ()) if path.lower().endswith(ending.rstrip(".*"))]
