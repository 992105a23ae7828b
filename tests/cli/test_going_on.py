import os
import signal
import time
from pathlib import Path

import pytest

from comp.training import training
from comp.training.learner import Learner
from tests.cli.conftest import TINY


def test_features_that_were_being_computed_when_it_was_asked_to_end_are_gone_on_with(
    downloaded, on_shades, monkeypatch
):
    forward, batches = Learner._forward, []

    def asked_to_end(learner, network, images):
        batches.append(images.shape[0] * images.shape[1])
        if len(batches) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(learner, network, images)

    monkeypatch.setattr(Learner, "_forward", asked_to_end)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        ended = on_shades("train", "shades", *TINY)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.status == 143
    assert ended.err.splitlines() == ["Stopped; the same command again starts from what is already done."]
    again = on_shades("train", "shades", *TINY)
    assert "features of 16 of 36 images at 16 px: found in the cache" in again.out
    assert sum(batches) == 36 + 16


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("train",), "There is nothing to train; name a competition"),
        (("train", "digits", "--resume", "digits/quick-1"), "leave NAME and other options out"),
        (("train", "--resume", "digits/quick-1", "--seed", "3"), "leave NAME and other options out"),
        (("train", "--resume", "digits/quick-1"), "There is no run 'digits/quick-1'"),
    ],
)
def test_what_is_to_be_gone_on_with_is_named_alone(comp, arguments, says):
    assert says in comp(*arguments).sentence


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_asked_to_end_saves_and_the_same_command_goes_on_or_one_that_names_its_run(
    downloaded, comp, forked, workspace, number
):
    command = ("--competitions", downloaded.plugins, "train", "shades", *TINY, "--set", "stages.cycle_length=6")
    named = (*command[:3], "--resume", "shades/standard-1")

    def take_time():
        say_epoch = training.say_epoch
        training.say_epoch = lambda *arguments: (say_epoch(*arguments), time.sleep(0.3))

    run = forked(*command, before=take_time)
    run.says("     1 ")
    os.kill(run.pid, number)
    began = time.monotonic()
    ended = run.ends()
    # On an idle machine it takes seconds.
    assert time.monotonic() - began < 30
    assert ended.status == 128 + number
    assert "stopped in stage 1 of shades/standard-1\n" in ended.out
    assert ended.err.splitlines() == ["Stopped; the same command again starts from what is already done."]
    assert list(workspace.folder.rglob(".*.part")) == []
    again = comp(*(command if number == signal.SIGINT else named))
    assert "resuming shades/standard-1, which was stopped: stage 1, epoch " in again.out
    assert Path(again.last_line) == workspace.runs / "shades" / "standard-1"
    assert [path.name for path in (workspace.runs / "shades").glob("*/")] == ["standard-1"]
    epochs = (workspace.runs / "shades" / "standard-1" / "epochs.csv").read_text().splitlines()
    assert len(epochs) == 1 + 6
    assert "has ended" in comp(*named).sentence
