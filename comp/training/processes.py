"""What several processes that train one model exchange: features, gradients by torch's DDP, and rank 0's decisions."""

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

# The others wait while rank 0 downloads, checks the data, writes pages.
PATIENCE = timedelta(days=7)
# Batch norm of so few samples in each process learns poor statistics; of all processes together it learns better ones.
SMALL = 16


def choose_device() -> Accelerator:
    """A GPU if there is one, in bfloat16, or half precision where it lacks that; the processor in single precision."""
    if not torch.cuda.is_available():
        keep_freed_memory()
        # One of several processes, as launchers count them, talks to the others only where it is told to be on one.
        return Accelerator(mixed_precision="no", cpu="LOCAL_RANK" in os.environ)
    # Emulated, as on a T4, bfloat16 is slower than single precision.
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return Accelerator(mixed_precision="bf16" if native else "fp16")


@functools.cache
def control() -> distributed.ProcessGroup:
    """The processes' connections beside the devices' own: what rank 0 says must not wait for a GPU."""
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
    """So many blocks of samples, of which each process gives every n-th, in the order of all, in all processes."""
    rank, count = distributed.get_rank(), distributed.get_world_size()
    for first in range(0, blocks, count):
        together = min(count, blocks - first)
        block = next(own).cpu() if rank < together else None
        gathered: list[Any] = [None] * count
        distributed.all_gather_object(gathered, block, group=control())
        yield from gathered[:together]


@torch.no_grad()
def same_weights(model: nn.Module) -> None:
    """Give rank 0's weights and statistics to all."""
    for tensor in model.state_dict().values():
        sent = tensor.contiguous()
        distributed.broadcast(sent, src=0)
        tensor.copy_(sent)


def shares(batch_size: int) -> list[int]:
    """How many samples of a batch each process has. Raises OverrideError where they are too few for batch norm."""
    count = distributed.get_world_size()
    if batch_size < FEWEST * count:
        raise OverrideError(
            f"A batch of {batch_size} samples is too few for {count} processes, which take {FEWEST} each at least; "
            "start fewer, or raise batch_size."
        )
    return [len(share(batch_size, rank, count)) for rank in range(count)]


class SharedBatch(nn.Module):
    """A classifier whose processes each take their share of a batch: their images (b, ...) in, all logits (B, C) out.

    Each sends its own images through the backbone, and the features of all through the head, whose batch norm sees the
    batch so, and whose loss is the whole batch's.
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

    All processes make the same loss of them. DDP averages their gradients, so those of a process's own samples count as
    often as there are processes.
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
    """Let a worker draw dropout and mixup of its own, by step, so that a resumed training draws the same."""
    if rank := distributed.get_rank():
        torch.manual_seed(int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]))
