"""Labels in columns of a CSV: one with the class or the tags of each image, or one of 0 and 1 for each class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from comp.declare.checks import Declared, between
from comp.declare.labels.csv import read_csv
from comp.declare.labels.files import Suffix, all_placed, left_out, names_in, placed
from comp.declare.labels.table import table
from comp.declare.metrics import Target
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

ONE_OR_ZERO = {"0": False, "0.0": False, "1": True, "1.0": True}


@dataclass(frozen=True)
class CsvLabels(Declared):
    """Labels in a CSV: a column that names the image, a column with its class or with its separated tags.

    Values are the text they are, but for spaces around them; a row that is there twice counts once.

    csv: the file, relative to the competition's data folder.
    image, label: the names of the two columns.
    folder, suffix: where the image of a row is: ``folder / (value of image + suffix)``. Leave the suffix empty where
        the column already has it. In the folder, ``{column}`` stands for the row's value of a column.
    separator: what stands between tags; with it the target is ``multi``, without it ``single``.
    group: the name of a column; images that share its value are never on both sides of a split.
    shared: the folder has images without a row as well: those to predict.
    """

    csv: str
    image: str
    label: str
    folder: str
    suffix: Suffix = ""
    separator: str | None = None
    group: str | None = None
    shared: bool = False

    @property
    def target(self) -> Target:
        return "single" if self.separator is None else "multi"

    def read(self, folder: Path) -> pd.DataFrame:
        rows, paths, notes = _read_rows(self, folder, [self.label])
        labels: Sequence[str | tuple[str, ...]] = rows[self.label].array
        if self.separator is None:
            _require_filled(self.csv, rows, self.label)
        else:
            parts = (text.split(self.separator) for text in rows[self.label].to_list())
            labels = [tuple(sorted({tag.strip() for tag in tags} - {""})) for tags in parts]
        return table(rows.index.array, paths, labels, None if self.group is None else rows[self.group].array, notes)


@dataclass(frozen=True)
class CsvColumns(Declared):
    """Labels in a CSV that has a column of 0 and 1 for each class (plant-pathology: ``healthy,rust,scab,…``).

    labels: the names of these columns, which are those of the classes.
    target: ``single`` where just one of them is 1 in every row, ``multi`` where any number may be.
    csv, image, folder, suffix, group, shared: as `CsvLabels` has them.
    """

    csv: str
    image: str
    labels: Annotated[Sequence[str], between(2), "a list of at least two columns"]
    folder: str
    suffix: Suffix = ""
    target: Target = "single"
    group: str | None = None
    shared: bool = False

    def read(self, folder: Path) -> pd.DataFrame:
        rows, paths, notes = _read_rows(self, folder, self.labels)
        columns = (rows[column] for column in self.labels)
        found = [self._classes(image, values) for image, *values in zip(rows.index, *columns, strict=True)]
        labels = found if self.target == "multi" else [classes[0] for classes in found]
        return table(rows.index.array, paths, labels, None if self.group is None else rows[self.group].array, notes)

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


def _read_rows(
    source: CsvLabels | CsvColumns, folder: Path, labels: Sequence[str]
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The rows, named by their images, with trimmed labels and groups; their files; and what was put up with."""
    grouped = [] if source.group is None else [source.group]
    placing = re.findall(r"\{([^{}]+)\}", source.folder)
    rows = read_csv(folder / source.csv, columns=(source.image, *labels, *grouped, *placing), spaced=True)
    if rows.empty:
        raise DataError(f"{folder / source.csv} has no rows; download the data again.")
    names, paths, notes = _find_images(source, rows[source.image], _folders(folder, source.folder, rows, placing))
    for column in (*labels, *grouped):
        trimmed = rows[column].str.strip()
        notes += _trimmed(source.csv, rows[column], trimmed)
        rows[column] = trimmed
    rows = rows.set_axis(names.array, axis=0)
    for column in grouped:
        _require_filled(source.csv, rows, column)
    return rows, paths, notes


def _find_images(
    source: CsvLabels | CsvColumns, names: pd.Series[str], folders: Sequence[str]
) -> tuple[pd.Series[str], list[str], list[str]]:
    """The name and the file of each row, and what was put up with; every image of the folders has its row."""
    import numpy as np

    def files(names: pd.Series[str]) -> list[str]:
        with_suffix = [f"{name}{source.suffix}" for name in names.to_list()]
        if len(set(folders)) == 1:
            return all_placed(folders[0], with_suffix)
        return [placed(folder, file) for folder, file in zip(folders, with_suffix, strict=True)]

    stripped = names.str.strip()
    if (stripped == "").any():
        raise DataError(f"{source.csv} has a row with an empty {source.image!r}; name its image or remove the row.")
    bare, paths = names, files(names)
    # A file's own name may begin or end with a space.
    spaced = bool((names != stripped).any())
    without = files(stripped) if spaced else paths
    anywhere = {path.rpartition("/")[0] for path in (paths + without if spaced else paths)}
    places = [place for place in sorted(map(Path, anywhere)) if _is_folder(place)]
    listed = [(str(place), *names_in(place, source.suffix)) for place in places]
    present = {path for place, names_there, _ in listed for path in all_placed(place, names_there)}
    others = [placed(place, name) for place, _, names_there in listed for name in names_there]
    if spaced:
        whole = np.array([path in present for path in paths], dtype=bool)
        bare = names.where(whole, stripped)
        paths = [path if is_whole else other for path, other, is_whole in zip(paths, without, whole, strict=True)]
    unlabelled = present.difference(paths)
    # Else each row has an image of its own.
    if len(paths) != len(present) - len(unlabelled) and (missing := sorted(map(Path, set(paths) - present))):
        raise DataError(
            f"{len(missing)} of {len(paths)} rows of {source.csv} have no image, the first {missing[0]}; "
            "check `folder` and `suffix` of CsvLabels, or download the data again."
        )
    if unlabelled and not source.shared:
        raise DataError(
            f"{len(unlabelled)} images have no row in {source.csv}, the first {min(map(Path, unlabelled))}; "
            "add their labels or move them out of the folder; say shared=True if they are those to predict."
        )
    return bare, paths, [*_trimmed(source.csv, names, bare), *left_out(others, source.suffix)]


def _folders(root: Path, template: str, rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The folder of each row, below ``root``: the template with the row's values for ``{column}``."""
    filled = [template] * len(rows)
    for column in columns:
        values = zip(filled, rows[column].str.strip(), strict=True)
        filled = [text.replace(f"{{{column}}}", value) for text, value in values]
    folders = {place: str(root / place) for place in set(filled)}
    return [folders[place] for place in filled]


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except (OSError, ValueError):  # no name of a file, as it is too long
        return False


def _require_filled(csv: str, rows: pd.DataFrame, column: str) -> None:
    empty = rows[column] == ""
    if empty.any():
        image = rows.index[empty][0]
        raise DataError(f"{csv} gives image {image!r} an empty {column!r}; fill it in or remove the row.")


def _trimmed(csv: str, values: pd.Series[str], trimmed: pd.Series[str]) -> list[str]:
    changed = values[values != trimmed]
    if changed.empty:
        return []
    return [
        f"{csv}: spaces around {len(changed)} values of {values.name!s} are left out, the first {changed.iloc[0]!r}"
    ]
