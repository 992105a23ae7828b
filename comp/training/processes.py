"""What the processes of one training exchange: features, gradients by torch's DDP, and rank 0's decisions."""

import functools
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.nn.functional import pad

from comp.data.loading import share
from comp.errors import OverrideError
from comp.training.backbone import Classifier
from comp.training.memory import FEWEST, keep_freed_memory

# Workers wait this long while rank 0 downloads, checks the data, or writes pages.
PATIENCE = timedelta(days=7)
# With fewer samples per process, batch norm is synchronised: its statistics would be poor in each process alone.
SMALL = 16


def choose_device() -> Accelerator:
    """A GPU in bfloat16, or in half precision where it lacks bfloat16; without a GPU, the CPU in single precision."""
    if not torch.cuda.is_available():
        keep_freed_memory()
        # Accelerate connects the processes of a launcher only where it is told to use the CPU.
        return Accelerator(mixed_precision="no", cpu="LOCAL_RANK" in os.environ)
    # Emulated bfloat16, as on a T4, is slower than single precision.
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return Accelerator(mixed_precision="bf16" if native else "fp16")


@functools.cache
def control() -> distributed.ProcessGroup:
    """The process group for rank 0's decisions: these must not wait for a GPU, as the devices' own group does."""
    if not distributed.is_initialized():
        choose_device()
    group = distributed.new_group(backend="gloo", timeout=PATIENCE)
    assert isinstance(group, distributed.ProcessGroup)
    return group


def broadcast(value: Any) -> Any:
    """Rank 0's value, in all processes."""
    values = [value]
    distributed.broadcast_object_list(values, src=0, group=control())
    return values[0]


def in_order(own: Iterator[Tensor], blocks: int) -> Iterator[Tensor]:
    """All ``blocks`` blocks of samples, in order and in all processes; each of n processes gives every n-th."""
    rank, count = distributed.get_rank(), distributed.get_world_size()
    for first in range(0, blocks, count):
        together = min(count, blocks - first)
        block = next(own).cpu() if rank < together else None
        gathered: list[Any] = [None] * count
        distributed.all_gather_object(gathered, block, group=control())
        yield from gathered[:together]


@torch.no_grad()
def same_weights(model: nn.Module) -> None:
    """Give rank 0's weights and statistics to all processes."""
    for tensor in model.state_dict().values():
        sent = tensor.contiguous()
        distributed.broadcast(sent, src=0)
        tensor.copy_(sent)


def shares(batch_size: int) -> list[int]:
    """Each process's number of samples per batch. Raises OverrideError where it is too small for batch norm."""
    count = distributed.get_world_size()
    if batch_size < FEWEST * count:
        raise OverrideError(
            f"A batch of {batch_size} samples is too few for {count} processes, which take {FEWEST} each at least; "
            "start fewer, or raise batch_size."
        )
    return [len(share(batch_size, rank, count)) for rank in range(count)]


class SharedBatch(nn.Module):
    """A classifier whose processes each take their share of a batch: their images (b, ...) in, all logits (B, C) out.

    Each process sends its own images through the backbone, and all processes' features through the head, so that the
    head's batch norm and the loss see the whole batch.
    """

    def __init__(self, model: Classifier, sizes: Sequence[int]) -> None:
        super().__init__()
        if torch.cuda.is_available() and max(sizes) < SMALL:
            model.backbone = convert_sync_batchnorm(model.backbone)  # type: ignore[no-untyped-call]
        self.model, self.sizes = model, sizes

    def forward(self, images: Tensor, columns: Tensor | None = None) -> Tensor:
        own = self.model.joined(self.model.features(images), columns)
        return self.model.head(gathered(own, self.sizes))


def gathered(samples: Tensor, sizes: Sequence[int]) -> Tensor:
    """The samples (b, ...) of all processes, in the order of their ranks: (sum of sizes, ...).

    All processes compute the same loss from them. DDP averages gradients, so each process multiplies those of its own
    samples by the number of processes.
    """
    own = samples.detach()
    padded = pad(own, (0, 0) * (own.ndim - 1) + (0, max(sizes) - len(own)))
    every = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(every, padded)
    parts = [part[:size] for part, size in zip(every, sizes, strict=True)]
    if samples.requires_grad:
        parts[distributed.get_rank()] = own + len(sizes) * (samples - own)
    return torch.cat(parts)


def seed_worker(seed: int, step: int) -> None:
    """Seed a worker's own draws of dropout and mixup, by step, so that a resumed training draws the same."""
    if rank := distributed.get_rank():
        torch.manual_seed(int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]))
