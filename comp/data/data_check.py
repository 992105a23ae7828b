"""The data check: every image of a competition is opened once, and the unreadable ones are left out of training.

`checked_tables` is this package's door: a run calls it once and hands the tables on.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Hashable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from comp.console import Console
from comp.data.duplicates import duplicate_groups, kept_near_pairs
from comp.data.facts_table import read_facts
from comp.data.file_facts import judged_by, oddities
from comp.data.findings import OF_DUPLICATES, DataCheck, lines_for_training, lines_of_check
from comp.data.reading import Depth
from comp.data.tables import Tables, read_tables
from comp.data.targets import class_counts
from comp.declare.competition import Competition
from comp.declare.custom import custom_parts
from comp.declare.labels.files import IMAGE_SUFFIXES, walked
from comp.errors import DataError, counted, first_few
from comp.files import digest_of
from comp.runs import Workspace

Groups = npt.NDArray[np.int64]

# Near-duplicates are not kept together in groups of more than this share of the training images and more than this
# number: no even split would be left.
LARGEST_SHARE = 0.05
LARGEST_GROUP = 10
# The least share of readable training images: below it, more is wrong than a few files.
FEWEST_READABLE = 2 / 3


def checked_tables(
    competition: Competition, workspace: Workspace, console: Console, *, every_image: bool = False
) -> Tables:
    """Read a competition's tables, without the training images that can't be read.

    Every image is opened once; the findings are cached. Raises DataError or SubmissionError.
    every_image: whether the data check has a row per image, or only rows of images with a problem or a duplicate.
    """
    tables = read_tables(competition, workspace.data(competition.name), console.say)
    check = check_images(tables, competition, workspace, console)
    readable, images = check.readable["train"], check.images
    if readable.mean() < FEWEST_READABLE:
        first = images[images["problem"] != ""].iloc[0]
        why = f"{first['problem']}: {first['detail']}".removesuffix(": ")
        remedy = "download the data again" if competition.read == "images" else "check `read`"
        raise DataError(
            f"{(~readable).sum()} of {len(readable)} training images can't be read, the first {first['path']!r} "
            f"({why}); {remedy}."
        )
    train, test = (
        table.assign(content=facts["content"].array)
        for table, facts in ((tables.train, images[: len(tables.train)]), (tables.test, images[len(tables.train) :]))
    )
    notes = [*tables.notes, *lines_for_training(check), *_on_both_sides(tables, check), *_lost(tables, readable)]
    tables = replace(
        tables,
        train=train[readable].reset_index(drop=True),
        test=test,
        targets=tables.targets[readable],
        notes=notes,
        data_check=check if every_image else replace(check, images=images[check.found].reset_index(drop=True)),
    )
    del check, images, train, test
    _give_back_freed()
    return tables


def _on_both_sides(tables: Tables, check: DataCheck) -> list[str]:
    """Lines about duplicates and groups on both sides of a given split, and about images that only train."""
    if "validates" not in tables.train:
        return []
    tables = replace(tables, train=tables.train[check.readable["train"]], data_check=check)
    said, groups, lines = tables.train["validates"], check.duplicate_groups, []
    validates = said.eq(True).to_numpy()
    if count := int(np.isin(groups[validates], groups[~validates]).sum()):
        told = f"{counted(count, 'duplicate')} of training images in the given validation set"
        lines.append(f"{told}, whose score is too good unless folds are trained; remove them if you can")
    named = tables.groups
    if named is not None and len(both := np.intersect1d(named[validates], named[~validates])):
        told = f"{counted(len(both), 'group')} on both sides of the given split, like {str(both[0])!r}"
        lines.append(f"{told}, whose score is too good unless folds are trained")
    if declared := int((only := said.eq(False).to_numpy(bool)).sum()):
        others = int((~tables.may_validate & ~only).sum())
        more = f", and {others} more because a duplicate or an image of their group does" if others else ""
        lines.append(f"{counted(declared, 'image only trains', 'images only train')}, with folds as well{more}")
    return lines


def _lost(tables: Tables, readable: npt.NDArray[np.bool_]) -> list[str]:
    """A line that names the classes without a readable image, if any."""
    if tables.targets.dtype.kind == "f":
        return []
    there, left = (class_counts(targets, len(tables.classes)) for targets in (tables.targets, tables.targets[readable]))
    lost = [repr(tables.classes[place]) for place in np.flatnonzero((there > 0) & (left == 0))]
    return [f"no image of {first_few(lost)} can be read, so nothing is learned about it"] if lost else []


def _give_back_freed() -> None:
    """Return freed memory, which Arrow and glibc keep otherwise, before torch takes a gigabyte more."""
    if "torch" in sys.modules:  # it is too late
        return
    gc.collect()
    pa.default_memory_pool().release_unused()
    if sys.platform.startswith("linux") and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def check(competition: Competition, workspace: Workspace, console: Console) -> Path:
    """Open every image once, say what is wrong or odd, and write the whole list as a CSV; return its path."""
    tables = read_tables(competition, workspace.data(competition.name), console.say)
    started = monotonic()
    found = check_images(tables, competition, workspace, console)
    known = len(found.images) - found.opened
    unchanged = f" and {known} unchanged since they were last opened" if known else ""
    console.say(
        f"{competition.name}: {len(tables.train)} training images and {len(tables.test)} test images, "
        f"{found.opened} opened{unchanged}, in {monotonic() - started:.1f} s"
    )
    lines = [*lines_of_check(found), *_on_both_sides(tables, found)]
    for line in (*tables.notes, *(lines or ["no image is broken, odd or a duplicate"])):
        console.say(line)
    table = facts_file(competition, workspace).with_suffix(".csv")
    found.write_list(table, odd=True)
    return table


def facts_file(competition: Competition, workspace: Workspace) -> Path:
    """The path of a competition's table of facts."""
    return workspace.cache / "data-check" / f"{competition.name}.arrow"


def check_images(
    tables: Tables, competition: Competition, workspace: Workspace, console: Console, depth: Depth | None = None
) -> DataCheck:
    """Open the images of the tables, except those that have not changed since they were last opened.

    depth: the depth of the images that a run was trained on; by default, that of the training images.
    """
    kept, root = facts_file(competition, workspace), workspace.data(competition.name)
    both = [tables.train.assign(part="train"), tables.test.assign(part="test", label="")]
    images = pd.concat(both, ignore_index=True)
    beside = _beside(images["path"], root) if custom_parts(competition.read) else ""
    with console.bar("checking images", len(images), "images") as bar:
        found = read_facts(images["path"].tolist(), root, kept, bar.advance, console.say, competition.read, beside)
    facts = found.frame()
    trains = (images["part"] == "train").to_numpy()
    seen, levels = found.depth(np.flatnonzero(trains if trains.any() else ~trains))
    depth = depth or seen
    unlike = (facts["problem"] == "") & (facts["channels"] != depth.channels)
    facts.loc[unlike, "detail"] = f"most training images have {depth.channels}"
    facts.loc[unlike, "problem"] = facts["channels"].astype(str) + " channels"
    for column in ("path", "size", "problem", "detail", "format", "mode", "width", "height", "content"):
        images[column] = facts[column]
    images["odd"] = oddities(facts)

    near = partial(
        kept_near_pairs,
        facts,
        thumbnails=found.thumbnails,
        kept=kept.with_suffix(".near.npz"),
        judge=judged_by(competition.read, beside),
    )
    same, look_alike = duplicate_groups(facts, near)
    readable = (images["problem"] == "").to_numpy()
    images[[*OF_DUPLICATES, "like"]] = ""
    _mark(images, trains, look_alike, "near")
    _mark(images, trains, same, "exact")
    together, torn = _kept_together(same[trains & readable], look_alike[trains & readable])
    parts = {"train": readable[trains], "test": readable[~trains]}
    return DataCheck(images, together, torn, found.opened, parts, depth, levels, found.unlike(depth), beside)


def _beside(images: Iterable[str], root: Path) -> str:
    """A digest of the files in a data folder that are none of these images.

    Tables directly in the folder count by their bytes, so a repeated download changes nothing; other images and files
    in subfolders, which may be many, count by size and date.
    """
    known = set(images)
    tables: dict[str, Path] = {}
    others: dict[str, Path] = {}
    for place, _, names in walked(root):
        inside = Path(place).relative_to(root).as_posix()
        for name in names:
            if (path := f"{place}/{name}") not in known:
                is_table = inside == "." and os.path.splitext(name)[1].lower() not in IMAGE_SUFFIXES  # noqa: PTH122, a Path of each would take longer
                (tables if is_table else others)[f"{inside}/{name}"] = Path(path)
    return digest_of(tables) + digest_of(others, most_bytes=-1)


def _mark(images: pd.DataFrame, trains: npt.NDArray[np.bool_], groups: Groups, how: str) -> None:
    """Fill the columns of `OF_DUPLICATES` for images that are in a group with a training image."""
    several = np.flatnonzero(np.bincount(groups)[groups] > 1)
    several = several[np.argsort(groups[several], kind="stable")]
    labels, paths = (dict(zip(several.tolist(), images[name].iloc[several], strict=True)) for name in ("label", "path"))
    marks: dict[str, dict[int, str]] = {column: {} for column in (*OF_DUPLICATES, "like")}
    for members in np.split(several, np.flatnonzero(np.diff(groups[several])) + 1):
        training = [row for row in members.tolist() if trains[row]]
        first_of_label: dict[Hashable, int] = {labels[row]: row for row in reversed(training)}
        for row in members.tolist():
            others = [other for other in training[:2] if other != row]
            if not others:
                continue
            marks["duplicate" if trains[row] else "leak"][row] = how
            unlike = [other for label, other in first_of_label.items() if trains[row] and label != labels[row]]
            if unlike:
                marks["conflict"][row] = how
            marks["like"][row] = paths[min(unlike or others)]
    for column, values in marks.items():
        images.loc[list(values), column] = list(values.values())


def _kept_together(same: Groups, look_alike: Groups) -> tuple[Groups, int]:
    """The groups to keep together, and the number of images in too large groups, where only exact copies stay so."""
    sizes = np.bincount(look_alike)[look_alike]
    torn = sizes > max(LARGEST_GROUP, LARGEST_SHARE * len(look_alike))
    return np.where(torn, look_alike.max(initial=0) + 1 + same, look_alike), int(torn.sum())
