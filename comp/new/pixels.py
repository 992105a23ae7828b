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
from comp.new.matching import Asked, SampleTable

FEWEST_PIXELS = 16


def pixel_tables(look: Look, sample: SampleTable) -> tuple[list[PixelTable], Found, Asked] | None:
    """What to prepare of two tables that share their columns of pixels, of which one has a label as well.

    None where there are no such two. The images to predict are numbered from 1 in the order of their rows, unless a
    column has the sample submission's ids.
    """
    tables = {path: table for path, table in look.tables.items() if path != sample.path and len(table)}
    ids = set(sample.table.iloc[:, 0].str.strip())
    for test, asked in tables.items():
        for train, labelled in tables.items():
            shared = [str(column) for column in asked if column in labelled and _is_numeric(asked[column])]
            image = next((str(column) for column in asked if ids <= set(asked[column].str.strip())), None)
            pixels = [column for column in shared if column != image]
            label = [str(column) for column in labelled if column not in (*pixels, image)]
            is_square = len(pixels) >= FEWEST_PIXELS and isqrt(len(pixels)) ** 2 == len(pixels)
            if train == test or len(label) != 1 or not is_square:
                continue
            in_train = image if image in labelled else None
            made = [
                PixelTable(table=train, into="train", image=in_train, label=label[0]),
                PixelTable(table=test, into="test", image=image),
            ]
            classes = in_order(set(labelled[label[0]].str.strip()))
            seen = f"{train} has {len(pixels)} pixels of an image in a row, and {len(classes)} classes in {label[0]!r}"
            found = Found(Folders("prepared/train"), classes, seen, sure=3, column=label[0])
            images = Asked(TestImages("prepared/test"), frozenset(), None, False, f"{test} has the images to predict")
            return made, found, images
    return None


def reader_of(look: Look) -> str:
    """How most of the images are read."""
    suffixes = Counter(PurePosixPath(path).suffix.lower() for path in look.images)
    return READ_BY.get(suffixes.most_common(1)[0][0], "images") if suffixes else "images"


def _is_numeric(values: pd.Series[str]) -> bool:
    return bool(pd.to_numeric(values, errors="coerce").notna().all())
