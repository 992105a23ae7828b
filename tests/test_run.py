import csv
import os

import numpy as np
import pytest

from comp.errors import RunError
from comp.run import STEP_COLUMNS, TABLES, Home, broken_runs, create_run, find_run, list_runs
from comp.training.finder import Sweep
from comp.training.learner import Epoch


def started(home, competition, name, at=None):
    """A run that got as far as its config, at a time of one's choice."""
    run = create_run(home, competition, name)
    run.write_record("config", {"of": run.name, "competition": run.folder.parent.name})
    if at is not None:
        os.utime(run.folder / "config.json", (at, at))
    return run


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_home_is_the_folder_that_comp_home_names(monkeypatch, tmp_path):
    monkeypatch.setenv("COMP_HOME", "~/contests")
    assert Home.from_environment().folder == (tmp_path.home() / "contests").resolve()


@pytest.mark.parametrize("value", [None, ""])
def test_without_comp_home_the_home_is_the_working_folder(monkeypatch, tmp_path, value):
    monkeypatch.delenv("COMP_HOME")
    if value is not None:
        monkeypatch.setenv("COMP_HOME", value)
    monkeypatch.chdir(tmp_path)
    assert Home.from_environment().folder == tmp_path.resolve()


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


def test_runs_are_listed_oldest_first_and_only_those_with_a_config(home):
    late, early = started(home, "planet", "quick", at=2000), started(home, "digits", "quick", at=1000)
    create_run(home, "planet", "quick")
    assert list_runs(home) == [early, late]
    assert list_runs(home, "planet") == [late]
    assert list_runs(home, "dog-breeds") == []


def test_there_are_no_runs_in_a_new_home(home):
    assert list_runs(home) == []


@pytest.mark.parametrize("pattern", ["*", "pl*", "/", "**", "[p]lanet", ""])
def test_the_name_of_a_competition_is_no_pattern(home, pattern):
    started(home, "planet", "quick")
    assert list_runs(home, pattern) == []


def test_a_run_is_found_by_its_folder_by_its_name_and_as_its_competition_s_newest(home, monkeypatch):
    first, second = started(home, "planet", "quick", at=1000), started(home, "planet", "quick", at=2000)
    started(home, "digits", "quick", at=3000)
    assert find_run(home, str(first.folder)) == first
    assert find_run(home, "planet/quick-1") == first
    assert find_run(home, "planet") == second
    monkeypatch.chdir(first.folder.parent)
    assert find_run(home, "quick-1") == first
    assert find_run(home, "quick-1").competition == "planet"


@pytest.mark.parametrize("text", ["planet/quick-9", "no-such", "/no/such/folder", "**", "../planet"])
def test_a_run_that_is_not_there_is_an_error_that_names_the_latest(home, text):
    started(home, "planet", "quick")
    with pytest.raises(RunError) as raised:
        find_run(home, text)
    assert str(raised.value) == f"There is no run {text!r} in {home.runs}; there are planet/quick-1."


def test_a_run_looked_for_in_an_empty_home_is_an_error(home):
    with pytest.raises(RunError, match=r"^There is no run 'planet' in .*runs\.$"):
        find_run(home, "planet")


def test_a_record_is_read_as_it_was_written(home):
    run = create_run(home, "planet", "quick")
    record = {"score": 0.1 + 0.2, "classes": ["blow_down", "été"], "decision": None}
    assert not run.has("scores")
    run.write_record("scores", record)
    assert run.has("scores")
    assert run.record("scores") == record
    assert [path.name for path in run.folder.iterdir()] == ["scores.json"]


def test_a_record_that_is_not_there_or_broken_is_an_error(home):
    run = create_run(home, "planet", "quick")
    with pytest.raises(RunError, match=r"planet/quick-1 has no scores\.json: that step is not done yet"):
        run.record("scores")
    (run.folder / "scores.json").write_text('{"score": ')
    with pytest.raises(RunError, match=r"scores\.json can't be read"):
        run.record("scores")


def test_the_split_is_read_back_as_it_was_written(home):
    run = create_run(home, "planet", "quick")
    run.write_split(["007", "a,b", 'say "x"', "né"], [True, False, True, True])
    assert run.validating() == {"007", 'say "x"', "né"}
    assert [row["part"] for row in rows(run.folder / "split.csv")] == ["valid", "train", "valid", "valid"]


def test_a_split_of_unequal_lengths_is_refused_and_leaves_nothing(home):
    run = create_run(home, "planet", "quick")
    with pytest.raises(ValueError, match=r"shorter|longer"):
        run.write_split(["a", "b"], [True])
    assert list(run.folder.iterdir()) == []


def epoch(number, cycle, steps, valid_loss=0.5):
    return Epoch(
        number=number,
        cycle=cycle,
        ends_cycle=True,
        train_loss=0.25,
        valid_loss=valid_loss,
        seconds=2.0,
        images_per_second=64.0,
        steps=steps,
        logits=None,
    )


def test_history_has_a_row_per_step_and_epochs_a_row_per_epoch(home):
    run = create_run(home, "planet", "quick")
    run.append_epoch(1, epoch(0, 0, [{"loss": 0.75, "lr_head": 1e-3}, {"loss": 0.5, "lr_head": 5e-4}]), "mean_f2", 0.9)
    whole = {"loss": 0.25, "lr_early": 1e-5, "lr_late": 1e-4, "lr_head": 1e-3}
    run.append_epoch(2, epoch(0, 0, [whole]), "mean_f2", 0.92)
    run.append_epoch(2, epoch(1, 1, [whole], valid_loss=None), "mean_f2", None)

    history, epochs = rows(run.folder / "history.csv"), rows(run.folder / "epochs.csv")
    assert tuple(history[0]) == STEP_COLUMNS
    assert [(row["stage"], row["cycle"], row["epoch"], row["step"]) for row in history] == [
        ("1", "1", "1", "1"),
        ("1", "1", "1", "2"),
        ("2", "1", "1", "1"),
        ("2", "2", "2", "1"),
    ]
    assert [row["lr_early"] for row in history] == ["", "", "1e-05", "1e-05"]
    assert [row["lr_head"] for row in history] == ["0.001", "0.0005", "0.001", "0.001"]
    assert list(epochs[0]) == [
        "stage", "cycle", "epoch", "train_loss", "valid_loss", "metric", "score", "seconds", "images_per_second"
    ]  # fmt: skip
    assert [(row["valid_loss"], row["score"]) for row in epochs] == [("0.5", "0.9"), ("0.5", "0.92"), ("", "")]


def test_the_folds_that_rows_validated_in_are_read_back(home):
    run = create_run(home, "planet", "quick")
    run.write_parts(["007", "a,b"], ["2", "1"])
    assert run.parts() == {"007": "2", "a,b": "1"}
    assert run.validating() == {"007", "a,b"}


def test_a_split_that_is_not_there_is_an_error(home):
    run = create_run(home, "planet", "quick")
    with pytest.raises(RunError, match=r"split\.csv can't be read: .*; train again"):
        run.parts()


def test_a_competition_s_newest_run_is_one_that_was_trained_or_is_a_blend(home):
    trained, blend = started(home, "planet", "quick", at=1000), started(home, "planet", "ensemble", at=2000)
    started(home, "planet", "quick", at=3000)
    trained.weights.parent.mkdir()
    trained.weights.touch()
    assert find_run(home, "planet") == trained
    blend.predictions("test").parent.mkdir()
    blend.predictions("test").touch()
    assert find_run(home, "planet") == blend


def test_a_blend_knows_its_members_and_a_training_has_none(home):
    run = started(home, "planet", "quick")
    assert run.members == ()
    run.write_record("config", {"competition": "planet", "members": ["planet/quick-2", "planet/quick-3"]})
    assert run.members == ("planet/quick-2", "planet/quick-3")


def test_the_tables_of_a_run_are_read_back_with_gaps_where_nothing_validated_or_trained(home):
    run = started(home, "planet", "quick")
    assert not run.began
    step = {"loss": 0.5, "lr_head": 1e-3}
    run.append_epoch(1, epoch(0, 0, [step, step], valid_loss=None), "mean_f2", None)
    assert run.began
    epochs, steps = run.epochs(), run.steps()
    assert epochs["train_loss"].tolist() == [0.25]
    assert epochs[["valid_loss", "score"]].isna().all(axis=None)
    assert steps["step"].tolist() == [1, 2]
    assert steps["lr_head"].tolist() == [1e-3, 1e-3]
    assert steps[["lr_early", "lr_late"]].isna().all(axis=None)


def test_what_a_stage_took_is_read_back(home):
    run = started(home, "planet", "quick")
    run.append_stage(1, 12.5, 2_500_000_000)
    run.append_stage(2, 40.0, 2_750_000_000)
    assert run.stages().to_dict("list") == {"stage": [1, 2], "seconds": [12.5, 40.0], "memory_mb": [2500.0, 2750.0]}


def test_a_sweep_is_read_back_where_there_was_one(home):
    run = started(home, "planet", "quick")
    swept = Sweep(np.array([1e-6, 1e-3]), np.array([2.5, 1.0]), np.array([2.5, 1.75]))
    run.write_sweep(2, swept)
    assert run.sweep(1) is None
    assert run.sweep(2).to_dict("list") == {"rate": [1e-6, 1e-3], "loss": [2.5, 1.0], "smoothed": [2.5, 1.75]}


def test_tables_that_are_not_there_or_can_t_be_read_are_one_sentence(home):
    run = started(home, "planet", "quick")
    with pytest.raises(RunError, match=r"planet/quick-1 has no epochs\.csv"):
        run.epochs()
    with pytest.raises(RunError, match=r"planet/quick-1 has no history\.csv"):
        run.steps()
    (run.folder / "epochs.csv").write_text("")
    with pytest.raises(RunError, match=r"epochs\.csv can't be read"):
        run.epochs()


def test_a_clock_that_jumps_back_changes_no_order(home):
    runs = []
    for number, at in enumerate((3000, 1000, 2000)):
        run = create_run(home, "planet", f"recipe{number}")
        run.write_config({"competition": "planet"})
        os.utime(run.folder / "config.json", (at, at))
        runs.append(run)
    assert list_runs(home) == runs
    assert find_run(home, "planet") == runs[-1]


def test_a_run_with_a_broken_config_does_not_hide_the_others(home):
    run, broken = started(home, "planet", "quick"), started(home, "planet", "quick")
    (broken.folder / "config.json").write_text("{")
    assert list_runs(home) == [run]
    assert broken_runs(home) == [broken]
    later = create_run(home, "planet", "quick")
    later.write_config({"competition": "planet"})
    assert later.record("config")["order"] == 1


@pytest.mark.parametrize("config", [None, "", "{", "[]", "\x00"])
def test_a_run_without_a_config_that_can_be_read_says_what_to_do(home, config):
    run = started(home, "planet", "quick")
    run.log.touch()
    place = run.folder / "config.json"
    place.unlink() if config is None else place.write_text(config)
    (broken,) = broken_runs(home, "planet")
    assert broken.name == "planet/quick-1"
    assert broken.problem.endswith(f": put the file back, or delete {run.folder}.")
    assert ("has no config.json" if config is None else "config.json can't be read (") in broken.problem
    run.report.touch()
    assert "put the file back (report.html shows it), or" in broken.problem
    with pytest.raises(RunError, match="put the file back"):
        find_run(home, "planet/quick-1").record("config")
    assert broken_runs(home, "dogs") == []


def test_a_run_that_is_about_to_begin_is_not_broken(home):
    create_run(home, "planet", "quick")
    begun = create_run(home, "planet", "quick")
    with begun.held():
        assert broken_runs(home) == []
    assert broken_runs(home) == [begun]


def test_tables_are_cut_to_what_was_there(home):
    run = started(home, "planet", "quick")
    assert run.table_sizes() == dict.fromkeys(TABLES, 0)
    step = {"loss": 0.5, "lr_head": 1e-3}
    run.append_epoch(1, epoch(0, 0, [step, step]), "mean_f2", 0.5)
    run.append_stage(1, 2.0, 1_000_000)
    sizes, before = run.table_sizes(), [rows(run.folder / name) for name in TABLES]
    run.append_epoch(1, epoch(1, 0, [step, step]), "mean_f2", 0.6)
    run.append_stage(2, 2.0, 1_000_000)
    with (run.folder / "history.csv").open("a") as file:
        file.write("1,1,3")
    run.cut_tables(sizes)
    assert [rows(run.folder / name) for name in TABLES] == before
    run.cut_tables({})
    assert not run.began


def test_a_run_that_is_not_there_is_an_error_that_names_those_like_it(home):
    for competition, recipe in (("planet", "quick"), ("planet", "standard"), ("dogs", "quick")):
        started(home, competition, recipe)
    for text, like in (
        ("quick-1", "planet/quick-1, dogs/quick-1"),
        ("planet/quick-9", "planet/quick-1, planet/standard-1"),
    ):
        with pytest.raises(RunError, match=rf"; there are {like}\.$"):
            find_run(home, text)
