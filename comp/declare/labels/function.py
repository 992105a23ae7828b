"""Labels and test images by custom functions."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from comp.declare.checks import Declared
from comp.declare.custom import called
from comp.declare.labels.csv import as_shares
from comp.declare.labels.table import table
from comp.declare.metrics import Target
from comp.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.labels.table import Label

TableFunction = Annotated[Callable[[Path], Any], "a function of the data folder that returns the table"]


@dataclass(frozen=True)
class LabelFunction(Declared):
    """Labels by a custom function: given the data folder, it returns the table (columns id, path, label).

    Relative paths are relative to the data folder.
    Labels are class names, lists of tags, or, for the targets ``number``, ``shares`` and ``fractions``, dicts of
    numbers by name; shares and fractions are from 0 to 1. The table may have further columns:

    group: images that share a value are never on both sides of a split.
    answer: images that share a value are predicted together.
    validates: images with true are the validation set of a single split; images with false only train, with folds as
        well; a share of the images where it is empty validates if none is true. All but false are dealt to folds.
    """

    function: TableFunction
    target: Target = "single"

    def read(self, folder: Path) -> pd.DataFrame:
        columns = _columns(self, folder, ["id", "path", "label"])
        labelled = zip(columns["id"], columns["label"], strict=True)
        return table(**{**columns, "label": [self._label(image, label) for image, label in labelled]})

    def _label(self, image: str, found: Any) -> Label:
        if self.target not in ("single", "multi"):
            try:
                label = tuple((str(name), float(value)) for name, value in found.items())
            except (AttributeError, TypeError, ValueError):
                label = ()
            if not label or not all(math.isfinite(value) for _, value in label):
                raise DataError(
                    f"LabelFunction: image {image!r} has the label {found!r}, but it should be a dict of finite "
                    "numbers by their names."
                )
            if self.target == "number":
                return label
            for name, value in label:
                if not 0 <= value <= 1:
                    raise DataError(
                        f"LabelFunction: image {image!r} has {value:g} for {name!r}, but {self.target} should be from "
                        "0 to 1; correct it, or let the target be 'number'."
                    )
            return as_shares("LabelFunction", image, label) if self.target == "shares" else label
        is_one = isinstance(found, str) or not isinstance(found, Iterable)
        if self.target == "single" and is_one and found != "" and not _is_missing(found):
            return str(found)
        if self.target == "multi" and not is_one:
            return tuple(sorted({str(tag) for tag in found}))
        wanted = "the name of its class" if self.target == "single" else "a list of its tags"
        # By default pandas takes the class names NA, null and None for missing values.
        advice = "; read it with comp.declare.labels.read_csv if its name is NA or None" if _is_missing(found) else ""
        raise DataError(f"LabelFunction: image {image!r} has the label {found!r}, but it should be {wanted}{advice}.")


@dataclass(frozen=True)
class TestFunction(Declared):
    """Test images by a custom function: given the data folder, it returns the table (columns id, path).

    Relative paths are relative to the data folder. Images that share a value in a further column ``answer`` are
    predicted together.
    """

    __test__: ClassVar[bool] = False

    function: TableFunction

    def read(self, folder: Path) -> pd.DataFrame:
        return table(**_columns(self, folder, ["id", "path"]))


def _columns(source: LabelFunction | TestFunction, folder: Path, wanted: Sequence[str]) -> dict[str, list[Any]]:
    """The checked columns of the table that a source's function returns; id, path, group and answer as text."""
    import pandas as pd

    word, name = type(source).__name__, getattr(source.function, "__name__", "the function")
    result = called(f"{word}:", source.function, folder)
    asked = f"{word}: {name} should return a DataFrame with the columns {', '.join(wanted[:-1])} and {wanted[-1]}"
    if not isinstance(result, pd.DataFrame):
        found = f"{type(result).__module__}.{type(result).__qualname__}"
        raise DataError(f"{asked}, of pandas, but it returned a {found}.")
    if missing := sorted(set(wanted) - set(result.columns)):
        raise DataError(f"{asked}, but {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")
    columns: dict[str, list[Any]] = {"id": [str(image) for image in result["id"]]}
    columns["path"] = [str(folder / path) for path in result["path"]]
    absent = [path for path in columns["path"] if not os.path.isfile(path)]  # noqa: PTH113, Path objects would be slower
    if absent:
        images = counted(len(absent), "image that isn't", "images that aren't")
        raise DataError(f"{word}: {name} names {images} there, the first {absent[0]}; leave such rows out.")
    if "label" in wanted:
        columns["label"] = list(result["label"])
    for column in ("group", "answer"):
        values = result.get(column)
        if values is None:
            continue
        if (empty := values.isna() | (values.astype(str) == "")).any():
            image = str(result["id"][empty].iloc[0])
            raise DataError(f"{word}: image {image!r} has no {column}; add it, or leave out the column.")
        columns[column] = list(values.astype(str))
    if "validates" in result:
        said = [None if _is_missing(value) else value for value in result["validates"]]
        if wrong := [row for row, value in enumerate(said) if value not in (True, False, None)]:
            raise DataError(
                f"{word}: image {columns['id'][wrong[0]]!r} has {said[wrong[0]]!r} in `validates`, but it should be "
                "true, false or empty."
            )
        columns["validates"] = [None if value is None else bool(value) for value in said]
    return columns


def _is_missing(value: Any) -> bool:
    from pandas import isna

    return not isinstance(value, Iterable) and bool(isna(value))
