"""Columns of a CSV as further inputs beside the images: age, sex, site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

from comp.declare.checks import Declared, between
from comp.declare.labels.csv import read_csv, trimmed
from comp.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Columns(Declared):
    """Columns that are joined to an image's features before the head, standardised by the training images.

    train, test: the CSVs with the columns for the labelled and for the test images, relative to the data folder.
    image: the column that names the image by its id, its file's name, or its answer.
    numbers: columns of numbers; a missing value becomes the mean.
    categories: columns of names; a missing value is a category of its own if training images have missing values.
    dropout: the chance that a value is hidden from the head for a training step.
    """

    train: str
    test: str
    image: str
    numbers: Sequence[str] = ()
    categories: Sequence[str] = ()
    dropout: Annotated[float, between(0, 0.95)] = 0.0

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield "numbers", not (self.numbers or self.categories), "a list of columns, or `categories` one"

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.numbers, *self.categories)

    def joined(self, table: pd.DataFrame, csv: Path) -> pd.DataFrame:
        """The table with each image's values as trimmed text, in columns named as `in_table` says.

        Raises DataError for an image without a row, or with several, and for a row of several images, unless these are
        of one answer.
        """
        rows = read_csv(csv, columns=(self.image, *self.names), spaced=True)[[self.image, *self.names]]
        rows = trimmed(rows).drop_duplicates().set_index(self.image)
        if (doubled := rows.index[rows.index.duplicated()]).size:
            raise DataError(f"{csv} has several rows of {doubled[0]!r}, which differ; every image needs one.")
        called: list[Any] = [table["id"], [PurePath(path).name for path in table["path"]]]
        places = rows.index.get_indexer(called[0])
        for names in [*called[1:], *([table["answer"]] if "answer" in table else [])]:
            missing = places < 0
            places[missing] = rows.index.get_indexer(names)[missing]
        if (missing := places < 0).any():
            like = f"its {self.image!r} are like {rows.index[0]!r}" if len(rows) else "it has none"
            first = table["id"][missing].iloc[0]
            images = counted(int(missing.sum()), "image has", "images have")
            raise DataError(f"{images} no row in {csv}, the first {first!r}, but {like}; add what is missing.")
        answer = "answer" if "answer" in table else "id"
        sharing = table.groupby(places)[[answer, "path"]].nunique().min(axis=1) > 1
        if sharing.any():
            row, *_ = sharing.index[sharing]
            one, other = table[places == row].drop_duplicates("path")["id"].iloc[:2]
            raise DataError(
                f"{csv} has one row of {rows.index[row]!r} for the images {one!r} and {other!r}; give each its own, "
                f"with its id in {self.image!r}."
            )
        return table.assign(**{in_table(name): rows[name].array[places] for name in self.names})


def in_table(name: str) -> str:
    """The name of a CSV's column in the table of images, whose own columns may have the same name."""
    return f"column {name}"
