"""Runs killed with SIGKILL at random times and begun again with the same command, until they end.

A try is a child forked from a process that has imported everything and computed nothing: it costs only its work.
"""

import contextlib
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from comp import runner
from comp.console import Console
from comp.declare.competition import Competition
from comp.kaggle.connection import Endpoint
from comp.kaggle.credentials import sign_in
from comp.runs import Run, Workspace, list_runs
from comp.runs.resolve import Choices
from comp.training import features, training

# So that runs of seconds are saved as often as runs of hours.
SAVE_SECONDS = 0.3
MARK_SECONDS = 0.2


@dataclass(frozen=True)
class Workload:
    """What is run: from the download to the submission, into a workspace of its own."""

    competition: Competition
    choices: Choices

    def run(self, workspace: Path) -> None:
        training.SAVE_SECONDS, features.MARK_SECONDS = SAVE_SECONDS, MARK_SECONDS
        runner.run(self.competition, self.choices, Workspace(workspace), Console())


@dataclass
class Counts:
    """What was killed, and how it ended."""

    runs: int = 0
    kills: int = 0
    identical: int = 0


def begin(workload, folder):
    """The process of one try; what it prints goes to a file."""
    folder.mkdir(parents=True, exist_ok=True)

    def work():
        os.setsid()
        printed = os.open(folder / "printed.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        workload.run(folder / "home")
        (folder / "imported.txt").write_text("\n".join(sys.modules))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def ended_well(process, folder):
    process.join()
    assert process.exitcode == 0, (folder / "printed.txt").read_text()[-3000:]


def undisturbed(workload, folder):
    """A run that nobody kills, and the seconds that it took."""
    began = time.monotonic()
    ended_well(begin(workload, folder), folder)
    return only_run(workload, folder), time.monotonic() - began


def import_all(folder):
    """What a try had to import, so that the next ones don't."""
    sign_in(Endpoint("http://127.0.0.1", is_local=True))
    for name in (folder / "imported.txt").read_text().split():
        # That one asks for credentials when it is imported alone; signing in imports it.
        if name not in sys.modules and name.partition(".")[0] != "kaggle":
            with contextlib.suppress(BaseException):
                importlib.import_module(name)


def only_run(workload, folder):
    """What was begun again is one run, however often that was."""
    (run,) = list_runs(Workspace(folder / "home"), workload.competition.name)
    return run


def until_it_ends(workload, folder, seconds, draw, counts):
    """Kill it at a time drawn evenly from the ``seconds`` that it takes, and begin it again, until it ends."""
    killed = 0
    while True:
        process = begin(workload, folder)
        # Twice as long from the second time on, or few would ever end.
        process.join(draw.uniform(0, seconds if not killed else 2 * seconds))
        if process.exitcode is None:
            process.kill()
            process.join()
            counts.kills += 1
            killed += 1
            if not has_ended(workload, folder):
                continue
        else:
            ended_well(process, folder)
        if killed:
            return only_run(workload, folder)
        shutil.rmtree(folder)


def has_ended(workload, folder):
    """Whether it was killed after its last file, the page, was written: the same command again is another run then."""
    return any(run.reported for run in list_runs(Workspace(folder / "home"), workload.competition.name))


def same(one: Run, other: Run) -> bool:
    """Weights, submission, and what was learned on the way, byte for byte."""

    def contents(run):
        weights = sorted((run.folder / "checkpoints").glob("*.safetensors"))
        tables = [run.folder / name for name in ("split.csv", "history.csv", "submission.csv")]
        records = [run.folder / f"{name}.json" for name in ("trained", "scores")]
        return {path.name: path.read_bytes() for path in (*weights, *tables, *records)}

    return contents(one) == contents(other)


def left_over(run: Run):
    """Files of a run that a killed process left unfinished."""
    return [path for path in run.folder.rglob("*") if path.name.endswith(".part") or path.name == "last.pt"]


def kill_at_random(workload, folder, runs, seed, report=lambda counts: None):
    """So many runs, each killed at random until it ends, and compared with one that nobody killed."""
    draw, counts = random.Random(seed), Counts()
    first, _ = undisturbed(workload, folder / "first")
    import_all(folder / "first")
    expected, seconds = undisturbed(workload, folder / "undisturbed")
    assert same(first, expected)
    for number in range(runs):
        place = folder / str(number)
        ended = until_it_ends(workload, place, seconds, draw, counts)
        counts.runs += 1
        if same(expected, ended) and not left_over(ended):
            counts.identical += 1
            shutil.rmtree(place)
        report(counts)
    return counts
