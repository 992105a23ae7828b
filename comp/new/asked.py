"""The images to predict, as the sample submission's ids name them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import PurePosixPath
from posixpath import splitext

import pandas as pd

from comp.declare.labels.coco import CocoImages
from comp.declare.labels.columns import CsvImages
from comp.declare.labels.files import MOST, TestImages
from comp.errors import DataError
from comp.new.look import FEWEST_PIXELS, IS_TEST, Look, numbers_in
from comp.new.matching import (
    Named,
    Way,
    beginning,
    below,
    by_template,
    common_folder,
    in_folders,
    in_json,
    made_of,
    suffix_of,
)
from comp.new.sample import SampleTable

MOST_FOLDERS = 4


@dataclass(frozen=True)
class Asked:
    """The images to predict, and how the sample submission's ids name them.

    source: declares them. images: their paths. seen: where they were found, in words. ids: those that have an image.
    sure: not a guess. made_of: how other columns of the ids' table make them, if they do.
    """

    source: TestImages | CsvImages | CocoImages
    images: frozenset[str]
    seen: str
    ids: Collection[str] = ()
    sure: bool = True
    made_of: str = ""

    @property
    def key(self) -> str | None:
        """The column of a table that has the ids, beside the images' names."""
        return self.source.answer if isinstance(self.source, CsvImages) else None


def find_asked(look: Look, sample: SampleTable) -> Asked:
    """The images that the sample submission's ids name. Raises DataError where there are none.

    They are in one folder, in folders below one, in several, or named in a table or a JSON; those that only notebooks
    at Kaggle get to see are nowhere.
    """
    must_have_images(look, sample)
    ids = set(sample.ids)
    found: Asked | None = None
    # A few ids without an image are a mistake of the files, many of the guess.
    in_one_folder, several = partial(_by_name, in_folders), partial(_by_name, beginning)
    for way in (in_one_folder, _in_json, _in_table, several, _below_folders, _by_template, _hidden):
        other = way(look, sample, ids)
        if other is not None and (found is None or len(other.ids) > len(found.ids)):
            found = other
        if found is not None and len(found.ids) >= MOST * len(ids):
            return _incomplete(found, sample, ids)
    if found is not None:
        return found
    places = ", ".join([*look.images.right_in][:5])
    asked = sample.ids.iloc[0]
    instead = look.images.called(".").instead_of(asked)
    raise DataError(
        f"The sample submission asks for {asked!r}, but no image is called so; there are images in {places}{instead}; "
        "let a table name the image of each id, or write a TestFunction: docs/bring-your-own.md."
    )


def _incomplete(found: Asked, sample: SampleTable, ids: Collection[str]) -> Asked:
    """The same, with the few ids that have no image said to have none."""
    missing = [one for one in sample.ids if one not in found.ids]
    if not isinstance(found.source, TestImages) or not missing:
        return found
    some = f"{len(missing)} of {len(ids)} ids have no image, the first {missing[0]!r}"
    seen = f"{found.seen}; {some}, and are given what the training images have on average"
    return replace(found, source=replace(found.source, incomplete=True), seen=seen, sure=False)


def must_have_images(look: Look, sample: SampleTable | None = None) -> None:
    if look.images.paths:
        return
    for path, table in look.tables.items():
        cells = [name for name in table if len(table) and numbers_in(table[name].iloc[0]) >= FEWEST_PIXELS]
        lacks = (
            "there is no sample submission that asks for some; write sample_submission.csv with an id, counted from 1, "
            "and any answer for each row to predict"
        )
        if sample is not None:
            lacks = (
                f"no other table that was read has those that {sample.path} asks for{look.said_aside}; put them in one "
                "with the same columns, or write the images out as PNG or .npy: docs/bring-your-own.md"
            )
        if cells:
            raise DataError(f"{path} has the pixels of an image in {cells[0]!r}, but {lacks}.")
    raise DataError(
        f"There are no images among the competition's files, which are {kinds_of(look)}; if these hold the images, "
        "write them out as PNG or .npy (docs/bring-your-own.md), and if a data set has them, put both into one "
        "folder; then name it with --data."
    )


def kinds_of(look: Look) -> str:
    """How many files there are of each suffix."""
    counts = Counter(PurePosixPath(path).suffix.lower() or "without a suffix" for path in look.files)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _words(place: str) -> int:
    """What the name of a folder says for its images to be those to predict."""
    return bool(IS_TEST.search(place)) - ("train" in place.lower())


def _by_name(way: Way, look: Look, sample: SampleTable, _: set[str]) -> Asked | None:
    """Images in one folder that the ids name in a way."""

    def rank(named: Named) -> tuple[float, int]:
        return named.share + _words(named.folder), len(named.paths)

    named = max(way(look.images, sample.ids), key=rank, default=None)
    if named is None:
        return None
    some = ", where the labelled ones are too" if named.share < MOST else ""
    lacks = "several of each" if "*" in named.suffix else "by name"
    ending = f", without {named.suffix!r}" if named.suffix else ""
    seen = f"{sample.path} asks for the images in {named.folder}{some}, {lacks}{ending}"
    source = TestImages(named.folder, suffix=named.suffix, with_suffix=not named.suffix)
    return Asked(source, named.paths, seen, named.images)


def _in_json(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """Images that a JSON gives the ids."""
    for path, said in look.annotations.items():
        if ids <= set(said.files) and (found := in_json(look.images, path, [said.files[one] for one in ids])):
            folder, images = found
            seen = f"{path} names the images in {folder} of the ids that {sample.path} asks for"
            return Asked(CocoImages(path, folder), frozenset(images), seen, ids)
    return None


def _hidden(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """The folder that a notebook at Kaggle will find the images in, where none of those that are asked for is here."""
    of_test = any(IS_TEST.search(path) for path, _, _ in _naming(look, sample, ids))
    folders = look.images.right_in
    if any(map(IS_TEST.search, folders)) or not (look.only_notebooks or of_test):
        return None
    like = max((one for one in folders if "train" in one.lower()), key=lambda one: len(folders[one]), default="")
    like = like or max(folders, key=lambda one: len(folders[one]))
    folder = re.sub("train", "test", like)
    suffix = Counter(splitext(path)[1] for path in folders[like]).most_common(1)[0][0]
    whole = all(splitext(one)[1].lower() == suffix.lower() for one in ids)
    source = TestImages(folder, suffix="" if whole else suffix, with_suffix=whole, hidden=True)
    seen = f"no image that {sample.path} asks for is here; a notebook at Kaggle is expected to find them in {folder}"
    return Asked(source, frozenset(), seen, sure=False)


def _naming(look: Look, sample: SampleTable, ids: set[str]) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Each table that has the ids: its path, their column, and the rows that have them."""
    for path, table in look.tables.items():
        for key in table.columns if path != sample.path else ():
            values = table[key]
            if ids <= set(values):
                yield path, str(key), table[values.isin(ids)]


def _below_folders(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """All images below a folder, or in several of them: the fewest folders that have the ids."""

    def rank(named: Named) -> tuple[int, int, float, int]:
        return len(named.images), _words(named.folder), named.share, -len(named.folder)

    # No other folder could go before one called so that has them all.
    of_test = [place for place in look.images.largest if IS_TEST.search(place)]
    some_have_all = any(len(below(look.images, place, ids).images) == len(ids) for place in of_test)
    places, chosen, left = of_test if some_have_all else look.images.largest, list[Named](), ids
    while places and left and len(chosen) < MOST_FOLDERS:
        best = max((below(look.images, place, left) for place in places), key=rank)
        if not best.images:
            break
        chosen.append(best)
        left = left.difference(best.images)
        places = [place for place in places if not PurePosixPath(place).is_relative_to(best.folder) and place != "."]
    if not chosen:
        return None
    folders, paths = [named.folder for named in chosen], frozenset[str]().union(*(named.paths for named in chosen))
    source = TestImages(folders if len(folders) > 1 else folders[0], suffix=suffix_of(paths))
    return Asked(source, paths, f"{sample.path} asks for images in {', '.join(folders)}", ids - left)


def _in_table(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """Images that a column of a table names beside the ids."""
    for path, key, some in _naming(look, sample, ids):
        rows = some.drop_duplicates()
        columns = [str(name) for name in rows if name != key and not rows.duplicated([key, name]).any()]
        whole = [(column, named) for column in columns for named in _whole(look, rows[column])]
        if _apart(whole):
            continue
        others = (table for other, table in look.tables.items() if other not in (path, sample.path))
        elsewhere = {str(name) for table in others for name in table}.difference([key])
        made = made_of(some[key], some[[name for name in some if name in elsewhere]])
        for column, named in whole:
            if not _labelled(look, path, named):
                return _in_rows(path, key, column, named, ids, made)
    return None


def _by_template(look: Look, sample: SampleTable, ids: set[str]) -> Asked | None:
    """Images that several columns of a table name together, beside the ids."""
    for path, key, rows in _naming(look, sample, ids):
        template, named = by_template(look.images, rows) or ("", None)
        if named is not None and len(named.images) == len(rows):
            return _in_rows(path, key, template, named, ids)
    return None


def _in_rows(path: str, key: str, image: str, named: Named, ids: set[str], made: str = "") -> Asked:
    source = CsvImages(path, image=image, folder=named.folder, suffix=named.suffix, answer=key)
    seen = f"{path} names the images in {named.folder}, in {image!r}, of the ids in {key!r}"
    return Asked(source, named.paths, seen, ids, made_of=made)


def _whole(look: Look, values: pd.Series[str]) -> Iterator[Named]:
    """Where each of the values names an image: in one folder, or anywhere."""
    anywhere = below(look.images, ".", values)
    ways = [*in_folders(look.images, values), replace(anywhere, folder=common_folder(anywhere.paths))]
    yield from (named for named in ways if len(named.images) == values.nunique())


def _apart(named: Sequence[tuple[str, Named]]) -> bool:
    """Whether two columns name images each, and other ones: an id has several images then."""
    return any(
        one.folder == other.folder and one.paths.isdisjoint(other.paths)
        for (_, one), (_, other) in combinations(named, 2)
    )


def _labelled(look: Look, path: str, named: Named) -> bool:
    """Whether a table seems to name images to train on: numbers that are no names, but like those of some."""
    if IS_TEST.search(named.folder):
        return False
    others = (table[column] for other, table in look.tables.items() if other != path for column in table.columns)
    return "train" in named.folder.lower() or any(set(named.images) <= set(column) for column in others)
