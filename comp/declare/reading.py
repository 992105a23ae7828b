"""How files become pixels, where they aren't ordinary images; `comp.data.readers` does what is declared here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from comp.declare.checks import Declared, between, one_of
from comp.declare.labels.csv import Where

# The values of `read`, and the files that each reads.
READERS = {
    "images": "images (JPEG, PNG, TIFF, WebP and others); more than eight bits are scaled by the training images",
    "npy": "arrays saved by numpy, (H, W) or (H, W, C)",
    "dicom": "DICOM by pydicom: its VOI LUT or window applied, MONOCHROME1 inverted, the first frame",
}

# In pixels: a square's side, or a rectangle's height and width.
Size = int | tuple[int, int]
Fit = Literal["crop", "pad"]
ReadFunction = Callable[[Path], Any]
Read = (
    Annotated[str, one_of(READERS)]
    | Annotated[ReadFunction, "a function of a path that returns an array (H, W) or (H, W, C)"]
)


@dataclass(frozen=True)
class Channels(Declared):
    """An image with a file per channel: ``Channels(["_red.png", "_green.png", "_far.png"])``.

    suffixes: the endings of the files' names, one per channel, in order. Labels and test images name any one of these
        files: give them its suffix.
    read: how each of these files is read, as in `Competition.read`; colours become their brightness.
    """

    suffixes: Annotated[Sequence[str], between(2), "the endings of two files or more, like '_red.png', '_green.png'"]
    read: Read = "images"


@dataclass(frozen=True, kw_only=True)
class PixelTable(Declared):
    """For ``prepare``: a table whose rows are images, written as files: ``PixelTable(table="test.csv", into="test")``.

    table: a CSV, Parquet or JSON file (a list of records), or a pattern of several: ``train_*.parquet``.
    into: the folder, below ``prepared/``, for the images.
    pixels: the columns that hold the values of a channel each, as an array or as text with spaces between; by default
        all columns but ``image`` and ``label`` together are the values of one channel.
    image: the column with the images' names; by default images are numbered in the order of the rows.
    label: the column with the classes: each class gets a folder, as ``Folders`` reads them.
    size: height and width in pixels; by default images are square.
    where: a column and the values of the rows that are taken, like ``["Usage", "Training"]``; all rows, if empty.
    first: the number of the first image, where images are numbered.
    Images are written as .npy where the competition's ``read`` is "npy"; else as PNG, which takes only whole numbers
    from 0 to 255, of one or three channels.
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
    """``224``, or ``128 x 256`` for a rectangle: height first."""
    return str(size) if isinstance(size, int) else f"{size[0]} x {size[1]}"
