"""Images named in a CSV, and their labels: a column with the class or the tags, one for each class, or numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from comp.declare.checks import between
from comp.declare.labels.csv import RowName, as_shares, numbers_in
from comp.declare.labels.placing import Rows, read_rows, require_filled
from comp.declare.metrics import Target
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.labels.table import Label

ONE_OR_ZERO = {"0": False, "0.0": False, "1": True, "1.0": True}
ONE_OR_MINUS = {"-1": False, "-1.0": False, "1": True, "1.0": True}


def meant_by(values: pd.DataFrame) -> Mapping[str, bool]:
    """What the values of the classes' columns mean: 1 is yes and 0 no, or -1 where none is 0."""
    return ONE_OR_MINUS if values.isin(list(ONE_OR_MINUS)).all(axis=None) else ONE_OR_ZERO


def tags_in(text: str, separator: str) -> set[str]:
    """The tags of a value, whether it is a list as Python writes it or not."""
    text = text.strip()
    is_list = text.startswith("[") and text.endswith("]")
    parts = (text[1:-1] if is_list else text).split(separator)
    return {part.strip().strip("'\"" if is_list else "") for part in parts} - {""}


@dataclass(frozen=True)
class CsvLabels(Rows):
    """Labels in a CSV: a column that names the image, a column with its class or with its separated tags.

    Values are the text they are, but for spaces around them; a row that is there twice counts once.

    label: the name of the column.
    separator: what stands between tags; with it the target is ``multi``, without it ``single``. Brackets and quotes of
        a list, as Python writes it, are left out; an image of several rows has the tags of all.
    The others: see `Rows`.
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
        else:
            labels = [tuple(sorted(tags_in(text, self.separator))) for text in rows[self.label].to_list()]
        return found.table(labels)


@dataclass(frozen=True)
class LongRows(Rows):
    """Images with several values, each in a column or in a row of its own.

    row: how ``image`` names image and value, like ``{id}_{class}``, where each value has a row; then the column
        ``value`` has what else stands in the columns of these names.
    """

    row: Literal[""] | RowName = field(default="", kw_only=True)
    value: Literal[""] | str = field(default="", kw_only=True)

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield from super().contradictions()
        yield "value", bool(self.row) != bool(self.value), "the column of the values, beside `row`"


@dataclass(frozen=True)
class CsvColumns(LongRows):
    """Labels in a CSV that has a column for each class (plant-pathology: ``healthy,rust,scab,…``).

    labels: the names of these columns, which are those of the classes.
    target: ``single`` where just one of them is 1 in every row and the others 0, or -1; ``multi`` where any number may
        be 1; ``shares`` for soft labels, from 0 to 1, that sum to one, ``fractions`` where each stands alone.
    The others: see `LongRows` and `Rows`.
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
                f"{self.csv} gives image {image!r} {len(chosen)} classes, but it should have one; say target='multi' "
                "of CsvColumns where any number is right."
            )
        return tuple(sorted(chosen))


@dataclass(frozen=True)
class CsvNumbers(LongRows):
    """Numbers in a CSV, one or several for each image: ``CsvNumbers("train.csv", "Id", ["Pawpularity"], folder=…)``.

    values: the names of their columns.
    bounds: the least and the most that any of them can be, ``(1, 100)``; without it what is seen, which is what a loss
        that needs bounds (``bce``) has them from.
    The others: see `LongRows` and `Rows`.
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
    """The images to predict, each named in a row of a CSV: where a column says which answer an image belongs to.

    csv, image, folder, suffix, answer, where: see `Rows`. The folder may have images without a row.
    """

    group: ClassVar[None] = None  # type: ignore[misc]
    shared: ClassVar[bool] = True  # type: ignore[misc]
    incomplete: ClassVar[bool] = False  # type: ignore[misc]

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of the test images, as `TestImages` gives it."""
        found = read_rows(self, folder, [])
        return found.table([""] * len(found.paths)).drop(columns="label")
