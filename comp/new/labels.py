"""The label source that fits a competition's files: in a table, in folders of classes, or in the names of images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from comp.declare.labels import ONE_OR_ZERO, CsvColumns, CsvLabels, FileNames, Folders, LabelSource, in_order
from comp.errors import DataError
from comp.new.look import ImageFolder, Look
from comp.new.matching import Asked, Fit, SampleTable, fit

SEPARATORS = ("|", ";", ",", " ")
LABEL_NAMES = r"label|class|target|category|species|breed|type|diagnosis|grade|level|tags?|answer"
GROUP_NAMES = r"patient|subject|lesion|study|series|sequence|individual|person|driver|slide|session|group|scene"
FEWEST_GROUPS = 4


@dataclass(frozen=True)
class Found:
    """A label source that fits, its classes in order, and what it was seen by.

    sure: how much speaks for it. doubts: what a person should look at. column: of the labels, if they have one.
    """

    source: LabelSource
    classes: tuple[str, ...]
    seen: str
    sure: float
    doubts: tuple[str, ...] = ()
    column: str = ""


@dataclass(frozen=True)
class Labels:
    """Which columns of a table hold the labels, and what they say; one column, or one of 0 and 1 for each class."""

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    sure: float
    separator: str | None = None
    single: bool = True
    doubts: tuple[str, ...] = ()


def find_labels(look: Look, asked: Asked, sample: SampleTable) -> Found:
    """The label source with the most to say for it. Raises DataError where there is none."""
    tables = {path: table for path, table in look.tables.items() if path != sample.path and len(table)}
    in_tables = [one for path, table in tables.items() for one in _in_table(look, path, table, asked, sample)]
    in_folders = list(_in_folders(look, asked))
    best = max(in_tables, key=lambda one: one.sure, default=None)
    if best is not None:
        # A CSV that tells no more than the folders do is one file more to go wrong.
        needless = isinstance(best.source, CsvLabels) and "{" in best.source.folder and best.source.group is None
        if not (needless and in_folders):
            return best
    found = [*in_folders, *_in_names(look, asked)]
    if not found:
        places = ", ".join(folder.path for folder in look.image_folders if folder != asked.folder) or "no other folder"
        raise DataError(
            f"The labels can't be found: no CSV names the images of {places}, and neither a folder of class folders "
            "nor file names tell; move each class to a folder of its own, like train/cat and train/dog."
        )
    return max(found, key=lambda one: one.sure)


def _in_table(look: Look, path: str, table: pd.DataFrame, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    total = sum(len(folder.names) for folder in look.image_folders)
    for place, folders in _places(look, asked):
        names = [name for folder in folders for name in folder.names]
        if asked.folder in folders:
            to_predict = set(asked.fit.images)
            names = [name for name in names if name not in to_predict]
        for column in table.columns:
            named = fit(names, set(table[column].str.strip()))
            if named.share < 0.5:
                continue
            where = place if len(folders) == 1 else _placed_by(table, column, place, folders, named)
            labels = _labels_of(table, column, sample, re.findall(r"\{(.+)\}", where or ""))
            if where is not None and labels is not None:
                found = _from_table(path, table, column, where, named, labels, shared=asked.folder in folders)
                # A table may name the images of a folder or of all beside it: the more images, the more that says.
                yield replace(found, sure=found.sure + len(named.images) / total)


def _places(look: Look, asked: Asked) -> Iterator[tuple[str, list[ImageFolder]]]:
    """Each folder of images that could be trained on, and the folders that lie together in another."""
    together = defaultdict(list)
    for folder in look.image_folders:
        if folder != asked.folder or asked.shared:
            yield folder.path, [folder]
        if folder != asked.folder:
            together[folder.parent].append(folder)
    yield from ((parent, folders) for parent, folders in together.items() if len(folders) > 1)


def _placed_by(table: pd.DataFrame, column: str, parent: str, folders: Sequence[ImageFolder], named: Fit) -> str | None:
    """The parent with ``{column}`` for the column that says in which of its folders an image lies."""
    lies_in = {name: folder.own_name for folder in folders for name in folder.names}
    values = table[column].str.strip() + named.suffix
    there = values.isin(lies_in)
    lying = values[there].map(lies_in)
    for other in table.columns:
        if other != column and (table[other][there].str.strip() == lying).all():
            return str(PurePosixPath(parent) / f"{{{other}}}")
    return None


def _labels_of(table: pd.DataFrame, image: str, sample: SampleTable, placing: Sequence[str]) -> Labels | None:
    """placing: the columns that say in which folder an image lies, as that of its class may."""
    others, asked = [column for column in table.columns if column != image], sample.columns
    if len(asked) > 1 and set(asked) <= set(others):
        return _one_column_each(table, asked, sure=3)
    if len(asked) > 1:
        for column in others:
            if set(table[column].str.strip()) - {""} == set(asked):
                return Labels((column,), in_order(asked), sure=3)
        for column in others:
            for separator in SEPARATORS:
                if _tags(table[column], separator) == set(asked):
                    return Labels((column,), in_order(asked), 3, separator, single=False)
    binary = [column for column in others if set(table[column].str.strip()) <= set(ONE_OR_ZERO)]
    if len(asked) == 1 and asked[0] not in others and len(binary) > 2:
        return _one_column_each(table, binary, sure=1, doubts=("which columns are classes",))
    able = [column for column in others if table[column].str.strip().nunique() > 1]

    def rank(column: str) -> tuple[bool, bool, bool, int]:
        words = bool(re.search(LABEL_NAMES, column.lower()))
        return column in asked, column in placing, words, -table[column].nunique()

    return _one_column(table, max(able, key=rank), sample) if able else None


def _one_column_each(
    table: pd.DataFrame, columns: Sequence[str], sure: float, doubts: tuple[str, ...] = ()
) -> Labels | None:
    values = table[list(columns)].apply(lambda column: column.str.strip())
    if not values.isin(list(ONE_OR_ZERO)).all(axis=None):
        return None
    ones = values.apply(lambda column: column.map(ONE_OR_ZERO)).sum(axis=1)
    return Labels(tuple(columns), in_order(columns), sure, single=bool((ones == 1).all()), doubts=doubts)


def _one_column(table: pd.DataFrame, column: str, sample: SampleTable) -> Labels | None:
    values, is_asked = table[column].str.strip(), column in sample.columns
    sure = 2.0 if is_asked else 1.0
    doubts = () if is_asked or len(table.columns) == 2 else (f"whether the labels are in {column!r}",)
    separator = _separator(values, sample.table.iloc[:, 1])
    if separator is not None:
        doubts = (*doubts, f"whether {column!r} has tags, or classes with {separator!r} in their names")
        return Labels((column,), in_order(_tags(values, separator)), sure, separator, single=False, doubts=doubts)
    classes = set(values) - {""}
    if len(classes) > max(len(table) * 0.5, 2) or "" in set(values):
        return None
    return Labels((column,), in_order(classes), sure, doubts=doubts)


def _separator(values: pd.Series[str], submitted: pd.Series[str]) -> str | None:
    """The separator of tags, if the values are tags: they make more combinations than there are of them.

    In a table of few rows the sample submission's values may tell, where most tags are in several combinations.
    """
    combinations = set(values)
    for separator in SEPARATORS:
        if not any(separator in value for value in combinations):
            continue
        tags = _tags(values, separator)
        uses = [sum(tag in value.split(separator) for value in combinations) for tag in tags]
        shown = submitted.str.contains(separator, regex=False).any()
        if len(tags) < len(combinations) or (shown and sum(use > 1 for use in uses) > len(tags) * 0.8):
            return separator
    return None


def _tags(values: pd.Series[str], separator: str) -> set[str]:
    return {tag.strip() for value in set(values) for tag in value.split(separator)} - {""}


def _from_table(
    path: str, table: pd.DataFrame, image: str, folder: str, named: Fit, labels: Labels, *, shared: bool
) -> Found:
    rest: dict[str, Any] = {
        "image": image,
        "folder": folder,
        "suffix": named.suffix,
        "shared": shared,
        "group": _group(table, {image, *labels.columns}),
    }
    source: LabelSource
    if len(labels.columns) > 1:
        source = CsvColumns(path, labels=labels.columns, target="single" if labels.single else "multi", **rest)
        ones = "just one of them 1 in a row" if labels.single else "any number of them 1 in a row"
        column, said = "", f"a column of 0 and 1 for each of {len(labels.columns)} classes, {ones}"
    else:
        column = labels.columns[0]
        source = CsvLabels(path, label=column, separator=labels.separator, **rest)
        what = "classes" if labels.single else f"tags with {labels.separator!r} between them"
        said = f"{len(labels.classes)} {what} in {column!r}"
    seen = f"{path} names the images of {folder} in {image!r}, and has {said}"
    sure = labels.sure + named.share + table[image].is_unique
    return Found(source, labels.classes, seen, sure, labels.doubts, column)


def _group(table: pd.DataFrame, taken: set[str]) -> str | None:
    """The column that says which images belong together."""
    for column in table.columns:
        values = table[column].str.strip()
        named = column not in taken and re.search(GROUP_NAMES, column.lower())
        if named and not (values == "").any() and FEWEST_GROUPS <= values.nunique() < len(values):
            return column
    return None


def _in_folders(look: Look, asked: Asked) -> Iterator[Found]:
    """A folder for each class, all in one that has no images of its own."""
    with_images = {folder.path for folder in look.image_folders}
    for parent in sorted({folder.parent for folder in look.image_folders} - {"."} - with_images):
        classes = look.folders_in(parent)
        if len(classes) > 1 and asked.folder.own_name not in classes and "test" not in parent.lower():
            seen = f"{parent} has a folder for each of {len(classes)} classes"
            yield Found(Folders(parent), in_order(classes), seen, sure=2)


def _in_names(look: Look, asked: Asked) -> Iterator[Found]:
    """Classes at the beginning or the end of the images' names."""
    for folder in (folder for folder in look.image_folders if folder != asked.folder):
        stems = [PurePosixPath(name).stem for name in folder.names]
        suffix = folder.suffixes.pop() if len(folder.suffixes) == 1 else ".*"
        for separator in (".", "_", "-", " "):
            tokens = [stem.split(separator) for stem in stems]
            for index, pattern in ((0, f"{{label}}{separator}*"), (-1, f"*{separator}{{label}}")):
                labels = {parts[index] for parts in tokens}
                several = all(len(parts) > 1 for parts in tokens) and 1 < len(labels) <= len(stems) / 3
                if several and all(re.fullmatch(r"[^\W\d_][\w ]*", label) for label in labels):
                    path = str(PurePosixPath(folder.path) / (pattern + suffix))
                    seen = f"the names of the images in {folder.path} have {len(labels)} classes in them"
                    doubts = () if index == 0 and separator == "." else ("whether that is the class",)
                    yield Found(FileNames(path), in_order(labels), seen, 1 - len(labels) / len(stems), doubts)
