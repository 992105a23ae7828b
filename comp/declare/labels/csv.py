"""Labels in a column of a CSV."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comp.declare.checks import check
from comp.declare.labels.files import all_placed, check_suffix, left_out, names_in, placed, read_csv
from comp.declare.labels.table import table
from comp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from comp.declare.metrics import Target


@dataclass(frozen=True)
class CsvLabels:
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
    suffix: str = ""
    separator: str | None = None
    group: str | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        for field in ("csv", "image", "label", "folder"):
            check(self, field, str)
        check(self, "shared", bool)
        check_suffix(self, self.suffix)
        for field in ("separator", "group"):
            if getattr(self, field) is not None:
                check(self, field, str)

    @property
    def target(self) -> Target:
        return "single" if self.separator is None else "multi"

    def read(self, folder: Path) -> pd.DataFrame:
        grouped = () if self.group is None else (self.group,)
        placeholders = re.findall(r"\{([^{}]+)\}", self.folder)
        rows = read_csv(folder / self.csv, columns=(self.image, self.label, *grouped, *placeholders), spaced=True)
        if rows.empty:
            raise DataError(f"{folder / self.csv} has no rows; download the data again.")
        folders = _folders(folder, self.folder, rows, placeholders)
        names, paths, notes = self._images(rows[self.image], folders)
        for column in (self.label, *grouped):
            trimmed = rows[column].str.strip()
            notes += _trimmed(self.csv, rows[column], trimmed)
            rows[column] = trimmed
            empty = rows[column] == ""
            if empty.any() and not (column == self.label and self.separator is not None):
                name = names[empty].iloc[0]
                raise DataError(f"{self.csv} gives image {name!r} an empty {column!r}; fill it in or remove the row.")
        labels: Sequence[str | tuple[str, ...]] = rows[self.label].array
        if self.separator is not None:
            parts = (text.split(self.separator) for text in rows[self.label].to_list())
            labels = [tuple(sorted({tag.strip() for tag in tags} - {""})) for tags in parts]
        groups = None if self.group is None else rows[self.group].array
        return table(names.array, paths, labels, groups, notes)

    def _images(self, names: pd.Series[str], folders: Sequence[str]) -> tuple[pd.Series[str], list[str], list[str]]:
        """The name and the file of each row, and what was put up with; every image of the folders has its row."""
        import numpy as np

        stripped = names.str.strip()
        if (stripped == "").any():
            raise DataError(f"{self.csv} has a row with an empty {self.image!r}; name its image or remove the row.")
        bare, paths = names, self._paths(folders, names)
        anywhere = {path.rpartition("/")[0] for path in paths}
        # A file's own name may begin or end with a space.
        spaced = (names != stripped).to_numpy()
        if spaced.any():
            without = self._paths(folders, stripped)
            anywhere |= {path.rpartition("/")[0] for path in without}
        places = [place for place in sorted(map(Path, anywhere)) if _is_folder(place)]
        listed = [(str(place), *names_in(place, self.suffix or None)) for place in places]
        present = {path for place, names_there, _ in listed for path in all_placed(place, names_there)}
        others = [placed(place, name) for place, _, names_there in listed for name in names_there]
        if spaced.any():
            whole = np.array([path in present for path in paths], dtype=bool)
            bare = names.where(whole, stripped)
            paths = [path if is_whole else other for path, other, is_whole in zip(paths, without, whole, strict=True)]
        unlabelled = present.difference(paths)
        # Else each row has an image of its own.
        if len(paths) != len(present) - len(unlabelled) and (missing := sorted(map(Path, set(paths) - present))):
            raise DataError(
                f"{len(missing)} of {len(paths)} rows of {self.csv} have no image, the first {missing[0]}; "
                "check `folder` and `suffix` of CsvLabels, or download the data again."
            )
        if unlabelled and not self.shared:
            raise DataError(
                f"{len(unlabelled)} images have no row in {self.csv}, the first {min(map(Path, unlabelled))}; "
                "add their labels or move them out of the folder; say shared=True if they are those to predict."
            )
        return bare, paths, [*_trimmed(self.csv, names, bare), *left_out(others, self.suffix)]

    def _paths(self, folders: Sequence[str], names: pd.Series[str]) -> list[str]:
        files = [f"{name}{self.suffix}" for name in names.to_list()]
        if len(set(folders)) == 1:
            return all_placed(folders[0], files)
        return [placed(folder, file) for folder, file in zip(folders, files, strict=True)]


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except (OSError, ValueError):  # no name of a file, as it is too long
        return False


def _trimmed(csv: str, values: pd.Series[str], trimmed: pd.Series[str]) -> list[str]:
    changed = values[values != trimmed]
    if changed.empty:
        return []
    return [
        f"{csv}: spaces around {len(changed)} values of {values.name!s} are left out, the first {changed.iloc[0]!r}"
    ]


def _folders(root: Path, template: str, rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The folder of each row, below ``root``: the template with the row's values for ``{column}``."""
    filled = [template] * len(rows)
    for column in columns:
        filled = [
            text.replace(f"{{{column}}}", value.strip()) for text, value in zip(filled, rows[column], strict=True)
        ]
    folders = {place: str(root / place) for place in set(filled)}
    return [folders[place] for place in filled]
