"""Folds side by side, each a task of Ray's: on this machine, or on a cluster whose nodes see the same COMP_HOME."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console as Terminal

from comp.console import Console
from comp.errors import CompError, OverrideError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from comp.competition import Competition
    from comp.run import Home, Run
    from comp.steps.goals import Goal
    from comp.steps.resolve import Choices

    TrainFold = Callable[[Competition, Choices, Home, Console, Goal], Run]

# How often a fold whose worker or node was lost is begun again; it goes on from what was saved.
LOSSES = 5


def refuse_other_places(on: str, choices: Choices) -> None:
    """Raise OverrideError for a place that isn't known, or where nothing could run side by side."""
    if on != "ray" and not on.startswith("ray://"):
        raise OverrideError(f"--on is {on!r}, but it should be kaggle, ray, or ray://HOST:PORT.")
    if choices.folds is None or choices.fold is not None:
        raise OverrideError("--on ray trains folds side by side; say how many, as in --folds 5.")


def folds_on_ray(
    on: str,
    train_fold: TrainFold,
    competition: Competition,
    choices: Choices,
    home: Home,
    console: Console,
    goal: Goal,
) -> list[Run]:
    """The runs of all folds, in their order; what they say is in their logs.

    on: ``ray`` for the cluster at RAY_ADDRESS, or without that one of this machine's own; or ``ray://host:port``.
    Raises RunError where a fold ended with an error, or was lost too often.
    """
    ray = _ray()
    address = on if on.startswith("ray://") else os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    try:
        ray.init(address=address, **quiet) if address else ray.init(include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"Ray can't be reached at {address or 'this machine'} ({reason}); check --on.") from None
    try:
        # What a competition.py defines can't be imported on another node.
        for name, module in list(sys.modules.items()):
            if name.startswith("competitions."):
                ray.cloudpickle.register_pickle_by_value(module)
        folds = choices.folds or 0
        cpus, gpus = _share_of_a_fold(ray.nodes(), folds)
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=LOSSES)(_train)
        console.say(
            f"{folds} folds side by side on Ray, each with {cpus} processor{'s' if cpus > 1 else ''}"
            + (f" and {gpus} GPU" if gpus else "")
        )
        started = {
            task.remote(train_fold, competition, replace(choices, fold=fold), home, goal): fold
            for fold in range(1, folds + 1)
        }
        return _ended(ray, started, console)
    finally:
        ray.shutdown()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise OverrideError(
            "--on ray needs Ray, which isn't installed; install it: pip install 'ray[client]'."
        ) from None
    return ray


def _share_of_a_fold(nodes: list[dict[str, Any]], folds: int) -> tuple[int, int]:
    """The processors and GPUs that each fold asks for: a GPU where there are any, with its part of the processors."""
    alive = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
    with_gpus = [node for node in alive if node.get("GPU")]
    if with_gpus:
        return max(1, min(int(node["CPU"] // node["GPU"]) for node in with_gpus)), 1
    every = sum(node["CPU"] for node in alive)
    return max(1, min(int(every // folds), *(int(node["CPU"]) for node in alive), int(every))), 0


def _ended(ray: Any, started: dict[Any, int], console: Console) -> list[Run]:
    runs: dict[int, Run] = {}
    while len(runs) < len(started):
        waited = [task for task, fold in started.items() if fold not in runs]
        (task, *_), _ = ray.wait(waited)
        fold = started[task]
        try:
            run, error = ray.get(task)
        except ray.exceptions.RayError as lost:
            raise RunError(
                f"Fold {fold} was lost {LOSSES + 1} times ({type(lost).__name__}); the same command again goes on."
            ) from None
        if run is None:
            raise RunError(f"Fold {fold}: {error}")
        runs[fold] = run
        console.say(f"fold {fold} of {len(started)} is done, run {run.name}")
    return [runs[fold] for fold in sorted(runs)]


def _train(
    train_fold: TrainFold, competition: Competition, choices: Choices, home: Home, goal: Goal
) -> tuple[Run | None, str]:
    """In a worker: the fold's run, or what went wrong, in words."""
    if not home.data(competition.name).is_dir():
        return None, (
            f"the node {os.uname().nodename} sees no {home.data(competition.name)}; COMP_HOME has to be a folder that "
            "all nodes of the cluster share."
        )
    try:
        return train_fold(competition, choices, home, Console(Terminal(quiet=True)), goal), ""
    except CompError as error:
        return None, str(error)
