"""Images named in a CSV, and their labels: a column with the class or the tags, one for each class, or numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from comp.declare.checks import Declared, Rule, between
from comp.declare.labels.csv import numbers_in
from comp.declare.labels.files import Suffix
from comp.declare.labels.placing import contradictions_of, read_rows, require_filled
from comp.declare.metrics import Target
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.labels.table import Label

# What rounding may make of shares that sum to one.
ROUNDING = 1e-3
ONE_OR_ZERO = {"0": False, "0.0": False, "1": True, "1.0": True}


Where = Annotated[
    Sequence[str], Rule(lambda value: len(value) in (0, 2)), "a column and its value, like ['split', 'train']"
]


def tags_in(text: str, separator: str) -> set[str]:
    """The tags of a value, whether it is a list as Python writes it or not."""
    text = text.strip()
    is_list = text.startswith("[") and text.endswith("]")
    parts = (text[1:-1] if is_list else text).split(separator)
    return {part.strip().strip("'\"" if is_list else "") for part in parts} - {""}


@dataclass(frozen=True)
class CsvLabels(Declared):
    """Labels in a CSV: a column that names the image, a column with its class or with its separated tags.

    Values are the text they are, but for spaces around them; a row that is there twice counts once.

    csv: the file, relative to the competition's data folder.
    image, label: the names of the two columns.
    folder, suffix: where the image of a row is: ``folder / (value of image + suffix)``. Leave the suffix empty where
        the column already has it. In the folder, ``{column}`` stands for the row's value of a column. A suffix with
        ``*`` gives a row several images, which are one answer: ``/*.png`` those of a folder of its own.
    separator: what stands between tags; with it the target is ``multi``, without it ``single``. Brackets and quotes of
        a list, as Python writes it, are left out; an image of several rows has the tags of all.
    group: the name of a column, or a pattern of the images' names with one group in it, like ``(.+)_(?:left|right)``;
        images that share its value are never on both sides of a split.
    answer: the name of a column, or a text with ``{column}``; images that share it have one label, and are predicted
        together.
    shared: the folder has images without a row as well: those to predict.
    incomplete: rows without a label or an image are left out, and counted.
    where: a column and the value of the rows that count, like ``["split", "train"]``; all, if it is empty.

    An image that isn't just there is looked for in all folders below, by its name without suffix, in any case, and by
    its number without zeros; it must be the only one of that name.
    """

    csv: str
    image: str
    label: str
    folder: str
    suffix: Suffix = ""
    separator: str | None = None
    group: str | None = None
    answer: str | None = None
    shared: bool = False
    incomplete: bool = False
    where: Where = ()

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield from contradictions_of(self)

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
class CsvColumns(Declared):
    """Labels in a CSV that has a column for each class (plant-pathology: ``healthy,rust,scab,…``).

    labels: the names of these columns, which are those of the classes.
    target: ``single`` where just one of them is 1 in every row and the others 0, ``multi`` where any number may be;
        ``shares`` for soft labels, from 0 to 1, that sum to one, ``fractions`` where each stands alone.
    csv, image, folder, suffix, group, answer, shared, incomplete, where: as `CsvLabels` has them.
    """

    csv: str
    image: str
    labels: Annotated[Sequence[str], between(2), "a list of at least two columns"]
    folder: str
    suffix: Suffix = ""
    target: Literal["single", "multi", "shares", "fractions"] = "single"
    group: str | None = None
    answer: str | None = None
    shared: bool = False
    incomplete: bool = False
    where: Where = ()

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield from contradictions_of(self)

    def read(self, folder: Path) -> pd.DataFrame:
        found = read_rows(self, folder, self.labels)
        if self.target in ("shares", "fractions"):
            labels = numbers_in(self.csv, found.rows, self.labels, (0, 1))
            for image, label in zip(found.rows.index, labels, strict=True):
                total = sum(value for _, value in label)
                if self.target == "shares" and abs(total - 1) > ROUNDING:
                    raise DataError(
                        f"{self.csv} gives image {image!r} shares that sum to {total:g}, but they should sum to one; "
                        "say target='fractions' of CsvColumns where each stands alone."
                    )
            return found.table(labels)
        columns = (found.rows[column] for column in self.labels)
        classes = [self._classes(image, values) for image, *values in zip(found.rows.index, *columns, strict=True)]
        return found.table(classes if self.target == "multi" else [chosen[0] for chosen in classes])

    def _classes(self, image: str, values: Sequence[str]) -> tuple[str, ...]:
        for column, value in zip(self.labels, values, strict=True):
            if value not in ONE_OR_ZERO:
                raise DataError(
                    f"{self.csv} gives image {image!r} {value!r} in column {column!r}, but it should be 0 or 1."
                )
        chosen = [column for column, value in zip(self.labels, values, strict=True) if ONE_OR_ZERO[value]]
        if self.target == "single" and len(chosen) != 1:
            raise DataError(
                f"{self.csv} gives image {image!r} {len(chosen)} classes, but it should have one; say target='multi' "
                "of CsvColumns where any number is right."
            )
        return tuple(sorted(chosen))


@dataclass(frozen=True)
class CsvNumbers(Declared):
    """Numbers in a CSV, one or several for each image: ``CsvNumbers("train.csv", "Id", ["Pawpularity"], "train")``.

    values: the names of their columns.
    bounds: the least and the most that any of them can be, ``(1, 100)``; without it what is seen, which is what a loss
        that needs bounds (``bce``) has them from.
    csv, image, folder, suffix, group, answer, shared, incomplete, where: as `CsvLabels` has them.
    """

    csv: str
    image: str
    values: Annotated[Sequence[str], between(1), "a list of at least one column"]
    folder: str
    suffix: Suffix = ""
    bounds: Annotated[Sequence[float], between(2, 2), "the least and the most, like (0, 100)"] | None = None
    group: str | None = None
    answer: str | None = None
    shared: bool = False
    incomplete: bool = False
    where: Where = ()
    target: ClassVar[Target] = "number"

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield from contradictions_of(self)
        yield "bounds", self.bounds and self.bounds[0] >= self.bounds[1], "the least and the most, like (0, 100)"

    def read(self, folder: Path) -> pd.DataFrame:
        found = read_rows(self, folder, self.values)
        return found.table(numbers_in(self.csv, found.rows, self.values, self.bounds))


@dataclass(frozen=True)
class CsvImages(Declared):
    """The images to predict, each named in a row of a CSV: where a column says which answer an image belongs to.

    csv, image, folder, suffix, answer, where: as `CsvLabels` has them. The folder may have images without a row.
    """

    csv: str
    image: str
    folder: str
    suffix: Suffix = ""
    answer: str | None = None
    where: Where = ()
    group: ClassVar[None] = None
    shared: ClassVar[bool] = True
    incomplete: ClassVar[bool] = False

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield from contradictions_of(self)

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of the test images, as `TestImages` gives it."""
        found = read_rows(self, folder, [])
        return found.table([""] * len(found.paths)).drop(columns="label")
