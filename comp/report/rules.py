"""The rules of the diagnosis, one kind of finding each.

A rule takes a stage's record and returns the numbers that it is based on, in words, and the one change to try, mostly
as a command-line option: ``--set stages.2.cycle_length=2``. It returns None where the numbers could be chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.declare.recipe import Recipe, Stage
from comp.errors import counted

Array = npt.NDArray[np.float64]

# Fewer steps say nothing about a slope.
FEWEST_STEPS = 12
# The last epoch of a long enough cycle hardly moves the weights; the loss still falls if it falls by this share.
FALLING = 0.15
# The standard errors by which losses of batches must differ.
CERTAIN = 2.0
# The first loss is that of guessing, as a head starts at the classes' shares; a healthy loss never reaches twice that.
EXPLODED = 2.0
# Mini-batches averaged before a loss is called high: a single one may hold the hardest images.
TOGETHER = 5
# Images of another size or a fresh optimizer raise the loss by less than this share of the first loss.
RISE = 0.1
# A stage that begins below this share of the first loss fine-tunes: a slow fall may be right.
UNTRAINED = 0.75
# In a stage that starts untrained, a training that works lowers its loss by more than this share.
CREPT = 0.2
# Learning slows down; where a stage's second half still gains this share of what its first did, it has hardly begun.
STEADY = 1 / 3
# A loss began at the median of this many first steps.
START = 3
# A change by less than this share of the initial loss is no more than the difference between batches.
MOVED = 0.01
# Below this share of the first loss, a few hard images make up the loss, and it rises and falls by large shares.
LEARNED = 0.05
# From this share of the loss of guessing on, nothing was learned that generalises.
NO_BETTER = 0.97
# Batch norm's running statistics take a tenth of each batch (torch's momentum): after this many steps they are current.
FEW_STEPS = 60
# With fewer cycles there is at most one restart to judge by.
FEWEST_CYCLES = 3
# Cycles are too short if a restart costs this share of the loss, and this many times the gain of a cycle.
RESTART = 0.2
RESTART_TO_GAIN = 3.0
# Validation losses of the recorded healthy runs vary by up to a twentieth after their minimum.
ROSE = 0.1
# Where they are nearly zero, they vary by up to this share of the first loss.
ROSE_OF_FIRST = 0.01
# Overfitting needs a validation loss this many times the train loss.
GAP = 1.2
# This many last epochs must all be above the minimum: a single one may be an outlier.
LASTING = 3
# An increase of the score by less than this share is a handful of images.
BETTER = 0.01


Said = tuple[str, str]


@dataclass(frozen=True)
class Record:
    """A stage's record; ``number`` counts from 1.

    epochs: its rows of epochs.csv. losses, rates: each step's loss and the head's learning rate (N,).
    first: an untrained head's loss, about that of guessing: the run's first, or guessing's where that is higher or the
        first head was solved; NaN where unknown. before: the previous stage's final losses.
    later: the stages after it. validated: whether any image of the run validated.
    higher_is_better: of the validation score. guessing: the validation loss of predicting the classes' shares.
    baseline: score and validation loss of a linear model on the frozen features, if the run isn't one.
    taken: the run's steps up to the stage's end.
    """

    number: int
    stage: Stage
    recipe: Recipe
    epochs: pd.DataFrame
    losses: Array
    rates: Array
    first: float
    before: list[float]
    later: list[Record]
    validated: bool
    higher_is_better: bool
    guessing: float
    baseline: Mapping[str, float] | None
    taken: int

    @property
    def peak(self) -> float | None:
        """The head's highest learning rate, by the steps or else as declared; None where it was never found."""
        if len(self.rates):
            return float(self.rates.max())
        return None if isinstance(self.stage.learning_rate, str) else float(self.stage.learning_rate)

    @cached_property
    def fall(self) -> tuple[float, float] | None:
        """Train loss before and after the last epoch, or the last third of the only one; None if it no longer fell."""
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
        """The command-line option that sets a field of the stage."""
        text = f"{value:.2g}" if isinstance(value, float) else str(value)
        return f"--set stages.{self.number}.{field}={text}"

    @property
    def longer(self) -> str:
        return self.set("cycle_length", 2 * self.stage.cycle_length)

    def rate_times(self, factor: float) -> str:
        return "--set clip_norm=1" if self.peak is None else self.set("learning_rate", self.peak * factor)

    @property
    def at_rate(self) -> str:
        return "" if self.peak is None or self.stage.schedule == "lbfgs" else f", at a learning rate of {self.peak:.2g}"


def not_finite(record: Record) -> Said | None:
    """A loss overflowed or became NaN."""
    wrong = np.flatnonzero(~np.isfinite(record.losses))
    if len(wrong):
        where = f"the loss is not finite from step {wrong[0] + 1} of {len(record.losses)} on"
    else:
        names = ["train_loss", "valid_loss"] if record.validated else ["train_loss"]
        rows = record.epochs[~np.isfinite(record.epochs[names].to_numpy(float)).all(axis=1)]
        if rows.empty:
            return None
        name = "validation" if np.isfinite(rows["train_loss"].iloc[0]) else "train"
        where = f"the {name} loss is not finite in epoch {rows['epoch'].iloc[0]}"
    return where + record.at_rate, record.rate_times(0.1)


def too_high(record: Record) -> Said | None:
    """The loss exploded; in a later stage it may rise for a while if it ends lower than it began."""
    if not len(record.losses) or record.stage.schedule == "lbfgs":  # which has no rate
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
    return evidence, record.rate_times(0.1)


def unfinished(record: Record) -> Said | None:
    """The stage has fewer epochs than the recipe."""
    had, wanted = len(record.epochs), record.stage.epochs
    if had >= wanted and len(record.losses):
        return None
    recorded = f"{had} of {counted(wanted, 'epoch')} recorded{record.at_rate}"
    return f"{recorded}; it still trains, or was stopped or broke off", "the same command again, which resumes it"


def too_low(record: Record) -> Said | None:
    """The loss crept: it fell little, and per learning rate as fast at the end as at the beginning."""
    losses, rates = record.losses, record.rates
    # A head from the pretrained classifier is trained already.
    if len(losses) < FEWEST_STEPS or not rates.sum() > 0 or record.recipe.head == "pretrained":
        return None
    start = float(np.median(losses[:START]))
    # Steps are weighted by their rates, or the end of every cosine would look like the end of learning.
    travelled = rates.cumsum() / rates.sum()
    middle, end = losses[(travelled > 0.4) & (travelled <= 0.6)], losses[travelled > 0.8]
    if not start >= UNTRAINED * record.first or len(middle) < 2 or len(end) < 2:  # or unknown
        return None
    early, late = start - float(middle.mean()), float(middle.mean() - end.mean())
    fell = early + late
    creeps = 0 < fell < CREPT * start and late > error_of(middle, end) and late >= STEADY * early
    still = abs(fell) < MOVED * start and float(losses.max()) < (1 + CREPT) * start
    if not creeps and not still:
        return None
    how = "fell as steadily at the end as before" if creeps else "hardly moved"
    evidence = (
        f"the loss went from {start:.4g} to {end.mean():.4g} in {counted(record.stage.epochs, 'epoch')} "
        f"and {how}{record.at_rate}"
    )
    return evidence, record.rate_times(10.0)


def no_better_than_guessing(record: Record) -> Said | None:
    """A training ends at, or far above, the validation loss of guessing by the classes' shares.

    Its training losses may still look good: they use batch statistics and the current weights, while validation uses
    batch norm's running statistics and averaged weights, which need steps to catch up. A custom loss isn't judged: the
    logarithms of shares may not be logits of its head.
    """
    if callable(record.recipe.loss) or not record.validated:
        return None
    if (record.later and len(record.later[0].epochs)) or too_many_epochs(record):
        return None
    ended, train = (float(record.column(name)[-1]) for name in ("valid_loss", "train_loss"))
    if not ended >= NO_BETTER * record.guessing:
        return None
    evidence = f"validation loss ended at {ended:.3g}; guessing the same for every image has {record.guessing:.3g}"
    learned = train < UNTRAINED * record.guessing
    if learned:
        evidence += f", and train loss came down to {train:.3g}"
    if record.stage.schedule == "lbfgs":  # neither steps nor a rate make an optimum better
        why = "what it learns doesn't generalise" if learned else "frozen features don't tell the classes apart"
        return f"{evidence}; {why}", "--folds 5, which validates on every image, or a stage that trains the backbone"
    lags = learned and not record.recipe.freeze_batch_norm
    if record.taken < FEW_STEPS:
        follow = "batch norm's running statistics, which validation uses, to follow the weights"
        steps = counted(record.taken, "step is", "steps are")
        return f"{evidence}; {steps} too few {f'for {follow}' if lags else 'to learn from'}", record.longer
    if learned and (not lags or ended < EXPLODED * record.guessing):
        return f"{evidence}; what it learns doesn't generalise to new images", record.rate_times(0.1)
    if learned:
        why = "batch norm's running statistics lag behind weights that move so fast"
        return f"{evidence}; {why}{record.at_rate}", record.rate_times(0.1)
    shaken = record.losses.max() >= (1 + CREPT) * record.losses[0]
    return f"{evidence}; it learned nothing{record.at_rate}", record.rate_times(0.1 if shaken else 10.0)


def no_better_than_a_linear_model(record: Record) -> Said | None:
    """A training ends with worse loss and score than a linear model on the frozen features.

    More epochs help only where validation loss never rose above its start and fell to the end; otherwise a lower rate
    spoils less of what the stage began with.
    """
    if record.baseline is None or (record.later and len(record.later[0].epochs)):
        return None
    valid, score = record.column("valid_loss"), float(record.column("score")[-1])
    linear, better = record.baseline, 1 if record.higher_is_better else -1
    if not (better * score < better * linear["score"] and valid[-1] > linear["loss"]):
        return None
    path = np.array([record.before[-1] if record.before else record.guessing, *valid])
    rose = path.max() >= (1 + ROSE) * path[0]
    falls = path[-1] < path[-2] and path[-1] == valid.min()
    evidence = (
        f"it ended at {record.epochs['metric'].iloc[-1]} {score:.5g}, validation loss {valid[-1]:.4g}; a linear model "
        f"on the frozen features has {linear['score']:.5g} and {linear['loss']:.4g}"
    )
    return evidence, record.longer if falls and not rose else record.rate_times(0.1)


def head_not_converged(record: Record) -> Said | None:
    """A head that hasn't converged sends large gradients into the backbone once that is unfrozen."""
    if record.stage.groups > 1 or not record.later or record.later[0].stage.groups == 1:
        return None
    if record.fall is None or record.fall[1] < LEARNED * record.first:
        return None
    if record.validated and len(record.epochs) > 1 and np.diff(record.column("valid_loss"))[-1] >= 0:
        return None
    when = "last epoch" if len(record.epochs) > 1 else "last third of its one epoch"
    before, after = record.fall
    evidence = (
        f"when the backbone was unfrozen, the head was still learning: its train loss fell from {before:.3g} "
        f"to {after:.3g} in the {when}"
    )
    return evidence, record.longer


def undone(record: Record) -> Said:
    """The training went back to the weights from before the stage."""
    ended = float(record.column("valid_loss")[-1])
    evidence = (
        f"validation loss rose from {record.before[-1]:.3g} to {ended:.3g}, and the score was no better, so the "
        "weights are those from before the stage"
    )
    solved = record.stage.schedule == "lbfgs"  # which has no rate
    return evidence, "the recipe without that stage" if solved else record.rate_times(0.1)


def cycle_too_short(record: Record) -> Said | None:
    """Every restart undoes more than its cycle then gains: the cycles end before the loss comes down.

    Judged by the second half of the cycles, because the first ones gain by learning what is easy.
    """
    cycles = np.array_split(record.losses, len(record.stage.cycle_epochs))
    if len(cycles) < FEWEST_CYCLES or record.stage.cycle_multiplier > 1 or len(cycles[0]) < FEWEST_STEPS:
        return None
    judged = [np.array_split(cycle, 4) for cycle in cycles[len(cycles) // 2 :]]
    # In the first quarter the weights are still near the previous cycle's end.
    high, low = (np.concatenate([quarters[quarter] for quarters in judged]) for quarter in (1, 3))
    gain = float(judged[0][3].mean() - judged[-1][3].mean()) / (len(judged) - 1)
    cost, end = float(high.mean() - low.mean()), float(low.mean())
    if end < LEARNED * record.first or cost < max(RESTART * end, error_of(high, low), RESTART_TO_GAIN * gain):
        return None
    gained = f"only {gain:.2g} lower than" if gain > 0 else "no lower than"
    evidence = (
        f"in the last {len(judged)} of {len(cycles)} cycles the loss went up to {high.mean():.3g} after each restart "
        f"and back to {end:.3g}, and a cycle ended {gained} the previous one"
    )
    return evidence, record.longer


def too_few_epochs(record: Record) -> Said | None:
    """Underfitting: train loss above validation loss, and both still falling.

    In a healthy training augmentation and dropout put train loss above validation loss too, but neither still falls.
    """
    if record.later or not record.validated or not_comparable(record.recipe) or record.fall is None:
        return None
    before, after = record.fall
    valid = record.column("valid_loss")
    if after < LEARNED * record.first or after <= valid[-1]:
        return None
    if len(valid) > 1:
        if valid[-2] - valid[-1] < FALLING * valid[-2]:
            return None
        falls = f"and in the last epoch both still fell, from {before:.3g} and {valid[-2]:.3g}"
    elif record.recipe.dropout or record.recipe.drop_path:
        # One validation doesn't show whether its loss falls, and the gap alone may come from dropout.
        return None
    else:
        falls = f"and fell from {before:.3g} in the last third of its one epoch"
    return f"train loss {after:.3g} is above validation loss {valid[-1]:.3g}, {falls}", record.longer


def too_many_epochs(record: Record) -> Said | None:
    """Overfitting: validation loss rose for good while train loss went on falling, and the score didn't improve."""
    if not record.validated or len(record.epochs) < 3:
        return None
    valid, train, score = (record.column(name) for name in ("valid_loss", "train_loss", "score"))
    best = int(valid.argmin())
    lasting = valid[best + 1 :][-LASTING:]
    if not len(lasting) or lasting.min() < (1 + ROSE) * valid[best]:
        return None
    if valid[-1] - valid[best] < ROSE_OF_FIRST * record.first or train[-1] >= train[best]:
        return None
    if not not_comparable(record.recipe) and valid[-1] < GAP * train[-1]:
        return None
    better = 1 if record.higher_is_better else -1
    if better * (score[-1] - score[best]) > BETTER * abs(score[best]):
        return None
    if any(unfinished(other) is None and other.column("valid_loss")[-1] < valid[best] for other in record.later):
        return None
    evidence = (
        f"validation loss was lowest in epoch {best + 1} of {len(valid)}, {valid[best]:.3g}, "
        f"and ended at {valid[-1]:.3g}, while train loss fell from {train[best]:.3g} to {train[-1]:.3g}"
    )
    return evidence, _shortened(record, best + 1)


def not_comparable(recipe: Recipe) -> tuple[str, ...]:
    """The fields of a recipe that make its train loss incomparable with validation loss.

    Smoothed and mixed targets have a loss above zero however well they are learned, and balanced classes weigh images
    differently than validation does: a train loss above validation loss then means nothing.
    """
    named = tuple(field for field in ("label_smoothing", "mixup", "cutmix", "mixing") if getattr(recipe, field))
    return named if recipe.balance == "none" else (*named, "balance")


def error_of(one: Array, other: Array) -> float:
    """The largest difference between two means of batches that may be chance."""
    if min(len(one), len(other)) < 2:
        return float("inf")
    return CERTAIN * float(np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)))


def _shortened(record: Record, epochs: int) -> str:
    """The option that comes nearest to a stage of at most ``epochs`` epochs by changing one field."""
    stage = record.stage
    if stage.cycles == 1:
        return record.set("cycle_length", max(1, epochs))
    cycles = max(1, sum(1 for end in np.cumsum(stage.cycle_epochs) if end <= epochs))
    fewest = 1 if record.later else record.recipe.snapshots
    if fewest <= cycles < stage.cycles:
        return record.set("cycles", cycles)
    return record.set("cycle_length", max(1, stage.cycle_length // 2))
