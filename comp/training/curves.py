"""Learning rates before a training, planned or found: PNG files by matplotlib, the terminal's characters by plotext."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.console import Console
from comp.declare.competition import Competition
from comp.declare.recipe import LAYER_GROUPS
from comp.errors import OverrideError
from comp.files import replacing
from comp.runs import Workspace
from comp.runs.choices import Choices
from comp.runs.resolve import Experiment, lines_of_recipe, resolve
from comp.training.finder import RangeTest
from comp.training.prepared import prepare
from comp.training.schedules import in_words, planned_rates

Array = npt.NDArray[np.float64]

WIDTH, HEIGHT = 78, 18


def draw_schedule(competition: Competition, choices: Choices, workspace: Workspace, console: Console) -> Path | None:
    """Draw a recipe's learning rates and say its stages, without data; None where L-BFGS solves all heads."""
    lines = lines_of_recipe(competition, choices)
    competition, recipe = resolve(competition, choices)
    epochs, rates = planned_rates(recipe, competition.layer_lr_ratio)
    picture = workspace.runs / competition.name / f"schedule-{choices.recipe}.png" if len(rates) else None
    if picture is not None:
        draw_rates(epochs, rates, LAYER_GROUPS, picture)
        console.say(rates_in_characters(epochs, rates, LAYER_GROUPS, "learning rates of early, late and head"))
    for line in lines + in_words(recipe, competition.layer_lr_ratio):
        console.say(line)
    return picture


def find_rate(
    competition: Competition, choices: Choices, workspace: Workspace, console: Console, number: int | None
) -> Path:
    """Run an LR range test of a stage, starting from pretrained weights and heads that earlier stages solve.

    number: the stage's, from 1; None: the first that L-BFGS doesn't solve. Raises OverrideError where there is none.
    """
    experiment = Experiment.of(competition, choices, workspace)
    stages = experiment.recipe.stages
    tested = [place for place, stage in enumerate(stages, start=1) if stage.schedule != "lbfgs"]
    if not tested:
        raise OverrideError(f"All stages of {choices.recipe!r} are solved by L-BFGS: no learning rate to find.")
    number = tested[0] if number is None else number
    if not 1 <= number <= len(stages):
        raise OverrideError(f"--stage is {number}, but the recipe {choices.recipe!r} has stages 1 to {len(stages)}.")
    if number not in tested:
        raise OverrideError(
            f"Stage {number} of {choices.recipe!r} is solved by L-BFGS: no learning rate to find; choose --stage "
            f"{' or '.join(map(str, tested))}."
        )
    prepared = prepare(experiment, console)
    for place, earlier in enumerate(stages[: number - 1], start=1):
        if earlier.schedule == "lbfgs":  # in seconds; the range test then starts from the head that a training has
            deque(prepared.learner.fit(earlier, 1.0, *prepared.inputs(earlier, place), prepared.seed_of(place)), 0)
        else:
            console.say(f"stage {place} isn't trained first; after it, in a training, the curve may be another")
    stage = prepared.possible(stages[number - 1])
    epochs, _ = prepared.inputs(stage, number)
    picture = workspace.runs / competition.name / f"learning-rate-{choices.recipe}-{number}.png"
    show_range_test(console, prepared.range_test(stage, number, epochs), picture)
    return picture


def show_range_test(console: Console, test: RangeTest, path: Path) -> None:
    """Show the losses against the rates with the suggestions, in characters and words, and as a PNG file."""
    _write(range_test_as_png(test), path)
    console.detail(range_test_in_characters(test))
    console.detail(f"suggestions: {test}")


def range_test_as_png(test: RangeTest) -> bytes:
    """The losses against the rates, with the suggestions marked."""
    axes = _axes()
    axes.plot(test.rates, test.losses, color="0.8", label="loss of the mini-batch")
    axes.plot(test.rates, test.smoothed, color="C0", label="smoothed")
    for index, (rule, rate) in enumerate(test.suggestions.items(), start=1):
        axes.axvline(rate, color=f"C{index}", linestyle="--", label=f"{rule}: {rate:.2g}")
    axes.set(xscale="log", xlabel="learning rate of the head", ylabel="loss", ylim=without_outliers(test.smoothed))
    return _png(axes)


def range_test_in_characters(test: RangeTest) -> str:
    """The same as lines of text; each suggestion is marked by its first letter."""
    plot = _blank()
    low, high = without_outliers(test.smoothed)
    heights = test.smoothed.clip(low, high)
    plot.plot(test.rates.tolist(), heights.tolist(), marker="braille")
    for rule, rate in test.suggestions.items():
        index = int(np.abs(np.log(test.rates / rate)).argmin())
        plot.scatter([float(test.rates[index])], [float(heights[index])], marker=rule[0].upper())
    plot.xscale("log")
    plot.xticks(*_decades(test.rates[0], test.rates[-1]))
    plot.title("loss against the learning rate")
    return _characters(plot)


def draw_rates(epochs: Array, rates: Array, groups: Sequence[str], path: Path) -> None:
    """Draw the learning rates (N, groups) of the layer groups against epochs (N,), as a PNG file."""
    axes = _axes()
    for index, group in enumerate(groups):
        axes.plot(epochs, rates[:, index], label=group)
    axes.set(yscale="log", xlabel="epoch", ylabel="learning rate", ylim=_without_ends(rates))
    _write(_png(axes), path)


def rates_in_characters(epochs: Array, rates: Array, groups: Sequence[str], title: str) -> str:
    """The same as lines of text, with the groups' first letters; a frozen group has rates of NaN and no line."""
    plot = _blank()
    low, high = _without_ends(rates)
    for index, group in enumerate(groups):
        drawn = rates[:, index] >= low
        if drawn.any():
            plot.scatter(epochs[drawn].tolist(), rates[drawn, index].tolist(), marker=group[0])
    plot.yscale("log")
    plot.yticks(*_decades(low, high))
    plot.xlabel("epoch")
    plot.title(title)
    return _characters(plot)


def without_outliers(smoothed: Array) -> tuple[float, float]:
    """The range of losses to draw, up to a little above the start: divergence at the end would flatten the curve."""
    low, high = float(smoothed.min()), float(smoothed[: max(len(smoothed) // 4, 1)].max())
    margin = 0.1 * (high - low) or 0.1
    return low - margin, high + 2 * margin


def _without_ends(rates: Array) -> tuple[float, float]:
    """The range from a tenth of the lowest peak to the highest: a cycle ends near zero, far below on a log scale."""
    peaks = np.nanmax(rates[:, ~np.isnan(rates).all(axis=0)], axis=0)
    return float(peaks.min() / 10), float(peaks.max() * 1.2)


def _decades(low: float, high: float) -> tuple[list[float], list[str]]:
    """The powers of ten in a range, as numbers and in words."""
    powers = np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    return [float(10**power) for power in powers], [f"1e{power:.0f}" for power in powers]


def _axes() -> Any:
    from matplotlib.figure import Figure  # slow to import, and few commands draw

    return Figure(figsize=(8, 4.5), layout="constrained").subplots()


def _png(axes: Any) -> bytes:
    axes.legend()
    picture = BytesIO()
    axes.figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _write(picture: bytes, path: Path) -> None:
    with replacing(path) as unfinished:
        unfinished.write_bytes(picture)


def _blank() -> Any:
    """plotext's only figure, cleared."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(WIDTH, HEIGHT)
    return plotext


def _characters(plot: Any) -> str:
    lines = plot.uncolorize(plot.build()).splitlines()
    return "\n".join(line.rstrip() for line in lines)
