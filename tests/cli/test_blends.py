from pathlib import Path

import numpy as np
import pytest

HALF = np.where(np.arange(36) % 2, "valid", "train")


@pytest.fixture
def made(predicting, shades):
    return predicting(shades)


@pytest.fixture
def call(comp, shades):
    return lambda *arguments: comp("--competitions", shades.plugins, *arguments)


@pytest.fixture
def sentence(call):
    """Calls a command that must fail, and gives the one sentence that says why."""

    def said(*arguments):
        ended = call(*arguments)
        assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1), ended.err
        return ended.err.removeprefix("Error: ").rstrip()

    return said


def test_folds_are_joined_ensembles_made_of_them_and_both_submitted_and_listed(call, made, shades, serving):
    for seed in (1, 2):
        folds = [run.name for run in made.folds(3, seed=seed)]
        ended = call("join", *folds)
        assert (ended.status, ended.err) == (0, "")
        assert Path(ended.last_line) == made.workspace.runs / "shades" / f"standard-3folds-{seed}"
    ended = call("ensemble", "shades/standard-3folds-1", "shades/standard-3folds-2", "--how", "ranks")
    assert (ended.status, ended.err) == (0, "")
    assert Path(ended.last_line) == made.workspace.runs / "shades" / "ensemble-1"
    with serving(shades):
        for name in ("shades/standard-3folds-1", "shades"):
            assert call("submit", name).status == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in call("runs", "shades").out.splitlines()}
    assert "3 folds joined leaderboard" in rows["shades/standard-3folds-1"]
    assert "ranks of 2 runs leaderboard" in rows["shades/ensemble-1"]
    assert len(rows["shades/standard-1"].split()) == 2


def test_a_blend_can_t_be_predicted(sentence, call, made):
    call("ensemble", made.run(HALF).folder, made.run(HALF).folder)
    said = sentence("predict", "shades/ensemble-1")
    assert said == (
        "shades/ensemble-1 is a blend of other runs and has no weights to predict with; "
        "predict shades/standard-1, shades/standard-2 and blend them again."
    )


@pytest.mark.parametrize("command", ["join", "ensemble"])
def test_blending_is_helped_with_and_refused_without_runs(comp, command):
    assert "RUN" in comp(command, "--help").out
    assert comp(command).status == 2


def test_refusals_are_one_sentence(sentence, made):
    first, second = made.folds(3)[:2]
    whole = made.run(HALF)
    assert "Of 3 folds, 3 is missing" in sentence("join", first.name, second.name)
    assert "is not one fold of a training" in sentence("join", first.name, whole.name)
    assert "other validation rows or folds" in sentence("ensemble", first.name, whole.name)
    assert "two runs or more" in sentence("ensemble", "shades")
    assert "There is no run 'shades/no-1'" in sentence("join", first.name, "shades/no-1")


def test_a_way_that_is_not_one_is_refused_with_those_there_are(call, made):
    ended = call("ensemble", made.run(HALF).name, made.run(HALF).name, "--how", "median")
    assert ended.status == 2
    assert all(way in ended.err for way in ("mean", "ranks", "weights"))
