"""Images named in a CSV, and their labels: a column with the class or the tags, one for each class, or numbers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from comp.declare.checks import Declared, Rule, between
from comp.declare.labels.csv import numbers_in, read_csv
from comp.declare.labels.files import Suffix, all_placed, images_below, images_of_answers, left_out, names_in, placed
from comp.declare.labels.naming import Names
from comp.declare.labels.table import table
from comp.declare.metrics import Target
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.labels.table import Label

# What rounding may make of shares that sum to one.
ROUNDING = 1e-3
one_pair = Rule(lambda value: len(value) in (0, 2))
ONE_OR_ZERO = {"0": False, "0.0": False, "1": True, "1.0": True}


Where = Annotated[Sequence[str], one_pair, "a column and its value, like ['split', 'train']"]


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
        yield from _contradictions(self)

    @property
    def target(self) -> Target:
        return "single" if self.separator is None else "multi"

    def read(self, folder: Path) -> pd.DataFrame:
        found = _read_rows(self, folder, [self.label])
        rows = found.rows
        labels: Sequence[Label] = rows[self.label].array
        if self.separator is None:
            _require_filled(self.csv, rows, self.label)
        else:
            labels = [tuple(sorted(tags_in(text, self.separator))) for text in rows[self.label].to_list()]
        return found.table(labels)


@dataclass(frozen=True)
class CsvColumns(Declared):
    """Labels in a CSV that has a column for each class (plant-pathology: ``healthy,rust,scab,…``).

    labels: the names of these columns, which are those of the classes.
    target: ``single`` where just one of them is 1 in every row and the others 0, ``multi`` where any number may be;
        ``shares`` for soft labels, from 0 to 1, that sum to one, ``fractions`` where each stands alone.
    csv, image, folder, suffix, group, answer, shared, incomplete, where: as `CsvLabels` has
        them.
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
        yield from _contradictions(self)

    def read(self, folder: Path) -> pd.DataFrame:
        found = _read_rows(self, folder, self.labels)
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
        yield from _contradictions(self)
        yield "bounds", self.bounds and self.bounds[0] >= self.bounds[1], "the least and the most, like (0, 100)"

    def read(self, folder: Path) -> pd.DataFrame:
        found = _read_rows(self, folder, self.values)
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
        yield from _contradictions(self)

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of the test images, as `TestImages` gives it."""
        found = _read_rows(self, folder, [])
        return found.table([""] * len(found.paths)).drop(columns="label")


Source = CsvLabels | CsvColumns | CsvNumbers | CsvImages


class _Found(NamedTuple):
    """The rows of a CSV, named by their images, with trimmed labels; their files; and what was put up with."""

    rows: pd.DataFrame
    paths: list[str]
    groups: Sequence[str] | None
    answers: Sequence[str] | None
    notes: list[str]

    def table(self, labels: Sequence[Label]) -> pd.DataFrame:
        return table(self.rows.index.array, self.paths, labels, self.groups, self.notes, self.answers)


def _contradictions(source: Source) -> Iterator[tuple[str, object, str]]:
    several = "*" in source.suffix
    yield "folder", several and _columns_in(source.folder), "without {column} where `suffix` has a *"
    yield "answer", several and source.answer, "left out where `suffix` has a *: a row is an answer"


def _columns_in(template: str) -> list[str]:
    return re.findall(r"\{([^{}]+)\}", template)


def _read_rows(source: Source, folder: Path, labels: Sequence[str]) -> _Found:
    grouped = [] if source.group is None or "(" in source.group else [source.group]
    placing = _columns_in(source.folder)
    answer = source.answer if source.answer is None or _columns_in(source.answer) else f"{{{source.answer}}}"
    answering = _columns_in(answer or "")
    wanted = (source.image, *labels, *grouped, *placing, *answering, *source.where[:1])
    rows = read_csv(folder / source.csv, columns=wanted, spaced=True)
    read = rows.attrs["notes"]
    if source.where:
        column, value = source.where
        rows = rows[rows[column].str.strip() == value].reset_index(drop=True)
    if rows.empty:
        chosen = f" with {source.where[1]!r} in {source.where[0]!r}" if source.where else ""
        raise DataError(f"{folder / source.csv} has no rows{chosen}; check it, or download the data again.")
    if isinstance(source, CsvLabels) and source.separator is not None and not rows[source.image].is_unique:
        joined = {column: source.separator.join if column == source.label else "first" for column in rows}
        rows = rows.groupby(source.image, sort=False).agg(joined).reset_index(drop=True)
    count = len(rows)
    if source.incomplete:
        rows = rows[rows[source.image].str.strip() != ""]
    if "*" in source.suffix:
        rows, names, paths, notes = _several_images(source, folder / source.folder, rows)
    else:
        filled = _filled(source.folder, rows)
        folders = {place: str(folder / place) for place in set(filled)}
        names, paths, notes = _find_images(source, folder, rows[source.image], [folders[place] for place in filled])
    if source.incomplete:
        needed = list(labels) if getattr(source, "separator", None) is None else []
        filled = (rows[needed].apply(lambda column: column.str.strip()) != "").all(axis=1)
        # A Path of each would take longer.
        there = [full and os.path.isfile(path) for full, path in zip(filled, paths, strict=True)]  # noqa: PTH113
        rows, names, paths = rows[there], names[there], list(compress(paths, there))
        if len(rows) < count:
            notes.append(
                f"{source.csv}: {count - len(rows)} of {count} rows have no label or no image, and are left out"
            )
    notes += read
    for column in (*labels, *grouped):
        trimmed = rows[column].str.strip()
        notes += _trimmed(source.csv, rows[column], trimmed)
        rows[column] = trimmed
    rows = rows.set_axis(names, axis=0)
    for column in (*grouped, *answering):
        _require_filled(source.csv, rows, column)
    answers = _filled(answer, rows) if answer else None
    if "*" in source.suffix:
        answers = rows[source.image].to_list()
    return _Found(rows, paths, _groups(source, rows), answers, notes)


def _groups(source: Source, rows: pd.DataFrame) -> Sequence[str] | None:
    """The group of each row; by a pattern, that of an image whose name doesn't fit is its own."""
    if source.group is None:
        return None
    if source.group in rows:
        return rows[source.group].to_list()
    names = rows.index.to_series()
    return names.str.extract(f"^{source.group}$", expand=False).fillna(names).to_list()


def _several_images(
    source: Source, place: Path, rows: pd.DataFrame
) -> tuple[pd.DataFrame, pd.Index[str], list[str], list[str]]:
    """A row for each image of a row, the images' names and files, and what was put up with."""
    import pandas as pd

    rows = rows.assign(**{source.image: rows[source.image].str.strip()})
    if (doubled := rows[source.image].duplicated()).any():
        raise DataError(f"{source.csv} has two rows of {rows[source.image][doubled].iloc[0]!r}; remove one.")
    found = images_of_answers(place, source.suffix)
    places = pd.Index(rows[source.image]).get_indexer(pd.Index(found.answers))
    missing = rows[source.image][~rows[source.image].isin(found.answers)]
    lacking = f"{len(missing)} of {len(rows)} rows of {source.csv} have no image" if len(missing) else ""
    if lacking and not source.incomplete:
        raise DataError(
            f"{lacking}, the first {place / (missing.iloc[0] + source.suffix)}; check `folder` and `suffix`, or "
            "download the data again."
        )
    kept = [number for number, row in enumerate(places) if row >= 0]
    if len(kept) < len(places) and not (source.shared or source.incomplete):
        unlabelled = next(path for path, row in zip(found.paths, places, strict=True) if row < 0)
        raise DataError(_unlabelled(source, len(places) - len(kept), unlabelled))
    ids, paths = ([values[number] for number in kept] for values in (found.ids, found.paths))
    return rows.iloc[places[kept]], pd.Index(ids), paths, [f"{lacking} and are left out"] if lacking else []


def _unlabelled(source: Source, count: int, first: object) -> str:
    return (
        f"{count} images have no row in {source.csv}, the first {first}; "
        "add their labels or move them out of the folder; say shared=True if they are those to predict."
    )


def _find_images(
    source: Source, root: Path, names: pd.Series[str], folders: Sequence[str]
) -> tuple[pd.Index[str], list[str], list[str]]:
    """The name and the file of each row, and what was put up with; every image of the folders has its row."""
    import numpy as np
    import pandas as pd

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
    listed = [(str(place), *names_in(place, source.suffix, required=False)) for place in places]
    present = {path for place, names_there, _ in listed for path in all_placed(place, names_there)}
    others = [placed(place, name) for place, _, names_there in listed for name in names_there]
    if spaced:
        whole = np.array([path in present for path in paths], dtype=bool)
        bare = names.where(whole, stripped)
        paths = [path if is_whole else other for path, other, is_whole in zip(paths, without, whole, strict=True)]
    notes = [*_trimmed(source.csv, names, bare), *left_out(others, source.suffix)]
    # Where each row has an image of its own, none is missing.
    if len(set(paths) & present) < len(set(paths)):
        paths, present, found_otherwise = _named_otherwise(source, root, folders, bare.to_list(), paths, present)
        notes = [*_trimmed(source.csv, names, bare), *found_otherwise]
    if (unlabelled := present.difference(paths)) and not source.shared:
        raise DataError(_unlabelled(source, len(unlabelled), min(map(Path, unlabelled))))
    return pd.Index(bare.array), paths, notes


def _named_otherwise(
    source: Source, root: Path, folders: Sequence[str], names: Sequence[str], paths: Sequence[str], present: set[str]
) -> tuple[list[str], set[str], list[str]]:
    """The files where some are not just where the declaration says, all files there are, and what was put up with.

    A row that names no image keeps the path that isn't there, if such rows may be left out.
    """
    place = root / source.folder.partition("{")[0].rpartition("/")[0] if "{" in source.folder else root / source.folder
    known = Names(images_below(place), roots=(place, root))
    found = [
        path if path in present else known.find(name, within=folder)
        for name, path, folder in zip(names, paths, folders, strict=True)
    ]
    missing = [index for index, path in enumerate(found) if path is None]
    if missing and not source.incomplete:
        first, nearest = missing[0], known.nearest(names[missing[0]])
        like = f", where the nearest name is {nearest!r}" if nearest else ""
        raise DataError(
            f"{len(missing)} of {len(paths)} rows of {source.csv} have no image, the first {Path(paths[first])}{like}; "
            "check `folder` and `suffix`, say incomplete=True to leave such rows out, or download the data again."
        )
    others = [index for index, path in enumerate(found) if path not in (None, paths[index])]
    notes = []
    if others:
        first = others[0]
        shown = (found[first] or "").removeprefix(f"{root}/")
        notes = [f"{source.csv}: {len(others)} images are called otherwise, the first {names[first]!r} is {shown}"]
    return [path or asked for path, asked in zip(found, paths, strict=True)], present | set(known.paths), notes


def _filled(template: str, rows: pd.DataFrame) -> list[str]:
    """The template of each row, with the row's values for ``{column}``."""
    filled = [template] * len(rows)
    for column in _columns_in(template):
        values = zip(filled, rows[column].str.strip(), strict=True)
        filled = [text.replace(f"{{{column}}}", value) for text, value in values]
    return filled


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
