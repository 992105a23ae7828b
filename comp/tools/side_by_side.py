"""Trainings side by side as Ray tasks: on this machine, or on a cluster whose nodes share one COMP_HOME."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console as Terminal

from comp.console import Console, expected_to_end
from comp.errors import CompError, OverrideError, RunError
from comp.interrupts import own_handlers
from comp.runs import Run

# The most restarts of a job whose worker or node was lost; the job resumes from its checkpoint.
LOSSES = 5
# The expected end is printed if at least this many seconds are left.
SAID = 10.0


@dataclass(frozen=True)
class Job:
    """One of several independent trainings.

    name: like ``fold 2 of 5``. work: trains, and prints to the console.
    """

    name: str
    work: Callable[[Console], Run]


def refuse_other_places(on: str, *others: str) -> None:
    """Raise OverrideError for a place that isn't Ray. others: further valid places, for the message."""
    if on != "ray" and not on.startswith("ray://"):
        known = ", ".join([*others, "ray"])
        raise OverrideError(f"--on is {on!r}, but it should be {known}, or ray://HOST:PORT.")


def each(jobs: Iterable[Job], on: str | None, share: int, data: Path, console: Console) -> list[Run]:
    """The runs of all jobs, in their order: one after the other in this process, or side by side on Ray.

    jobs: the next one is taken when there is room for it. on: None for this process; ``ray`` for the cluster that this
    process is connected to, that at RAY_ADDRESS, or else a new one on this machine; or ``ray://host:port``. The output
    of jobs on Ray is in their runs' logs.
    share: the number of jobs that share the processors of a cluster without GPUs. data: the folder that every node
    must see. Raises RunError where a job on Ray ended with an error, or was lost too often.
    """
    if on is None:
        return list(_here(jobs, console))
    with _connected(on) as ray:
        cpus, gpus = _needs(ray.nodes(), share)
        asking = f"{cpus} processor{'s' if cpus > 1 else ''}" + (f" and {gpus} GPU" if gpus else "")
        console.say(f"side by side on Ray, each with {asking}")
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=LOSSES)(_work)
        waiting, begun, done = iter(jobs), list[Job](), dict[int, Run]()
        under_way: dict[Any, int] = {}
        while True:
            while len(under_way) < _room(ray.nodes(), cpus, gpus) and (job := next(waiting, None)) is not None:
                under_way[task.remote(job.work, data)] = len(begun)
                begun.append(job)
            if not under_way:
                return [done[place] for place in range(len(begun))]
            (ended, *_), _ = ray.wait(list(under_way))
            place = under_way.pop(ended)
            done[place] = _run_of(ray, ended, begun[place])
            console.say(f"{begun[place].name} is done, run {done[place].name}")


def _here(jobs: Iterable[Job], console: Console) -> Iterator[Run]:
    """Do one job after the other; print when the last should end, if each takes as long as the previous one."""
    count = len(jobs) if isinstance(jobs, Sequence) else 0
    for number, job in enumerate(jobs, start=1):
        began = monotonic()
        yield job.work(console)
        if number < count and (left := (count - number) * (monotonic() - began)) >= SAID:
            console.say(f"{number} of {count} are done; {expected_to_end(left)}")


@contextmanager
def _connected(on: str) -> Iterator[Any]:
    """Ray, connected for the block; an earlier connection is used and stays."""
    ray = _ray()
    own = not (on == "ray" and ray.is_initialized())
    if own:
        address = on if on.startswith("ray://") else os.environ.get("RAY_ADDRESS")
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        try:
            with own_handlers():
                ray.init(address=address, **quiet) if address else ray.init(include_dashboard=False, **quiet)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"Ray can't be reached at {address or 'this machine'} ({reason}); check --on.") from None
    try:
        # Another node can't import the competition.py files, so what they define is sent by value.
        for name, module in list(sys.modules.items()):
            if name.startswith("competitions."):
                ray.cloudpickle.register_pickle_by_value(module)
        yield ray
    finally:
        if own:
            ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ImportError:
        raise OverrideError(
            "--on ray needs Ray, which isn't installed; install it: pip install 'ray[client]'."
        ) from None
    return ray


def _alive(nodes: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """The resources of each live node with processors."""
    return [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("CPU")]


def _needs(nodes: Sequence[dict[str, Any]], share: int) -> tuple[int, int]:
    """The processors and GPUs per job: a GPU with its part of the processors, or no GPU where there is none."""
    alive = _alive(nodes)
    with_gpus = [node for node in alive if node.get("GPU")]
    if with_gpus:
        return max(1, min(int(node["CPU"] // node["GPU"]) for node in with_gpus)), 1
    every = sum(node["CPU"] for node in alive)
    return max(1, min(int(every // share), *(int(node["CPU"]) for node in alive), int(every))), 0


def _room(nodes: Sequence[dict[str, Any]], cpus: int, gpus: int) -> int:
    """The number of jobs that the nodes take at once; at least one, which may wait for a node."""
    fit = [min(node["CPU"] // cpus, node.get("GPU", 0) // gpus if gpus else node["CPU"]) for node in _alive(nodes)]
    return max(1, int(sum(fit)))


def _run_of(ray: Any, ended: Any, job: Job) -> Run:
    name = job.name[0].upper() + job.name[1:]
    try:
        run, error = ray.get(ended)
    except ray.exceptions.RayError as lost:
        raise RunError(
            f"{name} was lost {LOSSES + 1} times ({type(lost).__name__}); the same command again resumes."
        ) from None
    if run is None:
        raise RunError(f"{name}: {error}")
    return run


def _work(work: Callable[[Console], Run], data: Path) -> tuple[Run | None, str]:
    """Do a job in a Ray worker; return its run, or None and the error's text."""
    if not data.is_dir():
        return None, (
            f"the node {os.uname().nodename} sees no {data}; COMP_HOME has to be a folder that all nodes of the "
            "cluster share."
        )
    try:
        return work(Console(Terminal(quiet=True))), ""
    except CompError as error:
        return None, str(error)
