"""The label source that fits a competition's files: in a table, in folders of classes, or in the names of images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from comp.declare.labels import (
    Coco,
    CsvColumns,
    CsvLabels,
    CsvNumbers,
    FileNames,
    Folders,
    LabelSource,
    in_order,
)
from comp.declare.labels.naming import Names
from comp.declare.own_images import PREPARED
from comp.errors import DataError
from comp.new.columns import FEW, TRIVIAL, Labels, labels_of
from comp.new.look import ImageFolder, Look
from comp.new.matching import Asked, Fit, fit, in_json, several, suffix_of
from comp.new.sample import SampleTable

GROUP_NAMES = (
    r"patient|subject|lesion|study|series|seq|individual|person|driver|slide|session|group|scene|location|site|video"
)
FEWEST_GROUPS = 4
# Of one body by name: 10_left and 10_right.
SIDES = r"(.+?)[_-](?:left|right|l|r)"
TRIED = 200  # values of a column that tell whether it names images
MOST_PARTS = 4
PARTS = {"train", "test", "valid", "val"}
# Folders that lie side by side, and are no classes.
NO_CLASSES = {"images", "image", "img", "imgs", "masks", "mask", "labels", "label", "annotations", "json", "xml"}


@dataclass(frozen=True)
class Found:
    """A label source that fits, its classes in order, and what it was seen by.

    sure: how much speaks for it. doubts: what a person should look at. column: of the labels, if they have one.
    rows: the share of a table's rows that name an image. path: of the table, if there is one.
    """

    source: LabelSource
    classes: tuple[str, ...]
    seen: str
    sure: float
    doubts: tuple[str, ...] = ()
    column: str = ""
    rows: float = 1.0
    path: str = ""


def find_labels(look: Look, asked: Asked, sample: SampleTable) -> Found:
    """The label source with the most to say for it. Raises DataError where there is none."""
    tables = {path: table for path, table in look.tables.items() if path != sample.path and len(table)}
    in_tables = [one for path, table in tables.items() for one in _in_table(look, path, table, asked, sample)]
    best = max(in_tables, key=_sureness, default=None)
    if best is None or best.rows < 1 - FEW:
        for path, table in tables.items():
            in_tables += [*_in_tree(look, path, table, asked, sample), *_several(look, path, table, asked, sample)]
        best = max(in_tables, key=_sureness, default=None)
    in_folders = list(_in_folders(look, asked, sample))
    if best is not None:
        # A CSV that tells no more than the folders do is one file more to go wrong.
        source = best.source
        needless = isinstance(source, CsvLabels) and source.folder.endswith(f"{{{source.label}}}") and not source.group
        if not (needless and in_folders):
            alike = [path for path in tables if path != best.path and list(tables[path]) == list(tables[best.path])]
            left = (f"images in {', '.join(alike)} are not trained on",) if alike else ()
            return replace(best, doubts=(*best.doubts, *left))
    found = [*in_folders, *_in_json(look, asked, sample), *_in_names(look, asked, sample)]
    if not found:
        raise DataError(_none_found(look, tables, asked))
    return max(found, key=_sureness)


def _sureness(found: Found) -> float:
    return found.sure


def _none_found(look: Look, tables: Mapping[str, pd.DataFrame], asked: Asked) -> str:
    """The nearest miss: a value of a table beside the name of an image, where there are both."""
    left = [path for path in look.images if path not in asked.images]
    if not left:
        return (
            "The labels can't be found: all images are those that the sample submission asks for; put the labelled "
            "images beside them, with a CSV that names them or in a folder for each class."
        )
    names = Names(left, roots=(PurePosixPath(),))
    for path, table in tables.items():
        for column in table.columns:
            values = table[column].str.strip()[:TRIED]
            if sum(names.find(value) is not None for value in values) * 2 > len(values):
                others = ", ".join(repr(other) for other in table.columns if other not in (column, ""))
                return (
                    f"The labels can't be found: {path} names the images in {column!r}, but beside it has "
                    f"{others or 'no column'}, with no classes, tags or numbers of these images; put the labels beside "
                    "the names, or join the tables in a LabelFunction."
                )
    columns = [(path, table[column].str.strip()) for path, table in tables.items() for column in table.columns]
    # Else a column that tells its rows apart was meant to, like one that counts them.
    like = next((one for one in columns if one[1].iloc[0] and names.nearest(one[1].iloc[0])), None)
    if missed := like or next((one for one in columns if one[1].is_unique), None):
        path, values = missed
        return (
            f"The labels can't be found: {path} has {values.iloc[0]!r} in {values.name!r}"
            f"{names.instead_of(values.iloc[0])}; let the column have the images' names, or name its images with "
            "LabelFunction."
        )
    return (
        f"The labels can't be found: no table names an image like {left[0]}, it lies in no class folder, and its name "
        "has no class; put each class in a folder of its own, like train/cat and train/dog."
    )


def _in_table(look: Look, path: str, table: pd.DataFrame, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """Images right in one folder, or in folders that lie together."""
    where, table = _part(table)
    values = {column: set(table[column].str.strip()) for column in table.columns}
    fits = [
        (place, folders, column, fit([name for folder in folders for name in folder.names], values[column]))
        for place, folders in _places(look, asked)
        for column in table.columns
    ]
    most = max((len(named.images) for *_, named in fits), default=0)
    for place, folders, column, named in fits:
        # Of thousands of folders each may be named as a whole, and all of them together.
        if named.share < 0.5 or len(named.images) * 2 < most:
            continue
        placed = place if len(folders) == 1 else _placed_by(table, column, place, folders, named)
        labels = labels_of(table, column, sample, re.findall(r"\{(.+)\}", placed or ""), asked.key)
        if placed is not None and labels is not None:
            known = {name.removesuffix(named.suffix) for name in named.images}
            found = _from_table(path, table, column, placed, named, known, labels, where, asked)
            # A table may name the images of a folder or of all beside it: the more images, the more that says.
            yield replace(found, sure=found.sure + len(named.images) / len(look.images))


def _in_tree(look: Look, path: str, table: pd.DataFrame, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """Images in folders below one, or called otherwise than their files."""
    where, table = _part(table)
    for place in sorted(look.largest_folders, key=lambda place: -len(PurePosixPath(place).parts)):
        below = [image for image in look.images_below[place] if image not in asked.images]
        names = Names(below, roots=(PurePosixPath(place), PurePosixPath()))
        for column in table.columns:
            values = table[column].str.strip()
            if not below or sum(names.find(value) is not None for value in values[:TRIED]) * 2 < len(values[:TRIED]):
                continue
            images = {value: image for value in set(values) if (image := names.find(value)) is not None}
            labels = labels_of(table, column, sample, (), asked.key) if len(images) * 2 >= len(below) else None
            if labels is not None:
                named = Fit(len(images) / len(below), suffix_of(images.values()), tuple(images.values()))
                yield _from_table(path, table, column, place, named, set(images), labels, where, asked)


def _several(look: Look, path: str, table: pd.DataFrame, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """Several images for each row."""
    where, table = _part(table)
    left = [image for image in look.images if image not in asked.images]
    for column in table.columns:
        found = several(left, set(table[column].str.strip()) - {""}) if table[column].is_unique else None
        if found is None or len(found.images) * 2 < len(table):
            continue
        labels = labels_of(table, column, sample, (), asked.key)
        if labels is not None:
            images = tuple(image for images in found.images.values() for image in images)
            named = Fit(len(images) / len(left), found.suffix, images)
            yield _from_table(path, table, column, found.folder, named, set(found.images), labels, where, asked)


def _part(table: pd.DataFrame) -> tuple[Sequence[str], pd.DataFrame]:
    """The column and its value that rows to train on have, and these rows; all where no column says so."""
    for column in table.columns:
        values = table[column].str.strip()
        parts = set(values)
        if {"train", "test"} <= {part.lower() for part in parts} and len(parts) <= MOST_PARTS:
            train = next(part for part in parts if part.lower() == "train")
            return (column, train), table[values == train].drop(columns=column)
    return (), table


def _shares(place: str, asked: Asked) -> bool:
    """Whether images to predict lie in a folder, or below it."""
    start = "" if place == "." else f"{place.partition('{')[0].rstrip('/')}/"
    return any(image.startswith(start) for image in asked.images)


def _places(look: Look, asked: Asked) -> Iterator[tuple[str, list[ImageFolder]]]:
    """Each folder of images that could be trained on, and the folders that lie together in another."""
    together = defaultdict(list)
    for whole in look.image_folders:
        names = tuple(name for name in whole.names if str(PurePosixPath(whole.path, name)) not in asked.images)
        folder = ImageFolder(whole.path, names)
        if names and (asked.folder is None or folder.path != asked.folder.path or asked.shared):
            yield folder.path, [folder]
        if names and (asked.folder is None or folder.path != asked.folder.path):
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


def _from_table(
    path: str,
    table: pd.DataFrame,
    image: str,
    folder: str,
    named: Fit,
    known: set[str],
    labels: Labels,
    where: Sequence[str],
    asked: Asked,
) -> Found:
    """known: the values that name an image."""
    called = table[image].str.strip()
    lacking = ~(called.isin(known) | called.isin([f"{name}{named.suffix}" for name in known]))
    if labels.separator is None:
        lacking |= (table[list(labels.columns)].apply(lambda column: column.str.strip()) == "").any(axis=1)
    incomplete = bool(0 < lacking.sum() <= FEW * len(table))
    group = _group(table, {image, *labels.columns}) or _body(called[~lacking])
    answer = _answer(table, image, labels, named, asked)
    rest: dict[str, Any] = {
        "image": image,
        "folder": folder,
        "suffix": named.suffix,
        "shared": _shares(folder, asked),
        "group": None if group == answer else group,
        "answer": answer,
        "incomplete": incomplete,
        "where": where,
    }
    source: LabelSource
    column = labels.columns[0] if len(labels.columns) == 1 else ""
    if labels.target == "number":
        source = CsvNumbers(path, values=labels.columns, **rest)
        said = f"numbers in {', '.join(map(repr, labels.columns[:5]))}"
    elif not column:
        target = labels.target or ("single" if labels.single else "multi")
        source = CsvColumns(path, labels=labels.columns, target=target, **rest)
        ones = {"single": "just one of them 1 in a row", "multi": "any number of them 1 in a row"}
        said = f"a column for each of {len(labels.columns)} classes, {ones.get(target, 'fractions that tell how much')}"
    else:
        source = CsvLabels(path, label=column, separator=labels.separator, **rest)
        what = "classes" if labels.single else f"tags with {labels.separator!r} between them"
        said = f"{len(labels.classes)} {what} in {column!r}"
    seen = f"{path} names the images of {folder} in {image!r}, and has {said}"
    doubts = labels.doubts
    if incomplete:
        doubts = (
            *doubts,
            f"{lacking.sum()} of {len(table)} rows of {path} have no label or no image, and are left out",
        )
    if where:
        doubts = (*doubts, f"only rows with {where[1]!r} in {where[0]!r} are trained on")
    rows = 1 - float(lacking.mean())
    sure = labels.sure + named.share + rows + table[image].is_unique
    return Found(source, labels.classes, seen, sure, doubts, column, rows, path)


def _answer(table: pd.DataFrame, image: str, labels: Labels, named: Fit, asked: Asked) -> str | None:
    """The column that says which images are predicted together, where each such answer has one label."""
    key = asked.key
    if key is None or key == image or key not in table or "*" in named.suffix or table[key].is_unique:
        return None
    constant = (table.groupby(key)[list(labels.columns)].nunique() == 1).all(axis=None)
    return key if constant and labels.separator is None else None


def _group(table: pd.DataFrame, taken: set[str]) -> str | None:
    """The column that says which images belong together."""
    for column in table.columns:
        values = table[column].str.strip()
        named = column not in taken and re.search(GROUP_NAMES, column.lower())
        if named and not (values == "").any() and FEWEST_GROUPS <= values.nunique() < len(values):
            return column
    return None


def _body(called: pd.Series[str]) -> str | None:
    """A pattern of the images' names, where most are the left or the right of one body."""
    bodies = called.str.extract(SIDES, flags=re.IGNORECASE)[0] if len(called) else called
    paired = bodies.dropna()
    return SIDES if len(paired) == len(called) > 0 and paired.duplicated(keep=False).mean() > 0.5 else None


def _in_folders(look: Look, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """A folder for each class, all in one that has no images of its own; also beside the folder of those to predict."""
    below = [folder for folder in look.image_folders if folder.path != "."]
    # Those with images of their own, and not only images to predict.
    own = {folder.path for folder in below if any(f"{folder.path}/{name}" not in asked.images for name in folder.names)}
    for parent in sorted({folder.parent for folder in below} - {folder.path for folder in below}):
        places = look.folders_in(parent)
        other = [name for name in places if str(PurePosixPath(parent, name)) not in own]
        classes = [name for name in places if name not in other]
        called = {name.lower() for name in classes}
        if len(classes) < 2 or "test" in parent.lower() or called <= NO_CLASSES or (parent == "." and called & PARTS):
            continue
        known = bool(set(sample.values) & set(classes)) or set(sample.columns) == set(classes)
        sure = 2 + known + ("train" in parent.lower()) + len(look.images_below[parent]) / len(look.files)
        seen = f"{parent} has a folder for each of {len(classes)} classes"
        odd = len(sample.values) and not known and not set(sample.values) <= TRIVIAL
        doubts = (f"whether {', '.join(classes[:3])} are the classes",) if odd else ()
        valid = _given_validation(look, parent, classes)
        if valid:
            seen = f"{seen}; those in {valid} validate"
        if parent == "." and not sample.columns:
            other = [*other, PREPARED]
        yield Found(Folders(parent, without=other, valid=valid), in_order(classes), seen, sure, doubts)


def _given_validation(look: Look, parent: str, classes: Sequence[str]) -> str:
    """The folder beside one of class folders that has the images to validate on, if there is one."""
    path = PurePosixPath(parent)
    beside = str(path.parent)
    for name in look.folders_in(beside) if "train" in path.name.lower() else ():
        place = str(PurePosixPath(beside, name))
        inside = {folder.own_name for folder in look.image_folders if folder.parent == place}
        if re.match("val|dev", name.lower()) and inside and inside <= set(classes):
            return place
    return ""


def _in_json(look: Look, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """Images and their categories in COCO's JSON."""
    for path, said in look.annotations.items():
        found = in_json(look, path, [said.files.get(image, image) for image in said.categories])
        if not said.categories or found is None or asked.images.intersection(found[1]):
            continue
        folder, images = found
        ids = {one for categories in said.categories.values() for one in categories}
        by_id = bool(set(sample.values) & ids) and not set(sample.values) & set(said.names.values())
        classes = in_order(ids if by_id else {said.names.get(one, one) for one in ids})
        tags = any(len(categories) > 1 for categories in said.categories.values())
        source = Coco(path, folder, target="multi" if tags else "single", classes="id" if by_id else "name")
        seen = f"{path} gives the images of {folder} {len(classes)} categories, by their {source.classes}"
        others = [other for other, known in look.annotations.items() if other != path and known.categories]
        doubts = (f"images in {', '.join(others)} are not trained on",) if others else ()
        yield Found(source, classes, seen, 6 + len(images) / len(look.images), doubts)


def _in_names(look: Look, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """Classes at the beginning or the end of the images' names; numbers only if the sample submission has them."""
    for folder in (folder for folder in look.image_folders if folder != asked.folder):
        stems = [PurePosixPath(name).stem for name in folder.names]
        suffix = folder.suffixes.pop() if len(folder.suffixes) == 1 else ".*"
        for separator in (".", "_", "-", " "):
            tokens = [stem.split(separator) for stem in stems]
            for index, pattern in ((0, f"{{label}}{separator}*"), (-1, f"*{separator}{{label}}")):
                labels = {parts[index] for parts in tokens}
                several = all(len(parts) > 1 for parts in tokens) and 1 < len(labels) <= len(stems) / 3
                words = all(re.fullmatch(r"[^\W\d_][\w ]*", label) for label in labels)
                numbers = all(map(str.isdecimal, labels)) and labels >= set(sample.values)
                if several and (words or numbers):
                    path = str(PurePosixPath(folder.path) / (pattern + suffix))
                    seen = f"the names of the images in {folder.path} have {len(labels)} classes in them"
                    doubts = () if index == 0 and separator == "." else ("whether that is the class",)
                    yield Found(FileNames(path), in_order(labels), seen, 1 - len(labels) / len(stems), doubts)
