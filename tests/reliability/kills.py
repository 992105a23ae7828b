"""Kill runs with SIGKILL at random times and restart them with the same command, until they end."""

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
from comp.runs.choices import Choices
from comp.training import features, training
from tests.processes import Forked, left_over, results

# So that a run of seconds is saved as often as one of hours.
SAVE_SECONDS = 0.3
MARK_SECONDS = 0.2


@dataclass(frozen=True)
class Workload:
    """A run from the download to the submission in a new workspace."""

    competition: Competition
    choices: Choices

    def run(self, workspace: Path) -> None:
        training.SAVE_SECONDS, features.MARK_SECONDS = SAVE_SECONDS, MARK_SECONDS
        runner.run(self.competition, self.choices, Workspace(workspace), Console())


@dataclass
class Counts:
    """The numbers of runs, of kills, and of runs identical to an undisturbed one."""

    runs: int = 0
    kills: int = 0
    identical: int = 0


def begin(workload, folder):
    """Start one try, forked from this process and its imports, so that it costs only its work."""

    def work():
        os.setsid()
        workload.run(folder / "home")
        (folder / "imported.txt").write_text("\n".join(sys.modules))

    return Forked(folder, work)


def ended_well(process):
    ended = process.ends(None)
    assert ended.status == 0, ended.err[-3000:]


def undisturbed(workload, folder):
    """A run that isn't killed, and its duration in seconds."""
    began = time.monotonic()
    ended_well(begin(workload, folder))
    return only_run(workload, folder), time.monotonic() - began


def import_all(folder):
    """Import every module that a try imported, so that the next tries don't have to."""
    sign_in(Endpoint("http://127.0.0.1", is_local=True))
    for name in (folder / "imported.txt").read_text().split():
        # Imported by itself, kaggle asks for credentials; signing in imports it.
        if name not in sys.modules and name.partition(".")[0] != "kaggle":
            with contextlib.suppress(BaseException):
                importlib.import_module(name)


def only_run(workload, folder):
    """The run; restarts must not have made a second one."""
    (run,) = list_runs(Workspace(folder / "home"), workload.competition.name)
    return run


def until_it_ends(workload, folder, seconds, draw, counts):
    """Kill a run at a uniformly random time within its ``seconds``, and restart it, until it ends."""
    killed = 0
    while True:
        process = begin(workload, folder)
        # Twice as long from the second try on, or few runs would ever end.
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
    """Whether the run was killed after writing its last file, the page: a restart would make a new run."""
    return any(run.reported for run in list_runs(Workspace(folder / "home"), workload.competition.name))


def kill_at_random(workload, folder, runs, seed, report=lambda counts: None):
    """Make ``runs`` runs, each killed at random until it ends, and compare them with an undisturbed run."""
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
