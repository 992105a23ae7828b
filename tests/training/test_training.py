import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from comp import TagNames, runner
from comp.console import Console
from comp.declare.recipe import Stage
from comp.errors import OverrideError, RunError
from comp.runs.choices import Choices
from comp.runs.resolve import as_trained, resolve
from comp.submission.outputs import Outputs
from comp.training.epochs import Epoch, say_epoch, say_stage
from comp.training.inputs import to_predict
from comp.training.predicting import Trained, kept_learners

HEAD = Stage(size=16, train="head", cached=True, cycle_length=2, learning_rate=0.05)
FINDS = replace(HEAD, learning_rate="find")
ALL = Stage(size=16, train="all", learning_rate="find")


def trained(training):
    for stage in training.prepared.experiment.recipe.stages:
        training.fit(stage)
    training.finish()
    return training.run


def rates_of(run):
    return [stage["learning_rate"] for stage in run.record("trained")["stages"]]


def test_a_rate_is_found_once_for_what_trains_and_taken_again_by_a_training_like_it(
    begin, train, workspace, capsys, monkeypatch
):
    monkeypatch.setattr("comp.training.finder.BATCHES", 30)
    training = begin(FINDS, replace(FINDS, cycle_length=1), HEAD, replace(FINDS, batch_size=4), dropout=0.1)
    run = trained(training)
    rates = rates_of(run)
    assert all(isinstance(rate, float) for rate in rates)
    assert rates[0] == rates[1]
    assert rates[2] == 0.05
    said = capsys.readouterr().out
    assert said.count("suggestions: minimum") == 2
    assert "as found before" in said
    assert sorted(path.stem for path in run.folder.glob("*.png")) == [f"learning-rate-{stage}" for stage in (1, 4)]
    assert run.history.steps().groupby("stage")["lr_head"].max().tolist() == pytest.approx(rates)

    competition = training.prepared.experiment.competition
    runner.predict(competition, run, workspace, Console())
    _, recipe = as_trained(competition, run)
    assert ([stage.learning_rate for stage in recipe.stages], recipe.dropout) == (rates, 0.1)
    capsys.readouterr()
    again = train(competition, all_data=True, like=run)
    assert "suggestions" not in capsys.readouterr().out
    config = again.record("config")
    assert (config["like"], config["all_data"], config["recipe_name"]) == (run.name, True, "standard")
    assert config["postprocessing"] == json.loads(json.dumps(run.record("scores")["postprocessing"]))
    assert rates_of(again) == rates
    runner.predict(competition, again, workspace, Console())
    assert again.record("scores")["postprocessing"] == config["postprocessing"]
    with pytest.raises(RunError, match="is a run of shades, not of hues"):
        as_trained(replace(competition, name="hues"), run)


def test_the_weights_at_the_end_of_the_last_cycles_are_kept_and_their_predictions_averaged(begin, workspace):
    training = begin(replace(HEAD, cycles=3, cycle_length=1), snapshots=2)
    run = trained(training)
    assert sorted(path.stem for path in run.weights.parent.iterdir()) == ["model", "stage-1-cycle-2"]
    competition = training.prepared.experiment.competition
    runner.predict(competition, run, workspace, Console())
    images, rows = training.prepared.images, training.prepared.validating
    learners = kept_learners(Trained.of(run, competition), Console())
    logits = [learner.logits(to_predict(images, learner, rows)) for learner in learners]
    assert not np.allclose(*logits)
    valid = pd.read_parquet(run.predictions("valid")).set_index("id").to_numpy()
    assert valid == pytest.approx(Outputs("softmax", 3).predictions(np.concatenate(logits, axis=1)), abs=1e-5)


def test_oversampled_rows_train_several_times_and_validate_once(begin):
    plain, balanced = begin(HEAD).prepared, begin(HEAD, balance="oversample").prepared
    assert set(balanced.training) == set(plain.training)
    assert np.ptp(np.bincount(plain.tables.targets[balanced.training])) <= 1
    assert sorted(balanced.validating) == sorted(plain.validating)


def test_rows_train_as_often_as_a_function_of_their_targets_says(begin, capsys):
    plain = begin(HEAD).prepared
    of_others = plain.training[plain.tables.targets[plain.training] > 0]
    training = begin(HEAD, balance=lambda targets: 3 * (targets > 0))
    assert training.prepared.training.tolist() == np.repeat(of_others, 3).tolist()
    assert f"{len(of_others)} images train and {len(plain.validating)} validate" in capsys.readouterr().out
    assert "<lambda>" in training.run.record("config")["recipe"]["balance"]["function"]


def test_a_batch_that_has_no_room_is_a_stage_s_own_or_the_recipe_s(begin):
    prepared = begin(ALL, replace(ALL, batch_size=4)).prepared
    for number, setting in ((2, "stages.2.batch_size"), (1, "batch_size")):
        prepared.inputs(prepared.experiment.recipe.stages[number - 1], number)
        assert prepared.learner.micro_batches.setting == setting


def test_weighted_classes_start_from_even_chances(begin):
    learner = begin(HEAD, balance="weights").prepared.learner
    assert torch.equal(learner.model.head[-1].bias, torch.zeros(3))
    assert learner.objective.class_weights is not None
    assert begin(HEAD).prepared.learner.objective.class_weights is None


def test_every_fold_is_trained_predicted_and_joined_as_it_is_alone(head, train, workspace):
    alone, joined = train(head, folds=2, fold=2), train(head, folds=2)
    members = [workspace.runs / name for name in joined.members]
    assert [json.loads((member / "config.json").read_text())["fold"] for member in members] == [1, 2]
    for name in ("split.csv", "checkpoints/model.safetensors"):
        assert (alone.folder / name).read_bytes() == (members[1] / name).read_bytes()
    valid = pd.read_parquet(joined.predictions("valid"))
    assert len(valid) == len(set(valid["id"])) == joined.record("scores")["rows"] == 36
    means = np.mean([pd.read_parquet(m / "predictions" / "test.parquet").set_index("id") for m in members], axis=0)
    assert pd.read_parquet(joined.predictions("test")).set_index("id").to_numpy() == pytest.approx(means)
    _, recipe = as_trained(head, joined)
    assert recipe.stages[0].learning_rate == pytest.approx(1e-2)


def test_a_head_from_the_pretrained_classifier_is_refused_for_tags_before_anything_is_read(shades):
    competition = shades.competition
    tags = replace(
        competition,
        labels=replace(competition.labels, separator=" "),
        submission=TagNames(" "),
        metric="mean_f2",
        recipes={"standard": replace(competition.recipes["standard"], pretrained=True, head="pretrained")},
    )
    with pytest.raises(OverrideError, match="which is for one class per image"):
        resolve(tags, Choices())


def test_an_epoch_is_a_row_under_the_heading_of_its_stage_with_gaps_where_nothing_validates(capsys):
    say_stage(Console(), 2, 3, Stage(size=96, train="all", cycles=2, cycle_length=3), 0.001, "mean_f2")
    say_epoch(Console(), Epoch(4, 1, True, 0.5, 0.25, 1.25, 99.7, [], None), 0.875)
    say_epoch(Console(), Epoch(0, 1, True, 0.5, None, 1.0, 10.0, [], None), None)
    first, heading, row, without = capsys.readouterr().out.splitlines()
    assert first == "stage 2 of 3: all layers, 96 px, 6 epochs of sgdr, learning rate 0.001"
    assert heading.split() == ["epoch", "train", "loss", "valid", "loss", "mean_f2", "seconds", "images/s"]
    assert row.split() == ["5", "0.50000", "0.25000", "0.87500", "1.2", "100"]
    assert len(row) == len(heading)
    assert without.split() == ["1", "0.50000", "1.0", "10"]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage(size=64, train="head", cached=True, views=4), "head on cached features of 4 views, 64 px"),
        (Stage(size=64, train=2), "late layers and head, 64 px"),
        (Stage(size=64, train=2, cached=True), "late layers and head on cached maps of 1 view, 64 px"),
    ],
)
def test_a_stage_s_heading_says_what_it_trains(stage, words, capsys):
    say_stage(Console(), 1, 1, stage, 0.01, "accuracy")
    assert words in capsys.readouterr().out
