"""Which images the values of a column name, with or without their suffix."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from comp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

    from comp.new.look import ImageFolder, Look


@dataclass(frozen=True)
class Fit:
    """How a column's values name the images of some folders.

    share: of the images that are named. suffix: what a value lacks to be a file's name. images: those that are named.
    """

    share: float
    suffix: str
    with_suffix: bool
    images: tuple[str, ...]


def fit(names: Sequence[str], values: Collection[str]) -> Fit:
    """The better of two ways: values that are whole file names, or names without their suffix."""
    whole = tuple(name for name in names if name in values)
    stems = tuple(name for name in names if PurePosixPath(name).stem in values)
    with_suffix = len(whole) > len(stems)
    named = whole if with_suffix else stems
    suffix = Counter(PurePosixPath(name).suffix for name in named).most_common(1)[0][0] if named else ""
    return Fit(len(named) / max(len(names), 1), suffix, with_suffix, named)


@dataclass(frozen=True)
class Test:
    """The images to predict: their folder, and how the sample submission's ids name them.

    shared: the folder has other images as well.
    """

    __test__ = False

    folder: ImageFolder
    fit: Fit
    shared: bool


def find_sample(look: Look) -> tuple[str, pd.DataFrame]:
    """The sample submission's path and table. Raises DataError where no CSV can be one."""

    def rank(path: str) -> tuple[bool, bool, int, str]:
        name = PurePosixPath(path).name.lower()
        # Of sample_submission.csv and sample_submission_v2.csv the later one.
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
    return path, look.tables[path]


def _why_not(table: pd.DataFrame) -> str:
    """What a CSV lacks to be a sample submission, and what to do."""
    if table.shape[1] > 1:
        return "has no rows; give it one, with any answer, for each image to predict"
    header = table.columns[0]
    mark = next((mark for mark in ";\t|" if mark in header), None)
    remedy = f"separate its columns by commas, not by {mark!r}" if mark else "give it a second one, of any answers"
    return f"has a single column, {header!r}; {remedy}"


def find_test(look: Look, sample: pd.DataFrame) -> Test:
    """The folder of the images that the sample submission's ids name. Raises DataError where there is none."""
    ids = set(sample.iloc[:, 0].str.strip())

    def rank(found: Test) -> tuple[float, int]:
        path = found.folder.path.lower()
        return found.fit.share + ("test" in path) - ("train" in path), len(found.fit.images)

    fits = [(folder, fit(folder.names, ids)) for folder in look.image_folders]
    candidates = [Test(folder, named, shared=named.share < 1) for folder, named in fits if named.images]
    if not look.image_folders:
        raise DataError(
            "There are no images among the competition's files; if they are in a data set of their own, put both into "
            "one folder and name it with --data."
        )
    if not candidates:
        places = ", ".join(folder.path for folder in look.image_folders[:5])
        raise DataError(
            f"The sample submission asks for {sample.iloc[0, 0]!r}, but no image is called so; there are images in "
            f"{places}."
        )
    found = max(candidates, key=rank)
    # A few images that nobody asks for don't make it the training images' folder too.
    others = [folder for folder in look.image_folders if folder != found.folder]
    return Test(found.folder, found.fit, shared=found.shared and (not others or found.fit.share < 0.9))
