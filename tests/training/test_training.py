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
from comp.runs.resolve import Choices, Experiment, as_trained, resolve
from comp.submission.outputs import Outputs
from comp.training.predicting import Trained, kept_learners
from comp.training.prepared import prepare
from comp.training.resuming import start

HEAD = Stage(size=16, train="head", cached=True, cycle_length=2)
ALL = Stage(size=16, train="all", cycles=2, learning_rate=1e-3)


@pytest.fixture
def at_home(shades, serving, workspace):
    """The competition of colours, downloaded."""
    with serving(shades):
        runner.download(shades.competition, workspace, Console())
    return shades.competition


@pytest.fixture
def begin(at_home, workspace):
    def begun(*stages, choices=None, **fields):
        recipe = replace(at_home.recipes["standard"], stages=stages, **fields)
        competition = replace(at_home, recipes={"standard": recipe})
        return start(prepare(Experiment.of(competition, choices or Choices(), workspace), Console()), Console())

    return begun


def trained(training):
    for stage in training.prepared.experiment.recipe.stages:
        training.fit(stage)
    training.finish()
    return training.run


def weights(training):
    return {name: value.clone() for name, value in training.prepared.learner.model.state_dict().items()}


def test_a_rate_is_found_once_for_what_trains_and_taken_again(begin, capsys):
    stages = (HEAD, replace(HEAD, cycle_length=1), replace(ALL, learning_rate="find"))
    run = trained(begin(*stages))
    rates = [stage["learning_rate"] for stage in run.record("trained")["stages"]]
    assert all(isinstance(rate, float) for rate in rates)
    assert rates[0] == rates[1]
    said = capsys.readouterr().out
    assert said.count("suggestions: minimum") == 2
    assert "as found before" in said
    assert sorted(path.name for path in run.folder.glob("*.png")) == ["learning-rate-1.png", "learning-rate-3.png"]
    peaks = run.history.steps().groupby("stage")["lr_head"].max()
    assert peaks.tolist() == pytest.approx(rates)


def test_a_stage_with_a_rate_of_its_own_is_not_swept(begin, capsys):
    run = trained(begin(replace(HEAD, learning_rate=0.02)))
    assert [stage["learning_rate"] for stage in run.record("trained")["stages"]] == [0.02]
    assert not list(run.folder.glob("*.png"))
    assert "suggestions" not in capsys.readouterr().out


def test_the_weights_at_the_end_of_the_last_cycles_are_kept_and_their_predictions_averaged(begin, workspace):
    training = begin(replace(HEAD, cycles=3, cycle_length=1, learning_rate=0.05), snapshots=2)
    run = trained(training)
    assert sorted(path.stem for path in run.weights.parent.iterdir()) == ["model", "stage-1-cycle-2"]
    competition = training.prepared.experiment.competition
    runner.predict(competition, run, workspace, Console())
    images, rows = training.prepared.images, training.prepared.validating
    learners = kept_learners(Trained.of(run, competition), Console())
    logits = [learner.logits(images.to_predict(learner, rows)) for learner in learners]
    assert len(logits) == 2
    assert not np.allclose(logits[0], logits[1])
    valid = pd.read_parquet(run.predictions("valid")).set_index("id").to_numpy()
    assert valid == pytest.approx(Outputs("softmax", 3).predictions(np.concatenate(logits, axis=1)), abs=1e-5)


def test_no_weights_but_the_last_are_kept_unless_snapshots_are_asked_for(begin):
    run = trained(begin(replace(HEAD, cycles=3, cycle_length=1, learning_rate=0.05)))
    assert [path.stem for path in run.weights.parent.iterdir()] == ["model"]


def test_oversampled_rows_train_several_times_and_validate_once(begin):
    plain, balanced = begin(HEAD).prepared, begin(HEAD, balance="oversample").prepared
    labels = plain.tables.targets
    assert set(balanced.training) == set(plain.training)
    counts = np.bincount(labels[balanced.training])
    assert counts.max() - counts.min() <= 1
    assert sorted(balanced.validating) == sorted(plain.validating)


def test_weighted_classes_start_from_even_chances(begin):
    prepared = begin(HEAD, balance="weights").prepared
    assert torch.equal(prepared.learner.model.head[-1].bias, torch.zeros(3))
    assert prepared.learner.objective.class_weights is not None
    assert begin(HEAD).prepared.learner.objective.class_weights is None


def test_a_training_like_another_has_its_recipe_and_the_rates_it_found(begin, workspace, capsys):
    first = trained(begin(HEAD, replace(ALL, learning_rate="find"), dropout=0.1))
    competition = begin(HEAD).prepared.experiment.competition
    runner.predict(competition, first, workspace, Console())
    _, recipe = as_trained(competition, first)
    found = [stage["learning_rate"] for stage in first.record("trained")["stages"]]
    assert [stage.learning_rate for stage in recipe.stages] == found
    assert recipe.dropout == 0.1
    capsys.readouterr()
    again = runner.train(competition, Choices(all_data=True, like=first), workspace, Console())
    assert "suggestions" not in capsys.readouterr().out
    config = again.record("config")
    assert (config["like"], config["all_data"], config["recipe_name"]) == (first.name, True, "standard")
    assert config["postprocessing"] == json.loads(json.dumps(first.record("scores")["postprocessing"]))
    assert [stage["learning_rate"] for stage in again.record("trained")["stages"]] == found
    runner.predict(competition, again, workspace, Console())
    assert again.record("scores")["postprocessing"] == config["postprocessing"]


def test_a_training_like_a_run_of_another_competition_is_refused(begin):
    training = begin(HEAD)
    other = replace(training.prepared.experiment.competition, name="hues")
    with pytest.raises(RunError, match="is a run of shades, and not of hues"):
        as_trained(other, training.run)


def test_every_fold_is_trained_predicted_and_joined(at_home, workspace):
    joined = runner.train(at_home, Choices(folds=3), workspace, Console())
    assert len(joined.members) == 3
    members = [workspace.runs / name for name in joined.members]
    folds = [json.loads((member / "config.json").read_text())["fold"] for member in members]
    assert folds == [1, 2, 3]
    valid = pd.read_parquet(joined.predictions("valid"))
    assert len(valid) == len(set(valid["id"])) == 36
    scores = joined.record("scores")
    assert scores["rows"] == 36
    means = np.mean([pd.read_parquet(m / "predictions" / "test.parquet").set_index("id") for m in members], axis=0)
    assert pd.read_parquet(joined.predictions("test")).set_index("id").to_numpy() == pytest.approx(means)
    _, recipe = as_trained(at_home, joined)
    assert recipe.stages[0].learning_rate == pytest.approx(1e-2)


def test_one_fold_trained_alone_is_that_fold_of_all(at_home, workspace):
    alone = runner.train(at_home, Choices(folds=3, fold=2), workspace, Console())
    joined = runner.train(at_home, Choices(folds=3), workspace, Console())
    second = workspace.runs / joined.members[1]
    assert (alone.folder / "split.csv").read_text() == (second / "split.csv").read_text()
    assert alone.weights.read_bytes() == (second / "checkpoints" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"folds": 1}, "--folds is 1, but it should be at least 2"),
        ({"fold": 1}, "--fold is 1, but it should be given together with --folds"),
        ({"folds": 3, "fold": 4}, "--fold is 4, but it should be from 1 to 3"),
        ({"folds": 3, "fold": 0}, "--fold is 0, but it should be from 1 to 3"),
        ({"folds": 3, "all_data": True}, "give one of the two"),
    ],
)
def test_folds_that_can_t_be_are_refused_in_one_sentence(fields, said):
    with pytest.raises(OverrideError, match=said):
        Choices(**fields)


def test_a_head_from_the_pretrained_classifier_is_refused_for_tags_before_anything_is_read(at_home):
    recipe = replace(at_home.recipes["standard"], pretrained=True, head="pretrained")
    tags = replace(
        at_home,
        labels=replace(at_home.labels, separator=" "),
        submission=TagNames(" "),
        metric="mean_f2",
        recipes={"standard": recipe},
    )
    with pytest.raises(OverrideError, match="which is for one class per image"):
        resolve(tags, Choices())


def test_a_joined_run_is_not_diagnosed(at_home, workspace):
    joined = runner.train(at_home, Choices(folds=2), workspace, Console())
    with pytest.raises(RunError, match="diagnose shades/standard-1, shades/standard-2 instead"):
        runner.diagnose(joined, Console())
