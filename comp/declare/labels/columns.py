"""Labels of images in a CSV: a column with the class or the tags, a column for each class, or numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from comp.declare.checks import between
from comp.declare.labels.csv import RowName, as_shares, numbers_in
from comp.declare.labels.placing import Rows, read_rows, require_filled
from comp.declare.metrics import Target
from comp.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.labels.table import Label

ONE_OR_ZERO = {"0": False, "0.0": False, "1": True, "1.0": True}
ONE_OR_MINUS = {"-1": False, "-1.0": False, "1": True, "1.0": True}


def meant_by(values: pd.DataFrame) -> Mapping[str, bool]:
    """The meaning of the values in classes' columns: 1 is yes and 0 no, or -1 is no where all are 1 or -1."""
    return ONE_OR_MINUS if values.isin(list(ONE_OR_MINUS)).all(axis=None) else ONE_OR_ZERO


def tags_in(text: str, separator: str) -> set[str]:
    """The tags in a value, which may be a list in Python's syntax."""
    text = text.strip()
    is_list = text.startswith("[") and text.endswith("]")
    parts = (text[1:-1] if is_list else text).split(separator)
    return {part.strip().strip("'\"" if is_list else "") for part in parts} - {""}


@dataclass(frozen=True)
class CsvLabels(Rows):
    """Labels in a CSV: a column that names the image, and a column with its class or its separated tags.

    Values are plain text, without spaces around them; a repeated row counts once.

    label: the name of the column with the labels.
    separator: what stands between tags: the target is ``multi`` with a separator, ``single`` without one. A list's
        brackets and quotes, in Python's syntax, are left out; an image with several rows has the tags of all.
    The other fields: see `Rows`.
    """

    label: str
    separator: str | None = field(default=None, kw_only=True)

    @property
    def target(self) -> Target:
        return "single" if self.separator is None else "multi"

    def read(self, folder: Path) -> pd.DataFrame:
        found = read_rows(self, folder, [self.label], self.separator)
        rows = found.rows
        labels: Sequence[Label] = rows[self.label].array
        if self.separator is None:
            require_filled(self.csv, rows, self.label)
            self._require_one(rows[self.label], found.paths)
        else:
            labels = [tuple(sorted(tags_in(text, self.separator))) for text in rows[self.label].to_list()]
        return found.table(labels)

    def _require_one(self, labels: pd.Series[str], paths: Sequence[str]) -> None:
        """Raise DataError where an image has several labels; labels (N,): by their images' names."""
        if labels.index.is_unique:
            return
        given = labels.groupby([labels.index, paths]).unique()
        if len(several := given[given.str.len() > 1]):
            raise DataError(
                f"{self.csv} gives {counted(len(several), 'image')} several labels in {self.label!r}, the first "
                f"{several.index[0][0]!r} {' and '.join(map(repr, several.iloc[0][:2]))}; if an image may have several "
                "tags, give CsvLabels a separator, like separator=' ', or else remove rows."
            )


@dataclass(frozen=True)
class LongRows(Rows):
    """Images with several values, each in its own column or row.

    row: where each value has a row, the pattern by which ``image`` names the image and the value, like
        ``{id}_{class}``; the values are then in the column ``value``.
    """

    row: Literal[""] | RowName = field(default="", kw_only=True)
    value: Literal[""] | str = field(default="", kw_only=True)

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield from super().contradictions()
        yield "value", bool(self.row) != bool(self.value), "the column of the values, beside `row`"


@dataclass(frozen=True)
class CsvColumns(LongRows):
    """Labels in a CSV that has a column for each class (plant-pathology: ``healthy,rust,scab,…``).

    labels: the names of these columns, which are the class names.
    target: ``single`` where exactly one of them is 1 in every row and the others 0, or -1; ``multi`` where any number
        may be 1; ``shares`` for soft labels, from 0 to 1, that sum to one, ``fractions`` where each stands alone.
    The other fields: see `LongRows` and `Rows`.
    """

    labels: Annotated[Sequence[str], between(2), "a list of at least two columns"]
    target: Literal["single", "multi", "shares", "fractions"] = field(default="single", kw_only=True)

    def read(self, folder: Path) -> pd.DataFrame:
        found = read_rows(self, folder, self.labels, long=(self.row, self.value))
        if self.target in ("shares", "fractions"):
            labels = numbers_in(self.csv, found.rows, self.labels, (0, 1))
            if self.target == "shares":
                labels = [
                    as_shares(self.csv, image, label) for image, label in zip(found.rows.index, labels, strict=True)
                ]
            return found.table(labels)
        values = found.rows[list(self.labels)]
        meant = meant_by(values)
        classes = [self._classes(image, said, meant) for image, *said in values.itertuples(name=None)]
        return found.table(classes if self.target == "multi" else [chosen[0] for chosen in classes])

    def _classes(self, image: str, values: Sequence[str], meant: Mapping[str, bool]) -> tuple[str, ...]:
        for column, value in zip(self.labels, values, strict=True):
            if value not in meant:
                raise DataError(
                    f"{self.csv} gives image {image!r} {value!r} in column {column!r}, but it should be 0 or 1."
                )
        chosen = [column for column, value in zip(self.labels, values, strict=True) if meant[value]]
        if self.target == "single" and len(chosen) != 1:
            raise DataError(
                f"{self.csv} gives image {image!r} {len(chosen)} classes, but it should have one; give CsvColumns "
                "target='multi' if an image may have any number."
            )
        return tuple(sorted(chosen))


@dataclass(frozen=True)
class CsvNumbers(LongRows):
    """Numbers in a CSV, one or several for each image: ``CsvNumbers("train.csv", "Id", ["Pawpularity"], folder=…)``.

    values: the names of the columns with numbers.
    bounds: the least and the greatest possible number, ``(1, 100)``; without it, a loss that needs bounds (``bce``)
        takes those of the training images.
    The other fields: see `LongRows` and `Rows`.
    """

    values: Annotated[Sequence[str], between(1), "a list of at least one column"]
    bounds: Annotated[Sequence[float], between(2, 2), "the least and the most, like (0, 100)"] | None = field(
        default=None, kw_only=True
    )
    target: ClassVar[Target] = "number"

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield from super().contradictions()
        yield "bounds", self.bounds and self.bounds[0] >= self.bounds[1], "the least and the most, like (0, 100)"

    def read(self, folder: Path) -> pd.DataFrame:
        found = read_rows(self, folder, self.values, long=(self.row, self.value))
        return found.table(numbers_in(self.csv, found.rows, self.values, self.bounds))


@dataclass(frozen=True)
class CsvImages(Rows):
    """Test images named in the rows of a CSV, for example where a column says which answer an image belongs to.

    csv, image, folder, suffix, answer, where: see `Rows`. The folder may have images without a row.
    """

    group: ClassVar[None] = None  # type: ignore[misc]
    shared: ClassVar[bool] = True  # type: ignore[misc]
    incomplete: ClassVar[bool] = False  # type: ignore[misc]

    def read(self, folder: Path) -> pd.DataFrame:
        found = read_rows(self, folder, [])
        return found.table([""] * len(found.paths)).drop(columns="label")
