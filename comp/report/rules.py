"""The rules by which a training's losses are read, one kind of finding each.

Every finding names the numbers it is based on. A rule stays silent where the numbers could be chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.declare.recipe import Recipe, Stage

Array = npt.NDArray[np.float64]

Kind = Literal[
    "loss is not finite",
    "learning rate too high",
    "learning rate too low",
    "head not converged",
    "cycle too short",
    "too few epochs",
    "too many epochs",
    "unfinished",
]

# Fewer steps say nothing about a slope.
FEWEST_STEPS = 12
# The last epoch of a cycle that is long enough hardly moves the weights; a fall by this share of the loss is more.
FALLING = 0.15
# Standard errors that a difference between batches must have.
CERTAIN = 2.0
# A head starts at the classes' shares, so the first loss is that of guessing; nothing healthy guesses twice as badly.
EXPLODED = 2.0
# Mini-batches averaged before a loss is called high: one alone may hold the hardest images.
TOGETHER = 5
# A rise by less than a tenth of the first loss is what images of another size or a fresh optimizer cost.
RISE = 0.1
# A stage that begins below this share of the first loss fine-tunes: it may fall slowly and be right.
UNTRAINED = 0.75
# A training that works loses more than this share of its loss in any stage that starts untrained.
CREPT = 0.2
# Learning dies out; where the second half of a stage brings a third of what the first did, it has hardly begun.
STEADY = 1 / 3
# The first steps, whose median is where a loss began.
START = 3
# Below this share of its start a loss has moved no more than batches differ.
MOVED = 0.01
# Below this share of the first loss a few hard images make the loss, and it falls and rises by large shares.
LEARNED = 0.05
# With fewer cycles there is one restart, or none, to judge by.
FEWEST_CYCLES = 3
# What a restart must cost, as a share of the loss and in times what a cycle gains, to call cycles too short.
RESTART = 0.2
RESTART_TO_GAIN = 3.0
# Validation losses of the recorded healthy runs wander by up to a twentieth after their lowest.
ROSE = 0.1
# And by this share of the first loss where they are nearly zero.
ROSE_OF_FIRST = 0.01
# How far validation loss must stand above train loss to be called overfitted.
GAP = 1.2
# So many last epochs must all be above the lowest: one alone may be a bad one.
LASTING = 3
# A score up by less than this share is a handful of images.
BETTER = 0.01


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
    def peak(self) -> float | None:
        """The head's highest learning rate, by the steps or else by the declaration; None where it was never found."""
        if len(self.rates):
            return float(self.rates.max())
        return None if isinstance(self.stage.learning_rate, str) else float(self.stage.learning_rate)

    @cached_property
    def fall(self) -> tuple[float, float] | None:
        """Train loss before and after its last epoch, or the last third of its only one; None if it no longer fell."""
        train = self.column("train_loss")
        if len(train) > 1:
            length = len(self.losses) // len(train)
            before, after = self.losses[-2 * length : -length], self.losses[-length:]
            start, end = float(train[-2]), float(train[-1])
        elif len(self.losses) < FEWEST_STEPS:
            return None
        else:
            _, before, after = np.array_split(self.losses, 3)
            start, end = float(before.mean()), float(after.mean())
        return (start, end) if start - end > error_of(before, after) and start - end >= FALLING * start else None

    def column(self, name: str) -> Array:
        return self.epochs[name].to_numpy(float)

    def set(self, field: str, value: float) -> str:
        """A setting of the stage, as the command line takes it."""
        text = f"{value:.2g}" if isinstance(value, float) else str(value)
        return f"--set stages.{self.number}.{field}={text}"

    @property
    def longer(self) -> str:
        return self.set("cycle_length", 2 * self.stage.cycle_length)

    def rate_times(self, factor: float) -> str:
        return "--set clip_norm=1" if self.peak is None else self.set("learning_rate", self.peak * factor)

    @property
    def at_rate(self) -> str:
        return "" if self.peak is None else f", at a learning rate of {self.peak:.2g}"


@dataclass(frozen=True)
class Finding:
    """One thing that went wrong.

    stage: its number, from 1. evidence: the numbers it is based on, in words. change: the one to try, mostly as the
    command line takes it, ``--set stages.2.cycle_length=2``.
    """

    kind: Kind
    stage: int
    evidence: str
    change: str

    def __str__(self) -> str:
        return f"stage {self.stage}: {self.kind}: {self.evidence}; try {self.change}"


def records_of(epochs: pd.DataFrame, steps: pd.DataFrame, recipe: Recipe) -> list[Record]:
    """The recipe's stages as they went, by epochs.csv and history.csv."""
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


def not_finite(record: Record, *, validated: bool) -> Finding | None:
    """A loss overflowed, or became NaN."""
    wrong = np.flatnonzero(~np.isfinite(record.losses))
    if len(wrong):
        where = f"the loss is not finite from step {wrong[0] + 1} of {len(record.losses)} on"
    else:
        names = ["train_loss", "valid_loss"] if validated else ["train_loss"]
        rows = record.epochs[~np.isfinite(record.epochs[names].to_numpy(float)).all(axis=1)]
        if rows.empty:
            return None
        name = "validation" if np.isfinite(rows["train_loss"].iloc[0]) else "train"
        where = f"the {name} loss is not finite in epoch {rows['epoch'].iloc[0]}"
    return Finding("loss is not finite", record.number, where + record.at_rate, record.rate_times(0.1))


def too_high(record: Record) -> Finding | None:
    """The loss exploded; a later stage may lose what it was given for a while, if it ends no worse than it began."""
    if not len(record.losses):
        return None
    start = max(float(record.losses[0]), *record.before, 0.0)
    width = min(TOGETHER, len(record.losses))
    means = np.convolve(record.losses, np.ones(width) / width, mode="valid")
    top, ended = float(means.max()), float(means[-1])
    if top < EXPLODED * start or top - start < RISE * record.first or (record.before and ended < start):
        return None
    evidence = (
        f"the loss rose from {start:.3g} to {top:.3g} by step {int(means.argmax()) + width} of {len(record.losses)} "
        f"and ended at {ended:.3g}{record.at_rate}"
    )
    return Finding("learning rate too high", record.number, evidence, record.rate_times(0.1))


def unfinished(record: Record) -> Finding | None:
    """The stage has fewer epochs than the recipe."""
    had, wanted = len(record.epochs), record.stage.epochs
    if had >= wanted and len(record.losses):
        return None
    evidence = (
        f"{had} of {counted(wanted, 'epoch')} recorded{record.at_rate}; it still trains, or was stopped or broke off"
    )
    return Finding("unfinished", record.number, evidence, "the same command again, which resumes it")


def too_low(record: Record, recipe: Recipe) -> Finding | None:
    """The loss crept: it fell little, and as fast at the end as at the beginning, measured by the rates it fell at."""
    losses, rates = record.losses, record.rates
    # A head from the pretrained classifier has learned before its first step.
    if len(losses) < FEWEST_STEPS or not rates.sum() > 0 or recipe.head == "pretrained":
        return None
    start = float(np.median(losses[:START]))
    # A step counts as much as its rate, or the end of every cosine would look like the end of learning.
    travelled = rates.cumsum() / rates.sum()
    middle, end = losses[(travelled > 0.4) & (travelled <= 0.6)], losses[travelled > 0.8]
    if start < UNTRAINED * record.first or len(middle) < 2 or len(end) < 2:
        return None
    early, late = start - float(middle.mean()), float(middle.mean() - end.mean())
    fell = early + late
    creeps = fell < CREPT * start and late > error_of(middle, end) and late >= STEADY * early
    still = abs(fell) < MOVED * start and float(losses.max()) < (1 + CREPT) * start
    if not creeps and not still:
        return None
    how = "fell as steadily at the end as before" if creeps else "hardly moved"
    evidence = (
        f"the loss went from {start:.4g} to {end.mean():.4g} in {counted(record.stage.epochs, 'epoch')} "
        f"and {how}{record.at_rate}"
    )
    return Finding("learning rate too low", record.number, evidence, record.rate_times(10.0))


def head_not_converged(record: Record, later: list[Record], *, validated: bool) -> Finding | None:
    """A head that is still far from its best sends large gradients into the backbone when that is unfrozen."""
    if record.stage.groups > 1 or not later or later[0].stage.groups == 1:
        return None
    if record.fall is None or record.fall[1] < LEARNED * record.first:
        return None
    if validated and len(record.epochs) > 1 and np.diff(record.column("valid_loss"))[-1] >= 0:
        return None
    when = "last epoch" if len(record.epochs) > 1 else "last third of its one epoch"
    before, after = record.fall
    evidence = (
        f"when the backbone was unfrozen, the head was still learning: its train loss fell from {before:.3g} "
        f"to {after:.3g} in the {when}"
    )
    return Finding("head not converged", record.number, evidence, record.longer)


def cycle_too_short(record: Record) -> Finding | None:
    """Every restart undoes more than its cycle then gains: the cycles end before they come down.

    Judged by the cycles of the stage's second half, because the first ones gain by learning what is easy.
    """
    lengths = record.stage.cycle_epochs
    if len(lengths) < FEWEST_CYCLES or record.stage.cycle_multiplier > 1:
        return None
    cycles = np.array_split(record.losses, len(lengths))
    judged = [np.array_split(cycle, 4) for cycle in cycles[len(cycles) // 2 :]]
    if len(cycles[0]) < FEWEST_STEPS:
        return None
    # The first quarter still has the weights that the cycle before came down to.
    high, low = (np.concatenate([quarters[quarter] for quarters in judged]) for quarter in (1, 3))
    gain = float(judged[0][3].mean() - judged[-1][3].mean()) / (len(judged) - 1)
    cost, end = float(high.mean() - low.mean()), float(low.mean())
    if end < LEARNED * record.first or cost < max(RESTART * end, error_of(high, low), RESTART_TO_GAIN * gain):
        return None
    gained = f"only {gain:.2g} lower than" if gain > 0 else "no lower than"
    evidence = (
        f"in the last {len(judged)} of {len(lengths)} cycles the loss went up to {high.mean():.3g} after each restart "
        f"and back to {end:.3g}, and a cycle ended {gained} the one before"
    )
    return Finding("cycle too short", record.number, evidence, record.longer)


def too_few_epochs(record: Record, later: list[Record], recipe: Recipe, *, validated: bool) -> Finding | None:
    """Underfitting: train loss above validation loss, and both still falling.

    Augmentation and dropout put train loss above validation loss in a healthy training too; still falling they are not.
    """
    if later or not validated or not_comparable(recipe) or record.fall is None:
        return None
    before, after = record.fall
    valid = record.column("valid_loss")
    if after < LEARNED * record.first or after <= valid[-1]:
        return None
    if len(valid) > 1:
        if valid[-2] - valid[-1] < FALLING * valid[-2]:
            return None
        falls = f"and in the last epoch both still fell, from {before:.3g} and {valid[-2]:.3g}"
    elif recipe.dropout or recipe.drop_path:
        # With one validation it isn't known to fall, and the gap alone may be dropout's.
        return None
    else:
        falls = f"and fell from {before:.3g} in the last third of its one epoch"
    evidence = f"train loss {after:.3g} is above validation loss {valid[-1]:.3g}, {falls}"
    return Finding("too few epochs", record.number, evidence, record.longer)


def too_many_epochs(
    record: Record, later: list[Record], recipe: Recipe, *, validated: bool, higher_is_better: bool
) -> Finding | None:
    """Overfitting: validation loss went up for good while train loss went on falling, and the score gained nothing."""
    if not validated or len(record.epochs) < 3:
        return None
    valid, train, score = (record.column(name) for name in ("valid_loss", "train_loss", "score"))
    best = int(valid.argmin())
    lasting = valid[best + 1 :][-LASTING:]
    if not len(lasting) or lasting.min() < (1 + ROSE) * valid[best]:
        return None
    if valid[-1] - valid[best] < ROSE_OF_FIRST * record.first or train[-1] >= train[best]:
        return None
    if not not_comparable(recipe) and valid[-1] < GAP * train[-1]:
        return None
    better = 1 if higher_is_better else -1
    if better * (score[-1] - score[best]) > BETTER * abs(score[best]):
        return None
    if any(unfinished(other) is None and other.column("valid_loss")[-1] < valid[best] for other in later):
        return None
    evidence = (
        f"validation loss was lowest in epoch {best + 1} of {len(valid)}, {valid[best]:.3g}, "
        f"and ended at {valid[-1]:.3g}, while train loss fell from {train[best]:.3g} to {train[-1]:.3g}"
    )
    return Finding("too many epochs", record.number, evidence, _shortened(record, best + 1, recipe))


def not_comparable(recipe: Recipe) -> tuple[str, ...]:
    """The fields of a recipe that make its train loss another loss than validation's.

    Smoothed and mixed targets have a loss above zero however well they are learned, and balanced classes weigh another
    way than the validation images do: train loss above validation loss is then no sign of anything.
    """
    named = tuple(field for field in ("label_smoothing", "mixup", "cutmix") if getattr(recipe, field))
    return named if recipe.balance == "none" else (*named, "balance")


def error_of(one: Array, other: Array) -> float:
    """The difference between two means of batches that chance may make."""
    if min(len(one), len(other)) < 2:
        return float("inf")
    return CERTAIN * float(np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)))


def _shortened(record: Record, epochs: int, recipe: Recipe) -> str:
    """The stage with no more than so many epochs, as near as one field can bring it."""
    stage = record.stage
    if stage.cycles == 1:
        return record.set("cycle_length", max(1, epochs))
    cycles = max(1, sum(1 for end in np.cumsum(stage.cycle_epochs) if end <= epochs))
    fewest = recipe.snapshots if record.number == len(recipe.stages) else 1
    if fewest <= cycles < stage.cycles:
        return record.set("cycles", cycles)
    return record.set("cycle_length", max(1, stage.cycle_length // 2))


def counted(number: int, word: str) -> str:
    """So many of a word, in words."""
    return f"{number} {word}" + ("" if number == 1 else "s")
