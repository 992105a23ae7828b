"""Find the label source that fits a competition's files: a table, class folders, or the names of images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any, Literal

import pandas as pd

from comp.declare.labels.coco import Coco
from comp.declare.labels.columns import CsvColumns, CsvLabels, CsvNumbers
from comp.declare.labels.files import FileNames
from comp.declare.labels.naming import Names
from comp.declare.labels.placing import filled
from comp.declare.labels.table import in_order
from comp.errors import DataError, counted, first_few
from comp.new.class_folders import counting, in_folders, names_classes
from comp.new.columns import FEW, Labels, labels_of
from comp.new.groups import GROUP_NAMES, body_of, group_of
from comp.new.look import ImageFolder, Look
from comp.new.matching import Asked, Fit, fit, in_json, suffix_of
from comp.new.sample import SampleTable, is_sample
from comp.new.several import Several, by_template, several
from comp.new.tables import Found, LabelTable, joined, of_parts, validating, with_validation

# Properties of image files, which nobody wants predicted.
MEASURED = r"(?i)(?:(?:image|img|file)[\W_]?)?(?:width|height|w|h|size|bytes|channels|aspect[\W_]?ratio)"
TRIED = 200  # values of a column that tell whether it names images


def find_labels(look: Look, asked: Asked, sample: SampleTable) -> Found:
    """The likeliest label source. Raises DataError where there is none."""
    others = (path for path, table in look.tables.items() if is_sample(path) and list(table) == list(sample.table))
    samples = {sample.path, *others}
    tables = {path: table for path, table in look.tables.items() if path not in samples and len(table)}
    single = [LabelTable(path, table) for path, table in tables.items()]
    in_tables: list[Found] = []
    best: Found | None = None
    for some, ways in (
        (single, (_in_table,)),
        (single, (_in_tree, _several)),
        (single, (_by_template,)),
        (joined(tables), (_in_table, _in_tree)),
    ):
        if best is None or not best.unique or best.rows < 1 - FEW or (some is not single and not best.known):
            in_tables += [found for table in some for way in ways for found in way(look, table, asked, sample)]
            best = max(in_tables, key=attrgetter("sure"), default=None)
    of_folders = list(in_folders(look, asked, sample))
    if best is not None:
        # A CSV that says no more than the class folders is only one more file that may be wrong.
        source, doubts = best.source, list(best.doubts)
        needless = isinstance(source, CsvLabels) and source.folder.endswith(f"{{{source.label}}}") and not source.group
        if isinstance(source, CsvNumbers) and not best.known and not sample.columns and of_folders:
            needless = all(re.fullmatch(MEASURED, column) for column in source.values)
            doubts.append(f"whether to predict these numbers and not the folders: {of_folders[0].seen}")
        # Where the sample submission answers with folders' names, the folders are the classes.
        told = not best.known and any(found.known for found in of_folders)
        if not (needless and of_folders) and not told:
            others = (path for path in tables if path != getattr(asked.source, "csv", "") and not is_sample(path))
            alike = [path for path in others if list(tables[path]) == list(tables[best.path])]
            if best.unnamed and set(alike) <= {best.path}:
                left = counted(best.unnamed, "image has", "images have")
                doubts.append(f"not trained on: {left} no row in {best.path}")
            if getattr(source, "image", "") in look.image_names:
                doubts.append(f"{best.path} seems to have no header: add one above its first row, which is not read")
            best = replace(best, doubts=tuple(doubts))
            return of_parts(look, best, tables) or with_validation(
                best, alike, lambda path: validating(look, source, tables[path], path)
            )
    in_jsons = list(_in_json(look, asked, sample))
    found = [*of_folders, *in_jsons, *_in_names(look, asked, sample)]
    if not found:
        raise DataError(_none_found(look, tables, asked))
    likeliest = max(found, key=attrgetter("sure"))
    if look.unlisted and likeliest in of_folders:
        raise DataError(f"{likeliest.seen}, but what is in {look.unlisted[0]} is not known.")
    sources = {one.path: one.source for one in in_jsons}
    return with_validation(likeliest, list(sources), sources.get)


def _none_found(look: Look, tables: Mapping[str, pd.DataFrame], asked: Asked) -> str:
    """The error message, by what comes nearest to labels: a table that names images, or a value that almost does."""
    lost = f"The labels can't be found{look.said_aside}"
    function = "a LabelFunction: docs/bring-your-own.md"
    left = [path for path in look.images if path not in asked.images]
    if not left:
        return (
            f"{lost}: all images are test images of the sample submission; put the labelled ones beside them, "
            "with a CSV that names them or in a folder for each class."
        )
    names = Names(left, roots=(PurePosixPath(),))
    for path, table in tables.items():
        for column in table.columns:
            values = table[column][:TRIED]
            if sum(names.find(value) is not None for value in values) * 2 > len(values):
                others = ", ".join(repr(other) for other in table.columns if other not in (column, ""))
                if table[column].is_unique:
                    return (
                        f"{lost}: {path} names the images in {column!r}, but its other columns ({others or 'none'}) "
                        f"have no labels; add a column of labels, or join the tables in {function}."
                    )
                return (
                    f"{lost}: {path} has several rows for an image named in {column!r} (other columns: {others}); "
                    f"make it one row for each image, with a column for each number or class, or read it in {function}."
                )
    columns = [(path, table[column]) for path, table in tables.items() for column in table.columns]
    # Without a near miss, a column of unique values was probably meant to name the images.
    like = next((one for one in columns if one[1].iloc[0] and names.nearest(one[1].iloc[0])), None)
    if missed := like or next((one for one in columns if one[1].is_unique), None):
        path, values = missed
        return (
            f"{lost}: {path} has {values.iloc[0]!r} in {values.name!r}"
            f"{names.instead_of(values.iloc[0])}; put the images' names into the column, or name them in {function}."
        )
    return (
        f"{lost}: no table names images like {left[0]}, it is in no class folder, and its name has no class; put "
        f"each class in a folder of its own, like train/cat and train/dog, or read the labels in {function}."
    )


def _in_table(look: Look, table: LabelTable, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """Images directly in one folder, or in sibling folders."""
    rows = table.rows
    values = {column: set(rows[column]) for column in rows.columns}
    fits = [
        (place, folders, column, fit([name for folder in folders for name in folder.names], values[column]))
        for place, folders in _places(look, asked)
        for column in rows.columns
    ]
    most = max((len(named.images) for *_, named in fits), default=0)
    for place, folders, column, named in fits:
        # With thousands of folders, a table may name all images of each: only fits with at least half as many images as
        # the largest one are kept. Where a column names half of the images, another column names the other half.
        if named.share <= 0.5 or len(named.images) * 2 < most:
            continue
        placed = place if len(folders) == 1 else _placed_by(rows, column, place, folders, named)
        labels = labels_of(rows, column, sample, re.findall(r"\{(.+)\}", placed or ""), asked.key)
        if placed is not None and labels is not None:
            known = {name.removesuffix(named.suffix) for name in named.images}
            found = _from_table(table, column, placed, named, known, labels, asked)
            # Where a table fits one folder and also all its siblings, the fit with more images wins.
            yield replace(found, sure=found.sure + len(named.images) / len(look.images))


def _in_tree(look: Look, table: LabelTable, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """Images anywhere below a folder, also by names that differ from their files'."""
    for place in sorted(look.largest_folders, key=lambda place: -len(PurePosixPath(place).parts)):
        if len(look.images_below[place]) * 2 < len(table.rows):
            continue
        below = [image for image in look.images_below[place] if image not in asked.images]
        names = Names(below, roots=(PurePosixPath(place), PurePosixPath()))
        for column in table.rows.columns:
            values = table.rows[column]
            if not below or sum(names.find(value) is not None for value in values[:TRIED]) * 2 < len(values[:TRIED]):
                continue
            images = {value: image for value in set(values) if (image := names.find(value)) is not None}
            labels = labels_of(table.rows, column, sample, (), asked.key) if len(images) * 2 >= len(below) else None
            if labels is not None:
                named = Fit(len(images) / len(below), suffix_of(images.values()), tuple(images.values()))
                found = _from_table(table, column, place, named, set(images), labels, asked)
                yield replace(found, sure=found.sure + len(images) / len(look.images))


def _several(look: Look, table: LabelTable, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    left = [image for image in look.images if image not in asked.images]
    for column in table.rows.columns:
        if table.rows[column].is_unique:
            found = several(left, set(table.rows[column]) - {""})
            if found is not None and not names_classes(column, found.images, sample):
                of_images = table.whole.drop(columns=counting(table.rows, column, found.images))
                yield from _of_several(found, column, left, replace(table, whole=of_images), asked, sample)


def _by_template(look: Look, table: LabelTable, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    left = [image for image in look.images if image not in asked.images]
    if (found := by_template(left, table.rows)) is not None:
        template, named = found
        rows = replace(table, whole=table.whole.assign(**{template: filled(template, table.whole)}))
        yield from _of_several(named, template, left, rows, asked, sample)


def _of_several(
    found: Several, column: str, left: Sequence[str], table: LabelTable, asked: Asked, sample: SampleTable
) -> Iterator[Found]:
    if len(found.images) * 2 < len(table.rows):
        return
    labels = labels_of(table.rows, column, sample, (), asked.key)
    if labels is not None:
        images = tuple(image for images in found.images.values() for image in images)
        named = Fit(len(images) / len(left), found.suffix, images)
        # Only the images of this folder count: the competition's other images may be elsewhere.
        there = sum(found.folder == "." or image.startswith(f"{found.folder}/") for image in left)
        yield _from_table(table, column, found.folder, named, set(found.images), labels, asked, there=there)


def _shares(place: str, asked: Asked) -> bool:
    """Whether test images are in a folder or below it."""
    start = "" if place == "." else f"{place.partition('{')[0].rstrip('/')}/"
    return any(image.startswith(start) for image in asked.images)


def _places(look: Look, asked: Asked) -> Iterator[tuple[str, list[ImageFolder]]]:
    """Each folder with possible training images, and each parent with its sibling folders."""
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
    """The parent with ``{column}`` for the column that names each image's folder; None where there is none."""
    lies_in = {name: folder.own_name for folder in folders for name in folder.names}
    values = table[column] + named.suffix
    there = values.isin(lies_in)
    lying = values[there].map(lies_in)
    for other in table.columns:
        if other != column and (table[other][there] == lying).all():
            return str(PurePosixPath(parent) / f"{{{other}}}")
    return None


def _from_table(
    table: LabelTable,
    image: str,
    folder: str,
    named: Fit,
    known: set[str],
    labels: Labels,
    asked: Asked,
    *,
    there: int | None = None,
) -> Found:
    """known: the values that name an image. there: the folder's images, if ``named.share`` counts others too."""
    rows, path = table.rows, table.path
    called = rows[image]
    lacking = ~(called.isin(known) | called.isin([f"{name}{named.suffix}" for name in known]))
    if labels.separator is None:
        lacking |= (rows[list(labels.columns)] == "").any(axis=1)
    incomplete = bool(0 < lacking.sum() <= FEW * len(rows))
    answer = _answer(rows, image, labels, named, asked)
    unnamed = (round(len(named.images) / named.share) if there is None else there) - len(named.images)
    classes = labels.columns if labels.target == "single" else ()
    group = group_of(rows, {image, answer, *labels.columns}, classes) or body_of(called[~lacking])
    rest: dict[str, Any] = {
        "image": image,
        "folder": folder,
        "suffix": named.suffix,
        "join": table.join,
        "shared": _shares(folder, asked) or unnamed > 0,
        "group": group,
        "answer": answer,
        "incomplete": incomplete,
        "where": (table.parts.column, table.parts.train) if table.parts else (),
    }
    source: CsvLabels | CsvColumns | CsvNumbers
    column = labels.columns[0] if len(labels.columns) == 1 else ""
    if labels.target == "number":
        source = CsvNumbers(path, values=labels.columns, **rest)
        said = f"numbers in {first_few(map(repr, labels.columns))}"
    elif not column:
        source = CsvColumns(path, labels=labels.columns, target=labels.target, **rest)
        ones = {"single": "exactly one of them 1 in each row", "multi": "any number of them 1 in each row"}
        how = ones.get(labels.target, "with fractions")
        said = f"a column for each of {len(labels.columns)} classes, {how}"
    else:
        source = CsvLabels(path, label=column, separator=labels.separator, **rest)
        together = labels.separator is not None and rows[column].str.contains(labels.separator, regex=False).any()
        tags = f"tags with {labels.separator!r} between them" if together else "tags, a row for each,"
        said = f"{len(labels.classes)} {'classes' if labels.separator is None else tags} in {column!r}"
    joined = f", joined with {table.join}," if table.join else ""
    seen, doubts = f"{path}{joined} names the images of {folder} in {image!r}, and has {said}", list(labels.doubts)
    if incomplete:
        some = f"{lacking.sum()} of {len(rows)} rows of {path}, the first {called[lacking].iloc[0]!r}"
        doubts.append(f"left out, without a label or an image: {some}")
    if asked.key is not None and answer is None and len(asked.images) > asked.answered and "*" not in named.suffix:
        doubts.append(f"an answer in {asked.key!r} combines several images, but each image validates by itself")
    if table.parts is not None:
        validate = f", those with {table.parts.valid!r} validate" if table.parts.valid else ""
        doubts.append(f"rows with {table.parts.train!r} in {table.parts.column!r} are trained on{validate}")
    share = 1 - float(lacking.mean())
    sure = labels.sure + named.share + share + rows[image].is_unique
    return Found(
        source,
        labels.classes,
        seen,
        sure,
        tuple(doubts),
        column,
        rows=share,
        path=path,
        known=labels.sure > 1,
        unique=rows[image].is_unique,
        unnamed=0 if _shares(folder, asked) or table.parts is not None else unnamed,
    )


def _answer(table: pd.DataFrame, image: str, labels: Labels, named: Fit, asked: Asked) -> str | None:
    """The column or template of each image's answer, where an answer combines several images, all with one label."""
    key = asked.key
    if key is None or key == image or "*" in named.suffix:
        return None
    if key not in table and asked.made_of and set(re.findall(r"\{([^{}]+)\}", asked.made_of)) <= set(table):
        key, table = asked.made_of, table.assign(**{asked.made_of: filled(asked.made_of, table)})
    if key not in table or table[key].is_unique:
        return None
    constant = (table.groupby(key)[list(labels.columns)].nunique() == 1).all(axis=None)
    return key if constant and (labels.separator is None or table[image].is_unique) else None


def _in_json(look: Look, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    for path, said in look.annotations.items():
        found = in_json(look, path, [said.files.get(image, image) for image in said.categories])
        if not said.categories or found is None or asked.images.intersection(found[1]):
            continue
        folder, images = found
        ids = {one for categories in said.categories.values() for one in categories}
        words = {word for value in set(sample.values) for word in value.split()}
        answers = {*sample.values, *words}
        # The sample submission's numbers may be of no labelled image.
        numbers = bool(words) and all(map(str.isdecimal, words | ids))
        by_id = (numbers or not answers.isdisjoint(ids)) and answers.isdisjoint(said.names.values())
        classes = in_order(ids if by_id else {said.names.get(one, one) for one in ids})
        tags = any(len(categories) > 1 for categories in said.categories.values())
        keys = dict.fromkeys(
            key for image in said.categories for key in said.images.get(image, ()) if re.search(GROUP_NAMES, key)
        )
        rows = [[min(ids), *(said.value(image, key) for key in keys)] for image, ids in said.categories.items()]
        group = group_of(pd.DataFrame(rows, columns=["", *keys], dtype=str), {""}, [] if tags else [""])
        target: Literal["single", "multi"] = "multi" if tags else "single"
        source = Coco(path, folder, target, classes="id" if by_id else "name", group=group)
        seen = f"{path} gives the images of {folder} {len(classes)} categories, by their {source.classes}"
        yield Found(source, classes, seen, 6 + len(images) / len(look.images), path=path)


def _in_names(look: Look, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """Classes at the start or the end of the images' names; numbers only if the sample submission has them."""
    for folder in (folder for folder in look.image_folders if folder != asked.folder):
        stems = [PurePosixPath(name).stem for name in folder.names]
        suffixes = {PurePosixPath(name).suffix for name in folder.names}
        suffix = suffixes.pop() if len(suffixes) == 1 else ".*"
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
