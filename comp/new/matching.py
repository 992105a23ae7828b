"""Match the values of a column with images: the test images, or the images of a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import PurePosixPath
from posixpath import commonpath, commonprefix, dirname, splitext

import pandas as pd

from comp.declare.labels.coco import CocoImages
from comp.declare.labels.columns import CsvImages
from comp.declare.labels.files import IMAGE_SUFFIXES, MOST, TestImages
from comp.declare.labels.naming import Names
from comp.declare.own_images import HiddenImages
from comp.errors import DataError
from comp.new.look import IS_TEST, ImageFolder, Look, columns_of_pixels
from comp.new.sample import SampleTable
from comp.new.several import COUNTED, by_template, made_of, several

MOST_FOLDERS = 4
TRIED = 50  # names in a JSON that are looked up in a folder before all others are


class NoImagesError(DataError):
    """There are no images among a competition's files."""


@dataclass(frozen=True)
class Fit:
    """How a column's values name the images of some folders.

    share: the share of the images that are named. suffix: what must be added to a value to get the file's name; may be
    empty. images: the images that are named.
    """

    share: float
    suffix: str
    images: tuple[str, ...]


def fit(names: Sequence[str], values: Collection[str]) -> Fit:
    """The best of three ways: values are whole names, names without suffix, or names without their common ending."""
    whole = tuple(name for name in names if name in values)
    stems = tuple(name for name in names if splitext(name)[0] in values)
    named = whole if len(whole) > len(stems) else stems
    suffixes = Counter(splitext(name)[1] for name in stems)
    suffix = suffixes.most_common(1)[0][0] if named and named is stems else ""
    if not named and (ending := _common_ending(names)):
        named, suffix = tuple(name for name in names if name.removesuffix(ending) in values), ending
    return Fit(len(named) / max(len(names), 1), suffix if named else "", named)


def _common_ending(names: Sequence[str]) -> str:
    """The ending that all names share, from a character on that is no letter or digit: ``_red.png``."""
    ending = commonprefix([name[::-1] for name in names])[::-1]
    marked = re.search(r"[^a-zA-Z0-9].*\..*", ending)
    # Numbered images are several of one id: see `several`.
    return marked[0] if marked and not COUNTED.fullmatch(marked[0]) else ""


def suffix_of(paths: Iterable[str]) -> str:
    """The suffix that all images share, where it is an unusual one; else empty."""
    suffixes = {splitext(path)[1] for path in paths}
    return suffixes.pop() if len(suffixes) == 1 and not {one.lower() for one in suffixes} <= IMAGE_SUFFIXES else ""


@dataclass(frozen=True)
class Asked:
    """The test images, and how the sample submission's ids name them.

    source: their declaration. images: their paths. folder: the one folder that directly has them, if there is one.
    shared: the folder may have other images as well. seen: where they were found, in words. answered: the number of ids
    with an image. sure: not a guess. made_of: the template by which other columns of the ids' table make the ids, if
    any. missing: the ids without an image.
    """

    source: TestImages | CsvImages | CocoImages | HiddenImages
    images: frozenset[str]
    folder: ImageFolder | None
    shared: bool
    seen: str
    answered: int = 0
    sure: bool = True
    made_of: str = ""
    missing: Collection[str] = ()

    @property
    def key(self) -> str | None:
        """The column with the ids in the table that names the images."""
        return self.source.answer if isinstance(self.source, CsvImages) else None


def find_asked(look: Look, sample: SampleTable) -> Asked:
    """The images that the sample submission's ids name. Raises DataError where there are none.

    The images may be in one folder, below a folder, in several folders, named in a table or a JSON, or hidden: visible
    to notebooks at Kaggle only.
    """
    must_have_images(look, sample)
    ids = set(sample.ids)
    found = _in_one_folder(look, sample, ids)
    # A few ids without an image are a mistake in the files; many mean that the guess is wrong.
    if found is not None and found.answered >= MOST * len(ids):
        return _incomplete(found, sample)
    for way in (_in_json, _in_table, _several, _below_folders, _by_template, _hidden):
        other = way(look, sample, ids)
        if other is not None and (found is None or other.answered > found.answered):
            found = other
        if found is not None and found.answered >= MOST * len(ids):
            break
    if found is not None:
        return _incomplete(found, sample)
    places = ", ".join(folder.path for folder in look.image_folders[:5])
    asked = sample.ids.iloc[0]
    instead = Names(look.images, roots=()).instead_of(asked)
    raise DataError(
        f"The sample submission asks for {asked!r}, but no image has that name; there are images in {places}{instead}; "
        "let a table name the image of each id, or write a TestFunction: docs/bring-your-own.md."
    )


def _incomplete(found: Asked, sample: SampleTable) -> Asked:
    """The same, declared ``incomplete`` where a few ids have no image."""
    if not isinstance(found.source, TestImages) or not found.missing or found.answered < MOST * len(sample.ids):
        return found
    first = next(one for one in sample.ids if one in found.missing)
    some = f"no image for {len(found.missing)} of {len(sample.ids)} ids, the first {first!r}"
    seen = f"{found.seen}; {some}: the average of the training labels is submitted"
    return replace(found, source=replace(found.source, incomplete=True), seen=seen, sure=False)


def must_have_images(look: Look, sample: SampleTable | None = None) -> None:
    """Raise DataError where the files contain no images, with a hint at what may hold them."""
    if look.image_folders:
        return
    for path, table in look.tables.items():
        cells = columns_of_pixels(table)
        if cells and sample is not None:
            raise DataError(
                f"{path} has the pixels of an image in {cells[0]!r}, but no other table that was read has the test "
                f"images of {sample.path}{look.said_aside}; put them into a table with the same columns, or write "
                "the images out as PNG or .npy: docs/bring-your-own.md."
            )
        if cells:
            raise DataError(
                f"{path} has the pixels of an image in {cells[0]!r}, but there is no sample submission; write "
                "sample_submission.csv with an id, counted from 1, and any answer for each test row."
            )
    raise NoImagesError(
        f"There are no images among the competition's files, which are {kinds_of(look)}; if these hold the images, "
        "declare a PixelTable where they are rows of a table, or write them out as PNG or .npy "
        "(docs/bring-your-own.md), and if a data set has them, put both into one folder; then name it with --data."
    )


def kinds_of(look: Look) -> str:
    """The most frequent suffixes, each with its number of files."""
    counts = Counter(PurePosixPath(path).suffix.lower() or "without a suffix" for path in look.files)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _in_one_folder(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    def rank(found: tuple[ImageFolder, Fit]) -> tuple[float, int]:
        folder, named = found
        words = bool(IS_TEST.search(folder.path)) - ("train" in folder.path.lower())
        return named.share + words, len(named.images)

    fits = [(folder, fit(folder.names, ids)) for folder in look.image_folders]
    candidates = [(folder, named) for folder, named in fits if named.images]
    if not candidates:
        return None
    folder, named = max(candidates, key=rank)
    # A few images without an id don't make the folder the training images' too.
    shared = named.share < 1 and (len(look.image_folders) == 1 or named.share < MOST)
    some = ", where the labelled ones are too" if shared else ""
    ending = f", without {named.suffix!r}" if named.suffix else ""
    seen = f"{sample.path} asks for the images in {folder.path}{some}, by name{ending}"
    source = TestImages(folder.path, suffix=named.suffix, with_suffix=not named.suffix)
    images = frozenset(str(PurePosixPath(folder.path) / name) for name in named.images)
    names = Names(images, roots=())
    missing = [one for one in ids if names.find(one) is None] if len(images) < len(ids) else ()
    return Asked(source, images, folder, shared, seen, len(images), missing=missing)


def _in_json(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    for path, said in look.annotations.items():
        if ids <= set(said.files) and (found := in_json(look, path, [said.files[one] for one in ids])):
            folder, images = found
            seen = f"{path} names the images in {folder} of the ids that {sample.path} asks for"
            return Asked(CocoImages(path, folder), frozenset(images), None, True, seen, len(ids))
    return None


def in_json(look: Look, path: str, names: Sequence[str]) -> tuple[str, list[str]] | None:
    """The folder that a JSON's names are relative to, and their images; None where a name has no image."""
    there, beside, stem = set(look.images), str(PurePosixPath(path).parent), PurePosixPath(path).stem.lower()
    # Where several folders have images of these names, try the one first whose name is in the JSON's.
    alike = [place for place in look.largest_folders if _alike(place, stem)]
    for place in dict.fromkeys((*alike, beside, ".", *look.largest_folders)):
        if all(str(PurePosixPath(place, name)) in there for name in names[:TRIED]):
            images = [str(PurePosixPath(place, name)) for name in names]
            if there.issuperset(images):
                return place, images
    for place in (*alike, "."):
        known = Names(look.images_below[place], roots=(PurePosixPath(beside), PurePosixPath()))
        found = [image for name in names if (image := known.find(name)) is not None]
        if found and len(found) == len(names):
            return _common_folder(found), found
    return None


def _alike(place: str, stem: str) -> bool:
    """Whether a word of the file's name is the folder's name, or one begins with the other."""
    own = PurePosixPath(place).name.lower()
    return any(
        len(word) > 2 and (own.startswith(word) or word.startswith(own)) for word in re.split(r"[\W_\d]+", stem) if own
    )


def _common_folder(paths: Sequence[str]) -> str:
    return commonpath(map(dirname, paths)) or "."


def _several(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    found = several(look.images, ids)
    if found is None or len(found.images) < MOST * len(ids):
        return None
    images = frozenset(path for paths in found.images.values() for path in paths)
    below = [path for path in look.images_below[found.folder] if path.endswith(splitext(found.suffix)[1])]
    seen = f"{sample.path} asks for several images per id in {found.folder}, named by the id and then {found.suffix}"
    shared = len(images) < MOST * len(below)
    source, missing = TestImages(found.folder, suffix=found.suffix), ids.difference(found.images)
    return Asked(source, images, None, shared, seen, len(found.images), missing=missing)


def _hidden(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """The folder in which a notebook at Kaggle will find the test images, where none of them is here."""
    of_test = any(IS_TEST.search(path) for path, _, _ in _naming(look, sample, ids))
    is_there = any(IS_TEST.search(folder.path) for folder in look.image_folders)
    if is_there or not (look.only_notebooks or of_test):
        return None
    training = [folder for folder in look.image_folders if "train" in folder.path.lower()] or look.image_folders
    like = max(training, key=lambda folder: len(folder.names))
    folder = re.sub("train", "test", like.path)
    suffix = Counter(splitext(name)[1] for name in like.names).most_common(1)[0][0]
    whole = all(splitext(one)[1].lower() == suffix.lower() for one in ids)
    source = TestImages(folder, suffix="" if whole else suffix, with_suffix=whole, hidden=True)
    seen = f"no test image of {sample.path} is here; a notebook at Kaggle is expected to find them in {folder}"
    return Asked(source, frozenset(), None, False, seen, sure=False)


def _naming(look: Look, sample: SampleTable, ids: set[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Each table with the ids: its path, the ids' column, and the rows with these ids."""
    for path, table in look.tables.items():
        for key in table.columns if path != sample.path else ():
            values = table[key]
            if ids <= set(values):
                yield path, str(key), table[values.isin(ids)]


def _below_folders(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """Images below a folder or below several: each time the folder with the most of the ids that are left."""

    def rank(place: str) -> tuple[int, int, float, int]:
        found, below = named[place], look.images_below[place]
        words = bool(IS_TEST.search(place)) - ("train" in place.lower())
        return len(found), words, len(found) / len(below), -len(place)

    places = {place for place in look.largest_folders if IS_TEST.search(place)}
    named = {place: _named(look, place, ids) for place in places}
    # A folder called "test" that has all ids ranks before any other folder.
    if not any(len(found) == len(ids) for found in named.values()):
        places = set(look.largest_folders)
        named |= {place: _named(look, place, ids) for place in places - named.keys()}
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
    source = TestImages(chosen[0] if len(chosen) == 1 else chosen, suffix=suffix_of(images.values()))
    seen = f"{sample.path} asks for images in {where}"
    shared, missing = len(images) < MOST * whole, ids.difference(images)
    return Asked(source, frozenset(images.values()), None, shared, seen, len(images), missing=missing)


def _named(look: Look, place: str, ids: Collection[str]) -> dict[str, str]:
    """The image below ``place`` for each id that names one."""
    names = Names(look.images_below[place], roots=(PurePosixPath(place), PurePosixPath("")))
    return {one: path for one in ids if (path := names.find(one)) is not None}


def _in_table(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    for path, key, some in _naming(look, sample, ids):
        rows = some.drop_duplicates()
        columns = [str(name) for name in rows if name != key and not rows.duplicated([key, name]).any()]
        named_by = {column: set(rows[column]) for column in columns}
        elsewhere = {
            str(name) for other, table in look.tables.items() if other not in (path, sample.path) for name in table
        }
        made = made_of(some[key], some[[name for name in some if name != key and name in elsewhere]])
        if _apart(look, named_by.values()):
            continue
        for column, values in named_by.items():
            for folder in look.image_folders:
                named = fit(folder.names, values)
                if len(named.images) == len(values) and not _labelled(look, path, folder.path, values):
                    images = frozenset(str(PurePosixPath(folder.path) / name) for name in named.images)
                    place = _by_column(rows, folder)
                    source = CsvImages(path, image=column, folder=place, suffix=named.suffix, answer=key)
                    seen = f"{path} names the images in {folder.path} of the ids in {key!r}"
                    shared = len(images) < len(folder.names)
                    return Asked(source, images, folder, shared, seen, len(ids), made_of=made)
            found = list(_named(look, ".", values).values())
            if len(found) == len(values) and not _labelled(look, path, place := _common_folder(found), values):
                source = CsvImages(path, image=column, folder=place, suffix=suffix_of(found), answer=key)
                seen = f"{path} names the images below {place} of the ids in {key!r}"
                return Asked(source, frozenset(found), None, False, seen, len(ids), made_of=made)
    return None


def _apart(look: Look, columns: Iterable[set[str]]) -> bool:
    """Whether two columns name different images: then an id has several images."""
    for folder in look.image_folders:
        fits = [(values, set(fit(folder.names, values).images)) for values in columns]
        named = [images for values, images in fits if len(images) == len(values)]
        if any(one.isdisjoint(other) for one, other in combinations(named, 2)):
            return True
    return False


def _by_template(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    for path, key, rows in _naming(look, sample, ids):
        template, named = by_template(look.images, rows) or ("", None)
        if named is not None and len(named.images) == len(rows):
            images = frozenset(image for several in named.images.values() for image in several)
            source = CsvImages(path, image=template, folder=named.folder, suffix=named.suffix, answer=key)
            seen = f"{path} names the images in {named.folder} by {template} of the ids in {key!r}"
            return Asked(source, images, None, True, seen, len(ids))
    return None


def _labelled(look: Look, path: str, place: str, values: Collection[str]) -> bool:
    """Whether values seem to name labelled images instead of test images, as plain numbers may do by accident."""
    if IS_TEST.search(place):
        return False
    others = (table[column] for other, table in look.tables.items() if other != path for column in table.columns)
    return "train" in place.lower() or any(set(values) <= set(column) for column in others)


def _by_column(rows: pd.DataFrame, folder: ImageFolder) -> str:
    """The folder, or its parent with ``{column}`` where a column has its name: other rows may be in sibling folders."""
    alike = [column for column in rows.columns if (rows[column] == folder.own_name).all()]
    return str(PurePosixPath(folder.parent) / f"{{{alike[0]}}}") if alike else folder.path
