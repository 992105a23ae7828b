"""Runs killed with SIGKILL at random times and begun again with the same command, until they end.

A try is a child forked from a process that has imported everything and computed nothing: it costs only its work.
"""

import contextlib
import importlib
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
from comp.runs import Workspace, list_runs
from comp.runs.resolve import Choices
from comp.training import features, training
from tests.processes import Forked, left_over, results

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
    """The process of one try."""

    def work():
        os.setsid()
        workload.run(folder / "home")
        (folder / "imported.txt").write_text("\n".join(sys.modules))

    return Forked(folder, work)


def ended_well(process):
    ended = process.ends(None)
    assert ended.status == 0, ended.err[-3000:]


def undisturbed(workload, folder):
    """A run that nobody kills, and the seconds that it took."""
    began = time.monotonic()
    ended_well(begin(workload, folder))
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
        if process.ends_within(draw.uniform(0, seconds if not killed else 2 * seconds)):
            ended_well(process)
        else:
            process.kill()
            process.ends()
            counts.kills += 1
            killed += 1
            if not has_ended(workload, folder):
                continue
        if killed:
            return only_run(workload, folder)
        shutil.rmtree(folder)


def has_ended(workload, folder):
    """Whether it was killed after its last file, the page, was written: the same command again is another run then."""
    return any(run.reported for run in list_runs(Workspace(folder / "home"), workload.competition.name))


def kill_at_random(workload, folder, runs, seed, report=lambda counts: None):
    """So many runs, each killed at random until it ends, and compared with one that nobody killed."""
    draw, counts = random.Random(seed), Counts()
    first, _ = undisturbed(workload, folder / "first")
    import_all(folder / "first")
    expected, seconds = undisturbed(workload, folder / "undisturbed")
    assert results(first) == results(expected)
    for number in range(runs):
        place = folder / str(number)
        ended = until_it_ends(workload, place, seconds, draw, counts)
        counts.runs += 1
        if results(expected) == results(ended) and not left_over(ended):
            counts.identical += 1
            shutil.rmtree(place)
        report(counts)
    return counts
