"""The findings of the data check, as lines: all of them for `comp check`, the important ones for a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.data.file_facts import ODDITIES
from comp.data.reading import RGB, Depth
from comp.errors import counted, first_few
from comp.files import replacing

ROW = "  {:<24}{:>8}  {}"
# What is done with unreadable images, by part.
UNREADABLE = {"train": "are left out", "test": "get the average of the training labels"}
# The names of the kinds of duplicates, and what is done with them.
OF_DUPLICATES = {
    "duplicate": ("duplicates", "kept together where a split is drawn"),
    "conflict": ("conflicting labels", "duplicates with another label; mend the labels if you can"),
    "leak": ("leaks", "test images that are duplicates of training images"),
}
# Images that don't fit the training images' depth, and what is done with them.
UNLIKE = {
    "bytes": "of eight bits, left as they are, beside deeper ones",
    "outside": "of the test set with values outside the training images' range, which are clipped",
    "deeper": "of the test set deeper than the eight bits of the training images: the upper eight are kept",
}
FEW_LEVELS = 64
LONGEST_PATH = 60
LISTED = ("part", "id", "path", "label", "problem", "detail", "odd", *OF_DUPLICATES, "like")


@dataclass(frozen=True)
class DataCheck:
    """The findings in the training and test images.

    images: a row per image, training images first, with the columns
        ``part`` (train or test), ``id``, ``path`` (below the data folder), ``label`` and ``size``, in bytes, -1 where
        it is unknown;
        ``problem``, ``detail``, ``format``, ``mode``, ``width``, ``height`` and ``content``, as in
        `comp.data.file_facts.FileFacts`, and ``odd``, a tuple of `ODDITIES`;
        ``duplicate``, "exact" or "near", for a training image with a duplicate among the other training images;
        ``conflict``, the same where such a duplicate has another label; ``leak``, the same for a test image with a
        duplicate among the training images; ``like``, the path of that duplicate. All are "" where there is none.
    duplicate_groups: the group (N,) of each readable training image.
    torn: the number of training images that look alike, but are too many to be kept together.
    opened: the number of files that had to be opened.
    readable: by part, train or test, the images that can be read (R,).
    depth: the depth of the training images. levels: the median number of its 256 levels that they use. unlike: the
        number of images that it doesn't fit, by reason, as `Facts.unlike` counts them.
    beside: a digest of the data folder's other files, where a custom ``read`` may use them; else empty.
    """

    images: pd.DataFrame
    duplicate_groups: npt.NDArray[np.int64]
    torn: int
    opened: int
    readable: Mapping[str, npt.NDArray[np.bool_]]
    depth: Depth = RGB
    levels: int = 256
    unlike: Mapping[str, int] = field(default_factory=dict)
    beside: str = ""

    @property
    def found(self) -> pd.Series[bool]:
        """True for images with a problem or a duplicate."""
        return (self.images[["problem", *OF_DUPLICATES]] != "").any(axis=1)

    def counts(self) -> dict[str, int]:
        """The numbers of unreadable images, by part, and of duplicates, conflicts and leaks."""
        unreadable = {f"unreadable_{part}": int((~readable).sum()) for part, readable in self.readable.items()}
        return unreadable | {f"{name}s": int((self.images[name] != "").sum()) for name in OF_DUPLICATES}

    def write_list(self, path: Path, *, odd: bool) -> None:
        """Write the images that were `found` as a CSV; with ``odd`` also those with oddities."""
        listed = self.images[self.found | (self.images["odd"].map(len) > 0) if odd else self.found]
        # Only these rows' oddities: pandas would give an empty table the rows of an assigned column.
        listed = listed[list(LISTED)].assign(odd=listed["odd"].map("; ".join))
        with replacing(path) as unfinished:
            listed.to_csv(unfinished, index=False, lineterminator="\n")


def lines_for_training(check: DataCheck) -> list[str]:
    """A line per finding that a training has to live with."""
    images, lines = check.images, list(_of_depth(check))
    for part, follows in UNREADABLE.items():
        unreadable = images[(images["part"] == part) & (images["problem"] != "")]
        if len(unreadable):
            of_all = f"{len(unreadable)} of {len(check.readable[part])} {part.replace('train', 'training')} images"
            lines.append(f"{of_all} can't be read and {follows}: {_problems(unreadable)}")
    for column, (name, follows) in OF_DUPLICATES.items():
        found = images[images[column] != ""]
        if len(found):
            exact = int((found[column] == "exact").sum())
            said = counted(len(found), name.removesuffix("s"), name)
            lines.append(f"{said} ({exact} exact, {len(found) - exact} near), {follows}: {_likes(found)}")
    if check.torn:
        lines.append(
            f"{check.torn} images look alike, but are not kept together: with groups that large no even split "
            "would be left"
        )
    if odd := Counter(chain.from_iterable(images["odd"])):
        lines.append("odd, but read: " + ", ".join(f"{odd[name]} {name}" for name in ODDITIES if odd[name]))
    return lines


def lines_of_check(check: DataCheck) -> Iterator[str]:
    """A row per kind of finding: their number, what is done with them, the first few."""
    yield from _of_depth(check)
    for name, found, follows, named in kinds_of(check.images):
        yield ROW.format(name, len(found), f"{follows}: {named(found)}")
    if check.torn:
        yield ROW.format("look alike", check.torn, "too many to be kept together where a split is drawn")


def kinds_of(images: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, str, Callable[[pd.DataFrame], str]]]:
    """Each kind with findings: its name, its rows, what is done with them, and a function that names the first few."""
    broken = images["problem"] != ""
    kinds = [
        (f"unreadable, {part}", broken & (images["part"] == part), follows, _problems)
        for part, follows in UNREADABLE.items()
    ]
    for name, follows in ODDITIES.items():
        kinds.append((name, images["odd"].map({name}.issubset), follows, _paths))
    for column, (name, follows) in OF_DUPLICATES.items():
        kinds += [(f"{how} {name}", images[column] == how, follows, _likes) for how in ("exact", "near")]
    return ((name, images[mask], follows, named) for name, mask, follows, named in kinds if mask.any())


def _of_depth(check: DataCheck) -> Iterator[str]:
    depth = check.depth
    if depth.low:
        remedy = "; if outliers take the others, clip in a `read` of your own" if check.levels < FEW_LEVELS else ""
        yield (
            f"values from {min(depth.low):g} to {max(depth.high):g} in {depth.channels} channels of the training "
            f"images become 256 levels, of which half of the images use {check.levels} or fewer{remedy}"
        )
    yield from lines_of_unlike(check)


def lines_of_unlike(check: DataCheck) -> Iterator[str]:
    """A line per reason why images don't fit the training images' depth."""
    for reason, count in check.unlike.items():
        if count:
            yield f"{counted(count, 'image')} {UNLIKE[reason]}"


def _problems(found: pd.DataFrame) -> str:
    pairs = zip(found["path"], found["problem"], strict=True)
    return first_few(f"{_shown(path)} ({problem})" for path, problem in pairs)


def _paths(found: pd.DataFrame) -> str:
    return first_few(map(_shown, found["path"]))


def _likes(found: pd.DataFrame) -> str:
    pairs = zip(found["path"], found["like"], strict=True)
    return first_few(f"{_shown(path)} like {_shown(like)}" for path, like in pairs)


def _shown(path: str) -> str:
    """A path in a line; a long one without its middle, as the list has it whole."""
    return repr(path if len(path) <= LONGEST_PATH else f"{path[: LONGEST_PATH // 3]}…{path[-LONGEST_PATH * 2 // 3 :]}")
