"""Images that are rows of tables, a pixel in each column, and files that are no ordinary images."""

from __future__ import annotations

from collections import Counter
from math import isqrt
from pathlib import PurePosixPath

import pandas as pd

from comp.declare.labels import Folders, TestImages, in_order
from comp.declare.labels.files import READ_BY
from comp.declare.reading import PixelTable
from comp.new.labels import Found
from comp.new.look import Look
from comp.new.matching import Asked
from comp.new.sample import SampleTable

FEWEST_PIXELS = 16


def pixel_tables(look: Look, sample: SampleTable) -> tuple[list[PixelTable], Found, Asked] | None:
    """What to prepare of two tables that share their columns of pixels, of which one has a label as well.

    None where there are no such two. The images to predict are numbered from 1 in the order of their rows, unless a
    column has the sample submission's ids.
    """
    tables = {path: table for path, table in look.tables.items() if path != sample.path and len(table)}
    ids, found = set(sample.ids), []
    for test, asked in tables.items():
        # Of a large table only the first rows are looked at.
        called = (str(name) for name in asked if asked[name].is_unique and set(asked[name].str.strip()) <= ids)
        image = next(called, None)
        for train, labelled in tables.items():
            pixels = [str(name) for name in asked if name in labelled and name != image and _is_numeric(asked[name])]
            label = [str(name) for name in labelled if name not in (*pixels, image)]
            is_square = len(pixels) >= FEWEST_PIXELS and isqrt(len(pixels)) ** 2 == len(pixels)
            if train != test and len(label) == 1 and label[0] not in asked and is_square:
                found.append((test, image, train, image if image in labelled else None, label[0], len(pixels)))
    if not found:
        return None
    test, image, train, in_train, label_column, count = max(found, key=lambda one: "train" in one[2].lower())
    made = [
        PixelTable(table=train, into="train", image=in_train, label=label_column),
        PixelTable(table=test, into="test", image=image),
    ]
    classes = in_order(set(tables[train][label_column].str.strip()))
    seen = f"{train} has {count} pixels of an image in a row, and {len(classes)} classes in {label_column!r}"
    others = sorted({one[2] for one in found} - {train})
    doubts = (f"images in {', '.join(others)} are not trained on",) if others else ()
    labels = Found(Folders("prepared/train"), classes, seen, sure=3, doubts=doubts, column=label_column)
    images = Asked(TestImages("prepared/test"), frozenset(), None, False, f"{test} has the images to predict")
    return made, labels, images


def reader_of(look: Look) -> str:
    """How most of the images are read."""
    suffixes = Counter(PurePosixPath(path).suffix.lower() for path in look.images)
    return READ_BY.get(suffixes.most_common(1)[0][0], "images") if suffixes else "images"


def _is_numeric(values: pd.Series[str]) -> bool:
    return bool(pd.to_numeric(values, errors="coerce").notna().all())
