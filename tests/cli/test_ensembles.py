from pathlib import Path

import pytest


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
    told = on_shades("predict", "shades/ensemble-1").sentence
    assert "predict shades/standard-3folds-1, shades/standard-3folds-2" in told
