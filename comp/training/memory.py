"""Memory: smaller micro-batches when it runs out, how glibc keeps freed blocks, and its peak."""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from comp.errors import RunError, counted

# Batch norm can't standardise a single sample.
FEWEST = 2
# mallopt's parameters, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 1 << 30

Kind = Literal["training", "forward"]
FEWEST_OF: dict[Kind, int] = {"training": FEWEST, "forward": 1}
Result = TypeVar("Result")


@dataclass
class MicroBatches:
    """The most samples of one pass through the network; None while memory suffices for whole batches.

    training: of a pass forward and backward. forward: of a pass without gradients.
    processes: the number that share each batch; one can't make its share smaller without the others.
    setting: the name of the batch size's setting. say: told, in words, when either number is halved.
    """

    training: int | None = None
    forward: int | None = None
    processes: int = 1
    setting: str = "batch_size"
    say: Callable[[str], None] = lambda _: None

    def within_memory(self, kind: Kind, samples: int, work: Callable[[], Result], undo: "Undo | None" = None) -> Result:
        """Work on this number of samples, in micro-batches; again in smaller ones where memory runs out.

        undo: takes back what a pass that ran out of memory has changed.
        Raises RunError where memory doesn't suffice for the smallest micro-batch.
        """
        if undo is not None:
            undo.remember()
        while True:
            most = max(part.stop - part.start for part in self.slices(samples, kind))
            try:
                return work()
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            # Outside the except block, whose error keeps the tensors of the failed pass alive.
            if undo is not None:
                undo.undo()
            self._halve(kind, most)

    def slices(self, samples: int, kind: Kind) -> list[slice]:
        """A batch as even micro-batches that fit into memory; in training none has a single sample."""
        most = getattr(self, kind) or max(samples, 1)
        count = max(1, min(-(-samples // most), samples // FEWEST_OF[kind]))
        bounds = [samples * part // count for part in range(count + 1)]
        return [slice(start, end) for start, end in pairwise(bounds)]

    def _halve(self, kind: Kind, samples: int) -> None:
        if kind == "training" and self.processes > 1:
            halved = f"--set {self.setting}={self.processes * samples // 2}"
            raise RunError(
                f"Memory doesn't suffice for {samples} images at once in each of {self.processes} processes; set half "
                f"the batch ({halved}, with twice the --set accumulation=...)."
            )
        half = max(samples // 2, FEWEST_OF[kind])
        if half >= samples or half == getattr(self, kind):
            raise RunError(
                f"Memory doesn't suffice for {counted(samples, 'image')} at once; take a smaller backbone (--backbone) "
                "or smaller images (--set stages.size=...)."
            )
        setattr(self, kind, half)
        clear_device_cache(garbage_collection=True)
        if kind == "forward":
            self.say(f"out of memory with {samples} images at once: from now on the network takes {half} at once")
        else:
            self.say(
                f"out of memory with {samples} samples at once: from now on micro-batches of {half}, whose gradients "
                "are added up; a step has as many samples as before, but batch norm learns its statistics from the "
                "micro-batches"
            )


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, so that a smaller pass might succeed."""
    return isinstance(error, torch.OutOfMemoryError) or bool(should_reduce_batch_size(error))


class Undo:
    """Undoes what a training pass changed since `remember`: gradients, random states, batch norm's statistics."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._statistics = [
            buffer for module in model.modules() if isinstance(module, _BatchNorm) for buffer in module.buffers()
        ]
        self._kept = [buffer.clone() for buffer in self._statistics]

    @torch.no_grad()
    def remember(self) -> None:
        self._on_cpu = torch.get_rng_state()
        self._on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        if self._kept:
            torch._foreach_copy_(self._kept, self._statistics)

    @torch.no_grad()
    def undo(self) -> None:
        self._optimizer.zero_grad()
        torch.set_rng_state(self._on_cpu)
        if self._on_gpus:
            torch.cuda.set_rng_state_all(self._on_gpus)
        if self._kept:
            torch._foreach_copy_(self._statistics, self._kept)


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of up to 1 GiB for the next layer, not return them to the kernel.

    Otherwise each activation is mapped, zeroed page by page and unmapped again: for mobilenetv2_100 at 192 pixels on
    two cores this took as long as the arithmetic. Does nothing with another C library.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, LARGEST)


def peak_memory() -> int:
    """The peak memory so far in bytes: what torch held on the GPU, or without a GPU, what this process held."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, others blocks of 1024.
    return peak if sys.platform == "darwin" else 1024 * peak
