"""How many rows go through the network at once, when memory doesn't suffice for all of a batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from comp.errors import RunError

# Batch norm can't standardise a single row.
FEWEST = 2


@dataclass
class Passes:
    """The most rows of one pass through the network, None while memory suffices for what is given.

    training: of a pass forward and back. forward: of one without gradients.
    say: told once, in words, when either is halved.
    """

    training: int | None = None
    forward: int | None = None
    say: Callable[[str], None] = lambda _: None

    def parts(self, rows: int, most: int | None = None) -> list[slice]:
        """A mini-batch for training as even parts of at most ``training`` rows, none of a single row.

        most: of the rows of the other processes that share the batch; as many parts as for those.
        """
        of = most or rows
        count = 1 if self.training is None else max(1, min(-(-of // self.training), of // FEWEST))
        bounds = [rows * part // count for part in range(count + 1)]
        return [slice(start, end) for start, end in pairwise(bounds)]

    def forward_parts(self, rows: int) -> Iterator[slice]:
        """A batch without gradients as parts of at most ``forward`` rows."""
        at_once = self.forward or max(rows, 1)
        return (slice(start, start + at_once) for start in range(0, rows, at_once))

    def halve(self, kind: Literal["training", "forward"], rows: int) -> None:
        """After a pass of so many rows had no memory; raises RunError where half of them would be too few."""
        half = max(rows // 2, FEWEST if kind == "training" else 1)
        if half >= rows or half == getattr(self, kind):
            raise RunError(
                f"Memory doesn't suffice for {rows} image{'s' if rows > 1 else ''} at once; take a smaller backbone "
                "(--backbone) or smaller images (--set stages.size=...)."
            )
        setattr(self, kind, half)
        clear_device_cache(garbage_collection=True)
        if kind == "forward":
            self.say(f"out of memory with {rows} images at once: from now on {half} go through the network")
            return
        self.say(
            f"out of memory with {rows} rows at once: from now on {half}, and their gradients are added up; a "
            "step is of as many rows as before, but batch norm learns the statistics of the fewer"
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether a pass of fewer rows might succeed."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and should_reduce_batch_size(error)


class Undo:
    """What a pass in training changes beside gradients: torch's random states, and batch norm's statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.statistics = [
            buffer for module in model.modules() if isinstance(module, _BatchNorm) for buffer in module.buffers()
        ]
        self.kept = [buffer.clone() for buffer in self.statistics]
        self.states: list[Any] = []

    @torch.no_grad()
    def remember(self) -> None:
        self.states = [torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []]
        if self.kept:
            torch._foreach_copy_(self.kept, self.statistics)

    @torch.no_grad()
    def undo(self) -> None:
        """As it was when it was last remembered."""
        on_cpu, on_gpus = self.states
        torch.set_rng_state(on_cpu)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
        if self.kept:
            torch._foreach_copy_(self.statistics, self.kept)
