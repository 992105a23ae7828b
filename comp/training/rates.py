"""Learning rates shown before a training: those that a recipe plans, and what an LR range test finds."""

from __future__ import annotations

from pathlib import Path

from comp.console import Console
from comp.declare.competition import Competition
from comp.declare.recipe import LAYER_GROUPS
from comp.errors import OverrideError
from comp.runs import Workspace
from comp.runs.resolve import Choices, Experiment, resolve
from comp.training.curves import draw_rates, rates_in_characters, show_range_test
from comp.training.prepared import prepare
from comp.training.schedules import in_words, planned_rates


def draw_schedule(competition: Competition, choices: Choices, workspace: Workspace, console: Console) -> Path:
    """Draw the learning rates that a recipe will train at; no data are needed."""
    competition, recipe = resolve(competition, choices)
    epochs, rates = planned_rates(recipe, competition.layer_lr_ratio)
    picture = workspace.runs / competition.name / f"schedule-{choices.recipe}.png"
    draw_rates(epochs, rates, LAYER_GROUPS, picture)
    console.say(rates_in_characters(epochs, rates, LAYER_GROUPS, "learning rates of early, late and head"))
    for line in in_words(recipe, competition.layer_lr_ratio):
        console.say(line)
    return picture


def find_rate(competition: Competition, choices: Choices, workspace: Workspace, console: Console, number: int) -> Path:
    """An LR range test of the stage of this number, from 1, as it would start on pretrained weights."""
    experiment = Experiment.of(competition, choices, workspace)
    stages = experiment.recipe.stages
    if not 1 <= number <= len(stages):
        raise OverrideError(f"--stage is {number}, but the recipe {choices.recipe!r} has stages 1 to {len(stages)}.")
    if stages[number - 1].schedule == "lbfgs":
        raise OverrideError(f"Stage {number} of {choices.recipe!r} is solved by L-BFGS: no learning rate to find.")
    prepared = prepare(experiment, console)
    stage = prepared.possible(stages[number - 1])
    epochs, _ = prepared.inputs(stage, number)
    picture = workspace.runs / competition.name / f"learning-rate-{choices.recipe}-{number}.png"
    show_range_test(console, prepared.range_test(stage, number, epochs), picture)
    return picture
