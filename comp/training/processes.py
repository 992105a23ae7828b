"""Several processes that train one model: the first leads, the others do their share of what it asks for.

The first goes through the steps of a run as it would alone, and it alone writes. Before it does what is shared it says
so; the others wait for that, so nothing of a run depends on them but the arithmetic.
"""

import functools
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, distributed, nn

from comp.errors import RunError

# The others wait while the first one downloads, screens, writes pages.
PATIENCE = timedelta(days=7)

Arguments = ParamSpec("Arguments")
Given = TypeVar("Given")


class LostError(RunError):
    """Another process of the training ended."""

    def __init__(self) -> None:
        super().__init__(
            "Another process of this training has ended, and says itself why; the same command again goes on from here."
        )


class NoRoomError(torch.OutOfMemoryError):
    """One of the processes has no memory for its share."""


def processes(accelerator: Accelerator) -> "Processes | None":
    """Those that train together, this one among them; None where it is alone. The first call waits for all."""
    return _joined() if accelerator.num_processes > 1 else None


@functools.cache
def _joined() -> "Processes":
    return Processes()


def _with_the_others(method: Callable[Arguments, Given]) -> Callable[Arguments, Given]:
    """Raise LostError where a connection breaks: a process that ends closes all of its."""

    @functools.wraps(method)
    def wrapped(*arguments: Arguments.args, **named: Arguments.kwargs) -> Given:
        try:
            return method(*arguments, **named)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise LostError from error

    return wrapped


class Processes:
    """The connections between the processes.

    rank: of this one, from 0, which leads. count: how many they are. looks_at: what the others were told of last.
    """

    looks_at: object = None

    def __init__(self) -> None:
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        # Beside the devices' own connections: what is asked for must not wait for a GPU.
        control = distributed.new_group(backend="gloo", timeout=PATIENCE)
        assert isinstance(control, distributed.ProcessGroup)
        self._control = control

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @_with_the_others
    def ask(self, what: str | None, *arguments: Any) -> None:
        """Tell the others what to do next, by its name and as plain values; None ends them. They ask nobody."""
        if self.leads:
            distributed.broadcast_object_list([(what, arguments)], src=0, group=self._control)

    @_with_the_others
    def asked(self) -> tuple[str | None, tuple[Any, ...]]:
        """What to do next, and with what."""
        order: list[Any] = [None]
        distributed.broadcast_object_list(order, src=0, group=self._control)
        what, arguments = order[0]
        return what, arguments

    @_with_the_others
    def give(self, array: npt.NDArray[np.float32]) -> None:
        """An array for the leader."""
        distributed.send(torch.from_numpy(array), dst=0, group=self._control)

    @_with_the_others
    def take(self, rank: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The array of this shape that another process gives."""
        taken = torch.empty(shape)
        distributed.recv(taken, src=rank, group=self._control)
        return taken.numpy()

    @_with_the_others
    def sizes(self, rows: int | None) -> list[int]:
        """How many rows each process has of what is to be gathered; None where its memory didn't suffice.

        Raises NoRoomError in all of them if it didn't in one.
        """
        own = torch.tensor([-1 if rows is None else rows])
        every = [torch.empty_like(own) for _ in range(self.count)]
        distributed.all_gather(every, own, group=self._control)
        sizes = [int(one) for one in every]
        if min(sizes) < 0:
            raise NoRoomError
        return sizes

    def gathered(self, rows: Tensor, sizes: list[int]) -> Tensor:
        """The rows (b, ...) of all processes, in the order of their ranks: (sum of sizes, ...).

        What every process makes smaller is the same loss of all rows. So where each takes the `average` of their
        gradients afterwards, those of its own rows have to count as often as there are processes.
        """
        gathered: Tensor = _Gathered.apply(rows, self, sizes)
        return gathered

    @_with_the_others
    def gather(self, rows: Tensor, sizes: list[int]) -> Tensor:
        """As `gathered`, without gradients."""
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows
        every = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(every, padded)
        return torch.cat([part[:size] for part, size in zip(every, sizes, strict=True)])

    @_with_the_others
    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Let the gradients of all processes be their mean."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.count
        means = torch.split(together, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))

    @_with_the_others
    @torch.no_grad()
    def same_weights(self, model: nn.Module) -> None:
        """Give the leader's weights and statistics to all."""
        for tensor in model.state_dict().values():
            sent = tensor.contiguous()
            distributed.broadcast(sent, src=0)
            tensor.copy_(sent)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, processes: Processes, sizes: list[int]) -> Tensor:
        start = sum(sizes[: processes.rank])
        context.own, context.count = slice(start, start + len(rows)), processes.count
        return processes.gather(rows.detach(), sizes)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][context.own] * context.count, None, None
