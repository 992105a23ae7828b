"""Several processes for one training: starting them, and what the one that leads and those that help do first.

A launcher of torch (`accelerate launch -m comp ...`, `torchrun -m comp ...`) starts the command line in every process;
`--processes` starts the others itself. Either way the command runs in the first one only.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from comp.errors import OverrideError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

# How long those that help may take to end, in seconds, when the one that leads has ended or one of them failed.
LAST_WORDS = 10.0
# With the hundreds of thousands of looks that are usual, one other busy process on the cores makes a training five
# times slower; with these few an idle machine loses about 5 %.
SPINS = "1000"


def launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def helps() -> bool:
    """Whether it is one of those that help."""
    return launched() and os.environ["RANK"] != "0"


def help_out() -> None:
    """Help until the process that leads has ended, whatever else should end this one; an error is one sentence."""
    from comp.training.helping import help_until_the_end
    from comp.training.processes import LostError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        help_until_the_end()
    except LostError:
        sys.exit(1)  # whoever ended says why
    except Exception as error:
        sentence = " ".join(f"{error}".split()) or type(error).__name__
        print(f"Error: process {os.environ['RANK']} of this training: {sentence}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)


@contextmanager
def leading() -> Iterator[None]:
    """Where a launcher started several processes, have the others help for the block."""
    if not launched():
        yield
        return
    from torch import distributed

    from comp.training.learner import choose_device
    from comp.training.processes import LostError, processes

    joined = processes(choose_device())
    assert joined is not None
    well = False
    try:
        yield
        well = True
    except SystemExit as end:
        # As typer ends a command.
        well = not end.code
        raise
    finally:
        if well:
            with suppress(LostError):
                joined.ask(None)
        # Whoever still waits for this one comes to know by it that this one has ended.
        distributed.destroy_process_group()


@contextmanager
def helped(count: int) -> Iterator[None]:
    """Have this process lead ``count`` for the block, the others of which it starts; for 1, do nothing.

    Raises OverrideError for more processes than GPUs, or where a launcher started several already.
    """
    if count == 1:
        yield
        return
    if launched():
        raise OverrideError("--processes starts processes, but a launcher has already; leave one of the two out.")
    # Before torch is imported: its threads are for the cores that a process has for itself.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    # So that GPUs are counted without being touched: who has touched one can't be forked.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    import comp.training.helping  # noqa: F401 - once, before there are several processes
    from comp.training.processes import LostError

    if 0 < torch.cuda.device_count() < count:
        raise OverrideError(
            f"--processes is {count}, but there are {torch.cuda.device_count()} GPUs, and each process takes one."
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    os.environ.update({**sizes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
    # Forked, they needn't import anything; no thread of ours was started yet, and no GPU touched.
    others = [multiprocessing.get_context("fork").Process(target=_help, args=(rank,)) for rank in range(1, count)]
    for other in others:
        other.start()
    for other in others:
        threading.Thread(target=_end_with, args=(other,), daemon=True).start()
    _be(0)
    try:
        with leading():
            yield
        for other in others:
            other.join(LAST_WORDS)
    except LostError:
        for other in others:
            other.join(LAST_WORDS)
            if (other.exitcode or 0) < 0:
                raise RunError(_killed(other)) from None
        sys.exit(1)  # one that failed has said why
    finally:
        for other in others:
            other.kill()


def _be(rank: int) -> None:
    os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank)})


def _help(rank: int) -> None:
    """Help for as long as the process that started this one lives."""
    _be(rank)
    starter = multiprocessing.parent_process()

    def end_with_it() -> None:
        if starter is not None:
            starter.join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()
    help_out()


def _end_with(other: BaseProcess) -> None:
    """End this process if another one failed and its own way to the end is blocked, as a GPU's may be."""
    while other.exitcode is None:
        wait([other.sentinel])
        threading.Event().wait(LAST_WORDS)
    if other.exitcode:
        if other.exitcode < 0:
            print(f"Error: {_killed(other)}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)


def _killed(other: BaseProcess) -> str:
    name = signal.Signals(-(other.exitcode or 0)).name
    return f"A process of this training was killed by {name}; the same command again goes on from here."


def spin_little() -> None:
    """Let threads sleep soon, unless the environment says otherwise; it is read once, when torch is imported."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
