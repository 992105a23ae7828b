"""Overrides: fields of the recipe and the competition set on the command line, typed and checked."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from comp.declare.checks import NAMES, fits, hints_of
from comp.declare.competition import Competition
from comp.declare.recipe import Recipe, Stage
from comp.errors import DeclarationError, OverrideError

COMPETITION_FIELDS = ("layer_lr_ratio", "augment", "columns", "log_with", "metric", "read", "combine")
# The names in fastai, timm and Keras for fields of the recipe and of its stages.
USUAL_NAMES = {
    usual: field
    for field, names in {
        "learning_rate": ("lr", "lrs"),
        "cycle_length": ("epochs", "epoch", "n_epochs", "num_epochs", "cycle_len"),
        "cycle_multiplier": ("cycle_mult",),
        "cycles": ("n_cycle",),
        "size": ("sz", "img_size", "image_size"),
        "batch_size": ("bs",),
        "weight_decay": ("wd",),
        "dropout": ("ps",),
        "optimizer": ("opt", "opt_func"),
        "backbone": ("arch", "model"),
    }.items()
    for usual in names
}
TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

Steps = tuple[str, ...]


def apply_overrides(competition: Competition, recipe: Recipe, settings: Sequence[str]) -> tuple[Competition, Recipe]:
    """Apply every ``field=value`` to both, all at once: one may be valid only together with another.

    A field is one of the recipe (``batch_size``), of a stage by its number from 1 (``stages.2.size``), or the
    competition's ``layer_lr_ratio``, ``metric``, ``read``, ``combine``, ``log_with``, ``columns.dropout``,
    ``augment.max_zoom`` and the like.
    ``stages.size=96``, or ``stages.size=96x160`` for a rectangle, height first, sets every stage that isn't set by its
    number. The later of two settings of a field counts.
    Raises OverrideError with the settings, what was found and what would be right.
    """
    of_competition: dict[Steps, str] = {}
    of_recipe: dict[Steps, str] = {}
    for setting in settings:
        path, equals, _ = setting.partition("=")
        if not equals:
            raise OverrideError(f"--set takes field=value, but {setting!r} was given.")
        if "[" in path:
            raise OverrideError(f"--set {setting}: stages are numbered from 1, after a point, as in stages.1.size=96.")
        steps = tuple(path.strip().split("."))
        (of_competition if steps[0] in COMPETITION_FIELDS else of_recipe)[steps] = setting
    return _replaced(competition, of_competition), _replaced(recipe, of_recipe)


def _replaced(declaration: Any, settings: Mapping[Steps, str]) -> Any:
    """Return the declaration with the settings applied; their steps are field names and numbers."""
    by_field: dict[str, dict[Steps, str]] = defaultdict(dict)
    for (name, *rest), setting in settings.items():
        by_field[name][tuple(rest)] = setting
    changes = {name: _changed(declaration, name, inner) for name, inner in by_field.items()}
    try:
        return replace(declaration, **changes)
    except DeclarationError as error:
        raise OverrideError(f"{' '.join(f'--set {setting}' for setting in settings.values())}: {error}") from error


def _changed(declaration: Any, name: str, settings: Mapping[Steps, str]) -> Any:
    """The new value of a field; the settings' steps start below it, and are empty for the field itself."""
    setting = next(iter(settings.values()))
    hint = hints_of(declaration.__class__).get(name)
    if hint is None:
        raise OverrideError(f"--set {setting}: {_unknown(declaration, name, setting)}")
    value = getattr(declaration, name)
    whole = () in settings
    if whole and not _is_written(hint):
        raise OverrideError(f"--set {settings[()]}: {name!r} can't be set as a whole; set one of its fields.")
    if isinstance(value, tuple) and not whole:
        return _changed_parts(name, value, settings)
    if is_dataclass(value) and not whole:
        return _replaced(value, settings)
    if not whole or len(settings) > 1:
        raise OverrideError(f"--set {setting}: {name!r} has no fields of its own.")
    return _read(setting.partition("=")[2], hint)


def _changed_parts(name: str, parts: tuple[Any, ...], settings: Mapping[Steps, str]) -> tuple[Any, ...]:
    of_all = {steps: setting for steps, setting in settings.items() if not steps[0].isdecimal()}
    of_one: dict[int, dict[Steps, str]] = defaultdict(dict)
    for (number, *rest), setting in settings.items():
        if number.isdecimal():
            if not 1 <= int(number) <= len(parts) or not rest:
                there = f"there is only {name}.1" if len(parts) == 1 else f"{name} are numbered 1 to {len(parts)}"
                raise OverrideError(f"--set {setting}: {there}, as in {name}.1.size=96.")
            of_one[int(number)][tuple(rest)] = setting
    return tuple(_replaced(part, {**of_all, **of_one[number]}) for number, part in enumerate(parts, start=1))


def _unknown(declaration: Any, name: str, setting: str) -> str:
    known = sorted(field.name for field in fields(declaration))
    of_stages = [field.name for field in fields(Stage)] if isinstance(declaration, Recipe) else []
    near = difflib.get_close_matches(name.lower(), [*known, *USUAL_NAMES, *of_stages], n=1)
    usual = USUAL_NAMES.get(near[0], near[0]) if near else name
    path, _, value = setting.partition("=")
    written = ".".join(usual if step == name else step for step in path.strip().split("."))
    if isinstance(declaration, Recipe) and usual in of_stages and usual not in known:
        # With several cycles `cycle_length` is the first one's, not the stage's epochs.
        alone = usual == "cycle_length" and usual != name and any(stage.cycles > 1 for stage in declaration.stages)
        beside = " and stages.cycles=1" if alone else ""
        what = "a field of the stages" if usual == name else f"{usual!r} of the stages"
        return (
            f"{name!r} is {what}; write stages.{written}={value}{beside} for all of them, or "
            f"stages.1.{written}={value} for the first."
        )
    if usual in known:
        return f"there is no field {name!r}; did you mean {written}={value}?"
    return f"there is no field {name!r}; there are {', '.join(known)}."


def _is_written(hint: Any) -> bool:
    """Whether a value of the field can be written as text."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(map(_is_written, parts))
    return _is_written(parts[0]) if kind is Annotated else kind is Literal or hint in NAMES


def _read(text: str, hint: Any) -> Any:
    """The text as a value of the field; where none fits, a value that the field's check refuses."""
    readings: tuple[Callable[[str], Any], ...] = (float, int, lambda word: TRUTHS[word.lower()])
    found: Any = text
    if re.fullmatch(r"\d+x\d+", text):
        found = tuple(map(int, text.split("x")))
        if fits(found, hint):
            return found
    for reading in readings:
        try:
            value = reading(text)
        except (ValueError, KeyError):
            continue
        if fits(value, hint):
            return value
        found = value if type(value) is not bool else found
    return text if fits(text, hint) else found
