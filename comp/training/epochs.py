"""A stage epoch by epoch: inputs, reports and their lines on the terminal, and whether the stage made things worse."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from comp.console import Console
from comp.declare.custom import short_name
from comp.declare.metrics import Metric
from comp.declare.recipe import Stage
from comp.errors import counted

# Images or features, then their columns where the competition has any, and targets last.
Batch = tuple[Tensor, ...]

# The validation loss and score of some weights; None where no image validates.
Reached = tuple[float, float] | None

# A stage that raises the validation loss by more than this share, and has no better score, is undone.
WORSE = 0.2

EPOCH = "{:>6}  {:>10}  {:>10}  {:>10}  {:>8}  {:>9}"


class Epochs(Protocol):
    """The training samples of a stage, epoch by epoch; ``len`` is the number of mini-batches per epoch.

    batch_size: samples per mini-batch, of all processes together; on images each process gets its own share.
    """

    @property
    def batch_size(self) -> int: ...

    def __len__(self) -> int: ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of inputs (B, ...), of columns (B, K) if any, and targets (B,) or (B, C), from index ``start`` on.

        All draws depend on the seed and the epoch's number only: an epoch that is resumed in its middle goes on as it
        would have.
        """


@dataclass(frozen=True)
class Validation:
    """The validation samples in order: features (B, 1, ...), recomputed at every call, targets, and columns (N, K)."""

    features: Callable[[], Iterable[Tensor]]
    targets: Tensor
    columns: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """One optimizer step, by the gradients of this number of images."""

    images: int


@dataclass(frozen=True)
class Epoch:
    """The report of an epoch: its losses, and its time without validation.

    steps: the loss and the learning rate of each layer group, per optimizer step.
    logits: of the validation samples in order, (N, C); None without a validation set, or where the loss diverged.
    """

    number: int
    cycle: int
    ends_cycle: bool
    train_loss: float
    valid_loss: float | None
    seconds: float
    images_per_second: float
    steps: list[dict[str, float]]
    logits: npt.NDArray[np.float32] | None

    @property
    def diverged(self) -> bool:
        """Whether one of the epoch's losses is NaN or infinite."""
        losses = [step["loss"] for step in self.steps] + [self.valid_loss or 0.0]
        return not np.isfinite(losses).all()


def say_stage(console: Console, number: int, count: int, stage: Stage, learning_rate: float, metric: str) -> None:
    """Print the heading of a stage and of its epochs' table."""
    cached = f" on cached {'features' if stage.groups == 1 else 'maps'} of {counted(stage.views, 'view')}"
    epochs = f"{stage.epochs} epoch{'s' if stage.epochs > 1 else ''} of {short_name(stage.schedule)}"
    how = "solved by L-BFGS" if stage.schedule == "lbfgs" else f"{epochs}, learning rate {learning_rate:.2g}"
    console.detail(
        f"stage {number} of {count}: {stage.trains}{cached if stage.cached else ''}, {stage.pixels_in_words} px, {how}"
    )
    console.detail(EPOCH.format("epoch", "train loss", "valid loss", metric, "seconds", "images/s"))


def say_epoch(console: Console, epoch: Epoch, score: float | None) -> None:
    """Print a row of the epochs' table; validation loss and score are empty where no image validates."""
    losses = ("" if value is None else f"{value:.5f}" for value in (epoch.train_loss, epoch.valid_loss, score))
    console.detail(EPOCH.format(epoch.number + 1, *losses, f"{epoch.seconds:.1f}", f"{epoch.images_per_second:.0f}"))


class Finite(NamedTuple):
    """The last weights with finite losses: after ``cycles`` cycles of the current stage; 0 is before it."""

    weights: dict[str, Tensor]
    cycles: int
    reached: Reached = None


def made_worse(metric: Metric, before: Reached, after: Reached) -> str:
    """In words, the rise of validation loss by which a stage is undone; empty without one, or where it isn't known."""
    if before is None or after is None:
        return ""
    (loss_before, score_before), (loss, score) = before, after
    better = score > score_before if metric.higher_is_better else score < score_before
    # A custom loss may be negative.
    if loss - loss_before <= WORSE * abs(loss_before) or better:
        return ""
    return f"the validation loss rose from {loss_before:.4g} to {loss:.4g}, and {metric.name} is no better"
