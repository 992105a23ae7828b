from pathlib import Path

import numpy as np
import pytest

HALF = np.where(np.arange(36) % 2, "valid", "train")


@pytest.fixture
def made(predicting, shades):
    return predicting(shades)


def test_folds_are_joined_ensembles_made_of_them_and_both_submitted_and_listed(on_shades, made, shades, serving):
    for seed in (1, 2):
        ended = on_shades("join", *(run.name for run in made.folds(3, seed=seed)))
        assert (ended.status, ended.err) == (0, "")
        assert Path(ended.last_line) == made.workspace.runs / "shades" / f"standard-3folds-{seed}"
    ended = on_shades("ensemble", "shades/standard-3folds-1", "shades/standard-3folds-2", "--how", "ranks")
    assert (ended.status, ended.err) == (0, "")
    assert Path(ended.last_line) == made.workspace.runs / "shades" / "ensemble-1"
    assert (Path(ended.last_line) / "report.html").is_file()
    with serving(shades):
        for name in ("shades/standard-3folds-1", "shades"):
            assert on_shades("submit", name).status == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in on_shades("runs", "shades").out.splitlines()}
    assert "3 folds joined leaderboard" in rows["shades/standard-3folds-1"]
    assert "ranks of 2 runs leaderboard" in rows["shades/ensemble-1"]
    assert len(rows["shades/standard-1"].split()) == 2
    refused = on_shades("predict", "shades/ensemble-1")
    assert refused.status == 1
    assert "predict shades/standard-3folds-1, shades/standard-3folds-2" in refused.err


def test_runs_that_can_t_be_combined_are_refused_in_one_sentence(on_shades, made):
    first, second = made.folds(3)[:2]
    for command, names, says in (
        ("join", (first.name, second.name), "--fold 3"),
        ("ensemble", (first.name, made.run(HALF).name), "other validation images or folds"),
        ("join", (first.name, "shades/no-1"), "'shades/no-1'"),
    ):
        ended = on_shades(command, *names)
        assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert says in ended.err
    for command in ("join", "ensemble"):
        assert on_shades(command).status == 2


def test_a_method_that_is_not_one_is_refused_with_those_there_are(on_shades, made):
    ended = on_shades("ensemble", made.run(HALF).name, made.run(HALF).name, "--how", "median")
    assert ended.status == 2
    assert all(method in ended.err for method in ("mean", "ranks", "weights"))
