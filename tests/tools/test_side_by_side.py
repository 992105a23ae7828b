"""Trainings on a Ray cluster of several nodes, all on this machine."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.interrupts import own_handlers
from comp.runs import Run, Workspace, list_runs
from comp.runs.choices import Choices
from comp.tools.side_by_side import _needs, _room
from comp.tools.sweeps import sweep as search

pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[client]'")

pytestmark = pytest.mark.long

# A second stage that is short, but long enough for its process to be killed in it.
LONG = "stages.2.cycle_length=80"


@pytest.fixture
def two_stages(downloaded):
    """The downloaded shades, with a recipe of two stages."""
    stage = 'Stage(size=16, train="head", cached=True, cycle_length=8, learning_rate=1e-2)'
    declaration = downloaded.declaration.read_text()
    assert stage in declaration
    downloaded.declaration.write_text(declaration.replace(stage, f"{stage}, {stage}"))
    return downloaded.competition


@pytest.fixture
def trained(two_stages, workspace):
    """Trains two folds of the shades, on Ray or one after the other; returns the joined run and the console's text."""

    def train(on=None):
        said = Console()
        said.say = (lines := []).append
        choices = Choices(settings=(LONG,), folds=2)
        return runner.train(two_stages, choices, workspace, said, on=on), "\n".join(lines)

    return train


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    for _ in range(3):
        cluster = Cluster()
        try:
            with own_handlers():
                cluster.add_node(num_cpus=1, include_dashboard=False)
                cluster.add_node(num_cpus=1)
            break
        except Exception as error:  # Ray's own timeout, on a busy machine
            cluster.shutdown()
            reason = error
    else:
        pytest.skip(f"Ray's nodes don't start on this machine: {reason}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def connected(cluster):
    """Connects this process to the nodes for all tests, so that workers import only once."""
    import ray

    with own_handlers():
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def holder_of(path):
    """The id of the process that locks the file."""
    wanted = path.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, _, _, process, place, *_ = line.split()
        if kind == "FLOCK" and int(place.split(":")[2]) == wanted:
            return int(process)
    return None


def is_in_its_second_stage(run):
    stages, epochs = (run.folder / name for name in ("stages.csv", "epochs.csv"))
    return not run.weights.exists() and stages.is_file() and epochs.read_text().count("\n") in range(20, 80)


READER = """
import numpy as np
from PIL import Image


def read(path):
    return 1 * np.asarray(Image.open(path).convert("RGB"))

"""


def kill_one_in_its_second_stage(workspace, killed):
    while not killed:
        for run in list_runs(workspace, "shades"):
            if is_in_its_second_stage(run) and (process := holder_of(run.log)):
                os.kill(process, signal.SIGSTOP)  # so that it can't leave the stage before the kill
                if is_in_its_second_stage(run):
                    os.kill(process, signal.SIGKILL)
                    killed.append(run.name)
                    return
                os.kill(process, signal.SIGCONT)
        time.sleep(0.02)


@pytest.fixture
def killing(workspace):
    """Starts to wait for a run in its second stage and kills its process; the list then has the run's name."""
    names = []

    def start():
        threading.Thread(target=kill_one_in_its_second_stage, args=(workspace, names), daemon=True).start()
        return names

    yield start
    names.append("nobody")  # stops the thread that kills


def test_recipes_and_seeds_train_side_by_side_as_they_do_one_after_the_other(
    on_shades, shades, workspace, serving, cluster
):
    def run(*arguments):
        return on_shades("run", "shades", "--seed", 0, "--seed", 1, *arguments)

    with serving(shades):
        here = run()
        assert (here.status, here.err) == (0, "")
        expected = {run.record("config")["seed"]: run.submission.read_bytes() for run in list_runs(workspace)}
        assert sorted(expected) == [0, 1]
        shutil.rmtree(workspace.runs)
        there = run("--on", "ray")
        assert (there.status, there.err) == (0, "")
        assert {run.record("config")["seed"]: run.submission.read_bytes() for run in list_runs(workspace)} == expected
        assert [Run(Path(line)).record("config")["seed"] for line in there.out.splitlines()[-2:]] == [0, 1]

        # Existing runs are not trained again.
        assert run("--seed", 2).status == 0
    assert sorted(run.record("config")["seed"] for run in list_runs(workspace)) == [0, 1, 2]
    assert all(run.report.is_file() for run in list_runs(workspace))


def test_an_edited_reader_is_another_training_on_ray_that_looks_at_other_images(
    on_shades, shades, workspace, serving, connected
):
    source = READER + shades.declaration.read_text().replace("augment=", "read=read,\n    augment=")
    with serving(shades):
        for factor in "10":
            shades.declaration.write_text(source.replace("1 *", f"{factor} *"))
            ended = on_shades("run", "shades", "--folds", 2, "--on", "ray")
            assert (ended.status, ended.err) == (0, "")
    folds = [run for run in list_runs(workspace) if not run.members]
    spread = [pd.read_parquet(run.predictions("test")).set_index("id").std().max() for run in folds]
    assert len(folds) == 4
    assert min(spread[:2]) > 0.01
    assert max(spread[2:]) < 1e-6


def test_a_fold_whose_worker_was_killed_goes_on_elsewhere_and_ends_as_it_would_have(
    trained, workspace, connected, killing
):
    trained()
    expected = [(run.submission.read_bytes(), dict(run.split())) for run in list_runs(workspace)]
    shutil.rmtree(workspace.runs)

    killed = killing()
    joined, said = trained(on="ray")
    assert "side by side on Ray, each with 1 processor" in said
    (name,) = killed
    assert f"resuming {name}, which was stopped: stage 2" in (workspace.runs / name / "log.txt").read_text()
    folds = [Run(workspace.runs / member) for member in joined.members]
    assert [(run.submission.read_bytes(), dict(run.split())) for run in (*folds, joined)] == expected
    assert len(list_runs(workspace)) == 3


def test_a_sweep_goes_on_after_its_worker_was_killed_and_after_it_was_stopped_and_no_trial_is_lost_or_doubled(
    two_stages, workspace, connected, killing
):
    def sweep(on="ray", stopped_by=None):
        said, lines = Console(), []

        def say(text=""):
            lines.append(text)
            if stopped_by and stopped_by in text:
                raise KeyboardInterrupt

        said.say = say
        space = ["dropout=0..0.5", "stages.learning_rate=1e-3..1e-1:log"]
        return search(two_stages, Choices(settings=(LONG,)), space, 4, workspace, said, on), lines

    with pytest.raises(KeyboardInterrupt):
        sweep(stopped_by=" is done, run ")
    begun = [run.record("config")["settings"] for run in list_runs(workspace)]
    assert begun
    killed = killing()
    best, lines = sweep()
    (name,) = killed
    assert f"resuming {name}, which was stopped: stage 2" in (workspace.runs / name / "log.txt").read_text()
    runs = list_runs(workspace)
    settings = [run.record("config")["settings"] for run in runs]
    assert settings[: len(begun)] == begun
    assert len({tuple(drawn) for drawn in settings}) == len(runs) == 4
    table = lines[lines.index(next(line for line in lines if "settings" in line)) + 1 :]
    assert sorted(line.split()[1] for line in table) == sorted(run.name for run in runs)
    assert best.startswith("comp run shades")

    _, again = sweep(on=None)
    assert again[-4:] == table
    assert len(list_runs(workspace)) == 4


@pytest.mark.parametrize(
    ("nodes", "share", "needed", "room"),
    [
        ([(2, 0)], 5, (1, 0), 2),
        ([(16, 0)], 5, (3, 0), 5),
        ([(16, 0)], 1, (16, 0), 1),
        ([(16, 0), (4, 0)], 2, (4, 0), 5),
        ([(16, 2), (8, 0)], 5, (8, 1), 2),
        ([(16, 2), (4, 1)], 5, (4, 1), 3),
    ],
)
def test_a_job_asks_for_a_gpu_and_its_part_of_the_processors_or_for_its_share_of_these(nodes, share, needed, room):
    nodes = [{"Alive": True, "Resources": {"CPU": cpus} | ({"GPU": gpus} if gpus else {})} for cpus, gpus in nodes]
    nodes += [{"Alive": False, "Resources": {"CPU": 64.0}}, {"Alive": True, "Resources": {}}]
    assert _needs(nodes, share) == needed
    assert _room(nodes, *needed) == room


def test_a_blend_trained_side_by_side_is_that_of_one_after_the_other(strong, workspace, tmp_path):
    other = Workspace(tmp_path / "other")
    shutil.copytree(workspace.data("shades"), other.data("shades"))
    one_after_the_other = runner.train(strong, Choices("strong"), workspace, Console())
    blended = runner.train(strong, Choices("strong"), other, Console(), on="ray")
    assert blended.members == one_after_the_other.members
    assert blended.submission.read_bytes() == one_after_the_other.submission.read_bytes()
