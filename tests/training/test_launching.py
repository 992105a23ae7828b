"""Trainings in two processes, each forked from this one, where everything is imported already."""

import multiprocessing
import os
import shutil
import signal
import socket
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from comp import cli
from comp.errors import DataError
from comp.runs import list_runs
from comp.training import backbone, finder, training
from comp.training.helping import Helper

# Neither 61 nor 37 images, nor batches of 7, divide by 2.
STILL = """
from comp import ClassName, Competition, CsvLabels, Recipe, Stage, TestImages, upright

competition = Competition(
    name="shades",
    kaggle="shades",
    labels=CsvLabels("train.csv", image="id", label="colour", folder="train", suffix=".png"),
    test=TestImages("test", suffix=".png"),
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
    colours = ["red", "green", "blue", "red"]
    for part, count in (("train", 61), ("test", 37)):
        for number in range(count):
            made.image(f"{part}/{part}{number:02}.png", colours[number % 4], size=36)
    made.text("train.csv", ["id,colour", *(f"train{number:02},{colours[number % 4]}" for number in range(61))])
    made.text("sample_submission.csv", ["id,colour", *(f"test{number:02},red" for number in range(37))])
    workspace.data("shades").parent.mkdir(parents=True)
    workspace.data("shades").symlink_to(made.files)
    return made


@pytest.fixture
def apart(tmp_path):
    """The command line in a process of its own: ``apart(still, "train", "shades")`` gives its status, out and err."""

    def start(made, *arguments, before=lambda: None, environment=None, name="alone"):
        def work():
            for number, stream in ((1, "out"), (2, "err")):
                os.dup2(os.open(tmp_path / f"{name}.{stream}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
            # As a new process has them.
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            AcceleratorState._reset_state(reset_partial_state=True)
            os.environ.update(environment or {})
            sys.argv = ["comp", "--competitions", str(made.plugins), *map(str, arguments)]
            before()
            cli.main()

        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        return process

    def end(process, name="alone"):
        process.join(120)
        assert process.exitcode is not None
        return process.exitcode, *((tmp_path / f"{name}.{stream}").read_text() for stream in ("out", "err"))

    def call(made, *arguments, launcher=False, **named):
        if not launcher:
            return end(start(made, *arguments, **named))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            sizes = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        both = [
            start(made, *arguments, environment={**sizes, "RANK": rank, "LOCAL_RANK": rank}, name=rank, **named)
            for rank in "01"
        ]
        helped = end(both[1], "1")
        assert helped == (0, "", "")
        return end(both[0], "0")

    return call


def replaced(owner, name, with_what):
    return lambda: setattr(owner, name, with_what)


def predicted(run, part):
    return pd.read_parquet(run.predictions(part)).set_index("id")


def test_two_processes_train_and_predict_as_one_does(still, apart, workspace):
    status, alone, err = apart(still, "train", "shades", "--folds", 2)
    assert (status, err) == (0, "")
    shutil.rmtree(workspace.cache)
    status, together, err = apart(still, "train", "shades", "--folds", 2, "--processes", 2)
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


def test_processes_that_a_launcher_started_find_the_rate_and_take_the_steps_of_one(still, apart, workspace):
    command = ("train", "shades", "--set", "stages.2.learning_rate=find", "--set", "stages.2.cycles=1")
    few = replaced(finder, "BATCHES", 24)
    assert apart(still, *command, before=few)[0] == 0
    status, _, err = apart(still, *command, before=few, launcher=True)
    assert (status, err) == (0, "")
    one, two = list_runs(workspace)
    # At the highest rates a rounding error is multiplied from step to step.
    assert two.history.range_test(2).to_numpy()[:-4] == pytest.approx(
        one.history.range_test(2).to_numpy()[:-4], rel=1e-3
    )
    assert two.history.steps().to_numpy() == pytest.approx(one.history.steps().to_numpy(), rel=1e-3, nan_ok=True)


def killed_in(epoch):
    """Saves after every step, and is killed after the first step of this epoch, counted from 0."""

    def patch():
        training.SAVE_SECONDS, training.MOST_COST = 0.0, 1e9
        save = training.Training.save

        def save_and_die(self, rate=None):
            save(self, rate)
            state = self.prepared.learner.under_way
            if state is not None and state.epoch == epoch and len(state.losses) == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        training.Training.save = save_and_die

    return patch


def test_a_training_in_two_processes_that_was_killed_ends_as_one_that_was_not(still, apart, workspace):
    command = ("train", "shades", "--recipe", "drawn", "--processes", 2)
    assert apart(still, *command)[0] == 0
    status, _, _ = apart(still, *command, before=killed_in(1))
    assert status == -signal.SIGKILL
    stopped = list_runs(workspace)[-1]
    assert not stopped.weights.exists()
    status, out, err = apart(still, *command)
    assert (status, err) == (0, "")
    assert f"resuming {stopped.name}, which was stopped: stage 1, epoch 2, step 2" in out
    whole, resumed = list_runs(workspace)
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


def fails(self):
    raise DataError("train/x.png can't be read as an image.")


def dies(self, _):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs_up(self, *_):
    raise DataError("the disk is gone.")


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (replaced(Helper, "batch", fails), "process 1 of this training: train/x.png can't be read as an image."),
        (replaced(Helper, "step", dies), "A process of this training was killed by SIGKILL; the same command again"),
        (replaced(training.Training, "_record", hangs_up), "the disk is gone."),
    ],
)
def test_an_error_in_one_process_ends_both_with_one_sentence(still, apart, workspace, before, sentence):
    status, _, err = apart(still, "train", "shades", "--recipe", "drawn", "--processes", 2, before=before)
    assert status == 1
    assert err.startswith(f"Error: {sentence}")
    assert len(err.splitlines()) == 1
    assert list_runs(workspace) == []


def test_too_little_memory_in_one_process_halves_what_goes_through_both_at_once(still, apart, workspace):
    def without_norm():
        """Batch norm sees fewer rows at once; without it the gradients of parts add up to those of the whole."""
        build_head = backbone.build_head
        backbone.build_head = lambda *arguments: nn.Sequential(nn.Identity(), *build_head(*arguments)[1:])

    def narrow():
        without_norm()
        features = backbone.Classifier.features

        def narrow_features(self, images):
            if torch.is_grad_enabled() and torch.distributed.get_rank() == 1 and len(images) > 2:
                raise torch.OutOfMemoryError
            return features(self, images)

        backbone.Classifier.features = narrow_features

    assert apart(still, "train", "shades", before=without_norm)[0] == 0
    status, out, err = apart(still, "train", "shades", "--processes", 2, before=narrow)
    assert (status, err) == (0, "")
    assert out.count("out of memory with 4 rows at once: from now on 2") == 1
    one, two = list_runs(workspace)
    assert two.record("trained")["at_once"] == {"training": 2, "forward": None}
    assert two.history.steps()["loss"].to_numpy() == pytest.approx(one.history.steps()["loss"].to_numpy(), rel=1e-4)


def test_a_batch_too_small_for_the_processes_is_refused(still, apart, workspace):
    options = ("--recipe", "drawn", "--set", "batch_size=3", "--processes", 2)
    status, _, err = apart(still, "train", "shades", *options)
    assert status == 1
    assert err == (
        "Error: A batch of 3 rows is too few for 2 processes, which take 2 rows each at least; start fewer, or raise "
        "batch_size.\n"
    )
    assert list_runs(workspace) == []
