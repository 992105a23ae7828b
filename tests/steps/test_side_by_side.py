"""Folds on a Ray cluster of several nodes, all on this machine."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from comp import runner
from comp.console import Console
from comp.run import Run, list_runs
from comp.steps.resolve import Choices

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")


@pytest.fixture
def trained(shades, home):
    """Trains two folds of the shades, on Ray or one after the other; gives what is said, and the joined run."""
    shutil.copytree(shades.files, home.data("shades"))
    stage = 'Stage(size=16, train="head", cached=True, cycle_length=8, learning_rate=1e-2)'
    declaration = shades.declaration.read_text()
    assert stage in declaration
    shades.declaration.write_text(declaration.replace(stage, f"{stage}, {stage}"))

    def train(on=None):
        # Ready in a moment, and long enough in its second stage to be killed in it.
        choices = Choices(settings=("stages.2.cycle_length=80",), folds=2)
        said = Console()
        said.say = (lines := []).append
        return runner.cross_validate(shades.competition, choices, home, said, on=on), "\n".join(lines)

    return train


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    for _ in range(3):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, include_dashboard=False)
            cluster.add_node(num_cpus=1)
            break
        except Exception as error:  # on a busy machine Ray's own patience runs out
            cluster.shutdown()
            reason = error
    else:
        pytest.skip(f"Ray's nodes don't start on this machine: {reason}")
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def holder_of(path):
    """The process that holds a lock on the file."""
    wanted = path.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, _, _, process, place, *_ = line.split()
        if kind == "FLOCK" and int(place.split(":")[2]) == wanted:
            return int(process)
    return None


def kill_one_in_its_second_stage(home, killed):
    while not killed:
        for run in list_runs(home, "shades"):
            stages, epochs = (run.folder / name for name in ("stages.csv", "epochs.csv"))
            if stages.is_file() and epochs.read_text().count("\n") > 20 and (process := holder_of(run.log)):
                os.kill(process, signal.SIGKILL)
                killed.append(run.name)
                return
        time.sleep(0.02)


def test_a_fold_whose_worker_was_killed_goes_on_elsewhere_and_ends_as_it_would_have(trained, home, cluster):
    trained()
    expected = [(run.submission.read_bytes(), run.parts()) for run in list_runs(home)]
    shutil.rmtree(home.runs)

    killed = []
    watching = threading.Thread(target=kill_one_in_its_second_stage, args=(home, killed), daemon=True)
    watching.start()
    joined, said = trained(on="ray")
    assert "2 folds side by side on Ray, each with 1 processor" in said
    (name,) = killed
    assert f"going on with {name}, which was stopped: stage 2" in (home.runs / name / "log.txt").read_text()
    folds = [Run(home.runs / member) for member in joined.members]
    assert [(run.submission.read_bytes(), run.parts()) for run in (*folds, joined)] == expected
    assert len(list_runs(home)) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--on", "moon", "--folds", 2), "--on is 'moon', but it should be kaggle, ray, or ray://HOST:PORT."),
        (("--on", "ray"), "--on ray trains folds side by side; say how many, as in --folds 5."),
        (("--on", "ray", "--folds", 2, "--fold", 1), "--on ray trains folds side by side; say how many, as in"),
        (("--on", "ray", "--folds", 2, "--processes", 2), "--processes is for this machine, and --on names"),
    ],
)  # fmt: skip
def test_what_can_not_be_side_by_side_is_refused(comp, shades, arguments, sentence):
    ended = comp("--competitions", shades.plugins, "run", "shades", *arguments)
    assert ended.status == 1
    assert ended.err.startswith(f"Error: {sentence}")
