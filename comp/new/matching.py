"""The sample submission, and which images the values of a column name: those to predict, or those of a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from posixpath import splitext

import pandas as pd

from comp.declare.labels import CsvImages, TestImages
from comp.declare.labels.naming import Names
from comp.declare.metrics import Kind
from comp.errors import DataError
from comp.new.look import ImageFolder, Look
from comp.new.metrics import metric_of

SAMPLES = "sample|submission|benchmark|example"
MOST = 0.9  # of the ids that are asked for
MOST_FOLDERS = 4


@dataclass(frozen=True)
class Fit:
    """How a column's values name the images of some folders.

    share: of the images that are named. suffix: what a value lacks to be a file's name; empty where it is one.
    images: those that are named.
    """

    share: float
    suffix: str
    images: tuple[str, ...]


def fit(names: Sequence[str], values: Collection[str]) -> Fit:
    """The best of three ways: values are whole names, names without their suffix, or without all that ends alike."""
    whole = tuple(name for name in names if name in values)
    stems = tuple(name for name in names if splitext(name)[0] in values)
    named = whole if len(whole) > len(stems) else stems
    suffixes = Counter(splitext(name)[1] for name in stems)
    suffix = suffixes.most_common(1)[0][0] if named and named is stems else ""
    if not named and (ending := _common_ending(names)):
        named, suffix = tuple(name for name in names if name.removesuffix(ending) in values), ending
    return Fit(len(named) / max(len(names), 1), suffix if named else "", named)


def _common_ending(names: Sequence[str]) -> str:
    """What all names end in, from a mark on that is no letter or digit: ``_red.png``."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*(name[::-1] for name in names), strict=False))
    ending = "".join(letters[0] for letters in alike)[::-1]
    marked = re.search(r"[^a-zA-Z0-9].*\..*", ending)
    return marked[0] if marked else ""


@dataclass(frozen=True)
class SampleTable:
    """The sample submission: where it is, and what it asks for.

    takes: what the metric compares, where Kaggle names one that is known.
    """

    path: str
    table: pd.DataFrame
    takes: Kind | None = None

    @property
    def columns(self) -> list[str]:
        """Those after the id."""
        return list(self.table.columns[1:])

    @property
    def values(self) -> pd.Series[str]:
        """Those of the first column after the id."""
        return self.table.iloc[:, 1].str.strip()


@dataclass(frozen=True)
class Asked:
    """The images to predict, and how the sample submission's ids name them.

    source: declares them. images: their paths. folder: the only one that has them right in it; None for several.
    shared: the folder has other images as well. seen: where they were found, in words.
    """

    source: TestImages | CsvImages
    images: frozenset[str]
    folder: ImageFolder | None
    shared: bool
    seen: str


def find_sample(look: Look) -> SampleTable:
    """The sample submission. Raises DataError where no CSV can be one."""

    def rank(path: str) -> tuple[bool, bool, int, str]:
        name = PurePosixPath(path).name.lower()
        # The later one of sample_submission.csv and sample_submission_v2.csv.
        return "submission" in name, "sample" in name, -len(PurePosixPath(path).parts), path

    named = [path for path in look.tables if re.search(SAMPLES, PurePosixPath(path).name.lower())]
    fitting = [path for path in named if look.tables[path].shape[1] > 1 and len(look.tables[path])]
    if named and not fitting:
        raise DataError(f"{min(named)} {_why_not(look.tables[min(named)])}.")
    if not fitting:
        seen = ", ".join(sorted(look.tables)) or "no CSV at all"
        raise DataError(
            f"There is no sample submission among the competition's files, which have {seen}; put a "
            "sample_submission.csv beside them: a line like id,label, and a row with any answer per image to predict."
        )
    path = max(fitting, key=rank)
    metric = metric_of(look.metric)
    return SampleTable(path, look.tables[path], metric.takes if metric else None)


def _why_not(table: pd.DataFrame) -> str:
    """What a CSV lacks to be a sample submission, and what to do."""
    if table.shape[1] > 1:
        return "has no rows; give it one, with any answer, for each image to predict"
    header = table.columns[0]
    mark = next((mark for mark in ";\t|" if mark in header), None)
    remedy = f"separate its columns by commas, not by {mark!r}" if mark else "give it a second one, of any answers"
    return f"has a single column, {header!r}; {remedy}"


def find_asked(look: Look, sample: SampleTable) -> Asked:
    """The images that the sample submission's ids name. Raises DataError where there are none.

    They are in one folder, in folders below one, in several, or named in a table.
    """

    if not look.image_folders:
        raise DataError(
            f"There are no images among the competition's files, which are {_kinds(look)}; if they are in a data set "
            "of their own, put both into one folder and name it with --data."
        )
    ids = set(sample.table.iloc[:, 0].str.strip())
    found = _in_one_folder(look, sample, ids)
    # A few ids without an image are a mistake of the files, many of the guess.
    if found is not None and len(found.images) >= MOST * len(ids):
        return found
    others = [_folder_each(look, sample, ids), _below_folders(look, sample, ids), _in_table(look, sample, ids), found]
    found = max(filter(None, others), key=lambda one: len(one.images), default=None)
    if found is not None:
        return found
    places = ", ".join(folder.path for folder in look.image_folders[:5])
    asked = str(sample.table.iloc[0, 0])
    nearest = Names(look.images, roots=()).nearest(asked)
    like = f", where the nearest name is {nearest!r}" if nearest else ""
    raise DataError(
        f"The sample submission asks for {asked!r}, but no image is called so; there are images in {places}{like}."
    )


def _kinds(look: Look) -> str:
    """How many files there are of each suffix."""
    counts = Counter(PurePosixPath(path).suffix.lower() or "without a suffix" for path in look.files)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _in_one_folder(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    def rank(found: tuple[ImageFolder, Fit]) -> tuple[float, int]:
        folder, named = found
        path = folder.path.lower()
        return named.share + ("test" in path) - ("train" in path), len(named.images)

    fits = [(folder, fit(folder.names, ids)) for folder in look.image_folders]
    candidates = [(folder, named) for folder, named in fits if named.images]
    if not candidates:
        return None
    folder, named = max(candidates, key=rank)
    # A few images that nobody asks for don't make it the training images' folder too.
    shared = named.share < 1 and (len(look.image_folders) == 1 or named.share < MOST)
    some = ", where the labelled ones are too" if shared else ""
    ending = f", without {named.suffix!r}" if named.suffix else ""
    seen = f"{sample.path} asks for the images in {folder.path}{some}, by name{ending}"
    source = TestImages(folder.path, suffix=named.suffix, with_suffix=not named.suffix)
    images = frozenset(str(PurePosixPath(folder.path) / name) for name in named.images)
    return Asked(source, images, folder, shared, seen)


def _folder_each(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """A folder of images for each id."""
    for parent, folders in look.folders_together.items():
        asked = [folder for folder in folders if folder.own_name in ids]
        if len(asked) >= MOST * len(ids):
            suffix = f"/*{Counter(suffix for folder in asked for suffix in folder.suffixes).most_common(1)[0][0]}"
            images = frozenset(f"{folder.path}/{name}" for folder in asked for name in folder.names)
            seen = f"{sample.path} asks for the folders in {parent}, each of several images"
            shared = len(asked) < MOST * len(folders)
            return Asked(TestImages(parent, suffix=suffix), images, None, shared, seen)
    return None


def _below_folders(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """All images below a folder, or in several of them: the fewest folders that have the ids."""

    def rank(place: str) -> tuple[int, int, float, int]:
        found, below = named[place], look.images_below[place]
        words = ("test" in place.lower()) - ("train" in place.lower())
        return len(found), words, len(found) / len(below), -len(place)

    places = set(look.largest_folders)
    named = {place: _named(look, place, ids) for place in places}
    chosen: list[str] = []
    images: dict[str, str] = {}
    while places and (best := max(places, key=rank)) and named[best]:
        chosen.append(best)
        images |= named[best]
        left = ids - set(images)
        if not left or len(chosen) == MOST_FOLDERS:
            break
        places = {place for place in places if not PurePosixPath(place).is_relative_to(best)} - {"."}
        named = {place: _named(look, place, left) for place in places}
    if not images:
        return None
    whole = sum(len(look.images_below[place]) for place in chosen)
    where = ", ".join(chosen)
    source = TestImages(chosen[0] if len(chosen) == 1 else chosen)
    return Asked(
        source,
        frozenset(images.values()),
        None,
        len(images) < MOST * whole,
        f"{sample.path} asks for images in {where}",
    )


def _named(look: Look, place: str, ids: Collection[str]) -> dict[str, str]:
    """The image below a place of each id that names one."""
    names = Names(look.images_below[place], roots=(PurePosixPath(place), PurePosixPath("")))
    return {one: path for one in ids if (path := names.find(one)) is not None}


def _in_table(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """Images that a table names beside the ids."""
    for path, table in look.tables.items():
        keys = [column for column in table.columns if path != sample.path and ids <= set(table[column].str.strip())]
        for key in keys:
            rows = table[table[key].str.strip().isin(ids)]
            for column in rows.columns.drop(key):
                values = set(rows[column].str.strip())
                for folder in look.image_folders:
                    named = fit(folder.names, values)
                    if len(named.images) == len(values):
                        images = frozenset(str(PurePosixPath(folder.path) / name) for name in named.images)
                        source = CsvImages(path, image=column, folder=folder.path, suffix=named.suffix, answer=key)
                        seen = f"{path} names the images in {folder.path} of the ids in {key!r}"
                        return Asked(source, images, folder, len(images) < len(folder.names), seen)
    return None
