import json
import time

import pytest

from benchmarks import growth
from benchmarks.growth_steps import STEPS, measured, quiet
from benchmarks.synthetic import Synthetic
from comp.data.data_check import checked_tables
from comp.data.tables import read_tables

pytestmark = pytest.mark.full


@pytest.mark.parametrize("classes", [3, 1200])
def test_a_synthetic_competition_has_as_many_rows_and_classes_as_it_is_asked_for(tmp_path, classes):
    made = Synthetic(tmp_path, 2500, classes)
    made.make()
    tables = read_tables(made.competition, made.workspace.data(made.competition.name))
    assert (len(tables.train), len(tables.test), len(tables.classes)) == (2500, 250, classes)
    assert len(tables.sample_submission.columns) == (4 if classes == 3 else 2)


def test_every_step_that_is_listed_is_measured(tmp_path):
    made = Synthetic(tmp_path, 300, 3)
    made.make()
    assert set(growth.STEPS.values()) == set(STEPS)
    for step in dict.fromkeys(growth.STEPS.values()):
        found = measured(step, made, time.monotonic())
        assert found.seconds > 0
        assert found.most > 0
    assert len((tmp_path / "submission.csv").read_text().splitlines()) == 301
    assert len(list(made.workspace.runs.glob("synthetic/*"))) == 1


def test_the_images_of_a_synthetic_competition_are_told_apart_but_for_a_few(tmp_path):
    made = Synthetic(tmp_path, 400, 3)
    made.make()
    measured("data_check", made, 0.0)
    made.tell_apart()
    tables = checked_tables(made.competition, made.workspace, quiet())
    assert tables.data_check.opened == 0
    assert 0 < tables.data_check.counts()["duplicates"] <= 16


def test_each_step_runs_in_a_process_of_its_own_and_images_are_screened_once(tmp_path, capsys, monkeypatch):
    wanted = ("labels", "data check, all new", "data check, pairs new")
    monkeypatch.setattr(growth, "STEPS", {name: growth.STEPS[name] for name in wanted})
    growth.main([60], [2, 3], tmp_path, tmp_path / "growth.json", tmp_path / "growth.svg")
    points = json.loads((tmp_path / "growth.json").read_text())
    assert [point["step"] for point in points if point["classes"] == 2] == list(wanted)
    assert [point["step"] for point in points if point["classes"] == 3] == ["labels"]
    assert all(0 < point["added"] < point["peak"] for point in points)
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(points)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growth.json", "growth.svg"]
