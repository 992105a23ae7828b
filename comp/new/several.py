"""Match images that a table doesn't name one by one: several per value, or named by several columns together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from posixpath import commonprefix, splitext

import pandas as pd

from comp.declare.labels.placing import filled

COUNTED = re.compile(r"[^a-zA-Z0-9]\d+\.\w+")
MARKS = "-_ ."
# To find a template: the most rows that are tried, the most paths times rows, and the length that values stay below.
ROWS_TRIED, PATHS_TRIED, LONGEST = 20, 500_000, 100


@dataclass(frozen=True)
class Several:
    """Several images per value: their folder, the ``*`` pattern that follows the value, and the images by value."""

    folder: str
    suffix: str
    images: dict[str, list[str]]


def several(paths: Iterable[str], values: Collection[str]) -> Several | None:
    """The images in folders named by the values, or with names that begin with them: the way that fits most values."""
    found: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        *folders, name = path.split("/")
        stem, suffix = splitext(name)
        for depth, folder in enumerate(folders):
            if folder in values:
                below = "/*" * (len(folders) - depth) + suffix
                found["/".join(folders[:depth]), below][folder].append(path)
        for mark in MARKS:
            start = stem.rpartition(mark)[0]
            if start in values:
                found["/".join(folders), f"{mark}*{suffix}"][start].append(path)
    if not found:
        return None
    (folder, suffix), images = max(found.items(), key=lambda one: (len(one[1]), one[0]))
    return Several(folder or ".", suffix, dict(images))


def by_template(paths: Sequence[str], table: pd.DataFrame) -> tuple[str, Several] | None:
    """The template by which columns name images together, like ``{experiment}/Plate{plate}/{well}``, and the images.

    A few rows' values are searched in the paths; the template that fits most rows wins. None without one for most rows.
    """
    columns = [
        str(column) for column in table if table[column].str.len().max() < LONGEST and table[column].nunique() > 1
    ]
    best: tuple[str, Several] | None = None
    most = max(1, min(ROWS_TRIED, PATHS_TRIED // max(len(paths), 1)))
    for row in table[columns].drop_duplicates()[:most].to_dict("records"):
        left, tokens = paths, {}
        for column, value in sorted(row.items(), key=lambda one: -len(one[1])):
            token = _token(value)
            if value and (narrowed := [path for path in left if token.search(path)]):
                left, tokens[column] = narrowed, token
        if len(tokens) < 2:
            continue
        template = left[0]
        for column, token in tokens.items():
            template = token.sub(f"{{{column}}}".replace("\\", r"\\"), template, count=1)
        place = template[: template.find("{")].rpartition("/")[0]
        name = template[len(place) + bool(place) : template.rfind("}") + 1]
        found = _of_template(paths, place, name, table) if name.count("{") > 1 else None
        if found and (best is None or len(found.images) > len(best[1].images)):
            best = name, found
    return best if best and len(best[1].images) * 2 > len(table) else None


def made_of(values: pd.Series[str], rows: pd.DataFrame) -> str:
    """The template, like ``{patient}_{side}``, by which columns of the same rows form the values; empty without one."""
    for value, (_, row) in islice(zip(values, rows.iterrows(), strict=True), ROWS_TRIED):
        template = value
        for column, part in sorted(row.items(), key=lambda one: -len(one[1])):
            if part:
                template = _token(part).sub(f"{{{column}}}".replace("\\", r"\\"), template, count=1)
        if template.count("{") > 1 and filled(template, rows) == values.to_list():
            return template
    return ""


def _token(value: str) -> re.Pattern[str]:
    """A pattern of the value as a whole word or number."""
    before = r"(?<!\d)" if value[:1].isdigit() else r"(?<![a-zA-Z])"
    after = r"(?!\d)" if value[-1:].isdigit() else r"(?![a-zA-Z])"
    return re.compile(f"(?<!{{){before}{re.escape(value)}{after}")


def _of_template(paths: Sequence[str], place: str, template: str, table: pd.DataFrame) -> Several | None:
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
    suffix = alike if len(endings) == 1 else f"{alike}*{rest}"
    return Several(place or ".", suffix, dict(images))
