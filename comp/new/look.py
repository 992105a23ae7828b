"""Look at a competition's files on disk: names, tables and an image's size; `at_kaggle` looks at them remotely."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from comp.declare.labels.coco import Annotated, annotated
from comp.declare.labels.csv import TABLE_SUFFIXES, read_csv, read_csv_in_blocks, records_in, trimmed, wrong_said
from comp.declare.labels.files import IMAGE_SUFFIXES, READ_BY, walked
from comp.declare.own_images import PREPARED
from comp.errors import DataError
from comp.kaggle.client import CompetitionFacts
from comp.new.viewpoints import have_up

LARGEST_TABLE = 1 << 30  # bytes
# A table of at least WIDE columns has a pixel in each, and MOST_OF_WIDE of its rows are read; a cell of at least
# FEWEST_PIXELS numbers has a pixel in each number.
WIDE, MOST_OF_WIDE, FEWEST_PIXELS = 200, 1000, 16
CELLS = 1 << 21  # cells of a table that are read at a time, as text
ORDER = ("red", "green", "blue", "yellow", "nir", "infrared")
CHANNEL = re.compile(rf"[_-](({'|'.join(ORDER)})|(?:w|ch|channel|band)_?(\d+))\.\w+$", re.IGNORECASE)
ALL_SUFFIXES = IMAGE_SUFFIXES | READ_BY.keys()
MOST_TRIED = 50  # folders that a table may name the images of
# The start of a word in a name, and the names of test folders and tables: not ``contest``.
WORD = r"(?:(?<![a-zA-Z])|(?<=[a-z])(?=[A-Z])|(?=[A-Z][a-z]))"
IS_TEST = re.compile(rf"{WORD}(?i:test)")
MOST_OPENED = 20  # images at most that are tried, to find one that can be opened


@dataclass(frozen=True)
class ImageFolder:
    """The images directly in a folder, or some of them; ``path`` is "." for the top folder."""

    path: str
    names: tuple[str, ...]

    @property
    def parent(self) -> str:
        return str(PurePosixPath(self.path).parent)

    @property
    def own_name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Look:
    """A competition's files, as they are once everything is unpacked in one folder.

    files: paths with ``/``; maybe only some of a large folder's. folders: all folders, also those not looked into.
    whole: no file is left out. tables: the CSVs, all trimmed text, by path. pixels: width and height of an image.
    annotations: the content of COCO's JSONs, by path. aside: the reasons why tables were not looked at, by path.
    title, metric, description: in Kaggle's words; empty if unknown. only_notebooks: nothing can be uploaded.
    has_up: whether the images may have an up, as far as is known.
    """

    files: Sequence[str]
    tables: Mapping[str, pd.DataFrame]
    folders: Sequence[str] = ()
    whole: bool = True
    pixels: tuple[int, int] | None = None
    annotations: Mapping[str, Annotated] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    description: str = ""
    metric: str = ""
    only_notebooks: bool = False
    has_up: bool = True

    @cached_property
    def channels(self) -> list[str]:
        """The endings of files that hold one channel of an image each, red first; empty where images are whole."""
        found = Counter(match[0] for path in filter(is_image, self.files) if (match := CHANNEL.search(path)))
        whole = len(found) > 1 and len(set(found.values())) == 1
        return sorted(found, key=_place_of_channel) if whole else []

    @cached_property
    def images(self) -> list[str]:
        """The paths of all images; where each channel has its own file, the first channel's."""
        first = self.channels[0] if self.channels else ""
        return [path for path in self.files if is_image(path) and path.endswith(first)]

    @cached_property
    def image_folders(self) -> list[ImageFolder]:
        """All folders with images directly in them, sorted by path."""
        names = defaultdict(list)
        for path in self.images:
            folder, _, name = path.rpartition("/")
            names[folder or "."].append(name)
        return [ImageFolder(path, tuple(sorted(names[path]))) for path in sorted(names)]

    @cached_property
    def images_below(self) -> dict[str, list[str]]:
        """The paths of all images below each folder."""
        below = defaultdict(list)
        for path in self.images:
            folder = path.rpartition("/")[0]
            while folder:
                below[folder].append(path)
                folder = folder.rpartition("/")[0]
            below["."].append(path)
        return dict(below)

    @cached_property
    def image_names(self) -> set[str]:
        """The names of all images, with and without their suffix."""
        names = {path.rpartition("/")[2] for path in self.images}
        return names | {posixpath.splitext(name)[0] for name in names}

    @cached_property
    def largest_folders(self) -> list[str]:
        """The folders with the most images below them, the largest first."""
        return sorted(self.images_below, key=lambda place: (-len(self.images_below[place]), place))[:MOST_TRIED]

    @property
    def said_aside(self) -> str:
        """The tables that were not looked at, and why, in brackets; empty where there are none."""
        return f" ({'; '.join(f'{path} {why}' for path, why in self.aside.items())})" if self.aside else ""

    @cached_property
    def unlisted(self) -> list[str]:
        """The folders that were not looked into."""
        opened = {posixpath.dirname(path) for path in (*self.files, *self.folders)}
        return [] if self.whole else sorted(set(self.folders) - opened)

    def folders_in(self, parent: str) -> list[str]:
        """The names of the folders directly in ``parent``."""
        found = (PurePosixPath(folder) for folder in {*self.folders, *map(posixpath.dirname, self.files)} - {""})
        return sorted(path.name for path in found if str(path.parent) == parent and path.name[0] != ".")


def _place_of_channel(ending: str) -> int:
    _, colour, number = CHANNEL.search(ending).groups()  # type: ignore[union-attr]
    return int(number) if number else ORDER.index(colour.lower())


def look_at_folder(folder: Path, facts: CompetitionFacts | None = None) -> Look:
    """Look at an unpacked folder on disk, ignoring images that an earlier declaration prepared."""
    files, folders = [], []
    for base, inside, names in walked(folder):
        place = Path(base).relative_to(folder)
        if place == Path() and PREPARED in inside:
            inside.remove(PREPARED)
        folders += [(place / name).as_posix() for name in inside]
        files += [(place / name).as_posix() for name in names]
    told = Told()
    for file in filter(tells, files):
        told.add(file, (folder / file).stat().st_size, partial(Path, folder, file), here=True)
    images = [folder / file for file in files if is_image(file)]
    pixels = next((size for image in images[:MOST_OPENED] if (size := pixels_of(image))), None)
    known = {} if facts is None else asdict(facts)
    return Look(files, folders=folders, pixels=pixels, has_up=have_up(images), **vars(told), **known)


def pixels_of(image: Path) -> tuple[int, int] | None:
    """Width and height; None if the image can't be opened."""
    try:
        with Image.open(image) as opened:
            return opened.size
    except (OSError, Image.DecompressionBombError):
        return None


def is_image(path: str) -> bool:
    return posixpath.splitext(path)[1].lower() in ALL_SUFFIXES and not _is_hidden(path)


@dataclass
class Told:
    """The contents of tables and JSONs, as in `Look`."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    annotations: dict[str, Annotated] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, size: int, fetched: Callable[[], Path], *, here: bool = False) -> None:
        """Read a file. size: in bytes. fetched: returns its path, after a download if needed. here: it is local."""
        too_large = f"has {size >> 20:,} MB, too many to be looked at" if size > LARGEST_TABLE else ""
        is_json = name.lower().endswith(".json")
        # A local JSON list may be of any size: only its first records are read.
        if too_large and not (is_json and here):
            self.aside[name] = too_large
            return
        path = fetched()
        try:
            if not is_json:
                self.tables[name] = read_table(path)
            elif (records := _records(path)) is not None:
                self.tables[name] = trimmed(records)
            elif too_large:
                self.aside[name] = too_large
            else:
                with suppress(DataError):
                    self.annotations[name] = annotated(path)
        except DataError as error:
            self.aside[name] = str(error).removeprefix(f"{path} ").replace(str(path), "it").rstrip(".")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table, trimmed; only the first rows of a table with a pixel per column, only the first cells of pixels."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with wrong_said(path), pq.ParquetFile(path) as file:
            wide = len(file.schema_arrow.names) >= WIDE
            first = next(file.iter_batches(MOST_OF_WIDE), None) if wide else None
        if first is None:
            return trimmed(read_csv(path))
        return _of_texts((column.to_numpy(zero_copy_only=False) for column in first.columns), first.schema.names)
    parts: list[pd.DataFrame] = []
    for block in read_csv_in_blocks(path, CELLS):
        if block.shape[1] >= WIDE and len(block):
            return _of_texts((np.asarray(column) for _, column in block[:MOST_OF_WIDE].items()), block.columns)
        shown = columns_of_pixels(block)
        block[shown] = block[shown].where(block.index.to_series().lt(MOST_OF_WIDE), "", axis=0)
        parts.append(block)
    return trimmed(pd.concat(parts)).rename(columns=str.strip)


def _of_texts(columns: Iterable[npt.NDArray[Any]], names: Iterable[str]) -> pd.DataFrame:
    """A table of trimmed text; a column of whole numbers gets no decimal points beside columns of fractions.

    Built as one array: column by column pandas takes minutes for tens of thousands of columns.
    """
    values = [np.char.strip(column.astype(str)).astype(object) for column in columns]
    return pd.DataFrame(np.stack(values, axis=1), columns=list(names))


def _records(path: Path) -> pd.DataFrame | None:
    """The first records of a JSON list, all text, where they hold pixels."""
    try:
        first = list(islice(records_in(path), MOST_OF_WIDE))
    except DataError:
        return None
    values = first[0].values() if first else ()
    if not any(isinstance(value, list) and numbers_in(str(value)) >= FEWEST_PIXELS for value in values):
        return None
    return pd.DataFrame(first).map(lambda value: str(value))


def columns_of_pixels(table: pd.DataFrame) -> list[str]:
    """The columns with all pixels of an image in a cell, judged by the first row."""
    first = table.iloc[0].items() if len(table) else ()
    return [str(name) for name, cell in first if numbers_in(cell) >= FEWEST_PIXELS]


def numbers_in(text: str) -> int:
    """The number of numbers in a text; 0 where it has anything else."""
    return len(re.findall(r"[^\s,]+", text.strip("[] "))) if re.fullmatch(r"[\[\]\d\s.,eE+-]+", text) else 0


def tells(path: str) -> bool:
    """Whether a file is a table or a JSON."""
    return path.lower().endswith((*TABLE_SUFFIXES, ".json")) and not _is_hidden(path)


def _is_hidden(path: str) -> bool:
    return f"/{path}".count("/.") + f"/{path}".count("/__MACOSX") > 0
