"""The label source that fits a competition's files: in a table, in folders of classes, or in the names of images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from pathlib import PurePosixPath
from posixpath import basename, dirname, splitext
from typing import Literal

import pandas as pd

from comp.declare.labels.coco import Coco
from comp.declare.labels.columns import CsvLabels, CsvNumbers
from comp.declare.labels.files import FileNames
from comp.declare.labels.placing import filled, whole_names
from comp.declare.labels.table import in_order
from comp.errors import DataError
from comp.new.asked import Asked
from comp.new.class_folders import FEWEST_GROUPS, class_folders, counting, names_classes
from comp.new.columns import FEW, Labels, labels_of
from comp.new.look import WORD, Images, Look
from comp.new.matching import TRIED, Named, Way, beginning, below_folders, by_template, in_folders, in_json
from comp.new.sample import SampleTable, is_sample
from comp.new.tables import CsvSource, Found, LabelTable, joined, source_of
from comp.new.validating import of_parts, validating, with_validation

GROUP_NAMES = (
    rf"{WORD}(?i:patient|subject|lesion|study|series|seq|individual|person|driver|slide|session|scene|location|site"
    r"|video|(?<!age)(?<!age[_ -])group)"
)
# Where groups are parts of larger ones, so many of these make five folds.
ENOUGH_GROUPS = 10
# Of thousands of folders in which a table names images, those with the most are looked at.
MOST_WAYS = 20
# Of one body by name: 10_left and 10_right.
SIDES = r"(.+?)[_-](?:left|right|l|r)"
# Numbers that a file has by itself, and nobody wrote down to be predicted.
MEASURED = r"(?i)(?:(?:image|img|file)[\W_]?)?(?:width|height|w|h|size|bytes|channels|aspect[\W_]?ratio)"


def find_labels(look: Look, asked: Asked, sample: SampleTable) -> Found:
    """The label source with the most to say for it. Raises DataError where there is none."""
    others = (path for path, table in look.tables.items() if is_sample(path) and list(table) == list(sample.table))
    samples = {sample.path, *others}
    tables = {path: table for path, table in look.tables.items() if path not in samples and len(table)}
    single, left = [LabelTable(path, table) for path, table in tables.items()], look.images.without(asked.images)
    best: Found | None = None
    in_tables: list[Found] = []
    for some, ways in (
        (single, (in_folders,)),
        (single, (below_folders, beginning)),
        (single, (None,)),
        (joined(tables), (in_folders, below_folders)),
    ):
        if best is None or not best.unique or best.rows < 1 - FEW or (some is not single and not best.known):
            in_tables += [
                found for table in some for way in ways for found in _in_table(left, table, asked, sample, way)
            ]
            best = max(in_tables, key=attrgetter("sure"), default=None)
    of_folders = list(class_folders(look, asked, sample))
    if best is not None and isinstance(best.source, CsvSource):
        # A CSV that tells no more than the folders do is one file more to go wrong.
        source = best.source
        needless = isinstance(source, CsvLabels) and source.folder.endswith(f"{{{source.label}}}") and not source.group
        if isinstance(source, CsvNumbers) and not best.known and not sample.columns and of_folders:
            needless = all(re.fullmatch(MEASURED, column) for column in source.values)
            doubt = f"whether they are to be predicted, and not the folders: {of_folders[0].seen}"
            best = replace(best, doubts=(*best.doubts, doubt))
        # What is answered with folders' names has them for classes.
        told = not best.known and any(found.known for found in of_folders)
        if not (needless and of_folders) and not told:
            others = (path for path in tables if path != getattr(asked.source, "csv", "") and not is_sample(path))
            alike = [path for path in others if list(tables[path]) == list(tables[best.path])]
            return of_parts(look, best, tables[best.path]) or with_validation(
                best, alike, lambda path: validating(look, replace(source, csv=path), tables[path])
            )
    in_jsons = list(_in_json(look, left, sample))
    found = [*of_folders, *in_jsons, *_in_names(left, sample)]
    if not found:
        raise DataError(_none_found(look, tables, left))
    likeliest = max(found, key=attrgetter("sure"))
    if look.unlisted and likeliest in of_folders:
        raise DataError(f"{likeliest.seen}, but what is in {look.unlisted[0]} is not known.")
    sources = {one.path: one.source for one in in_jsons}
    return with_validation(likeliest, list(sources), sources.get)


def _none_found(look: Look, tables: Mapping[str, pd.DataFrame], left: Images) -> str:
    """The nearest miss: a value of a table beside the name of an image, where there are both."""
    lost = f"The labels can't be found{look.said_aside}"
    if not left.paths:
        return (
            f"{lost}: all images are those that the sample submission asks for; put the labelled "
            "images beside them, with a CSV that names them or in a folder for each class."
        )
    names = left.called(".")
    columns = [(path, table[column]) for path, table in tables.items() for column in table]
    for path, values in columns:
        if sum(names.find(value) is not None for value in values[:TRIED]) * 2 <= len(values[:TRIED]):
            continue
        others = ", ".join(repr(other) for other in tables[path] if other not in (values.name, ""))
        if values.is_unique:
            return (
                f"{lost}: {path} names the images in {values.name!r}, but beside it has {others or 'no column'}, with "
                "no classes, tags or numbers of these images; put the labels beside the names, or join the tables in a "
                "LabelFunction: docs/bring-your-own.md."
            )
        return (
            f"{lost}: {path} has several rows of an image that it names in {values.name!r}, and beside it {others}; "
            "make it one row for each image, with a column for each number or class, or read it in a LabelFunction: "
            "docs/bring-your-own.md."
        )
    # Else a column that tells its rows apart was meant to, like one that counts them.
    like = next((one for one in columns if one[1].iloc[0] and names.nearest(one[1].iloc[0])), None)
    if missed := like or next((one for one in columns if one[1].is_unique), None):
        path, values = missed
        return (
            f"{lost}: {path} has {values.iloc[0]!r} in {values.name!r}"
            f"{names.instead_of(values.iloc[0])}; let the column have the images' names, or name its images with "
            "LabelFunction: docs/bring-your-own.md."
        )
    return (
        f"{lost}: no table names an image like {left.paths[0]}, it lies in no class folder, and its name "
        "has no class; put each class in a folder of its own, like train/cat and train/dog."
    )


def _in_table(images: Images, table: LabelTable, asked: Asked, sample: SampleTable, way: Way | None) -> Iterator[Found]:
    """What a table says of the images that the values of its columns name in a way, or several columns together."""
    rows = table.rows
    ways = [(str(column), named) for column in rows if way for named in way(images, rows[column])]
    if way is None and (template := by_template(images, rows)):
        ways, whole = [template], table.whole
        table = replace(table, whole=whole.assign(**{template[0]: filled(template[0], whole)}))
    most = max((len(named.images) for _, named in ways), default=0)
    for column, named in sorted(ways, key=lambda way: -len(way[1].images))[:MOST_WAYS]:
        # Of thousands of folders each may be named as a whole, and all of them together. Half are one of two columns'.
        several = len(named.paths) > len(named.images)
        if named.share <= 0.5 or len(named.images) * 2 < max(most, len(rows) if several else 0):
            continue
        if several and names_classes(column, named.images, sample):
            continue
        of_images = replace(table, whole=table.whole.drop(columns=counting(table.rows, column, named.images)))
        named = _placed(of_images.rows, column, named)
        if labels := labels_of(of_images.rows, column, sample, re.findall(r"\{(.+)\}", named.folder), asked.key):
            found = _from_table(of_images, column, named, labels, asked)
            # A table may name the images of a folder or of all beside it: the more images, the more that says.
            yield replace(found, sure=found.sure + len(named.paths) / len(images.paths))


def _placed(table: pd.DataFrame, column: str, named: Named) -> Named:
    """The same with ``{column}`` for the folders below, where a column says in which an image lies."""
    if len(named.paths) > len(named.images) or len({dirname(path) for path in named.paths}) < 2:
        return named
    start = "" if named.folder == "." else f"{named.folder}/"
    lies_in = table[column].map({value: dirname(path) for value, [path] in named.images.items()}).dropna()
    for other in table:
        if other != column and (table[other][lies_in.index].radd(start) == lies_in).all():
            endings = {basename(path).removeprefix(value) for value, [path] in named.images.items()}
            suffix = endings.pop() if len(endings) == 1 else ""
            return replace(named, folder=f"{start}{{{other}}}", suffix=suffix)
    return named


def _from_table(table: LabelTable, image: str, named: Named, labels: Labels, asked: Asked) -> Found:
    rows, path = table.rows, table.path
    called = rows[image]
    lacking = ~called.isin(named.images.keys())
    if labels.separator is None:
        lacking |= (rows[list(labels.columns)] == "").any(axis=1)
    incomplete = bool(0 < lacking.sum() <= FEW * len(rows))
    answer = _answer(rows, image, labels, named, asked)
    start = "" if named.folder == "." else f"{named.folder.partition('{')[0].rstrip('/')}/"
    source = source_of(
        path,
        labels,
        image=image,
        folder=named.folder,
        suffix=named.suffix,
        join=table.join,
        shared=any(path.startswith(start) for path in asked.images),
        group=_group(rows, {image, answer, *labels.columns}) or _body(called[~lacking]),
        answer=answer,
        incomplete=incomplete,
        where=table.where,
    )
    joined = f", joined with {table.join}," if table.join else ""
    seen = f"{path}{joined} names the images of {named.folder} in {image!r}, and has {labels.said}"
    doubts = list(labels.doubts)
    if incomplete:
        some = f"{lacking.sum()} of {len(rows)} rows of {path}"
        doubts.append(f"{some} have no label or no image, the first {called[lacking].iloc[0]!r}, and are left out")
    if asked.key is not None and answer is None and len(asked.images) > len(asked.ids) and "*" not in named.suffix:
        doubts.append(f"an answer in {asked.key!r} combines several images, but each validates by itself")
    if table.parts is not None:
        validate = f", those with {table.parts.valid!r} validate" if table.parts.valid else ""
        doubts.append(f"rows with {table.parts.train!r} in {table.parts.column!r} are trained on{validate}")
    share, unique = 1 - float(lacking.mean()), rows[image].is_unique
    return Found(
        source,
        labels.classes,
        seen,
        sure=labels.sure + named.share + share + unique,
        doubts=tuple(doubts),
        column=labels.columns[0] if len(labels.columns) == 1 else "",
        rows=share,
        path=path,
        known=labels.sure > 1,
        unique=unique,
    )


def _answer(table: pd.DataFrame, image: str, labels: Labels, named: Named, asked: Asked) -> str | None:
    """The column, or columns, that say which images are predicted together, where each such answer has one label."""
    key = asked.key
    if key is None or key == image or "*" in named.suffix:
        return None
    if key not in table and asked.made_of and set(re.findall(r"\{([^{}]+)\}", asked.made_of)) <= set(table):
        key, table = asked.made_of, table.assign(**{asked.made_of: filled(asked.made_of, table)})
    if key not in table or table[key].is_unique:
        return None
    constant = (table.groupby(key)[list(labels.columns)].nunique() == 1).all(axis=None)
    return key if constant and (labels.separator is None or table[image].is_unique) else None


def _group(table: pd.DataFrame, taken: set[str | None]) -> str | None:
    """The column that says which images belong together: those of one patient, not only of one of its series."""
    counts: dict[str, int] = {}
    for column in table.columns:
        values = table[column]
        named = column not in taken and re.search(GROUP_NAMES, column)
        if named and not (values == "").any() and FEWEST_GROUPS <= values.nunique() < len(values):
            counts[column] = values.nunique()
    first = next(iter(counts), None)
    around = (
        column
        for column, count in counts.items()
        if count >= ENOUGH_GROUPS and (table.groupby(first)[column].nunique() == 1).all()
    )
    return min(around, key=counts.__getitem__, default=first)


def _body(called: pd.Series[str]) -> str | None:
    """A pattern of the images' names, where most are the left or the right of one body."""
    bodies = called.str.extract(whole_names(SIDES), expand=False) if len(called) else called
    paired = bodies.dropna()
    return SIDES if len(paired) == len(called) > 0 and paired.duplicated(keep=False).mean() > 0.5 else None


def _in_json(look: Look, left: Images, sample: SampleTable) -> Iterator[Found]:
    """Images and their categories in COCO's JSON."""
    for path, said in look.annotations.items():
        found = in_json(left, path, [said.files.get(image, image) for image in said.categories])
        if not said.categories or found is None:
            continue
        folder, images = found
        ids = {one for categories in said.categories.values() for one in categories}
        by_id = bool(set(sample.values) & ids) and not set(sample.values) & set(said.names.values())
        classes = in_order(ids if by_id else {said.names.get(one, one) for one in ids})
        tags = any(len(categories) > 1 for categories in said.categories.values())
        keys = dict.fromkeys(
            key for image in said.categories for key in said.images.get(image, ()) if re.search(GROUP_NAMES, key)
        )
        rows = [[said.value(image, key) for key in keys] for image in said.categories]
        group = _group(pd.DataFrame(rows, columns=list(keys), dtype=str), set())
        target: Literal["single", "multi"] = "multi" if tags else "single"
        source = Coco(path, folder, target, classes="id" if by_id else "name", group=group)
        seen = f"{path} gives the images of {folder} {len(classes)} categories, by their {source.classes}"
        yield Found(source, classes, seen, 6 + len(images) / len(look.images.paths), path=path)


def _in_names(left: Images, sample: SampleTable) -> Iterator[Found]:
    """Classes at the beginning or the end of the images' names; numbers only if the sample submission has them."""
    for folder, images in left.right_in.items():
        stems, suffixes = zip(*(splitext(basename(image)) for image in images), strict=True)
        suffix = suffixes[0] if len(set(suffixes)) == 1 else ".*"
        for separator in (".", "_", "-", " "):
            tokens = [stem.split(separator) for stem in stems]
            for index, pattern in ((0, f"{{label}}{separator}*"), (-1, f"*{separator}{{label}}")):
                labels = {parts[index] for parts in tokens}
                several = all(len(parts) > 1 for parts in tokens) and 1 < len(labels) <= len(stems) / 3
                words = all(re.fullmatch(r"[^\W\d_][\w ]*", label) for label in labels)
                numbers = all(map(str.isdecimal, labels)) and labels >= set(sample.values)
                if several and (words or numbers):
                    path = str(PurePosixPath(folder, pattern + suffix))
                    seen = f"the names of the images in {folder} have {len(labels)} classes in them"
                    doubts = () if index == 0 and separator == "." else ("whether that is the class",)
                    yield Found(FileNames(path), in_order(labels), seen, 1 - len(labels) / len(stems), doubts)
