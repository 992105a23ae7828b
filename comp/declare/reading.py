"""How files become pixels, where they are no ordinary images; `comp.data.readers` does what is declared here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from comp.declare.checks import Declared, between, one_of
from comp.declare.labels.csv import Where

# The names that `read` may have, and what is read by each.
READERS = {
    "images": "images (JPEG, PNG, TIFF, WebP and others); deeper ones than eight bits scaled by the training images",
    "npy": "arrays that numpy saved, (H, W) or (H, W, C)",
    "dicom": "DICOM by pydicom: its VOI LUT or window applied, MONOCHROME1 inverted, the first frame",
}

# Pixels of a square's side, or of a rectangle's height and width.
Size = int | tuple[int, int]
Fit = Literal["crop", "pad"]
ReadFunction = Callable[[Path], Any]
Read = (
    Annotated[str, one_of(READERS)]
    | Annotated[ReadFunction, "a function of a path that returns an array (H, W) or (H, W, C)"]
)


@dataclass(frozen=True)
class Channels(Declared):
    """An image whose channels are files of their own: ``Channels(["_red.png", "_green.png", "_far.png"])``.

    suffixes: what the files' names end in, a channel each, in order. The image's own path, as labels and test images
        have it, is the file of any one of them: give that one's suffix there.
    read: how each of these files is read, as in `Competition.read`; of colours the brightness is taken.
    """

    suffixes: Annotated[Sequence[str], between(2), "the endings of two files or more, like '_red.png', '_green.png'"]
    read: Read = "images"


@dataclass(frozen=True, kw_only=True)
class PixelTable(Declared):
    """For ``prepare``: a table whose rows are images, written as files: ``PixelTable(table="test.csv", into="test")``.

    table: a CSV, Parquet or JSON file (a list of records), or a pattern of several: ``train_*.parquet``.
    into: the folder, below ``prepared/``, that the images are put in.
    pixels: the columns that hold an image's values as an array or as text with spaces between, a channel each; where
        none is named all columns but ``image`` and ``label`` are the values of one channel.
    image: the column with the images' names; else they are numbered in the order of the rows.
    label: the column with their classes: then they are put in a folder of each class, as ``Folders`` reads them.
    size: height and width in pixels; else they are square.
    where: a column and the values of the rows that are taken, like ``["Usage", "Training"]``; all, if it is empty.
    first: the number of the first image, where they are numbered.
    They become .npy where the competition's ``read`` is "npy"; else PNG, which takes whole numbers from 0 to 255 of one
    or three channels only.
    """

    table: str
    into: str
    pixels: Annotated[Sequence[str], "a list of columns"] = ()
    image: str | None = None
    label: str | None = None
    size: Annotated[tuple[int, int], "(height, width)"] | None = None
    where: Where = ()
    first: int = 1

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        known = self.table.endswith((".csv", ".parquet", ".json"))
        yield "table", not known, "the name or pattern of CSV, Parquet or JSON files"


def sides(size: Size) -> tuple[int, int]:
    """Height and width in pixels."""
    return (size, size) if isinstance(size, int) else size


def size_in_words(size: Size) -> str:
    """``224``, or of a rectangle ``128 x 256``: height first."""
    return str(size) if isinstance(size, int) else f"{size[0]} x {size[1]}"
