"""A stage that trains only where the solved head before it leaves enough of the loss of guessing."""

from dataclasses import replace

import pytest

from comp import runner
from comp.console import Console
from comp.declare.recipe import Stage
from comp.report.report import command_of
from comp.runs.resolve import Choices, as_trained

HEAD = Stage(size=16, train="head", cached=True, schedule="lbfgs")
LATE = Stage(size=24, train=2, cycle_length=2, learning_rate=1e-3)
OPTIONS = {"dropout": 0.5, "freeze_batch_norm": True, "drop_path": 0.1}


@pytest.fixture
def left(begin):
    """The share that the head leaves here."""
    training = begin(HEAD)
    training.train_stages()
    return training.run.record("trained")["left"]


@pytest.fixture
def competition_above(with_stages):
    return lambda share: with_stages(HEAD, replace(LATE, needed_above=share), **OPTIONS)


def test_a_head_that_leaves_less_is_the_whole_training(left, competition_above, workspace, capsys):
    competition = competition_above(min(1.0, 2 * left))
    run = runner.train(competition, Choices(), workspace, Console())
    assert "stage 2 is left out" in capsys.readouterr().out
    assert [stage["train"] for stage in run.record("trained")["stages"]] == ["head"]
    assert run.history.epochs()["stage"].tolist() == [1]
    # The same command trains the same again.
    assert command_of(run.record("config"), run.record("trained")) is not None
    runner.predict(competition, run, workspace, Console())
    assert run.submission.is_file()
    _, recipe = as_trained(competition, run)
    assert [stage.size for stage in recipe.stages] == [16]


def test_a_head_that_leaves_more_is_followed_by_the_stage(left, competition_above, workspace):
    run = runner.train(competition_above(left / 2), Choices(), workspace, Console())
    assert run.history.epochs()["stage"].tolist() == [1, 2, 2]
    _, recipe = as_trained(competition_above(left / 2), run)
    # Of what it came to, all stages train.
    assert [(stage.size, stage.needed_above) for stage in recipe.stages] == [(16, 0), (24, 0)]
    assert (recipe.dropout, recipe.freeze_batch_norm) == (0.5, True)


def test_it_needs_no_validation_images(left, competition_above, workspace):
    run = runner.train(competition_above(1.0), Choices(all_data=True), workspace, Console())
    assert run.history.epochs()["stage"].tolist() == [1]
    assert 0 < run.record("trained")["left"] < 2 * left + 0.1


def test_a_kill_between_the_two_changes_nothing(left, competition_above, workspace, killed):
    competition = competition_above(min(1.0, 2 * left))
    killed(1, runner.train, competition, Choices(), workspace, Console())
    run = runner.train(competition, Choices(), workspace, Console())
    assert run.history.epochs()["stage"].tolist() == [1]
