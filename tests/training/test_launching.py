"""Trainings in two processes; but for one test each forked from this one, where everything is imported already."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from comp.cli import commands
from comp.data.loading import ImageDataset
from comp.errors import DataError
from comp.runs import list_runs
from comp.training import backbone, finder, training
from comp.training.launching import LOST, report_error, start_processes
from comp.training.learner import Learner
from comp.training.state import load_state

pytestmark = pytest.mark.long

# Neither 61 nor 37 images, nor batches of 7, divide by 2.
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
            batch_size=15,
            dropout=0.2,
            mixup=0.2,
            stages=[Stage(size=32, train="all", cycles=2, learning_rate=1e-3)],
        ),
    },
)
"""


@pytest.fixture
def still(make, workspace):
    """61 images to learn from and 37 to predict in this workspace; nothing is drawn in the standard recipe."""
    made = make(STILL)
    colours, ages = ["red", "green", "blue", "red"], ["id,age"]
    for part, count in (("train", 61), ("test", 37)):
        for number in range(count):
            made.image(f"{part}/{part}{number:02}.png", colours[number % 4], size=36)
            ages.append(f"{part}{number:02},{number * number % 97}")
    made.text("ages.csv", ages)
    made.text("train.csv", ["id,colour", *(f"train{number:02},{colours[number % 4]}" for number in range(61))])
    made.text("sample_submission.csv", ["id,colour", *(f"test{number:02},red" for number in range(37))])
    workspace.data("shades").parent.mkdir(parents=True)
    workspace.data("shades").symlink_to(made.files)
    return made


@pytest.fixture
def apart(forked):
    """The command line in processes of its own: ``apart(still, "train", "shades")`` gives status, out and err.

    processes: so many, as a launcher starts them; of the status and what is said, that of rank 0.
    before: called in each of them first.
    """

    def call(made, *arguments, processes=1, before=lambda: None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            sizes = {
                "WORLD_SIZE": f"{processes}",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": f"{free.getsockname()[1]}",
            }
        started = []
        for rank in range(processes):
            ranks = {**sizes, "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"} if processes > 1 else {}
            started.append(forked("--competitions", made.plugins, *arguments, before=before, **ranks))
        first, *workers = [process.ends() for process in started]
        assert not any(worker.out for worker in workers), "workers say nothing"
        return first.status, first.out, first.err

    return call


def replaced(owner, name, with_what):
    return lambda: setattr(owner, name, with_what)


def in_worker(owner, name, with_what):
    """Replaced in rank 1 alone."""
    return lambda: os.environ.get("RANK") == "1" and setattr(owner, name, with_what)


def predicted(run, part):
    return pd.read_parquet(run.predictions(part)).set_index("id")


def test_two_processes_train_and_predict_as_one_does(still, apart, workspace):
    status, alone, err = apart(still, "train", "shades", "--folds", 2)
    assert (status, err) == (0, "")
    shutil.rmtree(workspace.cache)
    status, together, err = apart(still, "train", "shades", "--folds", 2, processes=2)
    assert (status, err) == (0, "")
    assert "on cpu, run shades/standard-1" in alone
    assert "on 2 x cpu, run shades/standard-3" in together
    assert len(alone.splitlines()) == len(together.splitlines())

    runs = list_runs(workspace)
    assert len(runs) == 6
    for one, two in zip(runs[:3], runs[3:], strict=True):
        for part in ("valid", "test"):
            expected, found = predicted(one, part), predicted(two, part)
            assert found.index.equals(expected.index)
            assert np.allclose(found, expected, atol=1e-5)
        assert two.validating() == one.validating()
        assert two.submission.read_bytes() == one.submission.read_bytes()
    assert list(predicted(runs[-1], "valid").index) == [f"train{number:02}" for number in range(61)]
    assert list(predicted(runs[-1], "test").index) == [f"test{number:02}" for number in range(37)]


def test_two_processes_learn_numbers_as_one_does(still, apart, workspace):
    source = still.declaration.read_text()
    for written, now in (
        ('CsvLabels("train.csv", image="id", label="colour"', 'CsvNumbers("train.csv", image="id", values=["red"]'),
        ("CsvLabels", "CsvNumbers"),
        ("ClassName", "Numbers"),
        ("accuracy", "rmse"),
        ('balance="weights"', 'loss="huber"'),
        ("label_smoothing=0.1,", ""),
    ):
        source = source.replace(written, now)
    still.declaration.write_text(source)
    rows = [line.split(",") for line in (still.files / "train.csv").read_text().splitlines()[1:]]
    still.text("train.csv", ["id,red", *(f"{id_},{500 + 7 * (colour == 'red')}" for id_, colour in rows)])
    still.text("sample_submission.csv", ["id,red", *(f"test{number:02},0" for number in range(37))])
    assert apart(still, "train", "shades", "--folds", 2)[0] == 0
    shutil.rmtree(workspace.cache)
    status, out, err = apart(still, "train", "shades", "--folds", 2, processes=2)
    assert (status, err) == (0, "")
    assert "2 x cpu" in out
    one, two = (run for run in list_runs(workspace) if run.members)
    for part in ("valid", "test"):
        assert np.allclose(predicted(two, part), predicted(one, part), rtol=1e-6)
    assert np.ptp(predicted(two, "test")["red"]) > 3


def test_two_processes_find_the_rate_and_take_the_steps_of_one(still, apart, workspace):
    command = ("train", "shades", "--set", "stages.2.learning_rate=find", "--set", "stages.2.cycles=1")
    few = replaced(finder, "BATCHES", 24)
    assert apart(still, *command, before=few)[0] == 0
    status, _, err = apart(still, *command, before=few, processes=2)
    assert (status, err) == (0, "")
    one, two = list_runs(workspace)
    # At the highest rates a rounding error is multiplied from step to step.
    found, expected = two.history.range_test(2).to_numpy()[:-4], one.history.range_test(2).to_numpy()[:-4]
    assert found == pytest.approx(expected, rel=1e-3)
    assert two.history.steps().to_numpy() == pytest.approx(one.history.steps().to_numpy(), rel=1e-3, nan_ok=True)


def test_two_processes_share_the_trials_of_a_sweep(still, apart, workspace):
    command = ("sweep", "shades", "--recipe", "drawn", "--space", "dropout=0.1..0.5", "--trials", 2)
    for _ in range(2):  # again, nothing is trained
        status, out, err = apart(still, *command, processes=2)
        assert (status, err) == (0, "")
        runs = list_runs(workspace)
        assert len({tuple(run.record("config")["settings"]) for run in runs}) == len(runs) == 2
        assert all(run.trained for run in runs)
    assert out.splitlines()[-1].startswith("comp run shades")


def killed_in(epoch):
    """Saves after every step, and rank 0 is killed after the first step of this epoch, counted from 0."""

    def patch():
        training.SAVE_SECONDS, training.MOST_COST = 0.0, 1e9
        save = training.Training.save

        def save_and_die(self, rate=None):
            save(self, rate)
            state = self.prepared.learner.under_way
            if state is not None and state.epoch == epoch and len(state.losses) == 1 and os.environ["RANK"] == "0":
                os.kill(os.getpid(), signal.SIGKILL)

        training.Training.save = save_and_die

    return patch


def test_a_training_in_two_processes_that_was_killed_ends_as_one_that_was_not(still, apart, workspace):
    command = ("train", "shades", "--recipe", "drawn")
    assert apart(still, *command, processes=2)[0] == 0
    status, _, _ = apart(still, *command, processes=2, before=killed_in(1))
    assert status == -signal.SIGKILL
    stopped = list_runs(workspace)[-1]
    assert not stopped.weights.exists()
    status, out, err = apart(still, *command, processes=2)
    assert (status, err) == (0, "")
    assert f"resuming {stopped.name}, which was stopped: stage 1, epoch 2, step 2" in out
    whole, resumed = list_runs(workspace)
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


def test_a_signal_saves_and_ends_all(still, apart, workspace):
    def patch():
        step = Learner.step

        def interrupted(self, *given):
            if self.under_way is not None and self.under_way.taken == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(self, *given)

        Learner.step = interrupted

    status, _, err = apart(still, "train", "shades", "--recipe", "drawn", processes=2, before=patch)
    assert status == 128 + signal.SIGTERM
    assert "resumes" in err
    (run,) = list_runs(workspace)
    assert load_state(run.last)["stage"]["state"]["taken"] == 4


def fails(*_):
    raise DataError("train/x.png can't be read as an image.")


def dies(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (in_worker(ImageDataset, "read", fails), LOST),
        (in_worker(Learner, "step", dies), LOST),
        (replaced(training.Training, "_record", fails), "train/x.png can't be read as an image."),
    ],
)
def test_an_error_in_one_process_ends_both(still, apart, before, sentence):
    """What the launcher makes of it is below."""
    status, _, err = apart(still, "train", "shades", "--recipe", "drawn", processes=2, before=before)
    assert status == 1
    assert err == f"Error: {sentence}\n"


@pytest.mark.parametrize(
    ("exits", "messages", "sentence"),
    [
        ((1, 1), (LOST, "x.png can't be read."), "x.png can't be read."),
        ((1, -9), (LOST, None), "killed by SIGKILL"),
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
    """The launcher ends it as well where a worker was killed, and two sentences would be said of one end."""
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SystemExit, match="143"):
        commands._fail("stopped", debug=False, status=128 + signal.SIGTERM)
    assert not capsys.readouterr().err
    assert "stopped" in (tmp_path / "error.json").read_text()


def test_the_processes_that_an_option_starts_end_together_and_are_resumed(still, workspace):
    """The real ones, of which the worker is killed."""
    command = [sys.executable, "-m", "comp", "--competitions", str(still.plugins), "train", "shades"]
    command += ["--recipe", "drawn", "--set", "stages.1.cycles=400", "--processes", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as launcher:
        while not (runs := list_runs(workspace)) or not runs[0].history.began:
            assert launcher.poll() is None, launcher.communicate()
            time.sleep(0.05)
        started = [int(pid) for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]
        workers = [pid for pid in started if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()]
        os.kill(workers[0], signal.SIGKILL)
        _, err = launcher.communicate(timeout=60)
    assert launcher.returncode == 1
    assert "SIGKILL" in err
    assert len(err.splitlines()) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_several_processes_whose_memory_runs_out_are_told_a_batch_size(still, apart, workspace):
    def narrow():
        def narrow_features(self, images):
            if torch.is_grad_enabled() and len(images) > 2:
                raise torch.OutOfMemoryError
            return features(self, images)

        features, backbone.Classifier.features = backbone.Classifier.features, narrow_features

    status, _, err = apart(still, "train", "shades", "--recipe", "drawn", processes=2, before=narrow)
    assert status == 1
    assert "--set batch_size=8" in err


def test_a_batch_too_small_for_the_processes_is_refused(still, apart, workspace):
    status, _, err = apart(still, "train", "shades", "--recipe", "drawn", "--set", "batch_size=3", processes=2)
    assert status == 1
    assert "3 samples" in err
    assert "batch_size" in err
    assert list_runs(workspace) == []


def test_a_command_that_does_not_train_runs_in_rank_0_alone(still, apart):
    status, out, err = apart(still, "list", processes=2)
    assert (status, err) == (0, "")
    assert "shades" in out


def test_more_processes_than_a_launcher_started_are_refused(still, apart):
    status, _, err = apart(still, "train", "shades", "--processes", 3, processes=2)
    assert status == 1
    assert "--processes" in err
