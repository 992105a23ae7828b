from dataclasses import replace

import numpy as np
import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.forms import ProbabilityPerClass
from comp.submission.postprocessing import ClipAndNormalise, MostProbable, Thresholds
from comp.submission.scoring import describe, score_logits, tune_on_logits

DIGITS, PLANET, BREEDS = (
    competition_named(name, REPOSITORY_COMPETITIONS) for name in ("digits", "planet", "dog-breeds")
)


def test_the_score_of_an_epoch_is_the_metric_of_its_logits():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]))
    targets = np.array([0, 1, 1, 2])
    assert score_logits(DIGITS, targets, logits) == 0.75
    assert score_logits(BREEDS, targets, logits) == pytest.approx(-np.log([0.7, 0.8, 0.3, 0.6]).mean(), rel=1e-5)


def test_without_validation_rows_there_is_no_score():
    assert score_logits(DIGITS, np.array([], int), None) is None


def test_the_record_tells_plain_augmented_and_tuned_scores_apart():
    sure, unsure = np.log([0.9, 0.1]), np.log([0.4, 0.6])
    logits = np.stack([np.stack([unsure, sure]), np.stack([sure, sure])])  # the first row's plain view is wrong
    postprocessing, record = tune_on_logits(DIGITS, np.array([0, 0]), logits)
    assert isinstance(postprocessing, MostProbable)
    assert (record["plain"], record["tta"], record["tuned"]) == (0.5, 1.0, 1.0)
    assert (record["metric"], record["higher_is_better"], record["rows"]) == ("accuracy", True, 2)
    assert describe(record) == (
        "validation accuracy: 0.50000 plain, 1.00000 with TTA, 1.00000 with tuned post-processing, on 2 rows"
    )


def test_thresholds_are_tuned_on_the_validation_rows():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (400, 3))
    # Present tags get 0.1 and absent ones 0.05: no untuned threshold can tell them apart.
    probabilities = np.where(targets == 1, 0.1, 0.05) + generator.uniform(-0.01, 0.01, targets.shape)
    logits = np.log(probabilities / (1 - probabilities))[:, None]
    postprocessing, record = tune_on_logits(PLANET, targets, logits)
    assert isinstance(postprocessing, Thresholds)
    assert all(0.05 < threshold < 0.1 for threshold in postprocessing.thresholds)
    assert record["tta"] == 0
    assert record["tuned"] > 0.8
    assert record["postprocessing"] == {"kind": "Thresholds", "thresholds": postprocessing.thresholds}


def test_clipping_pays_for_a_sure_mistake():
    logits = np.array([[[30.0, -30.0]]] * 19 + [[[-30.0, 30.0]]])
    postprocessing, record = tune_on_logits(BREEDS, np.zeros(20, int), logits)
    assert isinstance(postprocessing, ClipAndNormalise)
    assert postprocessing.smallest > 1e-3
    assert record["tuned"] < record["tta"]


@pytest.mark.parametrize(
    ("competition", "kind"), [(DIGITS, MostProbable), (PLANET, Thresholds), (BREEDS, ClipAndNormalise)]
)
def test_without_validation_rows_post_processing_is_the_untuned_one(competition, kind):
    targets = np.empty((0, 3), int) if competition is PLANET else np.empty(0, int)
    postprocessing, record = tune_on_logits(competition, targets, np.empty((0, 1, 3), np.float32))
    assert isinstance(postprocessing, kind)
    assert record["rows"] == 0
    assert "tuned" not in record
    found = {"kind": "Thresholds", "thresholds": [0.1, 0.2, 0.3]}
    postprocessing, record = tune_on_logits(competition, targets, np.empty((0, 1, 3), np.float32), found)
    assert postprocessing == Thresholds((0.1, 0.2, 0.3))
    assert record["postprocessing"] == {"kind": "Thresholds", "thresholds": (0.1, 0.2, 0.3)}
    assert describe(record) == "no row validates, so there is no score and nothing to tune post-processing on"


def test_columns_of_tags_are_scored_as_probabilities_that_stand_alone():
    competition = replace(PLANET, metric="log_loss", submission=ProbabilityPerClass())
    targets, logits = np.array([[1, 0], [0, 1]]), np.zeros((2, 2))
    assert score_logits(competition, targets, logits) == pytest.approx(np.log(2), rel=1e-5)
