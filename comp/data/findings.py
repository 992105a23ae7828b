"""What the data check found, in words: all of it for `comp check`, and for a training what follows from it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from comp.data.file_facts import ODDITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from comp.data.data_check import DataCheck

EXAMPLES = 3
ROW = "  {:<24}{:>8}  {}"
OF_DUPLICATES = {
    "duplicate": ("duplicates", "kept together in one part of the split"),
    "conflict": ("conflicting labels", "duplicates with another label; mend the labels if you can"),
    "leak": ("leaks", "test images that are duplicates of training images"),
}


def lines_for_training(check: DataCheck) -> list[str]:
    """A line for each finding that a training has to live with."""
    images, lines = check.images, []
    for part, follows in (("train", "left out"), ("test", "predicted by the classes' shares of the training images")):
        of_part = images["part"] == part
        unreadable = images[of_part & (images["problem"] != "")]
        if len(unreadable):
            name = "training" if part == "train" else "test"
            lines.append(
                f"{len(unreadable)} of {of_part.sum()} {name} images can't be read and are {follows}: "
                f"{_problems(unreadable)}"
            )
    for column, (name, follows) in OF_DUPLICATES.items():
        found = images[images[column] != ""]
        if len(found):
            exact = int((found[column] == "exact").sum())
            lines.append(f"{len(found)} {name} ({exact} exact, {len(found) - exact} near), {follows}: {_likes(found)}")
    if check.torn:
        lines.append(
            f"{check.torn} images are not kept together, though they look alike: in sets that large no even split "
            "would be left"
        )
    odd: Counter[str] = Counter()
    # Those that are alike in them share one tuple.
    for names, count in Counter(images["odd"]).items():
        odd.update(dict.fromkeys(names, count))
    if odd:
        lines.append("odd, but read: " + ", ".join(f"{odd[name]} {name}" for name in ODDITIES if odd[name]))
    return lines


def lines_of_check(check: DataCheck) -> Iterator[str]:
    """A row for each kind of finding: how many there are, what becomes of them, the first few."""
    images = check.images
    unreadable = images[images["problem"] != ""]
    if len(unreadable):
        follows = "left out of training; a test image is predicted by the classes' shares"
        yield ROW.format("unreadable", len(unreadable), f"{follows}: {_problems(unreadable)}")
    for name, follows in ODDITIES.items():
        found = images[[name in names for names in images["odd"]]]
        if len(found):
            yield ROW.format(name, len(found), f"{follows}: {_examples(map(repr, found['path']), len(found))}")
    for column, (name, follows) in OF_DUPLICATES.items():
        for how in ("exact", "near"):
            found = images[images[column] == how]
            if len(found):
                yield ROW.format(f"{how} {name}", len(found), f"{follows}: {_likes(found)}")
    if check.torn:
        yield ROW.format("look alike", check.torn, "too many to be kept together in one part of the split")


def _problems(found: pd.DataFrame) -> str:
    named = (f"{path!r} ({problem})" for path, problem in zip(found["path"], found["problem"], strict=True))
    return _examples(named, len(found))


def _likes(found: pd.DataFrame) -> str:
    labels = zip(found["path"], found["like"], strict=True)
    return _examples((f"{path!r} like {like!r}" for path, like in labels), len(found))


def _examples(named: Iterator[str], count: int) -> str:
    first = ", ".join(text for text, _ in zip(named, range(EXAMPLES), strict=False))
    return first + (", …" if count > EXAMPLES else "")
