"""A look at a competition's files: names, small tables and one image's size; from here, or from afar by `at_kaggle`."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import pandas as pd
from PIL import Image

from comp.declare.labels import IMAGE_SUFFIXES, read_csv, read_csv_in_blocks
from comp.declare.labels.coco import Annotated, annotated
from comp.declare.labels.csv import TABLE_SUFFIXES
from comp.declare.labels.files import READ_BY, walked
from comp.errors import DataError
from comp.kaggle.client import CompetitionFacts
from comp.new.viewpoints import have_up

LARGEST_TABLE = 64 << 20  # bytes; labels are far smaller
# A table of so many columns has a pixel in each.
WIDE, MOST_OF_WIDE = 200, 1000
ORDER = ("red", "green", "blue", "yellow", "nir", "infrared")
CHANNEL = re.compile(rf"[_-]({'|'.join(ORDER)})\.\w+$", re.IGNORECASE)
MOST_TRIED = 50  # folders that a table may name the images of
MOST_OPENED = 20  # images, of which one that isn't broken tells the size


@dataclass(frozen=True)
class ImageFolder:
    """The images right in a folder, or some of them: ``path`` is "." for the top one, ``names`` are their files'."""

    path: str
    names: tuple[str, ...]

    @property
    def parent(self) -> str:
        return str(PurePosixPath(self.path).parent)

    @property
    def own_name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def suffixes(self) -> set[str]:
        return {PurePosixPath(name).suffix for name in self.names}


@dataclass(frozen=True)
class Look:
    """A competition's files, as they lie once everything is unpacked in one folder.

    files: paths with ``/``; of a large folder maybe only some. folders: all folders, also those not looked into.
    whole: no file is left out. tables: the CSVs, all text, by path. pixels: width and height of an image.
    annotations: what the JSONs of images and categories say, by path.
    title, metric, description: in Kaggle's words; empty if unknown. only_notebooks: nothing can be uploaded.
    has_up: whether the images may have an up, as far as is known.
    """

    files: Sequence[str]
    tables: Mapping[str, pd.DataFrame]
    folders: Sequence[str] = ()
    whole: bool = True
    pixels: tuple[int, int] | None = None
    annotations: Mapping[str, Annotated] = field(default_factory=dict)
    title: str = ""
    description: str = ""
    metric: str = ""
    only_notebooks: bool = False
    has_up: bool = True

    @cached_property
    def channels(self) -> list[str]:
        """The endings of files that hold a channel each of the same images, red first; empty where images are whole."""
        found = Counter(match[0] for path in filter(is_image, self.files) if (match := CHANNEL.search(path)))
        whole = len(found) > 1 and len(set(found.values())) == 1
        return sorted(found, key=lambda ending: ORDER.index(CHANNEL.sub(r"\1", ending).lower())) if whole else []

    @cached_property
    def images(self) -> list[str]:
        """The paths of all images; where channels have files of their own, of the first."""
        first = self.channels[0] if self.channels else ""
        return [path for path in self.files if is_image(path) and path.endswith(first)]

    @cached_property
    def image_folders(self) -> list[ImageFolder]:
        """Every folder with images in it, in the order of their paths."""
        names = defaultdict(list)
        for path in map(PurePosixPath, self.images):
            names[str(path.parent)].append(path.name)
        return [ImageFolder(path, tuple(sorted(names[path]))) for path in sorted(names)]

    @cached_property
    def images_below(self) -> dict[str, list[str]]:
        """The paths of all images below each folder."""
        below = defaultdict(list)
        for path in self.images:
            for parent in PurePosixPath(path).parents:
                below[str(parent)].append(path)
        return dict(below)

    @cached_property
    def largest_folders(self) -> list[str]:
        """The folders with the most images below them, the largest first."""
        return sorted(self.images_below, key=lambda place: (-len(self.images_below[place]), place))[:MOST_TRIED]

    def folders_in(self, parent: str) -> list[str]:
        """The names of all folders right in one."""
        found = (PurePosixPath(folder) for folder in {*self.folders, *map(posixpath.dirname, self.files)} - {""})
        return sorted(path.name for path in found if str(path.parent) == parent and path.name[0] != ".")


def look_at_folder(folder: Path, facts: CompetitionFacts | None = None) -> Look:
    """What there is on disk, unpacked."""
    files, folders = [], []
    for base, inside, names in walked(folder):
        place = Path(base).relative_to(folder)
        folders += [(place / name).as_posix() for name in inside]
        files += [(place / name).as_posix() for name in names]
    small = (file for file in files if is_table(file) and (folder / file).stat().st_size <= LARGEST_TABLE)
    tables = {file: read_table(folder / file) for file in small}
    jsons = (file for file in files if is_json(file) and (folder / file).stat().st_size <= LARGEST_TABLE)
    annotations = {file: found for file in jsons if (found := annotations_in(folder / file)) is not None}
    images = [folder / file for file in files if is_image(file)]
    pixels = next((size for image in images[:MOST_OPENED] if (size := pixels_of(image))), None)
    told = {} if facts is None else asdict(facts)
    return Look(files, tables, folders, True, pixels, annotations, has_up=have_up(images), **told)


def pixels_of(image: Path) -> tuple[int, int] | None:
    """Width and height, if it is an image that can be opened."""
    try:
        with Image.open(image) as opened:
            return opened.size
    except (OSError, Image.DecompressionBombError):
        return None


def annotations_in(path: Path) -> Annotated | None:
    """The images and their categories; None where the JSON has other things."""
    try:
        return annotated(path)
    except DataError:
        return None


def is_json(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() == ".json" and not _is_hidden(path)


def is_image(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in (IMAGE_SUFFIXES | READ_BY.keys()) and not _is_hidden(path)


def read_table(path: Path) -> pd.DataFrame:
    """A table; of one with a column for each pixel the first rows, which tell as much."""
    if path.suffix == ".parquet":
        return read_csv(path)
    blocks = read_csv_in_blocks(path, WIDE * MOST_OF_WIDE)
    wide = next(blocks).shape[1] >= WIDE
    return next(blocks, pd.DataFrame()) if wide else read_csv(path)


def is_table(path: str) -> bool:
    return path.lower().endswith(TABLE_SUFFIXES) and not _is_hidden(path)


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(path).parts)
