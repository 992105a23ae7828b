"""Checks of declared values: a mistake is one sentence that names the field, what was found and what would be right."""

import difflib
import inspect
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from comp.errors import DeclarationError

NAMES = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}


def check(
    declaration: object,
    field: str,
    kind: type,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    one_of: Collection[Any] | None = None,
) -> None:
    """Raise DeclarationError unless the field holds a ``kind`` within the bounds.

    A whole number passes for a float; True and False never pass for numbers, and infinity for none.
    """
    value = getattr(declaration, field)
    right_kind = isinstance(value, (int, float) if kind is float else kind) and (
        kind is bool or not isinstance(value, bool)
    )
    if (
        right_kind
        and not (isinstance(value, float) and not math.isfinite(value))
        and (at_least is None or value >= at_least)
        and (at_most is None or value <= at_most)
        and (above is None or value > above)
        and (one_of is None or value in one_of)
        and (kind is not str or value != "")
    ):
        return
    if one_of is not None:
        wanted = "one of " + ", ".join(map(str, one_of))
    else:
        bounds = [("at least", at_least), ("above", above), ("at most", at_most)]
        limits = " and ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
        wanted = " ".join(filter(None, [NAMES.get(kind, f"a {kind.__name__}"), limits]))
    raise wrong(declaration, field, value, wanted)


def check_sequence(declaration: object, field: str, kind: type, wanted: str, *, at_least: int = 0) -> None:
    """Make the field a tuple; raise DeclarationError unless it holds so many parts, each a ``kind``."""
    value = getattr(declaration, field)
    parts = tuple(value) if isinstance(value, Iterable) else None
    if parts is None or len(parts) < at_least or not all(isinstance(part, kind) for part in parts):
        raise wrong(declaration, field, value, wanted)
    object.__setattr__(declaration, field, parts)


def wrong(declaration: object, field: str, found: object, wanted: str) -> DeclarationError:
    """The one sentence for a field that can't be what it is."""
    return DeclarationError(f"{type(declaration).__name__}: `{field}` is {found!r}, but it should be {wanted}.")


def misspelt(error: TypeError, words: Mapping[str, Any]) -> str | None:
    """The sentence for a field that one of the ``words`` was given and doesn't have; None for another mistake.

    words: what a declaration's module knows by name.
    """
    named = re.match(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if named is None or named[1] not in words:
        return None
    word, field = named.groups()
    there = list(inspect.signature(words[word]).parameters)
    near = difflib.get_close_matches(field, there, n=1)
    meant = f"did you mean `{near[0]}`? There" if near else "there"
    return f"{word} has no field `{field}`; {meant} are {', '.join(there)}."
