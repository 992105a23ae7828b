"""The data check: which images can't be read, which are odd, which are duplicates, and what follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from comp.data.duplicates import duplicate_sets
from comp.data.facts_table import read_facts
from comp.data.file_facts import odd_of
from comp.data.findings import lines_for_training
from comp.data.near import near_of
from comp.data.tables import read_tables
from comp.errors import DataError
from comp.files import replacing

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from comp.console import Console
    from comp.data.tables import Tables
    from comp.declare.competition import Competition
    from comp.runs import Workspace

    Groups = npt.NDArray[np.int64]

# A set of images that only look alike is not kept together if it is more of the training images than this, and than
# that number: no even split would be left.
LARGEST_SHARE = 0.05
LARGEST_SET = 10
LISTED = ("part", "id", "path", "label", "problem", "detail", "odd", "duplicate", "conflict", "leak", "like")


@dataclass(frozen=True)
class DataCheck:
    """What was found in the training and the test images.

    images: a row per image, those to train on first, with the columns
        ``part`` (train or test), ``id``, ``path`` (below the data folder), ``label`` and ``size``, in bytes, -1 where
        the file has none;
        ``problem``, ``detail``, ``format``, ``mode``, ``width``, ``height`` and ``content``, as in
        `comp.data.file_facts.FileFacts`, and ``odd``, a tuple of `ODDITIES`;
        ``duplicate`` and ``conflict``, exact or near, of a training image with a duplicate among the others, or with
        one that has another label, and ``leak``, of a test image with a duplicate among the training images;
        ``like``, the path of that duplicate. All are empty text where there is nothing.
    duplicate_groups: the number of the group (N,) that each training image which can be read is in.
    torn: how many training images are not kept together, though they look alike, as they are too many.
    opened: how many of the files had to be opened.
    can_be_read: which images of a part (R,) can be read, by its name.
    """

    images: pd.DataFrame
    duplicate_groups: Groups
    torn: int
    opened: int
    can_be_read: Mapping[str, npt.NDArray[np.bool_]]

    def readable(self, part: Literal["train", "test"]) -> npt.NDArray[np.bool_]:
        """Which images of a part can be read."""
        return self.can_be_read[part]

    def of_found(self) -> DataCheck:
        """With the rows of those images only that have a problem or a duplicate, as a training keeps it."""
        return replace(self, images=self.images[self._found].reset_index(drop=True))

    @property
    def _found(self) -> pd.Series[bool]:
        columns = (self.images[name] != "" for name in ("problem", "duplicate", "conflict", "leak"))
        return reduce(or_, columns)

    def counts(self) -> dict[str, int]:
        """How many images have a problem, by part, and how many are duplicates, conflicts and leaks."""
        images, found = self.images, self.images["problem"] != ""
        unreadable = {f"unreadable_{part}": int((found & (images["part"] == part)).sum()) for part in ("train", "test")}
        return unreadable | {f"{name}s": int((images[name] != "").sum()) for name in ("duplicate", "conflict", "leak")}

    def listed(self, *, odd: bool) -> pd.DataFrame:
        """The images with a problem or a duplicate; with ``odd`` also those that are odd."""
        found = self._found
        if odd:
            found |= self.images["odd"].map(len) > 0
        # Of these rows only: pandas would give an empty table the rows of what it is assigned.
        listed = self.images.loc[found, list(LISTED)]
        return listed.assign(odd=listed["odd"].map("; ".join))

    def write_list(self, path: Path, *, odd: bool) -> None:
        """Write `listed` as a CSV."""
        with replacing(path) as unfinished:
            self.listed(odd=odd).to_csv(unfinished, index=False, lineterminator="\n")


def checked_tables(competition: Competition, workspace: Workspace, console: Console) -> Tables:
    """The tables of a competition's files, without the training images that can't be read.

    Every image is opened once; what was found is kept in the cache. Raises DataError or SubmissionError.
    """
    root = workspace.data(competition.name)
    tables = read_tables(competition, root)
    check = check_images(tables, root, facts_file(competition, workspace), console)
    readable = check.readable("train")
    if not readable.any():
        first = check.images.iloc[0]
        raise DataError(
            f"None of the {len(readable)} training images can be read, the first {first['path']!r} "
            f"({first['problem']}); download the data again."
        )
    images = check.images
    of_files = {part: images.loc[images["part"] == part, ["size", "content"]] for part in ("train", "test")}
    return replace(
        tables,
        train=_beside(tables.train, of_files["train"])[readable].reset_index(drop=True),
        test=_beside(tables.test, of_files["test"]),
        targets=tables.targets[readable],
        notes=[*tables.notes, *lines_for_training(check)],
        data_check=check,
    )


def _beside(table: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    return table.assign(size=facts["size"].array, content=facts["content"].array)


def facts_file(competition: Competition, workspace: Workspace) -> Path:
    """Where the table of facts of a competition is kept."""
    return workspace.cache / "data-check" / f"{competition.name}.parquet"


def check_images(tables: Tables, root: Path, kept: Path, console: Console) -> DataCheck:
    """Open the images of the tables below ``root``, but for those whose row in the table ``kept`` still holds."""
    both = [tables.train.assign(part="train"), tables.test.assign(part="test", label="")]
    images = pd.concat(both, ignore_index=True)
    paths = images["path"].tolist()
    with console.bar("checking images", len(paths), "images") as bar:
        found = read_facts(paths, root, kept, bar.advance, console.say)
    for column in ("path", "size", "problem", "detail", "format", "mode", "width", "height", "content"):
        images[column] = found.table[column]
    images["odd"] = odd_of(found.table)

    same, alike = duplicate_sets(found.table, lambda rows: near_of(found, rows, kept.with_suffix(".near.npz")))
    trains = (images["part"] == "train").to_numpy()
    for column in ("duplicate", "conflict", "leak", "like"):
        images[column] = ""
    _mark(images, trains, alike, "near")
    _mark(images, trains, same, "exact")
    kept_rows = trains & (images["problem"] == "").to_numpy()
    together, torn = _kept_together(same[kept_rows], alike[kept_rows])
    readable = (images["problem"] == "").to_numpy()
    return DataCheck(images, together, torn, found.opened, {"train": readable[trains], "test": readable[~trains]})


def _mark(images: pd.DataFrame, trains: npt.NDArray[np.bool_], sets: Groups, how: str) -> None:
    """Say in the columns ``duplicate``, ``conflict`` and ``leak`` where an image shares a set with a training image."""
    of_several = np.bincount(sets)[sets] > 1
    twice = np.flatnonzero(of_several)
    labels, paths = (dict(zip(twice.tolist(), images[name].iloc[twice], strict=True)) for name in ("label", "path"))
    # Of each set the first two training images, and the first of each label.
    members: dict[int, list[int]] = {}
    of_label: dict[int, dict[Hashable, int]] = {}
    for row in np.flatnonzero(of_several & trains).tolist():
        firsts = members.setdefault(int(sets[row]), [])
        firsts += [row] if len(firsts) < 2 else []
        of_label.setdefault(int(sets[row]), {}).setdefault(labels[row], row)
    marks: dict[str, dict[int, str]] = {column: {} for column in ("duplicate", "conflict", "leak", "like")}
    for row in twice.tolist():
        others = [other for other in members.get(int(sets[row]), ()) if other != row]
        if not others:
            continue
        marks["duplicate" if trains[row] else "leak"][row] = how
        unlike = [other for label, other in of_label[int(sets[row])].items() if trains[row] and label != labels[row]]
        if unlike:
            marks["conflict"][row] = how
        marks["like"][row] = paths[(unlike or others)[0]]
    for column, values in marks.items():
        images.loc[list(values), column] = list(values.values())


def _kept_together(same: Groups, alike: Groups) -> tuple[Groups, int]:
    """The sets to keep together, and how many images of sets that are too large are held to exact copies only."""
    sizes = np.bincount(alike)[alike]
    torn = sizes > max(LARGEST_SET, LARGEST_SHARE * len(alike))
    return np.where(torn, alike.max(initial=0) + 1 + same, alike), int(torn.sum())


def class_shares(targets: npt.NDArray[Any], classes: int) -> npt.NDArray[np.float64]:
    """The share (C,) of each class, or tag, in targets (N,) or (N, C)."""
    shares: npt.NDArray[np.float64] = (
        np.bincount(targets, minlength=classes) / len(targets) if targets.ndim == 1 else targets.mean(axis=0)
    )
    return shares


def with_prior(tables: Tables, probabilities: npt.NDArray[Any], shares: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The probabilities (R, C) of the test images that can be read, with rows for the others: (T, C).

    Those have the classes' shares (C,) of the training rows: nothing else is known of them.
    """
    filled = np.tile(shares.astype(probabilities.dtype), (len(tables.test), 1))
    filled[tables.readable] = probabilities
    return filled
