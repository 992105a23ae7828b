"""A stage of a training as it went, and what its losses show beyond chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.recipe import Recipe, Stage

Array = npt.NDArray[np.float64]

# Fewer steps say nothing about a slope.
FEWEST_STEPS = 12
# The last epoch of a cycle that is long enough hardly moves the weights; a fall by this share of the loss is more.
FALLING = 0.15
# Standard errors that a difference between batches must have.
CERTAIN = 2.0


@dataclass(frozen=True)
class Record:
    """A stage as it went.

    epochs: its rows of epochs.csv. losses, rates: of each step, (N,); the rates are the head's.
    first: the run's first loss, that of guessing. before: the losses that the stage before ended with.
    """

    number: int
    stage: Stage
    epochs: pd.DataFrame
    losses: Array
    rates: Array
    first: float
    before: tuple[float, ...]

    @property
    def finished(self) -> bool:
        return len(self.epochs) >= self.stage.epochs and len(self.losses) > 0

    @property
    def peak(self) -> float | None:
        """The head's highest learning rate, by the steps or else by the declaration; None where it was never found."""
        if len(self.rates):
            return float(self.rates.max())
        return None if isinstance(self.stage.learning_rate, str) else float(self.stage.learning_rate)

    def column(self, name: str) -> Array:
        return self.epochs[name].to_numpy(float)

    def set(self, field: str, value: float) -> str:
        text = f"{value:.2g}" if isinstance(value, float) else str(value)
        return f"--set stages.{self.number}.{field}={text}"

    def rate_times(self, factor: float) -> str:
        if self.peak is None:
            return "--set clip_norm=1"
        return self.set("learning_rate", self.peak * factor)

    @property
    def at_rate(self) -> str:
        return "" if self.peak is None else f", at a learning rate of {self.peak:.2g}"


def records_of(epochs: pd.DataFrame, steps: pd.DataFrame, recipe: Recipe) -> list[Record]:
    losses = steps["loss"].to_numpy(float)
    first = float(losses[0]) if len(losses) and np.isfinite(losses[0]) else float("nan")
    records = []
    before: tuple[float, ...] = ()
    for number, stage in enumerate(recipe.stages, start=1):
        own, own_steps = epochs[epochs["stage"] == number], steps[steps["stage"] == number]
        rates = own_steps["lr_head"].to_numpy(float)
        records.append(Record(number, stage, own, own_steps["loss"].to_numpy(float), rates, first, before))
        ends = own[["train_loss", "valid_loss"]].to_numpy(float)[-1:].ravel()
        before = tuple(ends[np.isfinite(ends)].tolist())
    return records


@dataclass(frozen=True)
class Fall:
    """A train loss that was still falling, from ``of`` to ``to``."""

    of: float
    to: float


def last_fall(record: Record) -> Fall | None:
    """How train loss fell in the last epoch, or from the middle to the last third of the only one; None if not."""
    train = record.column("train_loss")
    if len(train) > 1:
        epoch, before = (record.losses[part] for part in _last_two(record))
        fall = Fall(float(train[-2]), float(train[-1]))
    else:
        if len(record.losses) < FEWEST_STEPS:
            return None
        _, before, epoch = np.array_split(record.losses, 3)
        fall = Fall(float(before.mean()), float(epoch.mean()))
    certain = fall.of - fall.to > error_of(before, epoch)
    return fall if certain and fall.of - fall.to >= FALLING * fall.of else None


def _last_two(record: Record) -> tuple[slice, slice]:
    """The steps of the last epoch, and of the one before it."""
    length = len(record.losses) // len(record.epochs)
    return slice(-length, None), slice(-2 * length, -length)


def error_of(one: Array, other: Array) -> float:
    """The difference between two means of batches that chance may make."""
    if min(len(one), len(other)) < 2:
        return float("inf")
    return CERTAIN * float(np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)))
