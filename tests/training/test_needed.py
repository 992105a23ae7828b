"""A stage that trains only where the solved head before it leaves enough of the loss of guessing unexplained."""

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
def unexplained(begin):
    """The share that the head leaves here."""
    training = begin(HEAD)
    training.train_stages()
    return training.run.record("trained")["unexplained"]


@pytest.fixture
def competition_above(with_stages):
    return lambda share, *later: with_stages(HEAD, replace(LATE, needed_above=share), *later, **OPTIONS)


def test_a_head_that_leaves_less_is_the_whole_training(unexplained, competition_above, workspace, capsys):
    competition = competition_above(2 * unexplained, replace(LATE, train="all"))
    run = runner.train(competition, Choices(), workspace, Console())
    assert "the training ends before stage 2" in capsys.readouterr().out
    assert [stage["train"] for stage in run.record("trained")["stages"]] == ["head"]
    assert run.history.epochs()["stage"].tolist() == [1]
    runner.predict(competition, run, workspace, Console())
    assert run.submission.is_file()
    runner.report(competition, run, workspace, Console())
    assert "no further stage was needed" in run.report.read_text()
    _, recipe = as_trained(competition, run)
    assert [stage.size for stage in recipe.stages] == [16]


def test_a_head_that_leaves_more_is_followed_by_the_stage(unexplained, competition_above, workspace):
    competition = competition_above(unexplained / 2)
    run = runner.train(competition, Choices(), workspace, Console())
    assert run.history.epochs()["stage"].tolist() == [1, 2, 2]
    _, recipe = as_trained(competition, run)
    # Of what it came to, all stages train.
    assert [(stage.size, stage.needed_above) for stage in recipe.stages] == [(16, 0), (24, 0)]
    assert (recipe.dropout, recipe.freeze_batch_norm) == (0.5, True)


def test_the_command_of_a_run_is_known_where_its_recipe_decided_and_not_a_person(
    unexplained, competition_above, workspace
):
    for share, known in ((2 * unexplained, True), (unexplained / 2, False)):
        run = runner.train(competition_above(share), Choices(), workspace, Console())
        trained = run.record("trained")
        assert command_of(run.record("config"), trained) is not None
        by_hand = {**trained, "stages": trained["stages"][:1]}
        assert (command_of(run.record("config"), by_hand) is not None) == known


def test_it_needs_no_validation_images(competition_above, workspace):
    run = runner.train(competition_above(0.1), Choices(all_data=True), workspace, Console())
    assert run.history.epochs()["stage"].tolist() == [1]
    assert run.record("trained")["unexplained"] < 0.1


def test_joined_folds_are_like_most_of_them(competition_above, workspace, monkeypatch):
    competition = competition_above(0.5)
    lefts = iter([0.1, 0.9, 0.1, 0.9, 0.9, 0.1])
    monkeypatch.setattr("comp.training.training.from_main", lambda _: next(lefts))
    for expected in ([16], [16, 24]):
        joined = runner.train(competition, Choices(folds=3, seed=len(expected)), workspace, Console())
        _, recipe = as_trained(competition, joined)
        assert [stage.size for stage in recipe.stages] == expected


def test_a_kill_between_the_two_changes_nothing(unexplained, competition_above, workspace, killed):
    competition = competition_above(2 * unexplained)
    killed(1, runner.train, competition, Choices(), workspace, Console())
    run = runner.train(competition, Choices(), workspace, Console())
    assert run.history.epochs()["stage"].tolist() == [1]
