"""One command in several processes: starting them, and what only rank 0 does.

``--processes N`` starts them with torch's elastic agent; `accelerate launch -m comp ...` and `torchrun -m comp ...` do
so too, on several machines as well. All processes take the same steps on the same data; only rank 0 writes and prints.
With one process, nothing here imports torch.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from comp.errors import OverrideError
from comp.interrupts import STATUSES

# How often an idle thread of torch looks for work before it sleeps. With the default, hundreds of thousands, one other
# busy process makes a training five times slower; with this value an idle machine loses about 5 %.
SPINS = "1000"
PR_SET_PDEATHSIG = 1  # prctl's, from Linux' prctl.h
LOST = "Another process of this training has ended; the same command again resumes."

Value = TypeVar("Value")


def spin_little() -> None:
    """Let threads sleep soon, unless the environment says otherwise; must be called before torch is imported."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def launched() -> bool:
    """Whether this is one of several processes of the same command."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def is_main() -> bool:
    """Whether this process is the only one, or rank 0."""
    return not launched() or os.environ["RANK"] == "0"


def start_processes(count: int) -> bool:
    """Run this command in ``count`` processes and wait for them; False where this process is to run it itself.

    An error in one process, or its end by a signal, ends all. Raises OverrideError for more processes than GPUs.
    """
    if launched():
        if count not in (1, int(os.environ["WORLD_SIZE"])):
            raise OverrideError("--processes starts processes, but a launcher has already; leave one of the two out.")
        return False
    if count == 1:
        return False
    import torch
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if 0 < torch.cuda.device_count() < count:
        raise OverrideError(
            f"--processes is {count}, but there are {torch.cuda.device_count()} GPUs, and each process takes one."
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    # One sentence below replaces the agent's log.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "comp", *sys.argv[1:])
        except SignalException as stopped:
            sys.exit(128 + int(stopped.sigval))
        except ChildFailedError as error:
            # The cause comes first: processes that were stopped or that lost another one only follow it, and the
            # launcher may have killed a process after another one's error.
            first = min(
                error.failures.values(),
                key=lambda one: (one.exitcode in STATUSES or LOST in one.message, one.exitcode < 0, one.timestamp),
            )
            if first.exitcode in STATUSES:
                sys.exit(first.exitcode)
            killed = f"A process of this training was killed by {first.signal_name()}; the same command again resumes."
            print("Error:", killed if first.exitcode < 0 else first.message, file=sys.stderr)  # noqa: T201
            sys.exit(1)
    return True


def begin_process() -> None:
    """Set up a process that is one of several: workers are silent, and leave signals to rank 0, which saves."""
    if not launched():
        return
    if sys.platform.startswith("linux"):
        # The process ends with its launcher.
        ends_by = signal.SIGTERM if is_main() else signal.SIGKILL
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ends_by)
    if not is_main():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process


def only_main() -> None:
    """Let rank 0 go on as if it were alone, for a command that doesn't train; end the other processes."""
    if not is_main():
        sys.exit(0)
    for name in ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
        os.environ.pop(name, None)


def lost(error: BaseException) -> bool:
    """Whether an error only says that another process of the same command has ended."""
    return launched() and isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "NCCL"))


def report_error(sentence: str) -> bool:
    """Have the launcher print an error, once for all processes; False where this process is to print it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file is not None and launched():
        Path(file).write_text(json.dumps({"message": sentence, "timestamp": int(time.time())}), encoding="utf-8")
    return launched() and (file is not None or not is_main())


def wait_for_all() -> None:
    if launched():
        from torch import distributed

        from comp.training.processes import control

        distributed.barrier(group=control())


def from_main(value: Value) -> Value:
    """Rank 0's value, in all processes."""
    if not launched():
        return value
    from comp.training.processes import broadcast

    return broadcast(value)


@contextmanager
def main_first() -> Iterator[None]:
    """Run the block in rank 0 and then in the others, which find what rank 0 made: downloads, caches."""
    if not is_main():
        from_main(None)
    yield
    if is_main():
        from_main(None)
