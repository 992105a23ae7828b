"""Labels in a CSV with a column for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comp.declare.checks import check, check_sequence
from comp.declare.labels.csv import CsvLabels
from comp.declare.labels.files import read_csv
from comp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from comp.declare.metrics import Target

ONE_OR_ZERO = {"0": False, "0.0": False, "1": True, "1.0": True}


@dataclass(frozen=True)
class CsvColumns:
    """Labels in a CSV that has a column of 0 and 1 for each class (plant-pathology: ``healthy,rust,scab,…``).

    labels: the names of these columns, which are those of the classes.
    target: ``single`` where just one of them is 1 in every row, ``multi`` where any number may be.
    csv, image, folder, suffix, group, shared: as `CsvLabels` has them.
    """

    csv: str
    image: str
    labels: Sequence[str]
    folder: str
    suffix: str = ""
    target: Target = "single"
    group: str | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        check_sequence(self, "labels", str, "a list of at least two columns", at_least=2)
        check(self, "target", str, one_of=("single", "multi"))
        self._images()

    def _images(self) -> CsvLabels:
        """The rows and their images, with the first column as their label."""
        return CsvLabels(
            self.csv,
            image=self.image,
            label=self.labels[0],
            folder=self.folder,
            suffix=self.suffix,
            group=self.group,
            shared=self.shared,
        )

    def read(self, folder: Path) -> pd.DataFrame:
        rows = read_csv(folder / self.csv, columns=(self.image, *self.labels), spaced=True)
        classes_by_image: dict[str, tuple[str, ...]] = {}
        for name, *values in zip(rows[self.image], *(rows[column] for column in self.labels), strict=True):
            image, classes = name.strip(), self._classes(name, values)
            if classes_by_image.setdefault(image, classes) != classes:
                raise DataError(f"{self.csv} gives image {image!r} two different rows of labels; remove one.")
        frame = self._images().read(folder)
        found = [classes_by_image[image.strip()] for image in frame["id"]]
        frame["label"] = found if self.target == "multi" else [classes[0] for classes in found]
        return frame

    def _classes(self, image: str, values: Sequence[str]) -> tuple[str, ...]:
        chosen = []
        for column, value in zip(self.labels, values, strict=True):
            if value.strip() not in ONE_OR_ZERO:
                raise DataError(
                    f"{self.csv} gives image {image!r} {value!r} in column {column!r}, but it should be 0 or 1."
                )
            if ONE_OR_ZERO[value.strip()]:
                chosen.append(column)
        if self.target == "single" and len(chosen) != 1:
            raise DataError(
                f"{self.csv} gives image {image!r} {len(chosen)} classes, but it should have one; say target='multi' "
                "of CsvColumns where any number is right."
            )
        return tuple(sorted(chosen))
