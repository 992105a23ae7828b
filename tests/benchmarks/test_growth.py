import json

from benchmarks import growth
from benchmarks.growth import main
from benchmarks.synthetic import Synthetic
from comp.steps.tables import read_tables


def test_a_synthetic_competition_has_as_many_rows_and_classes_as_it_is_asked_for(tmp_path):
    for classes in (3, 1200):
        made = Synthetic(tmp_path, 2500, classes)
        made.make()
        tables = read_tables(made.competition, made.home.data(made.competition.name))
        assert len(tables.train) == 2500
        assert len(tables.test) == len(tables.sample) == 250
        assert len(tables.classes) == classes
        assert len(tables.sample.columns) == (4 if classes == 3 else 2)


def test_each_step_is_measured_in_a_process_of_its_own_and_the_images_are_screened_once(tmp_path, capsys):
    main([60], [2, 3], tmp_path, tmp_path / "growth.json", tmp_path / "growth.svg")
    points = json.loads((tmp_path / "growth.json").read_text())
    screenings = {step for step in growth.STEPS if step.startswith("screening")}
    assert {point["step"] for point in points if point["classes"] == 2} == set(growth.STEPS)
    assert {point["step"] for point in points if point["classes"] == 3} == set(growth.STEPS) - screenings
    assert all(point["seconds"] > 0 and point["peak"] > 0 for point in points)
    start = next(point for point in points if point["step"] == "start")
    assert start["added"] < start["peak"]
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(points)
    assert (tmp_path / "growth.svg").stat().st_size > 1000
    assert not list(tmp_path.glob("tmp*"))
