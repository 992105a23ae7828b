"""Label sources: from the raw files of a competition to its table.

The table has one row per image: ``id`` (text), ``path`` (a Path) and ``label``: the name of the class for a ``single``
target, a tuple of tag names for a ``multi`` one. A source that knows which images belong together (one patient's, one
scene's) adds ``group`` (text). Every image has its label and every label its image, or there is a DataError that names
them. What a source put up with is in ``table.attrs["notes"]``, a line each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from comp.declared import check, check_sequence, wrong
from comp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from comp.metrics import Target

ONE_OR_ZERO = {"0": False, "0.0": False, "1": True, "1.0": True}
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class FileNames:
    """Labels in file names: ``FileNames("train/{label}.*.jpg")`` reads ``train/cat.0.jpg`` as a cat.

    ``{label}`` stands for the class, the shortest text that fits, and ``*`` for anything else; neither spans
    folders. The id is the name without its suffix (``cat.0``). An image of the same suffix (``.*``: of any) in the
    folder that doesn't fit the pattern is an error.
    """

    pattern: str
    target: ClassVar[Target] = "single"

    def __post_init__(self) -> None:
        check(self, "pattern", str)
        if Path(self.pattern).name.count("{label}") != 1 or self.pattern.count("{label}") != 1:
            raise wrong(self, "pattern", self.pattern, "a path whose file name has {label} in it once")

    def read(self, folder: Path) -> pd.DataFrame:
        pattern = Path(self.pattern)
        pieces = re.split(r"(\{label\}|\*)", pattern.name)
        parts = ({"{label}": "(?P<label>.+?)", "*": ".*"}.get(piece, re.escape(piece)) for piece in pieces)
        regex = re.compile("".join(parts), re.DOTALL)
        suffix = None if "*" in pattern.suffix else pattern.suffix or None
        rows = []
        for path in images_in(folder / pattern.parent, suffix):
            match = regex.fullmatch(path.name)
            if match is None:
                raise DataError(
                    f"{path} has no label: its name doesn't fit the pattern {self.pattern!r}; "
                    "mend the pattern in competition.py or remove the file."
                )
            rows.append((path.stem, path, match["label"]))
        return table(rows, notes=_of_other_suffixes([folder / pattern.parent], suffix))


@dataclass(frozen=True)
class Folders:
    """A folder per class: ``Folders("train")`` reads ``train/cat/0.jpg`` as a cat.

    The id is the path below the folder, without its suffix (``cat/0``).
    """

    folder: str
    target: ClassVar[Target] = "single"

    def __post_init__(self) -> None:
        check(self, "folder", str)

    def read(self, folder: Path) -> pd.DataFrame:
        root = folder / self.folder
        loose = [path for path in images_in(root, required=False) if not path.is_dir()]
        if loose:
            raise DataError(f"{loose[0]} has no label: it lies beside the class folders of {root} and not in one.")
        classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not classes:
            raise DataError(f"{root} holds no class folders; check `folder` of Folders in competition.py.")
        return table((f"{place.name}/{path.stem}", path, place.name) for place in classes for path in images_in(place))


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
        _check_suffix(self, self.suffix)
        for field in ("separator", "group"):
            if getattr(self, field) is not None:
                check(self, field, str)

    @property
    def target(self) -> Target:
        return "single" if self.separator is None else "multi"

    def read(self, folder: Path) -> pd.DataFrame:
        grouped = () if self.group is None else (self.group,)
        placed = re.findall(r"\{([^{}]+)\}", self.folder)
        rows = read_csv(folder / self.csv, columns=(self.image, self.label, *grouped, *placed), spaced=True)
        if rows.empty:
            raise DataError(f"{folder / self.csv} has no rows; download the data again.")
        folders = [folder / place for place in _filled_in(self.folder, rows, placed)]
        names, paths, notes = self._images(rows[self.image], folders)
        for column in (self.label, *grouped):
            trimmed = rows[column].str.strip()
            notes += _trimmed(self.csv, rows[column], trimmed)
            rows[column] = trimmed
            empty = rows[column] == ""
            if empty.any() and not (column == self.label and self.separator is not None):
                name = names[empty].iloc[0]
                raise DataError(f"{self.csv} gives image {name!r} an empty {column!r}; fill it in or remove the row.")
        labels: Iterable[str | tuple[str, ...]] = rows[self.label]
        if self.separator is not None:
            parts = (text.split(self.separator) for text in rows[self.label])
            labels = [tuple(sorted({tag.strip() for tag in tags} - {""})) for tags in parts]
        groups = None if self.group is None else rows[self.group]
        return table(zip(names, paths, labels, strict=True), groups, notes)

    def _images(self, names: pd.Series[str], folders: Sequence[Path]) -> tuple[pd.Series[str], list[Path], list[str]]:
        """The name and the file of each row, and what was put up with; every image of the folders has its row."""
        import numpy as np

        stripped = names.str.strip()
        if (stripped == "").any():
            raise DataError(f"{self.csv} has a row with an empty {self.image!r}; name its image or remove the row.")
        anywhere = zip([*folders, *folders], [*names, *stripped], strict=True)
        places = [place for place in sorted({(folder / name).parent for folder, name in anywhere}) if _is_folder(place)]
        present = {path for place in places for path in images_in(place, self.suffix or None)}
        # A file's own name may begin or end with a space.
        whole = [folder / f"{name}{self.suffix}" in present for folder, name in zip(folders, names, strict=True)]
        bare = names.where(np.array(whole, dtype=bool), stripped)
        paths = [folder / f"{name}{self.suffix}" for folder, name in zip(folders, bare, strict=True)]
        missing = sorted(set(paths) - present)
        if missing:
            raise DataError(
                f"{len(missing)} of {len(paths)} rows of {self.csv} have no image, the first {missing[0]}; "
                "check `folder` and `suffix` of CsvLabels, or download the data again."
            )
        unlabelled = sorted(present - set(paths))
        if unlabelled and not self.shared:
            raise DataError(
                f"{len(unlabelled)} images have no row in {self.csv}, the first {unlabelled[0]}; "
                "add their labels or move them out of the folder; say shared=True if they are those to predict."
            )
        return bare, paths, [*_trimmed(self.csv, names, bare), *_of_other_suffixes(places, self.suffix or None)]


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


def _filled_in(template: str, rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The template of each row, with the row's values for ``{column}``."""
    filled = [template] * len(rows)
    for column in columns:
        filled = [
            text.replace(f"{{{column}}}", value.strip()) for text, value in zip(filled, rows[column], strict=True)
        ]
    return filled


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


@dataclass(frozen=True)
class LabelFunction:
    """Labels by a function of one's own: given the data folder, it returns the table (columns id, path, label).

    Images that share a value in its column ``group``, where it has one, are never on both sides of a split.
    """

    function: Callable[[Path], pd.DataFrame]
    target: Target = "single"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise wrong(self, "function", self.function, "a function of the data folder that returns the table")
        check(self, "target", str, one_of=("single", "multi"))

    def read(self, folder: Path) -> pd.DataFrame:
        import pandas as pd

        result = self.function(folder)
        name = getattr(self.function, "__name__", "the function")
        missing = {"id", "path", "label"} - set(getattr(result, "columns", ()))
        if not isinstance(result, pd.DataFrame) or missing:
            raise DataError(
                f"LabelFunction: {name} should return a DataFrame with the columns id, path and label, "
                f"but {', '.join(sorted(missing))} {'is' if len(missing) == 1 else 'are'} missing."
            )
        columns = zip(result["id"], result["path"], result["label"], strict=True)
        rows = [(str(image), Path(path), self._label(str(image), label)) for image, path, label in columns]
        absent = [path for _, path, _ in rows if not path.is_file()]
        if absent:
            raise DataError(
                f"LabelFunction: {name} names {len(absent)} images that don't exist, the first {absent[0]}."
            )
        if "group" not in result:
            return table(rows)
        ungrouped = result["group"].isna() | (result["group"].astype(str) == "")
        if ungrouped.any():
            image = str(result["id"][ungrouped].iloc[0])
            raise DataError(f"LabelFunction: image {image!r} has no group; give it one, or leave out the column.")
        return table(rows, result["group"].astype(str))

    def _label(self, image: str, found: Any) -> str | tuple[str, ...]:
        from pandas import isna

        if self.target == "single" and (isinstance(found, str) or not isinstance(found, Iterable)):
            if found != "" and not isna(found):
                return str(found)
        elif self.target == "multi" and isinstance(found, Iterable) and not isinstance(found, str):
            return tuple(sorted({str(tag) for tag in found}))
        wanted = "the name of its class" if self.target == "single" else "a list of its tags"
        # pandas takes the class names NA, null and None for missing values, unless it is told not to.
        advice = "; read it with comp.labels.read_csv if its name is NA or None" if _is_missing(found) else ""
        raise DataError(f"LabelFunction: image {image!r} has the label {found!r}, but it should be {wanted}{advice}.")


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


LabelSource = FileNames | Folders | CsvLabels | CsvColumns | LabelFunction


@dataclass(frozen=True)
class TestImages:
    """Where the images to predict are. Their ids are the file names without suffix (``with_suffix``: with it)."""

    __test__: ClassVar[bool] = False

    folder: str
    suffix: str = ""
    with_suffix: bool = False

    def __post_init__(self) -> None:
        check(self, "folder", str)
        check(self, "with_suffix", bool)
        _check_suffix(self, self.suffix)

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of the test images: ``id`` and ``path``."""
        notes = _of_other_suffixes([folder / self.folder], self.suffix or None)
        paths = images_in(folder / self.folder, self.suffix or None)
        names = [path.name if self.with_suffix else path.name[: -len(self.suffix or path.suffix)] for path in paths]
        return table(((name, path, "") for name, path in zip(names, paths, strict=True)), notes=notes)[["id", "path"]]


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


def read_csv(path: Path, columns: Sequence[str] = (), *, spaced: bool = False) -> pd.DataFrame:
    """A CSV with every value as the text it is (no NaN, no lost zeros); raises DataError for a missing column.

    spaced: spaces before values and around the columns' names are no part of them.
    """
    import pandas as pd

    try:
        # With its names as a first row: pandas would rename a second column of a name, and take a first one without
        # for the names of rows.
        frame = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=spaced
        ).fillna("")
    except FileNotFoundError:
        raise DataError(
            f"{path} doesn't exist; check its name in competition.py, or download the data again."
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} can't be read as a CSV: it is no UTF-8 text; save it as UTF-8.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"{path} can't be read as a CSV: {' '.join(str(error).split())}.") from None
    names = frame.iloc[0].str.strip() if spaced else frame.iloc[0]
    frame = frame.iloc[1:].reset_index(drop=True).set_axis(pd.Index(names.to_list()), axis=1)
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns[:10]))
        raise DataError(f"{path} has no column {missing[0]!r}; its columns are {found}.")
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise DataError(f"{path} has the column {doubled[0]!r} twice; remove one or rename it.")
    return frame


def _check_suffix(declaration: object, suffix: object) -> None:
    if not isinstance(suffix, str) or (suffix and not suffix.startswith(".")):
        raise wrong(declaration, "suffix", suffix, "empty or start with a dot, like '.jpg'")


def _of_other_suffixes(folders: Iterable[Path], suffix: str | None) -> list[str]:
    """A line that names the images of these folders that the suffix leaves out, if there are any."""
    if suffix is None:
        return []
    images = (path for folder in folders if folder.is_dir() for path in images_in(folder, required=False))
    others = [path for path in images if not path.name.lower().endswith(suffix.lower())]
    if not others:
        return []
    return [f"{len(others)} images do not end in {suffix!r} and are left out, the first {str(others[0])!r}"]


def images_in(folder: Path, suffix: str | None = None, *, required: bool = True) -> list[Path]:
    """The images right in a folder, sorted; hidden files are none.

    suffix: keep only files that end in it; without it, any of IMAGE_SUFFIXES.
    """
    if not folder.is_dir():
        raise DataError(
            f"The image folder {folder} doesn't exist; check its name in competition.py, or download the data."
        )
    wanted = tuple(IMAGE_SUFFIXES) if suffix is None else suffix.lower()
    found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(wanted) and path.name[0] != ".")
    if required and not found:
        raise DataError(f"{folder} holds no {suffix or 'image'} files; check its name in competition.py.")
    return found
