"""What a run's tables show, as lines for a person."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from comp.declare.recipe import Stage
from comp.errors import RunError
from comp.report.diagnosis import diagnose, healthy
from comp.runs import EPOCH_COLUMNS, STEP_COLUMNS
from comp.runs.resolve import recipe_of

if TYPE_CHECKING:
    from comp.declare.recipe import Recipe
    from comp.runs import Run


def diagnosis_of(trained: Run) -> list[str]:
    """A line per finding, or one that says that nothing looks wrong; a run may have ended before any epoch did."""
    if trained.members:
        raise RunError(f"{trained.name} is made of other runs; diagnose {', '.join(trained.members)} instead.")
    recipe = as_it_went(trained)
    if trained.history.began:
        epochs, steps = trained.history.epochs(), trained.history.steps()
    else:
        epochs, steps = pd.DataFrame(columns=EPOCH_COLUMNS), pd.DataFrame(columns=STEP_COLUMNS)
    findings = diagnose(epochs, steps, recipe)
    return [str(finding) for finding in findings] or [healthy(epochs, recipe)]


def as_it_went(trained: Run) -> Recipe:
    """The recipe with its stages as they were trained, or broken off, numbered as they are in the run's tables."""
    # What was trained by hand is not the recipe that was declared.
    ended = trained.record("trained") if trained.has("trained") else None
    recipe = recipe_of(trained.record("config"), ended)
    for broken in (ended or {}).get("broken", ()):
        recipe = _as_begun(recipe, **broken)
    return recipe


def _as_begun(recipe: Recipe, *, number: int, stage: dict[str, Any], cycles_kept: int, **_: Any) -> Recipe:
    """The recipe with a stage whose loss became no number as it was begun, not as what is left of it."""
    stages = list(recipe.stages)
    stages[number - 1 : number if cycles_kept else number - 1] = [Stage(**stage)]
    return replace(recipe, stages=stages)
