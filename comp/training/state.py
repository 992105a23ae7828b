"""Where a stage stands between two of its steps, and the file that a training goes on from after it was stopped."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from comp.errors import RunError
from comp.files import replacing
from comp.training.averaging import Average
from comp.training.backbone import Classifier
from comp.training.randomness import random_states, restore_random_states


@dataclass
class StageState:
    """All that changes while a stage trains, but the model itself.

    taken: optimizer steps. epoch: how many ended. losses, rates: of the steps of the epoch under way, in order; images,
    seconds: that they took.
    """

    optimizer: Optimizer
    schedule: LRScheduler
    average: Average[Classifier] | None
    accelerator: Accelerator
    taken: int = 0
    epoch: int = 0
    losses: list[Tensor] = field(default_factory=list)
    rates: list[dict[str, float]] = field(default_factory=list)
    images: int = 0
    seconds: float = 0.0

    def end_epoch(self) -> None:
        self.epoch += 1
        self.losses, self.rates, self.images, self.seconds = [], [], 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Everything of it, and the random states, as `save_state` takes it."""
        scaler = self.accelerator.scaler
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "taken": self.taken,
            "epoch": self.epoch,
            "losses": torch.stack(self.losses).cpu() if self.losses else torch.empty(0),
            "rates": self.rates,
            "images": self.images,
            "seconds": self.seconds,
            "random": random_states(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be as it was when `state_dict` was called; what is drawn from now on is what was drawn from then on."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.taken, self.epoch = state["taken"], state["epoch"]
        self.losses = list(state["losses"].to(self.accelerator.device))
        self.rates, self.images, self.seconds = list(state["rates"]), state["images"], state["seconds"]
        restore_random_states(state["random"])


def save_state(state: dict[str, Any], path: Path) -> None:
    """Tensors and plain values to a file that is there whole or as it was before. Raises OSError."""
    # Into memory first: torch's own writer turns a full disk into an error of its own.
    written = io.BytesIO()
    torch.save(state, written)
    with replacing(path) as unfinished:
        unfinished.write_bytes(written.getbuffer())


def load_state(path: Path) -> dict[str, Any] | None:
    """What was saved, tensors on the processor; None where nothing was. Only tensors and plain values are read.

    Raises RunError for a file that is broken, or that would have code run.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except OSError:
        raise
    except Exception as error:
        # Of what isn't such a file torch's reader may raise anything.
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise RunError(
            f"{path} is no state that a training can go on from ({reason}); remove the file, and the run starts from "
            "its beginning."
        ) from None
    return state
