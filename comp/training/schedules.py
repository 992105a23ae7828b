"""Learning-rate schedules of a stage, per step, by torch's schedulers, and the rates that a recipe plans."""

from collections.abc import Callable
from functools import partial
from numbers import Real

import numpy as np
import numpy.typing as npt
import torch
from torch.optim import SGD, Optimizer, lr_scheduler

from comp.declare.checks import fits
from comp.declare.custom import called, short_name
from comp.declare.recipe import LAYER_GROUPS, Amount, Recipe, Stage
from comp.errors import DeclarationError

WARM_UP = 0.25
FLAT = 0.75
# A descent of fewer steps would end far above zero.
FEWEST_DOWN = 4
# Drawn in place of a learning rate that is yet to be found; the curve has the same shape for any.
NOMINAL_RATE = 1e-3
STEPS_PER_EPOCH = 50

Array = npt.NDArray[np.float64]


def group_rates(peak: float, ratio: float, groups: int) -> list[float]:
    """The peak rates of the last ``groups`` of early, late, head: ``[peak / ratio², peak / ratio, peak]``."""
    return [peak / ratio**index for index in reversed(range(groups))]


def scheduler(optimizer: Optimizer, stage: Stage, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
    """The stage's schedule over an optimizer whose groups are at their peak rates; step it after every optimizer step.

    ``sgdr``: cosine descents from the peak to near zero with warm restarts (arXiv:1608.03983).
    ``one_cycle``: up over the first quarter and down to near zero (arXiv:1708.07120).
    ``flat_cosine``: the peak for three quarters, then one cosine descent, of four steps at least.
    A descent of n steps ends at ``(1 + cos(pi * (n - 1) / n)) / 2`` of its peak: few steps end well above zero.
    A function gives each step's factor of the peak; raises DeclarationError where a factor is no number from 0 on.
    """
    steps = stage.epochs * steps_per_epoch
    if callable(stage.schedule):
        return lr_scheduler.LambdaLR(optimizer, partial(_factor, stage.schedule, steps))
    if stage.schedule == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        # torch's scheduler needs three steps, for start, peak and end, and divides by zero with fewer.
        steps = max(steps, 3)
        warm_up = max(WARM_UP, 2 / steps)
        return lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=warm_up, cycle_momentum=False)
    if stage.schedule == "flat_cosine":
        flat = min(int(FLAT * steps), max(steps - FEWEST_DOWN, 0))
        parts = [
            lr_scheduler.ConstantLR(optimizer, factor=1, total_iters=0),
            lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - flat),
        ]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=[flat])
    return lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=stage.cycle_length * steps_per_epoch, T_mult=stage.cycle_multiplier
    )


def _factor(schedule: Callable[[int, int], float], steps: int, step: int) -> float:
    # torch asks for the rate after the last step as well.
    factor = called("Stage: `schedule`", schedule, min(step, steps - 1), steps)
    if not isinstance(factor, Real) or not fits(float(factor), Amount):
        raise DeclarationError(
            f"Stage: `schedule` returned {factor!r} for step {step} of {steps}, but it should return a number of at "
            "least 0, the factor of the peak rate."
        )
    return float(factor)


def simulate(stage: Stage, steps_per_epoch: int, peak: float, ratio: float) -> Array:
    """The rates that a stage would train at, (steps, groups), of the layer groups that it trains, the head's last."""
    optimizer = SGD(
        [
            {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate}
            for rate in group_rates(peak, ratio, stage.groups)
        ]
    )
    schedule = scheduler(optimizer, stage, steps_per_epoch)
    rates = []
    for _ in range(stage.epochs * steps_per_epoch):
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return np.array(rates)


def planned_rates(recipe: Recipe, layer_lr_ratio: float) -> tuple[Array, Array]:
    """Epochs (N,) from the first gradient step on, and rates (N, 3) of early, late and head, NaN where one is frozen.

    N is 0 where L-BFGS solves all heads.
    """
    parts = [np.empty((0, len(LAYER_GROUPS)))]
    for stage in recipe.stages:
        if stage.schedule == "lbfgs":
            continue
        peak = NOMINAL_RATE if isinstance(stage.learning_rate, str) else stage.learning_rate
        rates = simulate(stage, STEPS_PER_EPOCH, peak, layer_lr_ratio)
        frozen = len(LAYER_GROUPS) - rates.shape[1]
        parts.append(np.pad(rates, ((0, 0), (frozen, 0)), constant_values=np.nan))
    rates = np.concatenate(parts)
    return np.arange(len(rates)) / STEPS_PER_EPOCH, rates


def in_words(recipe: Recipe, layer_lr_ratio: float) -> list[str]:
    """A line per stage: the layer groups that train, for how long and at which rates."""
    lines = []
    for number, stage in enumerate(recipe.stages, start=1):
        head = 1.0 if isinstance(stage.learning_rate, str) else stage.learning_rate
        rates = ", ".join(f"{head / layer_lr_ratio**index:.2g}" for index in reversed(range(stage.groups)))
        times = " x the rate found" if isinstance(stage.learning_rate, str) else ""
        lengths = " + ".join(map(str, stage.cycle_epochs))
        epochs = f"{lengths} epoch{'' if stage.epochs == 1 else 's'} of {short_name(stage.schedule)}"
        share = f", where the head leaves more than {stage.needed_above:.2%} of the loss of guessing"
        lines.append(
            f"stage {number}: {', '.join(LAYER_GROUPS[-stage.groups :])} at {stage.pixels_in_words} px, "
            f"{'solved by L-BFGS' if stage.schedule == 'lbfgs' else f'{epochs}, peaks [{rates}]{times}'}"
            f"{share if stage.needed_above else ''}"
        )
    return lines
