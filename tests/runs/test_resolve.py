from dataclasses import replace
from pathlib import Path

import pytest

from comp import Stage
from comp.console import Console
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.custom import recorded
from comp.errors import OverrideError
from comp.runs.choices import Choices
from comp.runs.resolve import lines_of_recipe, resolve
from comp.tools.ensembles import join


def named(name):
    return competition_named(name, REPOSITORY_COMPETITIONS)


def test_a_local_backbone_is_recorded_with_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, recipe = resolve(named("planet"), Choices(backbone="local-dir:weights/../mine", settings=("stages.size=64",)))
    assert recipe.backbone == f"local-dir:{tmp_path.resolve() / 'mine'}"
    _, recipe = resolve(named("planet"), Choices(settings=("backbone=local-dir:~/mine", "stages.size=64")))
    assert recipe.backbone == f"local-dir:{Path.home().resolve() / 'mine'}"
    for name, taken in (("mine", f"local-dir:{tmp_path.resolve() / 'mine'}"), ("resnet18.a1_in1k", "resnet18.a1_in1k")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
        _, recipe = resolve(named("planet"), Choices(backbone=name, settings=("stages.size=64",)))
        assert recipe.backbone == taken


def test_of_joined_folds_that_diverged_differently_each_stage_is_as_the_others_have_it(shades, predicting):
    def stage(rate, cycles=2, **fields):
        return recorded(Stage(size=16, learning_rate=rate, cycles=cycles, **fields))

    head, late, whole = {"train": "head"}, {"train": 2}, {"train": "all"}
    lost, cut = {"number": 2, "cycles_kept": 0}, {"number": 3, "cycles_kept": 1}
    trained = [
        ([stage(0.1, **head), stage(0.01, 1, **whole)], [lost, cut]),
        ([stage(0.1, **head), stage(0.2, **late), stage(0.04, **whole)], []),
        ([stage(0.1, **head), stage(0.2, **late)], [{**cut, "cycles_kept": 0}]),
    ]
    made = predicting(shades)
    declared = {"augment": recorded(made.competition.augment), "layer_lr_ratio": made.competition.layer_lr_ratio}
    stages = [stage(0.1, **part) for part in (head, late, whole)]
    recipe = {"backbone": "test_resnet", "snapshots": 2, "stages": stages}
    folds = made.folds(recipe=recipe, **declared)
    for fold, (stages, diverged) in zip(folds, trained, strict=True):
        fold.write_record("trained", {"stages": stages, "diverged": diverged})
    joined = join(made.competition, folds, made.workspace, Console())
    _, recipe = resolve(made.competition, Choices(like=joined))
    assert [(one.train, one.cycles) for one in recipe.stages] == [("head", 2), (2, 2), ("all", 2)]
    assert [one.learning_rate for one in recipe.stages] == pytest.approx([0.1, 0.2, 0.02])
    assert recipe.snapshots == 2


def test_a_stage_that_most_of_the_joined_folds_went_back_from_is_not_trained_again(shades, predicting):
    head, whole = (Stage(size=16, learning_rate=0.1, cycles=2, train=part) for part in ("head", "all"))
    made = predicting(shades)
    declared = {"augment": recorded(made.competition.augment), "layer_lr_ratio": made.competition.layer_lr_ratio}
    recipe = {"backbone": "test_resnet", "snapshots": 2, "stages": [*map(recorded, (head, whole, head))]}
    folds = made.folds(recipe=recipe, **declared)
    lost = {"number": 2, "cycles_kept": 0}
    for number, fold in enumerate(folds):
        stages = [head, head] if number else [head, whole, head]
        fold.write_record("trained", {"stages": [*map(recorded, stages)], "diverged": [lost] if number else []})
    joined = join(made.competition, folds, made.workspace, Console())
    _, recipe = resolve(made.competition, Choices(like=joined))
    assert [one.train for one in recipe.stages] == ["head", "head"]
    (line,) = lines_of_recipe(made.competition, Choices(like=joined))
    assert line.startswith("left out")
    assert line.endswith(f"in {joined.name}: 1 stage")


def test_a_run_that_is_like_another_goes_by_the_metric_declared_now_unless_one_was_set(shades, predicting):
    made = predicting(shades)
    stages = [recorded(Stage(size=16, learning_rate=0.1, train="head"))]
    declared = {"augment": recorded(made.competition.augment), "layer_lr_ratio": made.competition.layer_lr_ratio}
    declared["metric"] = "accuracy"
    recipe = {"backbone": "test_resnet", "stages": stages}
    one, other = (made.run(recipe=recipe, **declared, settings=chosen) for chosen in ([], ["metric=accuracy"]))
    like, orphan = (made.run(recipe=recipe, **declared, settings=[], like=name) for name in (other.name, "shades/gone"))
    for run in (one, other, like, orphan):
        run.write_record("trained", {"stages": stages})
    edited = replace(made.competition, metric="macro_f1")
    of_runs = [resolve(edited, Choices(like=run))[0].scoring.name for run in (one, other, like, orphan)]
    assert of_runs == ["macro_f1", "accuracy", "accuracy", "macro_f1"]
    assert resolve(made.competition, Choices(like=one, all_data=True))
    with pytest.raises(OverrideError, match="was tuned for accuracy, not for macro_f1"):
        resolve(edited, Choices(like=one, all_data=True))
