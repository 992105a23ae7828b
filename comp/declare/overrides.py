"""Overrides: values given on the command line for fields of the recipe and of the competition, typed and checked."""

from __future__ import annotations

import difflib
import re
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, get_type_hints

from comp.declare.recipe import Recipe, Stage
from comp.errors import DeclarationError, OverrideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comp.declare.competition import Competition

COMPETITION_FIELDS = ("layer_lr_ratio", "augment")


def apply_overrides(competition: Competition, recipe: Recipe, settings: Sequence[str]) -> tuple[Competition, Recipe]:
    """The two with every ``field=value`` applied, in order.

    A field is one of the recipe (``batch_size``), of a stage by its number from 1 (``stages.2.size``), or the
    competition's ``layer_lr_ratio`` and ``augment.max_zoom`` and the like. ``stages.size=96`` is that of every stage.
    Raises OverrideError that names the setting, what was found and what would be right.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise OverrideError(f"--set takes field=value, but {setting!r} was given.")
        steps = path.strip().split(".")
        try:
            if steps[0] in COMPETITION_FIELDS:
                competition = _replaced(competition, steps, text, setting)
            else:
                recipe = _replaced(recipe, steps, text, setting)
        except DeclarationError as error:
            raise OverrideError(f"--set {setting}: {error}") from error
    return competition, recipe


def _replaced(declaration: Any, steps: list[str], text: str, setting: str) -> Any:
    """The declaration with the field at the end of ``steps`` replaced by what ``text`` says."""
    name, *rest = steps
    known = {field.name for field in fields(declaration)}
    if name not in known:
        if isinstance(declaration, Recipe) and name in {field.name for field in fields(Stage)}:
            raise OverrideError(
                f"--set {setting}: {name!r} is a field of the stages; write stages.{'.'.join(steps)}={text} for all of "
                f"them, or stages.1.{'.'.join(steps)}={text} for the first."
            )
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]!r}? There" if near else "there"
        raise OverrideError(f"--set {setting}: there is no field {name!r}; {meant} are {', '.join(sorted(known))}.")
    value = getattr(declaration, name)
    if not rest:
        return replace(declaration, **{name: _parsed(declaration, name, text, setting)})
    if is_dataclass(value):
        return replace(declaration, **{name: _replaced(value, rest, text, setting)})
    if isinstance(value, tuple):
        if not re.fullmatch(r"\d+", rest[0]):
            return replace(declaration, **{name: tuple(_replaced(part, rest, text, setting) for part in value)})
        place = int(rest[0]) - 1
        if not 0 <= place < len(value) or len(rest) == 1:
            there = f"there is only {name}.1" if len(value) == 1 else f"{name} are numbered 1 to {len(value)}"
            raise OverrideError(f"--set {setting}: {there}, as in {name}.1.size=96.")
        parts = list(value)
        parts[place] = _replaced(parts[place], rest[1:], text, setting)
        return replace(declaration, **{name: tuple(parts)})
    raise OverrideError(f"--set {setting}: {name!r} has no fields of its own.")


def _parsed(declaration: Any, name: str, text: str, setting: str) -> Any:
    """What the text says for the field; where it says nothing, the text, for the declaration's own check to refuse."""
    # Imported here: only an override needs it, and it takes longer to import than `comp list` may take.
    from pydantic import TypeAdapter, ValidationError

    hint = get_type_hints(type(declaration))[name]
    if is_dataclass(hint) or not isinstance(getattr(declaration, name), (str, int, float, bool)):
        raise OverrideError(f"--set {setting}: {name!r} can't be set as a whole; set one of its fields.")
    try:
        return TypeAdapter(hint).validate_strings(text)
    except ValidationError:
        return text
