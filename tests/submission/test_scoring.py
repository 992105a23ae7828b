from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.forms import ProbabilityPerClass
from comp.declare.metrics import Metric
from comp.errors import DeclarationError
from comp.submission.outputs import Outputs
from comp.submission.postprocessing import Clip, MostProbable, Thresholds, from_record
from comp.submission.scoring import (
    describe,
    must_postprocess,
    score_logits,
    tune_on_logits,
    tune_on_predictions,
)
from comp.submission.uncertainty import standard_errors

DIGITS, PLANET, BREEDS = (
    competition_named(name, REPOSITORY_COMPETITIONS) for name in ("digits", "planet", "dog-breeds")
)
SOFTMAX = Outputs("softmax", 3)


def test_the_score_of_an_epoch_is_the_metric_of_its_logits():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]))
    targets = np.array([0, 1, 1, 2])
    assert score_logits(DIGITS, SOFTMAX, "abc", targets, logits) == 0.75
    loss = -np.log([0.7, 0.8, 0.3, 0.6]).mean()
    assert score_logits(BREEDS, SOFTMAX, "abc", targets, logits) == pytest.approx(loss, rel=1e-5)
    assert score_logits(DIGITS, SOFTMAX, "abc", targets[:0], None) is None
    # Columns of tags stand alone.
    tags = replace(PLANET, metric="log_loss", submission=ProbabilityPerClass())
    found = score_logits(tags, Outputs("sigmoid", 2), "abc", np.eye(2, dtype=int), np.zeros((2, 2)))
    assert found == pytest.approx(np.log(2), rel=1e-5)


RIGHT, WRONG, SURE, UNSURE, HARDLY = np.log([[0.6, 0.4], [0.1, 0.9], [0.9, 0.1], [0.4, 0.6], [0.45, 0.55]])


@pytest.mark.parametrize(
    ("rows", "views", "scores", "used", "said"),
    [
        # The first row's plain view is wrong.
        ([(UNSURE, SURE), (SURE, SURE)], 2, (0.5, 1.0, 1.0), True, "0.50000 plain, 1.00000 with TTA, "),
        # Two snapshots of two views each, whose plain views are right; and the plain views alone.
        ([(RIGHT, WRONG, RIGHT, WRONG)] * 3, 2, (1.0, 0.0, 1.0), False, "TTA scores worse, so it is not used"),
        ([(RIGHT, RIGHT)] * 3, 1, (1.0, 1.0, 1.0), True, "on 3 images"),
        # Of forty images, TTA spoils ten and corrects nine.
        (
            [(RIGHT, WRONG)] * 10 + [(HARDLY, SURE)] * 9 + [(RIGHT, RIGHT)] * 21,
            *(2, (31 / 40, 30 / 40, 30 / 40), True, "TTA scores worse, but the difference is within chance"),
        ),
    ],
)
def test_plain_augmented_and_tuned_scores_are_told_apart_and_views_that_lose_not_used(rows, views, scores, used, said):
    targets = np.zeros(len(rows), int)
    postprocessing, record = tune_on_logits(DIGITS, Outputs("softmax", 2), "ab", targets, np.array(rows), views=views)
    assert isinstance(postprocessing, MostProbable)
    assert (record["plain"], record["tta"], record["tuned"]) == scores
    assert record["tta_used"] == used
    assert (record["metric"], record["higher_is_better"], record["rows"]) == ("accuracy", True, len(rows))
    assert said in describe(record)
    assert ("TTA scores worse" in describe(record)) == ("TTA scores worse" in said) == record["tta_loses"]


def test_a_temperature_far_below_one_is_said_to_be_under_confident():
    rows = np.arange(400) % 20
    # One of twenty is wrong, but these probabilities expect two of five.
    logits = np.where((rows > 0)[:, None], np.log([0.6, 0.4]), np.log([0.4, 0.6]))[:, None]
    _, record = tune_on_logits(BREEDS, Outputs("softmax", 2), "ab", np.zeros(400, int), logits)
    assert record["postprocessing"]["temperature"] < 0.6
    assert "under-confident" in describe(record)


def test_thresholds_are_tuned_on_the_validation_rows():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (400, 3))
    # Present tags get 0.1 and absent ones 0.05: no untuned threshold can tell them apart.
    probabilities = np.where(targets == 1, 0.1, 0.05) + generator.uniform(-0.01, 0.01, targets.shape)
    logits = np.log(probabilities / (1 - probabilities))[:, None]
    postprocessing, record = tune_on_logits(PLANET, Outputs("sigmoid", 3), "abc", targets, logits)
    assert isinstance(postprocessing, Thresholds)
    assert all(0.05 < threshold < 0.1 for threshold in postprocessing.thresholds)
    assert record["tta"] == 0
    assert record["tuned"] > 0.8
    assert from_record(record["postprocessing"]) == postprocessing


@pytest.mark.parametrize("rows", [0, 4])
def test_where_each_labelled_image_has_a_tag_the_likeliest_is_submitted_for_want_of_another(rows):
    faint = np.array([[0.05, 0.1, 0.01], [0.9, 0.01, 0.9]])
    predictions, targets = np.full((rows, 3), 0.9), np.ones((rows, 3), int)
    tagged = np.eye(3, dtype=int)
    for labelled, first in ((tagged, [0, 1, 0]), (np.r_[tagged, [[0, 0, 0]]], [0, 0, 0])):
        postprocessing, record = tune_on_predictions(PLANET, "abc", targets, predictions, labelled=labelled)
        assert from_record(record["postprocessing"]) == postprocessing
        assert postprocessing(faint).tolist() == [first, [1, 0, 1]]
    alone = replace(PLANET, submission=ProbabilityPerClass(), metric="average_precision")
    assert not hasattr(tune_on_predictions(alone, "abc", targets[:0], predictions[:0])[0], "never_none")


@pytest.mark.parametrize(("competition", "kind"), [(DIGITS, MostProbable), (PLANET, Thresholds), (BREEDS, Clip)])
def test_without_validation_rows_post_processing_is_the_untuned_one(competition, kind):
    targets = np.empty((0, 3), int) if competition is PLANET else np.empty(0, int)
    logits = np.empty((0, 1, 3), np.float32)
    postprocessing, record = tune_on_logits(competition, SOFTMAX, "abc", targets, logits)
    assert isinstance(postprocessing, kind)
    assert record["rows"] == 0
    assert "tuned" not in record
    found = {"kind": "Thresholds", "thresholds": [0.1, 0.2, 0.3]}
    postprocessing, record = tune_on_logits(competition, SOFTMAX, "abc", targets, logits, found)
    assert postprocessing == Thresholds((0.1, 0.2, 0.3))
    assert from_record(record["postprocessing"]) == postprocessing
    assert "no score" in describe(record)


def test_a_metric_of_one_s_own_that_cannot_score_some_rows_costs_no_run_its_score():
    def own(targets, probabilities):
        return roc_auc_score(targets, probabilities, multi_class="ovr")

    metric = Metric("own", "probabilities", True, own)
    targets, probabilities = np.r_[2, np.arange(59) % 2], np.random.default_rng(0).dirichlet([1.0] * 3, 60)
    competition = replace(BREEDS, metric=metric)
    postprocessing, _ = tune_on_predictions(competition, "abc", targets, probabilities)
    assert standard_errors(competition, "abc", targets, probabilities, postprocessing) == {}


def test_a_metric_of_one_s_own_that_is_no_number_is_named_and_not_recorded():
    own = replace(DIGITS, metric=Metric("own", "classes", True, lambda targets, classes: np.float64(classes.sum()) / 0))
    predictions = np.eye(2)[[0, 1, 1, 0]]
    assert "tuned" not in tune_on_predictions(own, "ab", np.zeros(0, int), predictions[:0])[1]
    with np.errstate(all="ignore"), pytest.raises(DeclarationError, match="Metric 'own': `score` returns inf"):
        tune_on_predictions(own, "ab", np.array([0, 1, 1, 0]), predictions)
    # Named metrics may be undefined, like an area with one class.
    undefined = replace(BREEDS, metric="roc_auc")
    assert np.isnan(tune_on_predictions(undefined, "ab", np.zeros(4, int), predictions)[1]["tuned"])


def test_a_rule_over_numbers_is_tried_on_numbers_in_their_unit():
    competition = SimpleNamespace(target="number", postprocess=lambda table: np.log(table - 100))
    targets = np.array([[150.0], [200.0]])
    with np.errstate(all="ignore"):
        must_postprocess(competition, ["age"], targets, ["a", "b", "c"])
        with pytest.raises(DeclarationError, match="`postprocess`"):
            must_postprocess(competition, ["age"], targets - 100, ["a", "b", "c"])
