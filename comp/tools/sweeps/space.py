"""The search space of a sweep, read from the command line: fields and their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from comp.declare.competition import Competition
from comp.declare.overrides import COMPETITION_FIELDS, apply_overrides
from comp.declare.recipe import Recipe
from comp.errors import OverrideError

RANGE = re.compile(r"(?P<low>[^:]+?)\.\.(?P<high>[^:]+?)(?P<log>:log)?")


@dataclass(frozen=True)
class Dimension:
    """A field and the distribution of its values.

    declared: the recipe's value, as a parameter of the study; None where it is not in the space.
    """

    field: str
    drawn_from: BaseDistribution
    declared: Any = None

    def setting(self, value: Any) -> str:
        """A drawn value as ``field=value``, a float with four significant digits, so that it is easy to type."""
        return f"{self.field}={value:.4g}" if isinstance(value, float) else f"{self.field}={value}"


def read_space(texts: Sequence[str], competition: Competition, recipe: Recipe) -> list[Dimension]:
    """The dimensions of ``field=low..high``, ``field=low..high:log`` and ``field=a,b,c``; all values are checked.

    Raises OverrideError that names the text, what was found and what would be right.
    """
    space = [_dimension(text, competition, recipe) for text in texts]
    for place, dimension in enumerate(space):
        if dimension.field in [other.field for other in space[:place]]:
            raise OverrideError(f"--space {dimension.field} is given twice; give all its values at once.")
    if not space:
        raise OverrideError("There is nothing to search; give a --space, as in --space dropout=0..0.5.")
    return space


def _dimension(text: str, competition: Competition, recipe: Recipe) -> Dimension:
    field, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not values:
        raise OverrideError(f"--space takes field=low..high or field=a,b,c, but {text!r} was given.")

    def read(value: str) -> Any:
        try:
            return value_of(*apply_overrides(competition, recipe, [f"{field}={value}"]))
        except OverrideError as error:
            said = re.sub(rf"={re.escape(value)}(?!\w)", lambda _: f"={values}", str(error))
            raise OverrideError(said.replace("--set", "--space", 1)) from None

    def value_of(competition: Competition, recipe: Recipe) -> Any:
        steps = field.split(".")
        return _value(competition if steps[0] in COMPETITION_FIELDS else recipe, *steps)

    between = RANGE.fullmatch(values)
    if between is None:
        choices = tuple(value.strip() for value in values.split(","))
        if len(set(choices)) < max(2, len(choices)):
            raise OverrideError(f"--space {text}: name at least two values, each once, or low..high.")
        by_value = [(read(choice), choice) for choice in choices]
        declared = value_of(competition, recipe)
        same = next((choice for value, choice in by_value if value == declared), None)
        return Dimension(field, CategoricalDistribution(choices), same)
    low, high, log = read(between["low"]), read(between["high"]), between["log"] is not None
    if not (_is_number(low) and _is_number(high)):
        raise OverrideError(f"--space {text}: {field!r} is no number, so name its values, as in {field}=a,b.")
    if low >= high or (log and low <= 0):
        wanted = "be above 0 and rise" if log else "rise"
        raise OverrideError(f"--space {text}: the ends are {low:g} and {high:g}, but they should {wanted}.")
    declared = value_of(competition, recipe)
    whole = isinstance(low, int) and isinstance(high, int)
    numbers = IntDistribution(low, high, log) if whole else FloatDistribution(low, high, log)
    return Dimension(field, numbers, declared if _is_number(declared) and low <= declared <= high else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _value(declaration: Any, *steps: str) -> Any:
    """The value of a field whose name is valid; for a field of all stages, their common value, or None."""
    if not steps:
        return declaration
    name, *rest = steps
    if not isinstance(declaration, tuple):
        return _value(getattr(declaration, name), *rest)
    if name.isdecimal():
        return _value(declaration[int(name) - 1], *rest)
    values = [_value(part, name, *rest) for part in declaration]
    return values[0] if all(value == values[0] for value in values) else None
