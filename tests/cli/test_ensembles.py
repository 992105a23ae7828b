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


def test_folds_are_joined_ensembles_made_of_them_and_both_submitted_and_listed(call, made, shades, serving):
    for seed in (1, 2):
        ended = call("join", *(run.name for run in made.folds(3, seed=seed)))
        assert (ended.status, ended.err) == (0, "")
        assert Path(ended.last_line) == made.workspace.runs / "shades" / f"standard-3folds-{seed}"
    ended = call("ensemble", "shades/standard-3folds-1", "shades/standard-3folds-2", "--how", "ranks")
    assert (ended.status, ended.err) == (0, "")
    assert Path(ended.last_line) == made.workspace.runs / "shades" / "ensemble-1"
    assert (Path(ended.last_line) / "report.html").is_file()
    with serving(shades):
        for name in ("shades/standard-3folds-1", "shades"):
            assert call("submit", name).status == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in call("runs", "shades").out.splitlines()}
    assert "3 folds joined leaderboard" in rows["shades/standard-3folds-1"]
    assert "ranks of 2 runs leaderboard" in rows["shades/ensemble-1"]
    assert len(rows["shades/standard-1"].split()) == 2
    refused = call("predict", "shades/ensemble-1")
    assert refused.status == 1
    assert "predict shades/standard-3folds-1, shades/standard-3folds-2" in refused.err


def test_runs_that_can_t_be_combined_are_refused_in_one_sentence(call, made):
    first, second = made.folds(3)[:2]
    for command, names, says in (
        ("join", (first.name, second.name), "--fold 3"),
        ("ensemble", (first.name, made.run(HALF).name), "other validation images or folds"),
        ("join", (first.name, "shades/no-1"), "'shades/no-1'"),
    ):
        ended = call(command, *names)
        assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert says in ended.err
    for command in ("join", "ensemble"):
        assert call(command).status == 2


def test_a_method_that_is_not_one_is_refused_with_those_there_are(call, made):
    ended = call("ensemble", made.run(HALF).name, made.run(HALF).name, "--how", "median")
    assert ended.status == 2
    assert all(method in ended.err for method in ("mean", "ranks", "weights"))
