"""The table that every label source gives, and the classes in it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from comp.metrics import Target

Row = tuple[str, Path, "str | tuple[str, ...]"]


def table(rows: Iterable[Row], groups: Iterable[str] | None = None, notes: Iterable[str] = ()) -> pd.DataFrame:
    """The table of these (id, path, label) rows, in the order of their ids; a row that is there twice counts once.

    notes: what else was put up with. Raises DataError for an id of two images, labels or groups, and for a file whose
    name is no Unicode.
    """
    import pandas as pd

    columns = ["id", "path", "label", *([] if groups is None else ["group"])]
    whole = [(*row, *group) for row, *group in zip(rows, *([] if groups is None else [groups]), strict=True)]
    once = dict.fromkeys(whole)
    _check_names(row[1] for row in once)
    frame = pd.DataFrame(sorted(once, key=lambda row: str(row[0])), columns=columns)
    doubled = frame[frame["id"].duplicated(keep=False)]
    if len(doubled):
        first, second = (doubled.iloc[row] for row in (0, 1))
        differing = next(column for column in columns[1:] if first[column] != second[column])
        raise DataError(
            f"{doubled['id'].nunique()} ids occur more than once, the first {first['id']!r} with the {differing} "
            f"{_shown(first[differing])} and {_shown(second[differing])}; every image needs its own id, and one label."
        )
    frame.attrs["notes"] = list(notes)
    if len(once) < len(whole):
        again = next(row[0] for row, count in Counter(whole).items() if count > 1)
        frame.attrs["notes"].append(f"{len(whole) - len(once)} rows are doubled and count once, the first of {again!r}")
    return frame


def _shown(value: Any) -> str:
    return repr(str(value) if isinstance(value, Path) else value)


def _check_names(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise DataError(f"The name of {str(path)!r} is no UTF-8; rename the file.") from None


def classes_of(frame: pd.DataFrame, target: Target) -> tuple[str, ...]:
    """The names of the classes or tags that occur, in order. Raises DataError where there are not two."""
    labels = frame["label"]
    names = set(labels) if target == "single" else {tag for tags in labels for tag in tags}
    if not names or names == {""}:
        raise DataError("The table has no labels at all; check the label source in competition.py.")
    if len(names) == 1:
        raise DataError(f"All images have the same label, {next(iter(names))!r}; there is nothing to learn.")
    return in_order(names)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names sorted: as numbers where all are whole numbers (grades, digits), as text otherwise."""
    names = list(names)
    whole = all(re.fullmatch(r"-?\d+", name) for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if whole else str))
