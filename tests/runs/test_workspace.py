import os
from pathlib import Path

import pytest

from comp.errors import RunError
from comp.runs import Workspace, broken_runs, create_run, find_run, list_runs


def test_runs_of_a_recipe_are_numbered_from_one_and_never_take_a_folder_that_is_there(workspace):
    runs = [create_run(workspace, "planet", "quick") for _ in range(3)]
    assert [run.name for run in runs] == ["planet/quick-1", "planet/quick-2", "planet/quick-3"]
    assert create_run(workspace, "planet", "standard").name == "planet/standard-1"
    assert create_run(workspace, "digits", "quick").name == "digits/quick-1"
    runs[0].folder.rmdir()
    (runs[1].folder / "config.json").write_text("{}")
    assert create_run(workspace, "planet", "quick").name == "planet/quick-1"
    assert create_run(workspace, "planet", "quick").name == "planet/quick-4"


def test_runs_are_listed_oldest_first_and_only_those_with_a_config(workspace, started):
    assert list_runs(workspace) == []
    late, early = started("planet", "quick", at=2000), started("digits", "quick", at=1000)
    create_run(workspace, "planet", "quick")
    assert list_runs(workspace) == [early, late]
    assert list_runs(workspace, "planet") == [late]
    assert list_runs(workspace, "dog-breeds") == []


@pytest.mark.parametrize("pattern", ["*", "pl*", "/", "**", "[p]lanet", ""])
def test_the_name_of_a_competition_is_no_pattern(workspace, started, pattern):
    started("planet", "quick")
    assert list_runs(workspace, pattern) == []


def test_a_run_is_found_by_its_folder_by_its_name_and_as_its_competition_s_newest(workspace, started, monkeypatch):
    first, second = started("planet", "quick", at=1000), started("planet", "quick", at=2000)
    started("digits", "quick", at=3000)
    assert find_run(workspace, str(first.folder)) == first
    assert find_run(workspace, "planet/quick-1") == first
    assert find_run(workspace, "planet") == second
    monkeypatch.chdir(first.folder.parent)
    assert find_run(workspace, "quick-1") == first
    assert find_run(workspace, "quick-1").competition == "planet"


@pytest.mark.parametrize("text", ["planet/quick-9", "no-such", "/no/such/folder", "**", "../planet"])
def test_a_run_that_is_not_there_is_an_error_that_names_the_latest_if_any(workspace, started, text):
    for latest in ([], range(3, 8)):
        for number in range(7 if latest else 0):
            started("planet", "quick", at=1000 + number)
        with pytest.raises(RunError) as raised:
            find_run(workspace, text)
        known = f"; the latest: {', '.join(f'planet/quick-{number}' for number in latest)}" if latest else ""
        assert str(raised.value) == f"There is no run {text!r} in {workspace.runs}{known}."


def test_a_csv_is_no_run_and_it_is_said_how_one_is_submitted(workspace, started):
    started("planet", "quick")
    with pytest.raises(RunError, match=r"my\.csv.* submission\.csv .*kaggle competitions submit"):
        find_run(workspace, "my.csv")


def test_a_competition_s_newest_run_is_one_that_was_trained_or_is_an_ensemble(workspace, started):
    trained, ensemble = started("planet", "quick", at=1000), started("planet", "ensemble", at=2000)
    started("planet", "quick", at=3000)
    trained.weights.parent.mkdir()
    trained.weights.touch()
    assert find_run(workspace, "planet") == trained
    ensemble.predictions("test").parent.mkdir()
    ensemble.predictions("test").touch()
    assert find_run(workspace, "planet") == ensemble


def test_a_clock_that_jumps_back_changes_no_order(workspace):
    runs = []
    for number, at in enumerate((3000, 1000, 2000)):
        run = create_run(workspace, "planet", f"recipe{number}")
        run.write_config({"competition": "planet"})
        os.utime(run.folder / "config.json", (at, at))
        runs.append(run)
    assert list_runs(workspace) == runs
    assert find_run(workspace, "planet") == runs[-1]


def test_a_run_with_a_broken_config_does_not_hide_the_others(workspace, started):
    run, broken = started("planet", "quick"), started("planet", "quick")
    (broken.folder / "config.json").write_text("{")
    assert list_runs(workspace) == [run]
    assert broken_runs(workspace) == [broken]
    later = create_run(workspace, "planet", "quick")
    later.write_config({"competition": "planet"})
    assert later.record("config")["order"] == 1


def test_a_run_that_is_about_to_begin_is_not_broken(workspace):
    create_run(workspace, "planet", "quick")
    begun = create_run(workspace, "planet", "quick")
    with begun.held():
        assert broken_runs(workspace) == []
    assert broken_runs(workspace) == [begun]


def test_a_run_that_is_not_there_is_an_error_that_names_those_like_it(workspace, started):
    for competition, recipe in (("planet", "quick"), ("planet", "standard"), ("dogs", "quick")):
        started(competition, recipe)
    for text, like in (
        ("quick-1", "planet/quick-1, dogs/quick-1"),
        ("planet/quick-9", "planet/quick-1, planet/standard-1"),
    ):
        with pytest.raises(RunError, match=rf"; the latest: {like}\.$"):
            find_run(workspace, text)


@pytest.mark.parametrize(("value", "folder"), [("~/contests", "HOME/contests"), (None, "."), ("", ".")])
def test_the_home_is_the_folder_that_comp_home_names_or_the_working_folder(monkeypatch, tmp_path, value, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMP_HOME")
    if value is not None:
        monkeypatch.setenv("COMP_HOME", value)
    expected = Path(folder.replace("HOME", str(Path.home()))).resolve()
    assert Workspace.from_environment().folder == expected
