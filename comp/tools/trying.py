"""A recipe tried before one relies on it: its learning rates, its speed here, a search of its fields.

As in the runner, nothing is computed here, and each imports the rooms that it needs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from comp.errors import OverrideError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import optuna

    from comp.console import Console
    from comp.declare.competition import Competition
    from comp.runs import Run, Workspace
    from comp.runs.resolve import Choices
    from comp.tools.side_by_side import Job
    from comp.tools.sweeps.searching import Search


def plan(competition: Competition, choices: Choices, workspace: Workspace, console: Console) -> Path:
    """Draw the learning rates that a recipe will train at; no data are needed."""
    from comp.declare.recipe import LAYER_GROUPS
    from comp.runs.resolve import resolve
    from comp.training.curves import draw_rates, rates_in_characters
    from comp.training.plan import in_words, planned_rates

    competition, recipe = resolve(competition, choices)
    epochs, rates = planned_rates(recipe, competition.layer_lr_ratio)
    picture = workspace.runs / competition.name / f"schedule-{choices.recipe}.png"
    draw_rates(epochs, rates, LAYER_GROUPS, picture)
    console.say(rates_in_characters(epochs, rates, LAYER_GROUPS, "learning rates of early, late and head"))
    for line in in_words(recipe, competition.layer_lr_ratio):
        console.say(line)
    return picture


def find_rate(competition: Competition, choices: Choices, workspace: Workspace, console: Console, number: int) -> Path:
    """Sweep over learning rates for the stage of this number, from 1, as it would start on pretrained weights."""
    from comp.training.curves import draw_sweep
    from comp.training.prepared import prepare
    from comp.training.reporting import say_sweep

    prepared = prepare(competition, choices, workspace, console)
    stages = prepared.recipe.stages
    if not 1 <= number <= len(stages):
        raise OverrideError(f"--stage is {number}, but the recipe {choices.recipe!r} has stages 1 to {len(stages)}.")
    epochs, _ = prepared.inputs(stages[number - 1], number)
    sweep = prepared.sweep(stages[number - 1], number, epochs)
    picture = workspace.runs / competition.name / f"learning-rate-{choices.recipe}-{number}.png"
    draw_sweep(sweep, picture)
    say_sweep(console, sweep)
    return picture


def bench(
    competition: Competition,
    choices: Choices,
    size: int,
    workspace: Workspace,
    console: Console,
    json_file: Path | None = None,
) -> None:
    """Measure how fast the competition's images train and are predicted here; the data must have been downloaded."""
    import json

    from comp.files import write_text
    from comp.tools.benchmark import benchmark

    measured = benchmark(competition, choices, size, workspace, console)
    for line in measured.lines():
        console.say(line)
    if json_file is not None:
        write_text(json_file, json.dumps(measured.as_record(), indent=2) + "\n")


def sweep(
    competition: Competition,
    choices: Choices,
    space: Sequence[str],
    trials: int,
    workspace: Workspace,
    console: Console,
    on: str | None = None,
) -> str:
    """Search a space of the recipe's fields: train so many trials, each a run, and say which was best, by what command.

    A sweep that was stopped goes on; more trials can be added to one that ended. The data must have been downloaded.
    on: where trials are trained side by side, as `each` takes it; else one after the other, here.
    """
    from comp.data.data_check import checked_tables
    from comp.tools.side_by_side import each, refuse_other_places
    from comp.tools.sweeps.searching import AT_RANDOM, search

    if on is not None:
        refuse_other_places(on)
    with search(competition, choices, space, workspace) as found:
        if on is not None:
            checked_tables(competition, workspace, console)  # once, not in every trial
        # On processors no more at once than are drawn without knowing of any other.
        share = max(1, min(AT_RANDOM, trials - found.drawn))
        each(_trials(found, trials, console), on, share, workspace.data(competition.name), console)
        console.log = None
        for line in found.lines():
            console.say(line)
        return found.best


def _trials(found: Search, trials: int, console: Console) -> Iterator[Job]:
    """The trials that are left, each drawn when it is asked for."""
    from comp.tools.side_by_side import Job

    while found.drawn < trials:
        trial, drawn = found.draw()
        console.log = None
        console.say(f"trial {found.drawn} of {trials}: {' '.join(drawn.settings)}")
        yield Job(f"trial {found.drawn} of {trials}", partial(try_out, found, trial, drawn))


def try_out(found: Search, trial: optuna.Trial, drawn: Choices, console: Console) -> Run:
    """Train a trial of a search, or what is left of it."""
    from comp.kaggle import goals
    from comp.runner import train_stages
    from comp.training.prepared import prepare
    from comp.training.resuming import under_way

    if (run := found.run_of(trial)) is not None:
        return run
    prepared = prepare(found.competition, drawn, found.workspace, console)
    found.refuse_other_data(prepared)
    # One that was trained before the sweep was stopped, or for its own sake, isn't trained again.
    with under_way(prepared, found.workspace, console, goals.predicted) as training, found.tried(trial, training):
        train_stages(training, console)
    return training.run
