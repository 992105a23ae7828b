"""What a recipe will do, before a step of it is taken: the learning rates of its layer groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from comp.declare.recipe import LAYER_GROUPS
from comp.training.schedule import simulate

if TYPE_CHECKING:
    import numpy.typing as npt

    from comp.declare.recipe import Recipe, Stage

    Array = npt.NDArray[np.float64]

# A rate that is to be found is drawn as this one; the shape is the same for any.
NOMINAL_RATE = 1e-3
STEPS_PER_EPOCH = 50


def planned_rates(recipe: Recipe, layer_lr_ratio: float) -> tuple[Array, Array]:
    """Epochs (N,) from the start of the training, and rates (N, 3) of early, late, head; NaN where one is frozen."""
    parts = []
    for stage in recipe.stages:
        rates = simulate(stage, STEPS_PER_EPOCH, peak_of(stage), layer_lr_ratio)
        frozen = len(LAYER_GROUPS) - rates.shape[1]
        parts.append(np.pad(rates, ((0, 0), (frozen, 0)), constant_values=np.nan))
    rates = np.concatenate(parts)
    return np.arange(len(rates)) / STEPS_PER_EPOCH, rates


def peak_of(stage: Stage) -> float:
    return NOMINAL_RATE if isinstance(stage.learning_rate, str) else stage.learning_rate


def in_words(recipe: Recipe, layer_lr_ratio: float) -> list[str]:
    """A line per stage: what trains, for how long, at which rates."""
    lines = []
    for number, stage in enumerate(recipe.stages, start=1):
        head = 1.0 if isinstance(stage.learning_rate, str) else stage.learning_rate
        rates = ", ".join(f"{head / layer_lr_ratio**place:.2g}" for place in reversed(range(stage.groups)))
        times = " x the rate found" if isinstance(stage.learning_rate, str) else ""
        lengths = " + ".join(map(str, stage.cycle_epochs))
        lines.append(
            f"stage {number}: {', '.join(LAYER_GROUPS[-stage.groups :])} at {stage.size} px, "
            f"{lengths} epochs of {stage.schedule}, peaks [{rates}]{times}"
        )
    return lines
