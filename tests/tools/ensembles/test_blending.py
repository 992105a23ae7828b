import shutil

import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.errors import OverrideError
from comp.runs import Workspace, list_runs
from comp.runs.resolve import Choices, is_blend, recipe_named, trainings_of


def names(workspace):
    return [run.folder.name for run in list_runs(workspace)]


def test_a_recipe_of_several_trainings_becomes_one_run_with_a_submission(train, workspace, strong):
    run, _ = train()
    assert run.folder.name == "strong-1"
    assert run.members == ("shades/strong.1-2folds-1", "shades/strong.2-2folds-1")
    config, scores = run.record("config"), run.record("scores")
    assert (config["complete"], config["folds"], config["recipe_name"]) == (True, 2, "strong")
    assert [one["run"] for one in scores["members"]] == list(run.members)
    assert scores["rows"] == 36
    assert len(pd.read_csv(run.submission)) == 12
    runner.report(strong, run, workspace, Console())
    assert run.report.is_file()


def test_a_blend_is_there_after_the_first_training_goes_on_in_its_run_and_is_found_again(
    train, strong, workspace, monkeypatch, tmp_path
):
    class Stopped(BaseException):
        pass

    real = runner._train_one

    def stop_at_the_last(experiment, *rest, **named):
        if experiment.choices.recipe == "strong.2" and experiment.choices.fold == 2:
            raise Stopped
        return real(experiment, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "_train_one", stop_at_the_last)
        with pytest.raises(Stopped):
            train()
    (early,) = [run for run in list_runs(workspace) if run.folder.name == "strong-1"]
    assert early.members == ("shades/strong.1-2folds-1",)
    assert not early.record("config")["complete"]
    assert len(pd.read_csv(early.submission)) == 12
    run, _ = train()
    assert run.folder == early.folder
    assert len(run.members) == 2
    before = names(workspace)
    assert len(before) == 2 * 2 + 2 + 1
    again, _ = train()
    assert again.folder.name == "strong-2"  # as any command whose run has ended
    assert names(workspace) == [*before, "strong-2"]
    other = Workspace(tmp_path / "other")
    shutil.copytree(workspace.data("shades"), other.data("shades"))
    never_stopped = runner.train(strong, Choices("strong"), other, Console())
    assert {one.submission.read_bytes() for one in (run, again)} == {never_stopped.submission.read_bytes()}


def test_several_backbones_of_a_recipe_are_blended_on_one_split(train):
    run, _ = train(recipe="standard", backbones=("test_resnet", "test_efficientnet"))
    assert run.folder.name == "standard-blend-1"
    assert run.members == ("shades/standard-1", "shades/standard-2")
    assert run.record("config")["folds"] is None
    assert {part for _, part in run.split()} == {"train", "valid"}


def test_a_member_is_trained_alone_by_its_number(train, strong):
    run, _ = train(recipe="strong.2")
    config = run.record("config")
    assert (config["recipe_name"], config["recipe"]["backbone"], config["folds"]) == (
        "strong.2",
        "test_efficientnet",
        None,
    )
    assert recipe_named(strong, "strong.2").stages[0].size == 32
    with pytest.raises(OverrideError, match=r"strong\.1, strong\.2"):
        recipe_named(strong, "strong")
    with pytest.raises(OverrideError, match="standard"):
        recipe_named(strong, "strong.3")


def test_each_member_is_trained_with_each_backbone(strong):
    chosen = trainings_of(strong, Choices("strong", backbones=("a", "b"), seed=3, folds=4))
    assert [(one.recipe, one.backbone, one.seed, one.folds) for one in chosen] == [
        ("strong.1", "a", 3, 4),
        ("strong.1", "b", 3, 4),
        ("strong.2", "a", 3, 4),
        ("strong.2", "b", 3, 4),
    ]
    assert [one.backbone for one in trainings_of(strong, Choices("strong", "a"))] == ["a", "a"]
    assert not is_blend(strong, Choices())
    assert not is_blend(strong, Choices("strong.1"))


@pytest.mark.parametrize("choice", [{"folds": 2, "fold": 1}, {"all_data": True}])
def test_choices_of_one_training_are_refused_for_several(strong, choice):
    with pytest.raises(OverrideError):
        trainings_of(strong, Choices("strong", **choice))
