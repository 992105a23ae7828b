"""How values name images: those of one folder, those below one, several of each, or by several columns together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from posixpath import commonpath, commonprefix, dirname, splitext

import pandas as pd

from comp.declare.labels.files import IMAGE_SUFFIXES
from comp.declare.labels.placing import filled
from comp.new.look import Images

COUNTED = re.compile(r"[^a-zA-Z0-9]\d+\.\w+")
MARKS = "-_ ."
TRIED = 200  # values of a column that tell whether it names images
# Rows that tell how columns name images together, paths that are held against them, and the longest values.
ROWS_TRIED, PATHS_TRIED, LONGEST = 20, 500_000, 100


@dataclass(frozen=True)
class Named:
    """Images by the values that name them, each ``folder / (value + suffix)`` as a declaration has it.

    suffix: what a value lacks to be a file's name, with * where it has several; empty where it lacks nothing, or images
    are looked for below the folder. images: those of each value. among: how many images there are.
    """

    folder: str
    suffix: str
    images: Mapping[str, Sequence[str]]
    among: int

    @cached_property
    def paths(self) -> frozenset[str]:
        return frozenset(path for paths in self.images.values() for path in paths)

    @property
    def share(self) -> float:
        """Of the images there that are named."""
        return len(self.paths) / max(self.among, 1)


Way = Callable[[Images, "pd.Series[str]"], Iterator[Named]]


def in_folders(images: Images, values: pd.Series[str]) -> Iterator[Named]:
    """The images right in each folder, whose values are their names, or those without their suffix."""
    called = set(values)
    for folder, paths in images.right_in.items():
        whole: dict[str, list[str]] = {}
        stems: dict[str, dict[str, list[str]]] = defaultdict(dict)
        for path in paths:
            name = path.rpartition("/")[2]
            stem, suffix = splitext(name)
            if name in called:
                whole[name] = [path]
            if stem in called:
                stems[suffix][stem] = [path]
        suffix, of_suffix = max(stems.items(), key=lambda one: len(one[1]), default=("", {}))
        named = (whole, "") if len(whole) > len(of_suffix) else (of_suffix, suffix)
        if named[0]:
            yield Named(folder, named[1], named[0], len(paths))


def below_folders(images: Images, values: pd.Series[str]) -> Iterator[Named]:
    """Images in folders below one, or called otherwise than their files: the deepest first, where most are named."""
    for place in sorted(images.largest, key=lambda place: -len(PurePosixPath(place).parts)):
        names, tried = images.called(place), values[:TRIED]
        enough = len(images.below[place]) * 2 >= len(values)
        if enough and sum(names.find(value) is not None for value in tried) * 2 >= len(tried):
            yield below(images, place, values)


def below(images: Images, place: str, values: Iterable[str]) -> Named:
    """The image below a place of each value that names one."""
    names = images.called(place)
    named = {value: [path] for value in set(values) if (path := names.find(value)) is not None}
    return Named(place, suffix_of(path for [path] in named.values()), named, len(images.below.get(place, ())))


def suffix_of(paths: Iterable[str]) -> str:
    """What all of the images end in, where that is none of the usual suffixes."""
    suffixes = {splitext(path)[1] for path in paths}
    return suffixes.pop() if len(suffixes) == 1 and not {one.lower() for one in suffixes} <= IMAGE_SUFFIXES else ""


def beginning(images: Images, values: pd.Series[str]) -> Iterator[Named]:
    """The images in folders that are called by the values, or whose names begin with them, as most values have some."""
    called = set(values) - {""}
    found: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in images.paths if values.is_unique else ():
        *folders, name = path.split("/")
        stem, suffix = splitext(name)
        for depth, folder in enumerate(folders):
            if folder in called:
                found["/".join(folders[:depth]), "/*" * (len(folders) - depth) + suffix][folder].append(path)
        for mark in MARKS:
            start = stem.rpartition(mark)[0]
            if start in called:
                found["/".join(folders), f"{mark}*{suffix}"][start].append(path)
    if found:
        (folder, suffix), named = max(found.items(), key=lambda one: (len(one[1]), one[0]))
        endings = {path[len(folder) + bool(folder) + len(value) :] for value in named for path in named[value]}
        # Images that are counted are several of one.
        if len(endings) == 1 and not re.search(rf"/|^{COUNTED.pattern}$", min(endings)):
            suffix = min(endings)
        ending = splitext(suffix)[1]
        there = [path for path in images.below[folder or "."] if path.endswith(ending)]
        yield Named(folder or ".", suffix, dict(named), len(there))


def by_template(images: Images, table: pd.DataFrame) -> tuple[str, Named] | None:
    """How several columns name images together, like ``{experiment}/Plate{plate}/{well}``, where most rows have some.

    The places that a few rows' values have in paths tell; what fits most rows is right.
    """
    paths = images.paths
    columns = [
        str(column) for column in table if table[column].str.len().max() < LONGEST and table[column].nunique() > 1
    ]
    best: tuple[str, Named] | None = None
    most = max(1, min(ROWS_TRIED, PATHS_TRIED // max(len(paths), 1)))
    for row in table[columns].drop_duplicates()[:most].to_dict("records"):
        left, tokens = paths, {}
        for column, value in sorted(row.items(), key=lambda one: -len(one[1])):
            token = _token(value)
            if value and (narrowed := [path for path in left if token.search(path)]):
                left, tokens[str(column)] = narrowed, token
        if len(tokens) < 2:
            continue
        template = _with_columns(left[0], tokens)
        place = template[: template.find("{")].rpartition("/")[0]
        name = template[len(place) + bool(place) : template.rfind("}") + 1]
        found = _of_template(paths, place, name, table) if name.count("{") > 1 else None
        if found and (best is None or len(found.images) > len(best[1].images)):
            best = name, found
    return best if best and len(best[1].images) * 2 > len(table) else None


def made_of(values: pd.Series[str], rows: pd.DataFrame) -> str:
    """The template, like ``{patient}_{side}``, by which columns of the same rows make the values; empty without one."""
    for value, (_, row) in islice(zip(values, rows.iterrows(), strict=True), ROWS_TRIED):
        parts = {str(column): part for column, part in row.items() if part}
        longest = sorted(parts, key=lambda column: -len(parts[column]))
        template = _with_columns(value, {column: _token(parts[column]) for column in longest})
        if template.count("{") > 1 and filled(template, rows) == values.to_list():
            return template
    return ""


def _token(value: str) -> re.Pattern[str]:
    """A value where neither its letters nor its digits go on."""
    before = r"(?<!\d)" if value[:1].isdigit() else r"(?<![a-zA-Z])"
    after = r"(?!\d)" if value[-1:].isdigit() else r"(?![a-zA-Z])"
    return re.compile(f"(?<!{{){before}{re.escape(value)}{after}")


def _with_columns(text: str, tokens: Mapping[str, re.Pattern[str]]) -> str:
    """The text with ``{column}`` for the first value of each."""
    for column, token in tokens.items():
        text = token.sub(f"{{{column}}}".replace("\\", r"\\"), text, count=1)
    return text


def _of_template(paths: Sequence[str], place: str, template: str, table: pd.DataFrame) -> Named | None:
    names = set(filled(template, table))
    start, images = f"{place}/" if place else "", defaultdict(list)
    endings = set()
    for path in paths:
        inside = path.removeprefix(start)
        ends = (found.start() for found in re.finditer(r"[^a-zA-Z0-9]", inside))
        name = next((inside[:end] for end in ends if inside[:end] in names), None)
        if name is not None and path.startswith(start):
            images[name].append(path)
            endings.add(inside[len(name) :])
    if not images or any("/" in ending for ending in endings):
        return None
    alike = commonprefix([*endings])
    rest = commonprefix([ending[len(alike) :][::-1] for ending in endings])[::-1]
    return Named(place or ".", alike if len(endings) == 1 else f"{alike}*{rest}", dict(images), len(paths))


def in_json(images: Images, path: str, names: Sequence[str]) -> tuple[str, list[str]] | None:
    """The folder that a JSON's names are relative to, and their images; None where some have none."""
    there, beside, stem = set(images.paths), dirname(path) or ".", PurePosixPath(path).stem.lower()
    # Of folders with images of the same names that whose name the JSON's has.
    for place in sorted(dict.fromkeys((beside, ".", *images.largest)), key=lambda place: not _alike(place, stem)):
        if all(str(PurePosixPath(place, name)) in there for name in names):
            return place, [str(PurePosixPath(place, name)) for name in names]
    known = images.called(".")
    found = [image for name in names if (image := known.find(name)) is not None]
    return (common_folder(found), found) if found and len(found) == len(names) else None


def _alike(place: str, stem: str) -> bool:
    """Whether a word of a file's name is the folder's, or begins it."""
    own = PurePosixPath(place).name.lower()
    return any(
        len(word) > 2 and (own.startswith(word) or word.startswith(own)) for word in re.split(r"[\W_\d]+", stem) if own
    )


def common_folder(paths: Collection[str]) -> str:
    """The deepest folder that has all of them in it or below."""
    return commonpath(map(dirname, paths or [""])) or "."
