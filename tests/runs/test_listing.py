import os

import pytest

from comp.errors import RunError
from comp.runs import broken_runs, create_run, find_run, list_runs


def test_runs_of_a_recipe_are_numbered_from_one(home):
    names = [create_run(home, "planet", "quick").name for _ in range(3)]
    assert names == ["planet/quick-1", "planet/quick-2", "planet/quick-3"]
    assert create_run(home, "planet", "standard").name == "planet/standard-1"
    assert create_run(home, "digits", "quick").name == "digits/quick-1"


def test_a_new_run_never_takes_a_folder_that_is_there(home):
    first, second = (create_run(home, "planet", "quick") for _ in range(2))
    first.folder.rmdir()
    (second.folder / "config.json").write_text("{}")
    assert create_run(home, "planet", "quick").name == "planet/quick-1"
    assert create_run(home, "planet", "quick").name == "planet/quick-3"


def test_runs_are_listed_oldest_first_and_only_those_with_a_config(home, started):
    late, early = started("planet", "quick", at=2000), started("digits", "quick", at=1000)
    create_run(home, "planet", "quick")
    assert list_runs(home) == [early, late]
    assert list_runs(home, "planet") == [late]
    assert list_runs(home, "dog-breeds") == []


def test_there_are_no_runs_in_a_new_home(home):
    assert list_runs(home) == []


@pytest.mark.parametrize("pattern", ["*", "pl*", "/", "**", "[p]lanet", ""])
def test_the_name_of_a_competition_is_no_pattern(home, started, pattern):
    started("planet", "quick")
    assert list_runs(home, pattern) == []


def test_a_run_is_found_by_its_folder_by_its_name_and_as_its_competition_s_newest(home, started, monkeypatch):
    first, second = started("planet", "quick", at=1000), started("planet", "quick", at=2000)
    started("digits", "quick", at=3000)
    assert find_run(home, str(first.folder)) == first
    assert find_run(home, "planet/quick-1") == first
    assert find_run(home, "planet") == second
    monkeypatch.chdir(first.folder.parent)
    assert find_run(home, "quick-1") == first
    assert find_run(home, "quick-1").competition == "planet"


@pytest.mark.parametrize("text", ["planet/quick-9", "no-such", "/no/such/folder", "**", "../planet"])
def test_a_run_that_is_not_there_is_an_error_that_names_the_latest(home, started, text):
    started("planet", "quick")
    with pytest.raises(RunError) as raised:
        find_run(home, text)
    assert str(raised.value) == f"There is no run {text!r} in {home.runs}; there are planet/quick-1."


def test_a_run_looked_for_in_an_empty_home_is_an_error(home):
    with pytest.raises(RunError, match=r"^There is no run 'planet' in .*runs\.$"):
        find_run(home, "planet")


def test_a_competition_s_newest_run_is_one_that_was_trained_or_is_a_blend(home, started):
    trained, blend = started("planet", "quick", at=1000), started("planet", "ensemble", at=2000)
    started("planet", "quick", at=3000)
    trained.weights.parent.mkdir()
    trained.weights.touch()
    assert find_run(home, "planet") == trained
    blend.predictions("test").parent.mkdir()
    blend.predictions("test").touch()
    assert find_run(home, "planet") == blend


def test_a_clock_that_jumps_back_changes_no_order(home):
    runs = []
    for number, at in enumerate((3000, 1000, 2000)):
        run = create_run(home, "planet", f"recipe{number}")
        run.write_config({"competition": "planet"})
        os.utime(run.folder / "config.json", (at, at))
        runs.append(run)
    assert list_runs(home) == runs
    assert find_run(home, "planet") == runs[-1]


def test_a_run_with_a_broken_config_does_not_hide_the_others(home, started):
    run, broken = started("planet", "quick"), started("planet", "quick")
    (broken.folder / "config.json").write_text("{")
    assert list_runs(home) == [run]
    assert broken_runs(home) == [broken]
    later = create_run(home, "planet", "quick")
    later.write_config({"competition": "planet"})
    assert later.record("config")["order"] == 1


def test_a_run_that_is_about_to_begin_is_not_broken(home):
    create_run(home, "planet", "quick")
    begun = create_run(home, "planet", "quick")
    with begun.held():
        assert broken_runs(home) == []
    assert broken_runs(home) == [begun]


def test_a_run_that_is_not_there_is_an_error_that_names_those_like_it(home, started):
    for competition, recipe in (("planet", "quick"), ("planet", "standard"), ("dogs", "quick")):
        started(competition, recipe)
    for text, like in (
        ("quick-1", "planet/quick-1, dogs/quick-1"),
        ("planet/quick-9", "planet/quick-1, planet/standard-1"),
    ):
        with pytest.raises(RunError, match=rf"; there are {like}\.$"):
            find_run(home, text)


def test_of_many_runs_the_latest_are_named_and_how_many_there_are(home, started):
    for _ in range(7):
        started("planet", "quick")
    with pytest.raises(RunError, match=r"; the latest of 7 are (planet/quick-\d, ){4}planet/quick-\d\.$"):
        find_run(home, "planet/quick-9")
