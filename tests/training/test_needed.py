"""A stage that trains only where the solved head before it leaves enough of the loss of guessing."""

from dataclasses import replace

import pytest

from comp import runner
from comp.console import Console
from comp.declare.recipe import Stage
from comp.report.report import command_of
from comp.runs import create_run
from comp.runs.resolve import as_trained

HEAD = Stage(size=16, train="head", cached=True, schedule="lbfgs")
LATE = Stage(size=24, train=2, cycle_length=2, learning_rate=1e-3)
OPTIONS = {"dropout": 0.5, "freeze_batch_norm": True, "drop_path": 0.1, "mixup": 0.2}


@pytest.fixture
def train(train, with_stages):
    """A training of a head, and of a stage needed where the head leaves more than ``share``; its competition."""

    def trained(share, *later, **choices):
        competition = with_stages(HEAD, replace(LATE, needed_above=share), *later, **OPTIONS)
        return train(competition, **choices), competition

    return trained


def test_a_head_that_leaves_less_is_the_whole_training(train, workspace, capsys):
    run, competition = train(0.9, replace(LATE, train="all"))
    assert "the training ends before stage 2" in capsys.readouterr().out
    trained = run.record("trained")
    assert [stage["train"] for stage in trained["stages"]] == ["head"]
    assert run.history.epochs()["stage"].tolist() == [1]
    runner.predict(competition, run, workspace, Console())
    assert run.submission.is_file()
    runner.report(competition, run, workspace, Console())
    assert "no further stage was needed" in run.report.read_text()
    _, recipe = as_trained(competition, run)
    assert [stage.size for stage in recipe.stages] == [16]
    # The recipe ended the training, not the user.
    assert command_of(run.record("config"), trained) is not None


def test_a_head_that_leaves_more_is_followed_by_the_stage(train):
    run, competition = train(1e-9)
    assert run.history.epochs()["stage"].tolist() == [1, 2, 2]
    _, recipe = as_trained(competition, run)
    # All stages of the recipe as trained are needed.
    assert [(stage.size, stage.needed_above) for stage in recipe.stages] == [(16, 0), (24, 0)]
    assert (recipe.dropout, recipe.freeze_batch_norm, recipe.mixup) == (0.5, True, 0.2)
    trained = run.record("trained")
    assert command_of(run.record("config"), trained) is not None
    by_hand = {**run.record("config"), "by_hand": True}
    assert command_of(by_hand, {**trained, "stages": trained["stages"][:1]}) is None


def test_it_needs_no_validation_images(train):
    run, _ = train(0.1, all_data=True)
    assert run.history.epochs()["stage"].tolist() == [1]
    assert run.record("trained")["unexplained"] < 0.1


def test_joined_folds_are_like_most_of_them(train, workspace):
    (less, competition), (more, _) = train(0.9), train(1e-9)
    for folds, sizes in (((less, more, less), [16]), ((more, more, less), [16, 24])):
        joined = create_run(workspace, competition.name, "joined")
        joined.write_config({**less.record("config"), "members": [fold.name for fold in folds]})
        _, recipe = as_trained(competition, joined)
        assert [stage.size for stage in recipe.stages] == sizes


def test_a_kill_between_the_two_changes_nothing(train, killed):
    killed(1, train, 0.9)
    run, _ = train(0.9)
    assert run.history.epochs()["stage"].tolist() == [1]
