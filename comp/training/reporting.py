"""What a training says on the terminal and in its log: stages, epochs, what the finder found."""

from __future__ import annotations

from comp.console import Console
from comp.declare.brought import short_name
from comp.declare.recipe import Stage
from comp.training.curves import range_test_in_characters
from comp.training.finder import RangeTest
from comp.training.learner import Epoch

EPOCH = "{:>6}  {:>10}  {:>10}  {:>10}  {:>8}  {:>9}"


def say_stage(console: Console, number: int, count: int, stage: Stage, learning_rate: float, metric: str) -> None:
    """The heading of a stage and of its epochs' table."""
    views = f" on cached features of {stage.views} view{'s' if stage.views > 1 else ''}" if stage.cached else ""
    epochs = f"{stage.epochs} epoch{'s' if stage.epochs > 1 else ''} of {short_name(stage.schedule)}"
    how = "solved by L-BFGS" if stage.schedule == "lbfgs" else f"{epochs}, learning rate {learning_rate:.2g}"
    console.say(f"stage {number} of {count}: {stage.trains}{views}, {stage.pixels_in_words} px, {how}")
    console.say(EPOCH.format("epoch", "train loss", "valid loss", metric, "seconds", "images/s"))


def say_epoch(console: Console, epoch: Epoch, score: float | None) -> None:
    """A row of the epochs' table; the score and the loss of validation are empty where nothing validates."""
    valid_loss, metric = ("" if value is None else f"{value:.5f}" for value in (epoch.valid_loss, score))
    train_loss, seconds, speed = f"{epoch.train_loss:.5f}", f"{epoch.seconds:.1f}", f"{epoch.images_per_second:.0f}"
    console.say(EPOCH.format(epoch.number + 1, train_loss, valid_loss, metric, seconds, speed))


def say_range_test(console: Console, sweep: RangeTest) -> None:
    """The finder's curve in characters, and its suggestions in words."""
    console.say(range_test_in_characters(sweep))
    console.say(f"suggestions: {sweep}")
