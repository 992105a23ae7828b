"""The state that a training resumes from, in files: a stage between two steps, random states, and weights."""

import io
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from comp.errors import RunError, first_line
from comp.files import replacing

# The fields of a stage that are saved unchanged.
KEPT = ("taken", "epoch", "rates", "images", "seconds")


@dataclass
class StageState:
    """Everything that changes while a stage trains, except the model itself.

    taken: the number of optimizer steps. epoch: the number of finished epochs. losses, rates: of the current epoch's
    steps, in order; images, seconds: the number of images and the time of these steps.
    """

    optimizer: Optimizer
    schedule: LRScheduler
    average: ModelEmaV3 | None
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
        """The whole state and the random states, as `save_state` takes them."""
        scaler = self.accelerator.scaler
        return {
            "optimizer": self.optimizer.state_dict(),
            "within": [inner.state_dict() for inner in _within(self.optimizer)],
            "schedule": self.schedule.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "losses": torch.stack(self.losses).cpu() if self.losses else torch.empty(0),
            "random": random_states(),
            **{name: getattr(self, name) for name in KEPT},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`; random draws continue as they did after it."""
        optimizers, saved = [self.optimizer, *_within(self.optimizer)], [state["optimizer"], *state.get("within", [])]
        # The optimizers may share groups, whose rates the schedule sets: torch would give each its own.
        groups = [optimizer.param_groups for optimizer in optimizers]
        for optimizer, own in zip(optimizers, saved, strict=False):  # earlier versions saved the outer one's only
            optimizer.load_state_dict(own)
        for optimizer, kept in zip(optimizers, groups, strict=True):
            for group, loaded in zip(kept, optimizer.param_groups, strict=True):
                group.update(loaded)
            optimizer.param_groups = kept
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None:
            # A frozen backbone is not saved.
            self.average.module.load_state_dict({**self.average.module.state_dict(), **state["average"]})
        if self.accelerator.scaler is not None and state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.losses = list(state["losses"].to(self.accelerator.device))
        for name in KEPT:
            setattr(self, name, state[name])
        restore_random_states(state["random"])


def _within(optimizer: Optimizer) -> list[Optimizer]:
    """The optimizers inside an optimizer, such as SAM's: its own state may lack theirs."""
    # Accelerate wraps the optimizer.
    own = vars(getattr(optimizer, "optimizer", optimizer))
    return [one for one in own.values() if isinstance(one, Optimizer)]


def save_state(state: dict[str, Any], path: Path) -> None:
    """Save tensors and plain values to a file, which is left as it was where that fails. Raises OSError."""
    # Through memory: on a full disk torch's own writer raises another error than OSError.
    written = io.BytesIO()
    torch.save(state, written)
    with replacing(path) as unfinished:
        unfinished.write_bytes(written.getbuffer())


def load_state(path: Path) -> dict[str, Any] | None:
    """The saved state, with tensors on the CPU; None where nothing was saved. Reads only tensors and plain values.

    Raises RunError for a file that is broken, or that would run code.
    """
    # Read before it is parsed: torch's reader raises OSError for a truncated file as well.
    try:
        written = io.BytesIO(path.read_bytes())
    except FileNotFoundError:
        return None
    try:
        state: dict[str, Any] = torch.load(written, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's reader may raise anything for a file of another kind.
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise RunError(
            f"{path} is no state that a training can resume from ({reason}); remove the file, and the run starts from "
            "its beginning."
        ) from None
    return state


def random_states() -> dict[str, Any]:
    """The random states of Python, numpy, torch and each GPU, as plain numbers and tensors that can be saved."""
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "gpus": torch.cuda.get_rng_state_all(),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore what `random_states` returned; states of GPUs that are no longer there are ignored."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    for gpu, state in zip(range(torch.cuda.device_count()), states["gpus"], strict=False):
        torch.cuda.set_rng_state(state, gpu)


def save_weights(model: nn.Module, path: Path) -> None:
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})
    with replacing(path) as unfinished:
        unfinished.write_bytes(weights)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load weights into a model; raises RunError where the file is missing, broken, or of another model."""
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise RunError(
            f"{path} doesn't exist: the training did not end, or the file was removed; "
            f"`comp train --resume {'/'.join(path.parts[-4:-2])}` goes on from what is there."
        ) from None
    except (SafetensorError, RuntimeError) as error:
        raise RunError(f"{path} can't be loaded ({first_line(error)}); train again.") from None
