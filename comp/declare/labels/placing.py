"""The rows of a CSV that names images, and their files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import compress, groupby, takewhile
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from comp.declare.checks import Declared
from comp.declare.labels.csv import Where, chosen, only_values, read_csv, trimmed, widened
from comp.declare.labels.files import (
    IMAGE_SUFFIXES,
    READ_BY,
    Suffix,
    images_below,
    images_in,
    images_of_answers,
    left_out,
    placed,
)
from comp.declare.labels.naming import Names
from comp.declare.labels.table import table
from comp.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.labels.table import Label


@dataclass(frozen=True)
class Rows(Declared):
    """Images that are named in the rows of a CSV.

    csv: the file, relative to the competition's data folder.
    image: the column that names the image, or a text with ``{column}``.
    folder, suffix: where the image of a row is: ``folder / (value of image + suffix)``. Leave the suffix empty where
        the column already has it. In the folder, ``{column}`` stands for the row's value of a column. A suffix with
        ``*`` gives a row several images, which are one answer: ``/*.png`` are those in the row's own folder.
    join: another CSV, whose columns are added by the values of the columns that both files have.
    group: the name of a column, or a regular expression for the images' names with one group in it, like
        ``(.+)_(?:left|right)``, matched in any case, with the suffix or without. Images that share its value are never
        on both sides of a split.
    answer: the name of a column, or a text with ``{column}``; images that share it have one label, and are predicted
        together.
    shared: the folder also has images without a row: the test images.
    incomplete: rows without a label or an image are left out, and counted.
    where: a column and the values of the rows that count, like ``["split", "train"]``; all rows, if empty.

    An image that isn't at this path is looked for in all folders below, by its name without suffix, in any case, and by
    its number without leading zeros; only one image may have that name.
    """

    csv: str
    image: str
    _: KW_ONLY
    folder: str
    suffix: Suffix = ""
    join: Literal[""] | str = ""
    group: str | None = None
    answer: str | None = None
    shared: bool = False
    incomplete: bool = False
    where: Where = ()

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        several = "*" in self.suffix
        yield "folder", several and _columns_in(self.folder), "without {column} where `suffix` has a *"


class Found(NamedTuple):
    """The rows of a CSV, indexed by their images, with trimmed labels; their files; and notes of what was tolerated."""

    rows: pd.DataFrame
    paths: list[str]
    groups: Sequence[str] | None
    answers: Sequence[str] | None
    notes: list[str]

    def table(self, labels: Sequence[Label]) -> pd.DataFrame:
        rows = {"id": self.rows.index.array, "path": self.paths, "label": labels}
        return table(self.notes, **rows, group=self.groups, answer=self.answers)


def _columns_in(template: str) -> list[str]:
    return re.findall(r"\{([^{}]+)\}", template)


def read_rows(
    source: Rows,
    folder: Path,
    labels: Sequence[str],
    separator: str | None = None,
    long: tuple[str, str] = ("", ""),
) -> Found:
    """Return the rows that have an image, with the columns of their labels.

    separator: stands between the tags of a label; an image with several rows has the tags of all of them. long: the
    pattern by which a row is named after its image and class, and the column of its value.
    """
    import numpy as np

    grouped = [] if source.group is None or "(" in source.group else [source.group]
    answer = source.answer if source.answer is None or _columns_in(source.answer) else f"{{{source.answer}}}"
    answering = _columns_in(answer or "")
    naming = _columns_in(source.image) or [source.image]
    of_image = (*grouped, *_columns_in(source.folder), *answering)
    wanted = (*naming, *(long[1:] if long[0] else labels), *of_image, *source.where[:1])
    rows = _joined(source, folder, wanted)
    read = rows.attrs["notes"]
    if source.group is not None and source.group in rows:
        grouped = [source.group]
    rows = chosen(rows, source.where, folder / source.csv).reset_index(drop=True)
    if source.image not in rows:
        rows[source.image] = filled(source.image, rows)
    if long[0]:
        rows = widened(rows, source.image, long[0], labels, long[1], dict.fromkeys(of_image))
    if separator is not None and not rows[source.image].is_unique:
        naming = list(dict.fromkeys([source.image, *_columns_in(source.folder), *answering]))
        for column in grouped:
            only_values(rows[column], rows[source.image].str.cat(rows[naming[1:]], sep=" of "))
        joined = {column: separator.join if column in labels else "first" for column in rows}
        rows = rows.groupby(naming, sort=False).agg(joined).reset_index(drop=True)
    called = rows[source.image]
    if source.incomplete:
        rows = rows[rows[source.image].str.strip() != ""]
    notes: list[str] = []
    if "*" in source.suffix:
        rows, names, paths = _several_images(source, folder / source.folder, rows)
    else:
        names, paths, notes = _find_images(source, folder, rows[source.image], filled(source.folder, rows))
    if source.incomplete:
        needed = list(labels) if separator is None else []
        labelled = (trimmed(rows[needed]) != "").all(axis=1)
        # Path objects would be slower; without the dtype, an empty list would select columns.
        there = np.array([has and os.path.isfile(path) for has, path in zip(labelled, paths, strict=True)], dtype=bool)  # noqa: PTH113
        rows, names, paths = rows[there], names[there], list(compress(paths, there))
        if len(left := called[~called.index.isin(rows.index)]):
            some = f"{len(left)} of {len(called)} rows, the first {left.iloc[0]!r}"
            notes.append(f"{source.csv}: left out, without a label or an image: {some}")
    notes += read
    for column in (*labels, *grouped):
        values = rows[column].str.strip()
        notes += _trimmed(source.csv, rows[column], values)
        rows[column] = values
    rows = rows.set_axis(names, axis=0)
    for column in (*grouped, *answering):
        require_filled(source.csv, rows, column)
    answers = filled(answer, rows) if answer else rows[source.image].to_list() if "*" in source.suffix else None
    if answer and (several := names.duplicated(keep=False)).any():
        named = zip(names, answers or (), several, strict=True)
        rows = rows.set_axis([f"{one}/{name}" if twice else name for name, one, twice in named], axis=0)
    return Found(rows, paths, _groups(source, rows), answers, notes)


def _joined(source: Rows, folder: Path, wanted: Sequence[str]) -> pd.DataFrame:
    """The rows of the CSV, joined with the other one's if given; raises DataError for a missing column."""
    rows = read_csv(folder / source.csv, columns=() if source.join else wanted, spaced=True)
    if not source.join:
        return rows
    other = read_csv(folder / source.join, spaced=True)
    shared = [str(column) for column in rows if column in other]
    missing = [column for column in wanted if column not in (*rows, *other)]
    if missing or not shared:
        lacks = f"has {missing[0]!r}" if missing else "has a column of the other"
        raise DataError(
            f"Neither {folder / source.csv} nor {source.join} {lacks}; their columns are {', '.join(rows.columns)} "
            f"and {', '.join(other.columns)}."
        )
    for part in (rows, other):
        part[shared] = trimmed(part[shared])
    whole = rows.merge(other, on=shared, how="left").fillna("")
    whole.attrs["notes"] = [*rows.attrs["notes"], *other.attrs["notes"]]
    return whole


def _groups(source: Rows, rows: pd.DataFrame) -> Sequence[str] | None:
    """The group of each row; an image that the pattern doesn't match is a group of its own."""
    if source.group is None:
        return None
    if source.group in rows:
        return rows[source.group].to_list()
    try:
        pattern = whole_names(source.group)
    except re.error:
        pattern = re.compile("")
    if pattern.groups != 1:
        raise DataError(
            f"{source.csv} has no column {source.group!r}, and it isn't a regular expression with one group either; "
            "check `group` in competition.py."
        )
    # Images of one row share the name in the row.
    names = rows[source.image] if "*" in source.suffix else rows.index.to_series()
    found = names.str.extract(pattern, expand=False)
    if len(found) and found.isna().all():
        raise DataError(
            f"{source.csv}: `group` {source.group!r} matches no image's name, like {names.iloc[0]!r}; correct it in "
            "competition.py."
        )
    return found.fillna(names).to_list()


def whole_names(pattern: str) -> re.Pattern[str]:
    """A pattern for images' names in any case, with their suffix or without."""
    suffixes = "|".join(map(re.escape, sorted({*IMAGE_SUFFIXES, *READ_BY})))
    return re.compile(f"^(?:{pattern})(?:{suffixes})?$", re.IGNORECASE)


def _several_images(source: Rows, place: Path, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index[str], list[str]]:
    """The rows, repeated for each of their images, and the images' names and files."""
    import pandas as pd

    rows = rows.assign(**{source.image: rows[source.image].str.strip()})
    if (doubled := rows[source.image].duplicated()).any():
        raise DataError(f"{source.csv} has two rows of {rows[source.image][doubled].iloc[0]!r}; remove one.")
    found = images_of_answers(place, source.suffix, source.image.count("/"))
    places = pd.Index(rows[source.image]).get_indexer(pd.Index(found["answer"]))
    missing = rows[source.image][~rows[source.image].isin(found["answer"])]
    if len(missing) and not source.incomplete:
        raise DataError(
            f"{len(missing)} of {len(rows)} rows of {source.csv} have no image, the first "
            f"{place / (missing.iloc[0] + source.suffix)}; check `folder` and `suffix`, or download the data again."
        )
    kept = [number for number, row in enumerate(places) if row >= 0]
    if len(kept) < len(places) and not (source.shared or source.incomplete):
        unlabelled = next(path for path, row in zip(found["path"], places, strict=True) if row < 0)
        raise DataError(_unlabelled(source, len(places) - len(kept), unlabelled))
    ids, paths = ([values[number] for number in kept] for values in (found["id"], found["path"]))
    return rows.iloc[places[kept]], pd.Index(ids), paths


def _unlabelled(source: Rows, count: int, first: object) -> str:
    return (
        f"{counted(count, 'image has', 'images have')} no row in {source.csv}, the first {first}; "
        "add their labels or move them out of the folder; say shared=True if they are the test images."
    )


def _find_images(
    source: Rows, root: Path, names: pd.Series[str], folders: Sequence[str]
) -> tuple[pd.Index[str], list[str], list[str]]:
    """The name and the file of each row, and notes; raises DataError for an image without a row unless `shared`.

    folders: the folder of each row's image, relative to the competition's.
    """
    import pandas as pd

    stripped = names.str.strip()
    if (stripped == "").any():
        raise DataError(f"{source.csv} has a row with an empty {source.image!r}; name its image or remove the row.")
    # A file's own name may begin or end with a space.
    bare = [
        name if name == short or os.path.isfile(root / folder / f"{name}{source.suffix}") else short  # noqa: PTH113
        for name, short, folder in zip(names, stripped, folders, strict=True)
    ]
    paths: list[str] = []
    for folder, of_it in groupby(zip(folders, bare, strict=True), key=itemgetter(0)):
        paths += placed(root / folder, [f"{name}{source.suffix}" for _, name in of_it])
    places = sorted(map(Path, {path.rpartition("/")[0] for path in paths}))
    # `Path.is_dir` raises for a name that is too long.
    listed = [images_in(place, source.suffix) for place in places if os.path.isdir(place)]  # noqa: PTH112
    present = {path for _, there, _ in listed for path in there}
    notes = left_out([path for _, _, others in listed for path in others], source.suffix)
    # Some rows' images aren't at their paths.
    if len(set(paths) & present) < len(set(paths)):
        paths, present, notes = _named_otherwise(source, root, folders, bare, paths, present)
    if (unlabelled := present.difference(paths)) and not source.shared:
        raise DataError(_unlabelled(source, len(unlabelled), min(map(Path, unlabelled))))
    whole = pd.Series(bare, names.index, dtype=object)
    return pd.Index(bare), paths, [*_trimmed(source.csv, names, whole), *notes]


def _named_otherwise(
    source: Rows, root: Path, folders: Sequence[str], names: Sequence[str], paths: Sequence[str], present: set[str]
) -> tuple[list[str], set[str], list[str]]:
    """The rows' files where some aren't at the declared paths, all files there are, and notes.

    A row without an image keeps its missing path, if such rows may be left out.
    """
    # The deepest folder above those that columns name.
    place = root.joinpath(*takewhile(lambda part: "{" not in part, Path(source.folder).parts))
    # The usual images, and those of the declared suffix, like .dcm.
    declared = images_below(place, source.suffix) if source.suffix else ()
    known = Names(dict.fromkeys([*images_below(place), *declared]), roots=(place, root))
    found = [
        path if path in present else known.find(name, within=str(root / folder))
        for name, path, folder in zip(names, paths, folders, strict=True)
    ]
    rows_of = Counter(found)
    # A file is the image of one row: another row that leads to it by a different name may mean a missing file.
    found = [None if path != asked and rows_of[path] > 1 else path for path, asked in zip(found, paths, strict=True)]
    missing = [index for index, path in enumerate(found) if path is None]
    if missing and not source.incomplete:
        first, instead = missing[0], known.instead_of(names[missing[0]])
        raise DataError(
            f"{len(missing)} of {len(paths)} rows of {source.csv} have no image, the first {Path(paths[first])}"
            f"{instead}; check `folder` and `suffix`, say incomplete=True to leave such rows out, or "
            "download the data again."
        )
    others = [(name, path) for name, path, asked in zip(names, found, paths, strict=True) if path not in (None, asked)]
    notes = []
    if others:
        name, path = others[0]
        called = counted(len(others), "image is", "images are")
        shown = (path or "").removeprefix(f"{root}/")
        notes = [f"{source.csv}: {called} found under another name, the first {name!r} is {shown}"]
    return [path or asked for path, asked in zip(found, paths, strict=True)], present | set(known.paths), notes


def filled(template: str, rows: pd.DataFrame) -> list[str]:
    """The template with each row's values for ``{column}``."""
    texts = [template] * len(rows)
    for column in _columns_in(template):
        values = zip(texts, rows[column].str.strip(), strict=True)
        texts = [text.replace(f"{{{column}}}", value) for text, value in values]
    return texts


def require_filled(csv: str, rows: pd.DataFrame, column: str) -> None:
    empty = rows[column] == ""
    if empty.any():
        image = rows.index[empty][0]
        raise DataError(f"{csv} gives image {image!r} an empty {column!r}; fill it in or remove the row.")


def _trimmed(csv: str, values: pd.Series[str], without: pd.Series[str]) -> list[str]:
    """A note of the values that had spaces around them, if any had."""
    changed = values[values != without]
    said = f"{csv}: spaces around {len(changed)} values of {values.name!s} are left out, the first"
    return [f"{said} {changed.iloc[0]!r}"] if len(changed) else []
