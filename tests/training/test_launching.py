"""Trainings in two processes, forked from this one, where everything is imported already; real ones in one test."""

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from comp.cli import commands
from comp.data.loading import ImageDataset
from comp.errors import DataError, OverrideError
from comp.runs import list_runs
from comp.tools import side_by_side
from comp.training import backbone, finder, training
from comp.training.launching import LOST, SPINS, report_error, start_processes
from comp.training.learner import Learner
from comp.training.state import load_state

pytestmark = pytest.mark.long
# Ports below those that the system assigns: another process could be given a free port before it is used.
PORTS = count(20_000 + os.getpid() % 10_000)

# Neither 31 nor 19 images, nor batches of 7, divide by 2.
STILL = """
from comp import ClassName, Columns, Competition, CsvLabels, Recipe, Stage, TestImages, upright

competition = Competition(
    name="shades",
    kaggle="shades",
    labels=CsvLabels("train.csv", image="id", label="colour", folder="train", suffix=".png"),
    test=TestImages("test", suffix=".png"),
    columns=Columns("ages.csv", "ages.csv", image="id", numbers=["age"]),
    submission=ClassName(),
    augment=upright(max_zoom=1, max_rotation=0, max_light=0),
    metric="accuracy",
    recipes={
        "standard": Recipe(
            backbone="test_convnext",
            pretrained=False,
            batch_size=7,
            accumulation=2,
            clip_norm=1.0,
            ema=0.9,
            balance="weights",
            label_smoothing=0.1,
            tta="none",
            stages=[
                Stage(size=32, train="head", cached=True, cycle_length=2, learning_rate=1e-2),
                Stage(size=32, train="all", cycles=2, learning_rate=3e-3),
            ],
        ),
        "drawn": Recipe(
            backbone="test_convnext",
            pretrained=False,
            batch_size=7,
            dropout=0.2,
            mixup=0.2,
            stages=[Stage(size=32, train="all", cycles=2, learning_rate=1e-3)],
        ),
    },
)
"""


@pytest.fixture
def still(make, workspace):
    """31 training images and 19 test images in this workspace; the standard recipe draws nothing at random."""
    made = make(STILL)
    colours, ages = ["red", "green", "blue", "red"], ["id,age"]
    for part, images in (("train", 31), ("test", 19)):
        for number in range(images):
            made.image(f"{part}/{part}{number:02}.png", colours[number % 4], size=36)
            ages.append(f"{part}{number:02},{number * number % 97}")
    made.text("ages.csv", ages)
    made.text("train.csv", ["id,colour", *(f"train{number:02},{colours[number % 4]}" for number in range(31))])
    made.text("sample_submission.csv", ["id,colour", *(f"test{number:02},red" for number in range(19))])
    workspace.data("shades").parent.mkdir(parents=True)
    workspace.data("shades").symlink_to(made.files)
    return made


@pytest.fixture
def apart(forked):
    """The command line in separate processes: ``apart(still, "train", "shades")`` gives rank 0's status, out and err.

    processes: their number, started as by a launcher. before: called in each of them first.
    """

    def call(made, *arguments, processes=1, before=lambda: None):
        sizes = {"WORLD_SIZE": f"{processes}", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{next(PORTS)}"}
        started = []
        for rank in range(processes):
            ranks = {**sizes, "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"} if processes > 1 else {}
            started.append(forked("--competitions", made.plugins, *arguments, before=before, **ranks))
        first, *workers = [process.ends() for process in started]
        assert not any(worker.out for worker in workers), "workers say nothing"
        return first.status, first.out, first.err

    return call


def predicted(run, part):
    return pd.read_parquet(run.predictions(part)).set_index("id")


def test_two_processes_train_and_predict_as_one_does(still, apart, workspace):
    said = []
    for processes in (1, 2):
        shutil.rmtree(workspace.cache, ignore_errors=True)
        # As if folds took long: the expected end is said between them.
        longer = lambda: setattr(side_by_side, "SAID", 0)  # noqa: E731
        status, out, err = apart(still, "train", "shades", "--folds", 2, processes=processes, before=longer)
        assert (status, err) == (0, "")
        said.append(out.splitlines())
    alone, together = said
    assert any("on cpu, run shades/standard-1" in line for line in alone)
    assert any("on 2 x cpu, run shades/standard-3" in line for line in together)
    assert len(alone) == len(together)

    runs = list_runs(workspace)
    assert len(runs) == 6
    for one, two in zip(runs[:3], runs[3:], strict=True):
        for part in ("valid", "test"):
            expected, found = predicted(one, part), predicted(two, part)
            assert found.index.equals(expected.index)
            assert np.allclose(found, expected, atol=1e-5)
        assert two.validating() == one.validating()
        assert two.submission.read_bytes() == one.submission.read_bytes()
    assert list(predicted(runs[-1], "valid").index) == [f"train{number:02}" for number in range(31)]
    assert list(predicted(runs[-1], "test").index) == [f"test{number:02}" for number in range(19)]


def test_two_processes_find_the_rate_and_take_the_steps_of_one(still, apart, workspace):
    command = (still, "train", "shades", "--set", "stages.2.learning_rate=find", "--set", "stages.2.cycles=1")
    for processes in (1, 2):
        before = lambda: setattr(finder, "BATCHES", 24)  # noqa: E731
        status, _, err = apart(*command, before=before, processes=processes)
        assert (status, err) == (0, "")
    one, two = (run.history for run in list_runs(workspace))
    assert two.steps().to_numpy() == pytest.approx(one.steps().to_numpy(), rel=1e-3, nan_ok=True)
    # At the highest rates rounding errors grow from step to step.
    found, expected = (history.range_test(2).to_numpy()[:-4] for history in (two, one))
    assert found == pytest.approx(expected, rel=1e-3)


def test_two_processes_share_the_trials_of_a_sweep(still, apart, workspace):
    command = ("sweep", "shades", "--recipe", "drawn", "--space", "dropout=0.1..0.5", "--trials", 2)
    status, out, err = apart(still, *command, "--set", "stages.1.cycles=1", processes=2)
    assert (status, err) == (0, "")
    one, two = list_runs(workspace)
    assert one.record("config")["settings"] != two.record("config")["settings"]
    assert one.trained
    assert two.trained
    assert out.splitlines()[-1].startswith("comp run shades")


def test_a_training_in_two_processes_that_is_stopped_saves_and_ends_as_one_that_was_not(still, apart, workspace):
    def patch():
        step = Learner.step

        def interrupted(self, *given):
            if self.under_way is not None and self.under_way.taken == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(self, *given)

        Learner.step = interrupted

    command = ("train", "shades", "--recipe", "drawn")
    assert apart(still, *command, processes=2)[0] == 0
    status, _, err = apart(still, *command, processes=2, before=patch)
    assert status == 128 + signal.SIGTERM
    assert "Stopped; the same command again" in err
    stopped = list_runs(workspace)[-1]
    assert load_state(stopped.last)["stage"]["state"]["taken"] == 4
    status, out, err = apart(still, *command, processes=2)
    assert (status, err) == (0, "")
    assert f"resuming {stopped.name}, which was stopped: stage 1, epoch 2, step 2" in out
    whole, resumed = list_runs(workspace)
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


def fails(*_):
    raise DataError("train/x.png can't be read as an image.")


def narrow():
    """Memory has room for two images in each process."""

    def narrow_features(self, images):
        if torch.is_grad_enabled() and len(images) > 2:
            raise torch.OutOfMemoryError
        return features(self, images)

    features, backbone.Classifier.features = backbone.Classifier.features, narrow_features


@pytest.mark.parametrize(
    ("before", "options", "sentence"),
    [
        (lambda: os.environ["RANK"] == "1" and setattr(ImageDataset, "read", fails), (), LOST),
        (lambda: setattr(training.Training, "_record", fails), (), "train/x.png can't be read as an image."),
        (narrow, (), "--set batch_size=4"),
        (lambda: None, ("--set", "batch_size=3"), "3 samples"),
    ],
    ids=["in the worker", "in both", "memory", "batch size"],
)
def test_an_error_in_a_process_ends_both_in_one_sentence(still, apart, workspace, before, options, sentence):
    """What the launcher says is tested below."""
    command = ("train", "shades", "--recipe", "drawn", *options)
    status, _, err = apart(still, *command, processes=2, before=before)
    assert status == 1
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert sentence == LOST or list_runs(workspace) == []


@pytest.mark.parametrize(
    ("exits", "messages", "sentence"),
    [
        ((1, 1), (LOST, "x.png can't be read."), "x.png can't be read."),
        ((1, -9), (LOST, None), "killed by SIGKILL"),
        ((143, -9), ("stopped", None), "killed by SIGKILL"),
        ((1, -9), ("The data are not here.", None), "The data are not here."),
        ((1, 1), ("a batch of 3 is too few", "a batch of 3 is too few"), "a batch of 3 is too few"),
    ],
)
def test_the_launcher_says_the_error_of_the_process_that_failed_first(
    tmp_path, monkeypatch, capsys, exits, messages, sentence
):
    failures = {}
    for rank, (status, message) in enumerate(zip(exits, messages, strict=True)):
        file = tmp_path / f"{rank}.json"
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(rank))
        if message is not None:
            assert report_error(message)
        failures[rank] = ProcessFailure(rank, 1000 + rank, status, str(file))

    def fail(*_):
        raise ChildFailedError("comp", failures)

    monkeypatch.delenv("RANK")
    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", lambda *_: fail)
    with pytest.raises(SystemExit, match="1"):
        start_processes(2)
    assert sentence in capsys.readouterr().err


def test_rank_0_leaves_it_to_the_launcher_to_say_that_it_was_stopped(tmp_path, monkeypatch, capsys):
    """The launcher also stops rank 0 after a worker was killed, and two sentences would be said of one end."""
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SystemExit, match="143"):
        commands._fail("stopped", debug=False, status=128 + signal.SIGTERM)
    assert not capsys.readouterr().err
    assert "stopped" in (tmp_path / "error.json").read_text()


def test_the_processes_that_an_option_starts_end_together(still, workspace, forked):
    """Real processes, of which the worker is killed."""
    command = ["--competitions", still.plugins, "train", "shades", "--recipe", "drawn", "--processes", 2]
    launcher = forked(*command, "--set", "stages.1.cycles=400")
    deadline = time.monotonic() + 200
    while not (runs := list_runs(workspace)) or not runs[0].history.began:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = [int(pid) for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]
    workers = [pid for pid in started if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    ended = launcher.ends()
    assert ended.status == 1
    assert "SIGKILL" in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_a_command_that_does_not_train_runs_in_rank_0_alone(still, apart):
    status, out, err = apart(still, "list", processes=2)
    assert (status, err) == (0, "")
    assert "shades" in out


def test_more_processes_than_a_launcher_started_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(OverrideError, match="--processes"):
        start_processes(3)


def test_threads_of_a_session_sleep_soon_as_those_of_the_command_do():
    code = """
import os, sys
class Watching:
    def find_spec(self, name, *_):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"))
            sys.exit()
sys.meta_path.insert(0, Watching())
import comp.notebook
"""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [SPINS]
