"""The sample submission, and which images the values of a column name: those to predict, or those of a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from comp.errors import DataError
from comp.new.look import ImageFolder, Look


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
    """The better of two ways: values that are whole file names, or names without their suffix."""
    whole = tuple(name for name in names if name in values)
    stems = tuple(name for name in names if PurePosixPath(name).stem in values)
    named = whole if len(whole) > len(stems) else stems
    suffixes = Counter(PurePosixPath(name).suffix for name in stems)
    suffix = suffixes.most_common(1)[0][0] if named and named is stems else ""
    return Fit(len(named) / max(len(names), 1), suffix, named)


@dataclass(frozen=True)
class SampleTable:
    """The sample submission: where it is, and what it asks for."""

    path: str
    table: pd.DataFrame

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
    """The images to predict: their folder, and how the sample submission's ids name them.

    shared: the folder has other images as well.
    """

    folder: ImageFolder
    fit: Fit
    shared: bool


def find_sample(look: Look) -> SampleTable:
    """The sample submission. Raises DataError where no CSV can be one."""

    def rank(path: str) -> tuple[bool, bool, int, str]:
        name = PurePosixPath(path).name.lower()
        # The later one of sample_submission.csv and sample_submission_v2.csv.
        return "sample" in name, "submission" in name, -len(PurePosixPath(path).parts), path

    named = [path for path in look.tables if re.search("sample|submission", PurePosixPath(path).name.lower())]
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
    return SampleTable(path, look.tables[path])


def _why_not(table: pd.DataFrame) -> str:
    """What a CSV lacks to be a sample submission, and what to do."""
    if table.shape[1] > 1:
        return "has no rows; give it one, with any answer, for each image to predict"
    header = table.columns[0]
    mark = next((mark for mark in ";\t|" if mark in header), None)
    remedy = f"separate its columns by commas, not by {mark!r}" if mark else "give it a second one, of any answers"
    return f"has a single column, {header!r}; {remedy}"


def find_asked(look: Look, sample: SampleTable) -> Asked:
    """The folder of the images that the sample submission's ids name. Raises DataError where there is none."""

    def rank(found: Asked) -> tuple[float, int]:
        path = found.folder.path.lower()
        return found.fit.share + ("test" in path) - ("train" in path), len(found.fit.images)

    if not look.image_folders:
        raise DataError(
            "There are no images among the competition's files; if they are in a data set of their own, put both into "
            "one folder and name it with --data."
        )
    ids = set(sample.table.iloc[:, 0].str.strip())
    fits = [(folder, fit(folder.names, ids)) for folder in look.image_folders]
    candidates = [Asked(folder, named, shared=named.share < 1) for folder, named in fits if named.images]
    if not candidates:
        places = ", ".join(folder.path for folder in look.image_folders[:5])
        raise DataError(
            f"The sample submission asks for {sample.table.iloc[0, 0]!r}, but no image is called so; there are images "
            f"in {places}."
        )
    found = max(candidates, key=rank)
    # A few images that nobody asks for don't make it the training images' folder too.
    shared = found.shared and (len(look.image_folders) == 1 or found.fit.share < 0.9)
    return Asked(found.folder, found.fit, shared)
