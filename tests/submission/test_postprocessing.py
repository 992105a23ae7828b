import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.submission.postprocessing import (
    CLIPS,
    KINDS,
    OF_MISTAKES,
    AsPredicted,
    Clip,
    Confidence,
    CutPoints,
    MostProbable,
    Ranking,
    Thresholds,
    from_record,
    to_record,
    untuned,
)
from tests.declare.conftest import scored_by

SEEDS = st.integers(0, 2**32)


@given(
    seed=SEEDS,
    smallest=st.sampled_from(CLIPS),
    temperature=st.sampled_from([1, 0.5, 0.8, 1.3, 2]),
    classes=st.integers(2, 12),
)
def test_clipping_keeps_probabilities_from_0_and_1_and_a_row_s_sum_and_order_whatever_the_temperature(
    seed, smallest, temperature, classes
):
    probabilities = np.random.default_rng(seed).dirichlet([0.05] * classes, 9)
    clipped = Clip(smallest)(probabilities)
    assert smallest <= clipped.min() <= clipped.max() <= 1 - smallest
    inside = (probabilities > smallest) & (probabilities < 1 - smallest)
    assert np.array_equal(clipped[inside], probabilities[inside])
    normalised = Clip(smallest, temperature, sums_to_one=True)(probabilities)
    assert normalised.sum(axis=1) == pytest.approx(1)
    assert normalised.min() > 0
    assert (normalised[np.arange(9), probabilities.argmax(axis=1)] == normalised.max(axis=1)).all()


def test_what_is_submitted_is_made_of_probabilities():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    for postprocessing, made in (
        (MostProbable(), [1, 0]),
        (Thresholds((0.2, 0.4, 0.25)), [[0, 1, 1], [1, 0, 1]]),
        # With the grades 0, 4 and 1: 2.3 and 0.7.
        (CutPoints((0, 4, 1), (0.5, 2.5)), [2, 2]),
        (CutPoints((0, 4, 1), (0.8, 2.2)), [1, 0]),
        (Ranking(2), [[1, 2], [0, 2]]),
        (Confidence(), [[1, 0.5], [0, 0.6]]),
    ):
        assert postprocessing(probabilities).tolist() == made


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("log_loss", "single", Clip(OF_MISTAKES / 3, sums_to_one=True)),
        ("log_loss", "multi", Clip(OF_MISTAKES / 2)),
        ("roc_auc", "single", Clip(CLIPS[0], sums_to_one=True)),
        ("accuracy", "single", MostProbable()),
        ("macro_f1", "single", MostProbable()),
        ("quadratic_kappa", "single", MostProbable()),
        ("map_at_k", "single", Ranking(2)),
        ("gap", "single", Confidence()),
        ("log_loss", "shares", Clip(OF_MISTAKES / 3, sums_to_one=True)),
        ("log_loss", "fractions", Clip(OF_MISTAKES / 2)),
        ("rmse", "number", AsPredicted()),
        ("micro_f1", "multi", Thresholds((0.5, 0.5, 0.5))),
        ("mean_f1", "multi", Thresholds((0.5, 0.5, 0.5))),
        ("mean_f2", "multi", Thresholds((0.2, 0.2, 0.2))),
    ],
)
def test_each_metric_has_its_post_processing_before_any_row_is_seen(name, target, expected):
    assert untuned(scored_by(name, target), "abc") == expected


@pytest.mark.parametrize("name", ["linear_kappa", "quadratic_kappa"])
def test_grades_are_cut_half_way_between_their_values(name):
    assert untuned(scored_by(name), ("0", "1", "4")) == CutPoints((0, 1, 4), (0.5, 2.5))
    assert untuned(scored_by(name), ("10", "2", "3.5")) == CutPoints((10, 2, 3.5), (2.75, 6.75))


EVERY = (
    *(Clip(1e-3, 0.8), Clip(1e-4, sums_to_one=True), MostProbable(), Thresholds((0.2, 0.1 + 0.2))),
    *(CutPoints((0, 1.5), (0.7,)), Ranking(5), Confidence(), AsPredicted()),
)


def test_post_processing_s_record_is_json_that_names_its_kind():
    assert {type(one) for one in EVERY} == set(KINDS.values())
    for postprocessing in EVERY:
        record = json.loads(json.dumps(to_record(postprocessing)))
        assert record["kind"] == type(postprocessing).__name__
        assert from_record(record) == postprocessing
