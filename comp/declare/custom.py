"""Custom functions and classes in a declaration: their names in records and in cache keys."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from comp.declare.source import source_of
from comp.errors import CompError, DeclarationError, RunError

ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def name_of(part: Callable[..., Any]) -> str:
    """Module and qualified name, ``competitions.shades.competition:focal``.

    A digest of their code tells lambdas and local functions apart; a partial function and an object are named with
    their arguments or `repr`.
    """
    if isinstance(part, partial):
        named = [repr(value) for value in part.args] + [f"{key}={value!r}" for key, value in part.keywords.items()]
        return ADDRESS.sub("", f"{name_of(part.func)}({', '.join(named)})")
    if not hasattr(part, "__qualname__"):
        return f"{name_of(type(part))} {ADDRESS.sub('', repr(part))}"
    name = f"{part.__module__}:{part.__qualname__}"
    if "<" not in name:
        return name
    closure = [repr(cell.cell_contents) for cell in getattr(part, "__closure__", None) or ()]
    written = ADDRESS.sub("", repr((closure, getattr(part, "__defaults__", None), _does(part))))
    return f"{name} {hashlib.blake2b(written.encode(), digest_size=4).hexdigest()}"


def short_name(part: object) -> str:
    """The name of a part of a recipe or competition, or of the custom function or object in its place."""
    return part if isinstance(part, str) else str(getattr(part, "__name__", type(part).__name__))


def called(field: str, part: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a custom function returns; what it raises becomes a DeclarationError that names its field."""
    try:
        return part(*arguments)
    except CompError:
        raise
    except Exception as error:  # custom code may raise anything
        reason = str(error).rstrip(".") or "without a message"
        own = getattr(getattr(part, "__code__", None), "co_filename", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
        where = f" in line {lines[-1]} of {Path(str(own)).name}" if lines else ""
        raise DeclarationError(f"{field} {short_name(part)} raises {type(error).__name__}{where}: {reason}.") from error


def key_of(declared: Any) -> list[Any]:
    """The key of caches made from a declaration: its record, and the sources of its custom functions and classes."""
    return [recorded(declared), [source_of(part) for part in custom_parts(declared)]]


def custom_parts(declared: Any) -> list[Any]:
    """The functions and classes in a declaration."""
    return [part for part in _parts(declared) if callable(part)]


def recorded(declared: Any) -> Any:
    """A declaration as JSON: custom functions and classes are named."""
    if isinstance(declared, NoLongerDeclared):
        return declared.record
    if is_dataclass(declared) and not isinstance(declared, type):
        return {field.name: recorded(getattr(declared, field.name)) for field in fields(declared)}
    if isinstance(declared, Mapping):
        return {name: recorded(value) for name, value in declared.items()}
    if isinstance(declared, (tuple, list)):
        return [recorded(value) for value in declared]
    return {"function": name_of(declared)} if callable(declared) else declared


def with_parts(record: Mapping[str, Any], *declared: Any) -> dict[str, Any]:
    """The fields of a record, with the declarations' custom functions in the place of their names.

    One that is no longer declared raises only when it is used: most of a run's steps need only some of them.
    """
    known = {json.dumps(recorded(part), sort_keys=True): part for one in declared for part in _parts(one)}
    return {
        field: known.get(json.dumps(value, sort_keys=True), NoLongerDeclared(field, value)) if _names(value) else value
        for field, value in record.items()
    }


@dataclass(frozen=True)
class NoLongerDeclared:
    """A custom part that a run's record names and its competition no longer declares; using it raises RunError."""

    field: str
    record: Any

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise RunError(
            f"The run was trained with `{self.field}` as {json.dumps(self.record)}, which its competition.py no longer "
            "declares in this form; put it back, or train again."
        )


def _parts(declared: Any) -> Iterator[Any]:
    """Everything in a declaration that may be custom."""
    if isinstance(declared, Mapping):
        yield declared
        for value in declared.values():
            yield from _parts(value)
    elif isinstance(declared, (tuple, list)):
        for value in declared:
            yield from _parts(value)
    elif callable(declared) or is_dataclass(declared):
        yield declared
        for field in fields(declared) if is_dataclass(declared) else ():
            yield from _parts(getattr(declared, field.name))


def _names(record: Any) -> bool:
    """Whether a record, or one of its fields, names a custom function or class."""
    return isinstance(record, Mapping) and ("function" in record or any(map(_names, record.values())))


def _does(part: Any) -> tuple[str, list[Any]]:
    """A function's source lines, and the columns of its code: a line may have several lambdas."""
    positions = part.__code__.co_positions() if hasattr(part, "__code__") else ()
    columns = [start for _, _, start, _ in positions]
    try:
        return inspect.getsource(part), columns
    except (TypeError, OSError):
        return "", columns
