"""Where two records of configs differ."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from comp.report.comparison import flat

if TYPE_CHECKING:
    from collections.abc import Mapping


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
