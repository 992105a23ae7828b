"""Label sources: from the raw files of a competition to its table.

The table has one row per image: ``id`` (text), ``path`` (a Path) and ``label``: the name of the class for a ``single``
target, a tuple of tag names for a ``multi`` one. A source that knows which images belong together (one patient's, one
scene's) adds ``group`` (text). Every image has its label and every label its image, or there is a DataError that names
them.
"""

from __future__ import annotations

import re
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
        regex = re.compile("".join({"{label}": "(?P<label>.+?)", "*": ".*"}.get(p, re.escape(p)) for p in pieces))
        rows = []
        for path in images_in(folder / pattern.parent, None if "*" in pattern.suffix else pattern.suffix or None):
            match = regex.fullmatch(path.name)
            if match is None:
                raise DataError(
                    f"{path} has no label: its name doesn't fit the pattern {self.pattern!r}; "
                    "mend the pattern in competition.py or remove the file."
                )
            rows.append((path.stem, path, match["label"]))
        return table(rows)


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
        loose = images_in(root, required=False)
        if loose:
            raise DataError(f"{loose[0]} has no label: it lies beside the class folders of {root} and not in one.")
        classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not classes:
            raise DataError(f"{root} holds no class folders; check `folder` of Folders in competition.py.")
        return table((f"{place.name}/{path.stem}", path, place.name) for place in classes for path in images_in(place))


@dataclass(frozen=True)
class CsvLabels:
    """Labels in a CSV: a column that names the image, a column with its class or with its separated tags.

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
        rows = read_csv(folder / self.csv, columns=(self.image, self.label, *grouped, *placed))
        images = [folder / place for place in _filled_in(self.folder, rows, placed)]
        paths = [place / f"{name}{self.suffix}" for place, name in zip(images, rows[self.image], strict=True)]
        present = {path for place in {path.parent for path in paths} for path in images_in(place, self.suffix or None)}
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
        labels: Iterable[str | tuple[str, ...]] = rows[self.label]
        for column in grouped if self.separator is not None else (self.label, *grouped):
            empty = rows[column] == ""
            if empty.any():
                name = rows[self.image][empty].iloc[0]
                raise DataError(f"{self.csv} gives image {name!r} an empty {column!r}; fill it in or remove the row.")
        if self.separator is not None:
            parts = (text.split(self.separator) for text in rows[self.label])
            labels = [tuple(sorted({tag.strip() for tag in tags} - {""})) for tags in parts]
        return table(
            zip(rows[self.image], paths, labels, strict=True), None if self.group is None else rows[self.group]
        )


def _filled_in(template: str, rows: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The template of each row, with the row's values for ``{column}``."""
    filled = [template] * len(rows)
    for column in columns:
        filled = [text.replace(f"{{{column}}}", value) for text, value in zip(filled, rows[column], strict=True)]
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
        rows = read_csv(folder / self.csv, columns=(self.image, *self.labels))
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
        raise DataError(f"LabelFunction: image {image!r} has the label {found!r}, but it should be {wanted}.")


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
        paths = images_in(folder / self.folder, self.suffix or None)
        names = [path.name if self.with_suffix else path.name[: -len(self.suffix or path.suffix)] for path in paths]
        return table((name, path, "") for name, path in zip(names, paths, strict=True))[["id", "path"]]


def table(rows: Iterable[tuple[str, Path, str | tuple[str, ...]]], groups: Iterable[str] | None = None) -> pd.DataFrame:
    """The table of these (id, path, label) rows, in the order of their ids; raises DataError for a doubled id."""
    import pandas as pd

    rows = list(rows)
    order = sorted(range(len(rows)), key=lambda row: rows[row][0])
    frame = pd.DataFrame([rows[row] for row in order], columns=["id", "path", "label"])
    if groups is not None:
        named = list(groups)
        frame["group"] = [named[row] for row in order]
    doubled = frame["id"][frame["id"].duplicated()]
    if len(doubled):
        raise DataError(
            f"{len(doubled)} ids occur more than once, the first {doubled.iloc[0]!r}; every image needs its own."
        )
    return frame


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


def read_csv(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV with every value as the text it is (no NaN, no lost zeros); raises DataError for a missing column."""
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(
            f"{path} doesn't exist; check its name in competition.py, or download the data again."
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as a CSV: {str(error).strip()}.") from None
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes the first column for row names then, and every value slips one column to the left.
        raise DataError(f"{path} can't be read as a CSV: its rows have more values than it has columns.")
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns[:10]))
        raise DataError(f"{path} has no column {missing[0]!r}; its columns are {found}.")
    return frame


def _check_suffix(declaration: object, suffix: object) -> None:
    if not isinstance(suffix, str) or (suffix and not suffix.startswith(".")):
        raise wrong(declaration, "suffix", suffix, "empty or start with a dot, like '.jpg'")


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
