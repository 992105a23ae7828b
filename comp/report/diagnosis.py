"""What a training's losses say went wrong, and the one change to try: reading them as fast.ai's lesson 2 teaches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from comp.declare.recipe import Recipe
from comp.errors import RunError
from comp.report.rules import (
    Finding,
    counted,
    cycle_too_short,
    head_not_converged,
    not_comparable,
    not_finite,
    records_of,
    too_few_epochs,
    too_high,
    too_low,
    too_many_epochs,
    unfinished,
)
from comp.runs import EPOCH_COLUMNS, STEP_COLUMNS, Run
from comp.runs.resolve import recipe_of, stage_of


def diagnosis_of(trained: Run) -> list[str]:
    """A line per finding, or one that says that nothing looks wrong; a run may have ended before any epoch did."""
    if trained.members:
        raise RunError(f"{trained.name} is made of other runs; diagnose {', '.join(trained.members)} instead.")
    recipe = as_it_went(trained)
    if trained.history.began:
        epochs, steps = trained.history.epochs(), trained.history.steps()
    else:
        epochs, steps = pd.DataFrame(columns=EPOCH_COLUMNS), pd.DataFrame(columns=STEP_COLUMNS)
    higher_is_better = trained.record("config").get("higher_is_better", False)
    found = diagnose(epochs, steps, recipe, higher_is_better=higher_is_better)
    return [str(finding) for finding in found] or [healthy(epochs, recipe)]


def as_it_went(trained: Run) -> Recipe:
    """The recipe with its stages as they were trained, or diverged, numbered as they are in the run's tables."""
    # What was trained by hand is not the recipe that was declared.
    ended = trained.record("trained") if trained.has("trained") else None
    recipe = recipe_of(trained.record("config"), ended)
    for diverged in (ended or {}).get("diverged", ()):
        recipe = _as_begun(recipe, **diverged)
    return recipe


def _as_begun(recipe: Recipe, *, number: int, stage: dict[str, Any], cycles_kept: int, **_: Any) -> Recipe:
    """The recipe with a stage that diverged as it was begun, not as what is left of it."""
    stages = list(recipe.stages)
    stages[number - 1 : number if cycles_kept else number - 1] = [stage_of(stage)]
    return replace(recipe, stages=stages)


def diagnose(
    epochs: pd.DataFrame, steps: pd.DataFrame, recipe: Recipe, *, higher_is_better: bool = False
) -> tuple[Finding, ...]:
    """What went wrong, at most one finding for each stage, in the stages' order; empty for a healthy training.

    epochs, steps: epochs.csv and history.csv of a run, which may end early or be empty. A validation loss that is NaN
    in all epochs means that no image validated. higher_is_better: of its score.
    """
    findings: list[Finding] = []
    records, validated = records_of(epochs, steps, recipe), has_validation(epochs)
    for number, record in enumerate(records, start=1):
        later = records[number:]
        diverged = not_finite(record, validated=validated)
        if diverged and later and len(later[0].epochs):
            # The training went back to the weights from before it.
            findings.append(diverged)
            continue
        if ending := diverged or too_high(record) or unfinished(record):
            # What follows started from these weights, so it says nothing about its own settings.
            return (*findings, ending)
        found = (
            too_low(record, recipe)
            or head_not_converged(record, later, validated=validated)
            or cycle_too_short(record)
            or too_few_epochs(record, later, recipe, validated=validated)
            or too_many_epochs(record, later, recipe, validated=validated, higher_is_better=higher_is_better)
        )
        findings += [found] if found else []
    return tuple(findings)


def healthy(epochs: pd.DataFrame, recipe: Recipe) -> str:
    """The line for a training in which nothing was found, with the numbers it ended with and what wasn't looked at."""
    last = epochs.iloc[-1]
    numbers = [f"train loss {last['train_loss']:.4g}"]
    numbers += [f"validation loss {last['valid_loss']:.4g}"] if np.isfinite(last["valid_loss"]) else []
    numbers += [f"{last['metric']} {last['score']:.5g}"] if np.isfinite(last["score"]) else []
    text = f"nothing looks wrong: {', '.join(numbers)} after {counted(len(epochs), 'epoch')}"
    if not has_validation(epochs):
        return f"{text}; no image validated, so overfitting can't be seen"
    if reasons := not_comparable(recipe):
        return f"{text}; train and validation loss are not compared, because of {' and '.join(reasons)}"
    return text


def has_validation(epochs: pd.DataFrame) -> bool:
    """Whether any image validated."""
    return bool(epochs[["valid_loss", "score"]].notna().to_numpy().any())
