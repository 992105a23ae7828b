"""The protocols of label and test sources, the table that they give, and the classes in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from comp.declare.metrics import Target, grades_of
from comp.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd
    from pandas.api.extensions import ExtensionArray

    # A class, tags, or pairs of name and number.
    Label = str | tuple[str, ...] | tuple[tuple[str, float], ...]
    Value = TypeVar("Value")
    Column = Sequence[Value] | ExtensionArray

COLUMNS = ("id", "path", "label", "group", "answer", "validates")


@runtime_checkable
class TestSource(Protocol):
    """Where test images come from; a custom source needs no more than this."""

    def read(self, folder: Path, /) -> pd.DataFrame:
        """Return the table of the test images in the competition's data folder: ``id`` and ``path``, both text."""


@runtime_checkable
class LabelSource(Protocol):
    """Where labels come from; a custom source needs no more than this."""

    @property
    def target(self) -> Target:
        """The kind of labels, see `comp.declare.metrics.TARGETS`."""

    def read(self, folder: Path, /) -> pd.DataFrame:
        """Return the table of the labelled images in the competition's data folder, as `comp.declare.labels` says."""


def table(notes: Iterable[str] = (), **columns: Column[Any] | None) -> pd.DataFrame:
    """Make a table of the columns given, sorted by id; a repeated row counts once.

    notes: what the source tolerated. Raises DataError for an id with two images, labels or groups, for an answer with
    two labels or groups or with images that validate and others, and for a file name that isn't Unicode.
    """
    import pandas as pd

    given = {name: values for name, values in columns.items() if values is not None}
    _check_names(given["path"])
    frame, notes = pd.DataFrame(given), list(notes)
    # With unique ids no row is repeated, and comparing all columns is slower.
    if not frame["id"].is_unique:
        frame, doubled = _once(frame)
        notes += doubled
    frame = frame.sort_values("id", kind="stable", ignore_index=True)
    if "answer" in frame:
        _check_answers(frame)
    frame.attrs["notes"] = notes
    return frame


def answers_of(frame: pd.DataFrame) -> pd.Series[str]:
    """The answer of each image (N,): its own id where each image is an answer."""
    return frame["answer" if "answer" in frame else "id"]


def _check_answers(frame: pd.DataFrame) -> None:
    """Raise DataError where the images of one answer have several labels or groups, or don't all validate."""
    first = frame.drop_duplicates("answer").set_index("answer")
    for column in frame.columns.intersection(["label", "group", "validates"]):
        expected = frame["answer"].map(first[column])
        other = frame[[one != two for one, two in zip(frame[column], expected, strict=True)]]
        if len(other):
            answer, found = other["answer"].iloc[0], other[column].iloc[0]
            raise DataError(
                f"The images of the answer {answer!r} should have one {column}, but {first[column][answer]!r} and "
                f"{found!r} were found; correct them, or give different answers different names."
            )


def _once(whole: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table without repeated rows, and a note of them; raises DataError for an id with different rows."""
    again = whole.duplicated()
    frame = whole[~again]
    doubled = frame[frame["id"].duplicated(keep=False)].sort_values("id", kind="stable")
    if len(doubled):
        first, second = (doubled.iloc[row] for row in (0, 1))
        differing = next(column for column in frame.columns[1:] if first[column] != second[column])
        several = counted(doubled["id"].nunique(), "id occurs", "ids occur")
        one, other = (in_words(row["label"]) if differing == "label" else row[differing] for row in (first, second))
        raise DataError(
            f"{several} more than once, the first {first['id']!r} with the {differing} {one!r} and {other!r}; every "
            "image needs its own id, and one label."
        )
    first_of = whole["id"][whole.duplicated(keep=False)].iloc[0]
    said = counted(int(again.sum()), "row is doubled and counts", "rows are doubled and count")
    return frame, [f"{said} once, the first is {first_of!r}"]


def _check_names(paths: Iterable[str]) -> None:
    try:
        "\n".join(paths).encode()
    except UnicodeEncodeError:
        path = next(path for path in paths if re.search("[\ud800-\udfff]", path))
        raise DataError(f"The name of {path!r} isn't UTF-8; rename the file.") from None


def classes_of(frame: pd.DataFrame, target: Target) -> tuple[str, ...]:
    """The names of the classes or tags that occur, sorted, or of the numbers, in the labels' order.

    Raises DataError where there are fewer than two classes, all images have the same numbers, or the names differ.
    """
    labels = frame["label"].to_list()
    are_numbers = target in ("number", "shares", "fractions")
    if are_numbers:
        named = [tuple(name for name, _ in label) for label in labels]
        names = next(iter(named), ())
    else:
        names = in_order(set(labels) if target == "single" else {tag for tags in labels for tag in tags})
    if not any(names):
        raise DataError("The table has no labels at all; check the label source in competition.py.")
    other = next((row for row, found in enumerate(named) if found != names), None) if are_numbers else None
    if other is not None:
        raise DataError(
            f"Every image should have the numbers {', '.join(names)}, but {frame['id'].iloc[other]!r} has "
            f"{', '.join(named[other]) or 'none'}."
        )
    if len(set(labels) if are_numbers else names) == 1:
        alike = ", ".join(f"{value:g}" for _, value in labels[0]) if are_numbers else repr(names[0])
        raise DataError(f"All images have the same label, {alike}; there is nothing to learn.")
    return names


def in_words(label: Label) -> str:
    """A label as text for a page."""
    if isinstance(label, str):
        return label
    return ", ".join(part if isinstance(part, str) else f"{part[0]} {part[1]:g}" for part in label)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names: as numbers where all are numbers (grades, digits), as text otherwise."""
    names = list(names)
    numbers = grades_of(names) is not None
    return tuple(sorted(names, key=(lambda name: (float(name), name)) if numbers else str))
