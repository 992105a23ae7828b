"""Checks of declared values against the fields' annotations.

    size: Annotated[int, between(8, 4096)]
    optimizer: Literal["adamw", "sgd"]

A whole number becomes a float where the field is a float; True, False, infinity and NaN are no numbers; text isn't
empty. An error is one sentence with the field, what was found and what would be right.
"""

import difflib
import inspect
import math
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from comp.errors import DeclarationError

NAMES = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
# The most characters of a value in an error; a longer mapping is shown by its keys, another object by its class.
LONGEST = 200


class Rule(NamedTuple):
    """A further condition on a value of the annotated type, and its words."""

    holds: Callable[[Any], bool]
    words: str = ""


def between(least: float, most: float = math.inf) -> Rule:
    """Bound a number, or a list's length; both bounds are allowed."""
    words = f" of at least {least:g}" if most == math.inf else f" from {least:g} to {most:g}"
    return Rule(lambda value: least <= (len(value) if isinstance(value, tuple) else value) <= most, words)


def above(bound: float) -> Rule:
    return Rule(lambda value: value > bound, f" above {bound:g}")


def matching(pattern: str) -> Rule:
    return Rule(lambda text: re.fullmatch(pattern, text, re.DOTALL) is not None)


def one_of(names: Collection[str]) -> Rule:
    return Rule(lambda name: name in names, f", one of {', '.join(names)}")


# A function that makes a network or a pipeline, whose objects are callable too, and not the object itself.
MAKES = Rule(
    lambda part: not {base.__module__.partition(".")[0] for base in type(part).__mro__} & {"albumentations", "torch"}
)
NO_CLASS = Rule(lambda part: not isinstance(part, type))


class Declared:
    """A dataclass that checks its fields when it is made and turns lists into tuples. Raises DeclarationError."""

    def __post_init__(self) -> None:
        declared: Any = type(self)
        for name, hint in hints_of(declared).items():
            found = getattr(self, name)
            bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
            is_list = get_origin(bare) is Sequence and isinstance(found, Iterable) and not isinstance(found, str)
            value = tuple(found) if is_list or isinstance(found, list) else found
            if not fits(value, hint):
                raise _wrong(self, name, words_for(hint) + _lacking(value, bare))
            if type(value) is int and fits(float(value), hint):
                value = float(value)
            object.__setattr__(self, name, value)
        for name, is_wrong, wanted in self.contradictions():
            if is_wrong:
                raise _wrong(self, name, wanted)

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        """Yield fields that depend on others: the name, whether the value is wrong, and what it should be.

        A part of a list is named by its number from 1, as in ``stages.2.size``.
        """
        yield from ()


def _wrong(declaration: object, name: str, wanted: str) -> DeclarationError:
    found: Any = declaration
    for step in name.split("."):
        found = found[int(step) - 1] if step.isdecimal() else getattr(found, step)
    said = re.sub(r" at 0x[0-9a-f]+", "", repr(found))
    if isinstance(found, Mapping) and len(said) > LONGEST:
        said = f"{{{', '.join(f'{key!r}: …' for key in found)}}}"
    elif not isinstance(found, (str, tuple)) and len(said) > LONGEST:
        said = f"{type(found).__name__}(…)"
    return DeclarationError(f"{type(declaration).__name__}: `{name}` is {said}, but it should be {wanted}.")


def _lacking(value: object, protocol: Any) -> str:
    """The words for the members of a protocol that a custom object lacks, where it has some of them."""
    if not getattr(protocol, "_is_protocol", False) or isinstance(value, type):
        return ""
    named = [name for name in {**vars(protocol), **protocol.__annotations__} if not name.startswith("_")]
    lacking = [name for name in named if not hasattr(value, name)]
    return f"; it has no {' and no '.join(f'`{name}`' for name in lacking)}" if 0 < len(lacking) < len(named) else ""


@cache
def hints_of(declared: type) -> dict[str, Any]:
    hints = get_type_hints(declared, include_extras=True)
    return {field.name: hints[field.name] for field in fields(declared)}


def fits(value: Any, hint: Any) -> bool:
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return fits(value, parts[0]) and all(rule.holds(value) for rule in parts[1:] if isinstance(rule, Rule))
    if kind is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if hint is Any:
        return True
    if kind is Callable:
        return callable(value)
    if kind is Sequence:
        return isinstance(value, tuple) and all(fits(part, parts[0]) for part in value)
    if kind is tuple:
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(fits, value, parts))
    if kind is Mapping:
        return isinstance(value, Mapping) and all(fits(part, parts[1]) for part in value.values())
    if hint in (int, float):
        numbers = int if hint is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
    # A class has all members of a protocol too, but an instance is wanted.
    return isinstance(value, hint) and not isinstance(value, type) and (hint is not str or value != "")


def words_for(hint: Any) -> str:
    """The words for an annotation: the text in it, or words made from its type and rules."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        said = next((part for part in parts[1:] if isinstance(part, str)), None)
        return said or words_for(parts[0]) + "".join(rule.words for rule in parts[1:])
    if kind in (Literal, Union, UnionType):
        words = [repr(part) if kind is Literal else words_for(part) for part in parts if part is not NoneType]
        return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    if kind is Sequence:
        return f"a list of {words_for(parts[0])}"
    if kind is Callable:
        return "a function"
    return NAMES.get(hint, f"a {getattr(hint, '__name__', 'function')}")


def misspelt(error: BaseException, words: Mapping[str, Any]) -> str | None:
    """The sentence for an unknown field of one of the ``words``, or for a word that isn't imported; else None.

    words: the names in a declaration's module.
    """
    if isinstance(error, NameError):
        imported = difflib.get_close_matches(str(error.name), sys.modules["comp"].__all__, n=1)
        return f"NameError: {error}; `from comp import {imported[0]}` imports what may be meant." if imported else None
    named = re.match(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if named is None or named[1] not in words:
        return None
    word, field = named.groups()
    there = list(inspect.signature(words[word]).parameters)
    near = difflib.get_close_matches(field, there, n=1)
    others = [name for name, other in words.items() if field in getattr(other, "__dataclass_fields__", ())]
    meant = f"did you mean `{near[0]}`? There" if near else f"{others[0]} has one; there" if others else "there"
    return f"{word} has no field `{field}`; {meant} are {', '.join(there)}."
