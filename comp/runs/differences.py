"""Where two records of configs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any


@dataclass(frozen=True)
class Difference:
    """A field, named like ``recipe.stages.1.size``, and its values in words."""

    field: str
    one: str
    other: str


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> Difference | None:
    """The first field in which they differ, None if they don't."""
    mine, theirs = dict(flat(one)), dict(flat(other))
    for field in [*mine, *(theirs.keys() - mine.keys())]:
        if mine.get(field) != theirs.get(field):
            return Difference(field, *(shorten(str(values.get(field)), 40) for values in (mine, theirs)))
    return None


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested records and lists of records, with their fields' names: ``recipe.stages.1.size``."""
    if isinstance(value, dict):
        named = list(value.items())
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        named = list(enumerate(value, start=1))
    else:
        yield name, value
        return
    for key, part in named:
        yield from flat(part, f"{name}.{key}".lstrip("."))
