import shutil

import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.data.tables import read_tables
from comp.errors import OverrideError
from comp.runs import find_run, list_runs
from comp.runs.choices import Choices, is_blend, recipe_named, trainings_of
from comp.tools.ensembles import blending
from comp.tools.ensembles.methods import describe


def names(workspace):
    return [run.folder.name for run in list_runs(workspace)]


def test_a_blend_is_there_after_the_first_training_goes_on_in_its_run_and_is_found_again(
    train, strong, workspace, monkeypatch
):
    class Stopped(BaseException):
        pass

    real, at_the_end = runner._train_one, []

    def stop_at_the_last(experiment, *rest, **named):
        if experiment.choices.recipe == "strong.2" and experiment.choices.fold == 2:
            at_the_end.extend(run for run in list_runs(workspace) if run.is_held)
            raise Stopped
        return real(experiment, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_train_one", stop_at_the_last)
        with pytest.raises(Stopped):
            train()
    (early,) = [run for run in list_runs(workspace) if run.folder.name == "strong-1"]
    assert early.members == ("shades/strong.1-2folds-1",)
    assert not early.record("config")["complete"]
    assert at_the_end == [early]
    assert len(pd.read_csv(early.submission)) == 12
    assert len(describe(strong, early.record("scores"))) == 1  # there is nothing to compare it with
    run, _ = train()
    assert run.folder == early.folder
    before = names(workspace)
    assert len(before) == 2 * 2 + 2 + 1
    again, _ = train()
    assert again.folder.name == "strong-2"  # a finished run's command makes a new run
    assert names(workspace) == [*before, "strong-2"]
    assert again.submission.read_bytes() == run.submission.read_bytes()
    assert again.members == run.members == ("shades/strong.1-2folds-1", "shades/strong.2-2folds-1")
    config, scores = run.record("config"), run.record("scores")
    assert (config["complete"], config["folds"], config["recipe_name"]) == (True, 2, "strong")
    assert [one["run"] for one in scores["members"]] == list(run.members)
    assert scores["rows"] == 36
    runner.report(strong, run, workspace, Console())
    assert run.report.is_file()
    trained, tables = [find_run(workspace, name) for name in run.members], read_tables(strong, workspace.data("shades"))
    with run.held(), again.held(), blending(strong, Choices("strong"), workspace, Console(), lambda _: False) as blend:
        assert blend(trained, tables).folder.name == "strong-3"  # the existing runs are locked


def test_a_fold_is_a_line_of_progress_and_one_of_its_score_and_what_holds_for_all_is_said_once(train, workspace):
    data = workspace.data("shades")
    shutil.copy(data / "train" / "t00.png", data / "test" / "q03.png")
    run, said = train(recipe="standard", folds=2, settings=("stages.learning_rate=1e-9",))
    *of_folds, finding = said.partition("shades: 2 folds joined")[0].splitlines()
    assert "1 leak" in of_folds.pop(1)
    assert [line.partition(": ")[0] for line in of_folds] == ["shades", "validation accuracy"] * 2
    assert all(f"fold {number} of 2" in line for number, line in enumerate(of_folds[::2], start=1))
    assert finding.endswith("(found in 2 of 2)")
    log = (workspace.runs / run.members[1] / "log.txt").read_text()
    kind = finding.split(": ")[1]
    assert all(detail in log for detail in ("1 leak", "train loss", "stage 1 of 1", f"stage 1: {kind}", "wrote "))


def test_several_backbones_of_a_recipe_are_blended_on_one_split(train):
    run, _ = train(recipe="standard", backbones=("test_resnet", "test_efficientnet"))
    assert run.folder.name == "standard-blend-1"
    assert run.members == ("shades/standard-1", "shades/standard-2")
    assert run.record("config")["folds"] is None
    assert {part for _, part in run.split()} == {"train", "valid"}


def test_a_member_is_trained_alone_by_its_number(train, strong):
    run, _ = train(recipe="strong.2")
    config = run.record("config")
    assert (config["recipe_name"], config["folds"]) == ("strong.2", None)
    assert config["recipe"]["backbone"] == "test_efficientnet"
    assert recipe_named(strong, "strong.2").stages[0].size == 32
    with pytest.raises(OverrideError, match=r"strong\.1, strong\.2"):
        recipe_named(strong, "strong")
    with pytest.raises(OverrideError, match="standard"):
        recipe_named(strong, "strong.3")


def test_each_member_is_trained_with_each_backbone_and_choices_of_one_training_are_refused(strong):
    chosen = trainings_of(strong, Choices("strong", backbones=("a", "b"), seed=3, folds=4))
    assert [(one.recipe, one.backbone) for one in chosen] == [
        (f"strong.{number}", backbone) for number in (1, 2) for backbone in "ab"
    ]
    assert {(one.seed, one.folds) for one in chosen} == {(3, 4)}
    assert [one.backbone for one in trainings_of(strong, Choices("strong", "a"))] == ["a", "a"]
    assert not is_blend(strong, Choices())
    assert not is_blend(strong, Choices("strong.1"))
    for choice in ({"folds": 2, "fold": 1}, {"all_data": True}):
        with pytest.raises(OverrideError):
            trainings_of(strong, Choices("strong", **choice))
