"""What a training says on the terminal of its stages and epochs."""

from __future__ import annotations

from comp.console import Console
from comp.declare.brought import short_name
from comp.declare.recipe import Stage
from comp.errors import counted
from comp.training.epochs import Epoch

EPOCH = "{:>6}  {:>10}  {:>10}  {:>10}  {:>8}  {:>9}"


def say_stage(console: Console, number: int, count: int, stage: Stage, learning_rate: float, metric: str) -> None:
    """The heading of a stage and of its epochs' table."""
    cached = f" on cached {'features' if stage.groups == 1 else 'maps'} of {counted(stage.views, 'view')}"
    epochs = f"{stage.epochs} epoch{'s' if stage.epochs > 1 else ''} of {short_name(stage.schedule)}"
    how = "solved by L-BFGS" if stage.schedule == "lbfgs" else f"{epochs}, learning rate {learning_rate:.2g}"
    console.detail(
        f"stage {number} of {count}: {stage.trains}{cached if stage.cached else ''}, {stage.pixels_in_words} px, {how}"
    )
    console.detail(EPOCH.format("epoch", "train loss", "valid loss", metric, "seconds", "images/s"))


def say_epoch(console: Console, epoch: Epoch, score: float | None) -> None:
    """A row of the epochs' table; the score and the loss of validation are empty where nothing validates."""
    losses = ("" if value is None else f"{value:.5f}" for value in (epoch.train_loss, epoch.valid_loss, score))
    console.detail(EPOCH.format(epoch.number + 1, *losses, f"{epoch.seconds:.1f}", f"{epoch.images_per_second:.0f}"))
