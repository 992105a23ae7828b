import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.errors import DeclarationError
from comp.submission.outputs import Outputs, outputs_for

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(2, 5))


def mean_over_views(logits, target):
    return Outputs("softmax" if target == "single" else "sigmoid", logits.shape[2]).predictions(logits)


def logits_of(shape, seed, dtype=np.float32):
    return np.random.default_rng(seed).normal(0, 4, shape).astype(dtype)


@pytest.mark.parametrize("target", ["single", "multi"])
@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_predictions_are_the_softmax_or_sigmoid_of_the_mean_over_the_views_in_any_order(target, shape, seed):
    logits = logits_of(shape, seed)
    found, mean = mean_over_views(logits, target), logits.astype(np.float64).mean(axis=1)
    raised = np.exp(mean)
    assert found == pytest.approx(raised / (raised.sum(axis=1, keepdims=True) if target == "single" else 1 + raised))
    assert found.dtype == np.float64
    assert mean_over_views(logits[:, ::-1], target) == pytest.approx(found)
    assert np.array_equal(mean_over_views(logits[::-1], target), found[::-1])
    assert mean_over_views(logits.repeat(3, axis=1), target) == pytest.approx(found)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_very_sure_logits_stay_finite(dtype):
    logits = np.array([[[6e4, -6e4]]], dtype)
    for target in ("single", "multi"):
        assert mean_over_views(logits, target) == pytest.approx(np.array([[1.0, 0.0]]))


@pytest.mark.parametrize(
    ("kind", "targets", "shares"),
    [
        ("softmax", [0, 0, 0, 1], np.array([3.5, 1.5, 0.5]) / 5.5),
        ("softmax", [[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]], np.array([1.25, 1.75, 0.5]) / 3.5),
        ("sigmoid", [[1, 0, 1], [1, 0, 0]], [2.5 / 3, 0.5 / 3, 0.5]),
        ("sigmoid", [0, 1], [0.5, 0.5, 0.5 / 3]),
        ("ordinal", [0, 2, 2], [2.5 / 4, 2.5 / 4]),
    ],
)
def test_the_prior_is_the_share_of_each_class_and_finite(kind, targets, shares):
    outputs = Outputs(kind, 3)
    prior = outputs.prior(np.array(targets))
    assert prior.shape == (outputs.width,)
    assert (np.exp(prior) if kind == "softmax" else 1 / (1 + np.exp(-prior))) == pytest.approx(np.array(shares))


@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("bounds", [None, (0, 100)])
@given(seed=st.integers(0, 99), columns=st.integers(1, 3))
def test_numbers_are_learned_scaled_and_predicted_in_their_own_unit(loss, bounds, seed, columns):
    numbers = np.random.default_rng(seed).uniform(5, 95, (20, columns))
    outputs = outputs_for("number", loss, "abc"[:columns], numbers, bounds)
    compared = outputs.compared(numbers)
    assert compared.dtype == np.float32
    if loss == "mse":
        assert compared.mean(axis=0) == pytest.approx(0, abs=1e-5)
        assert compared.std(axis=0) == pytest.approx(1, abs=1e-5)
        logits = compared
    else:
        assert compared.min() >= 0
        assert compared.max() <= 1
        assert bounds or (compared.min(axis=0) == 0).all()
        logits = np.log(compared.clip(1e-7, 1 - 1e-7) / (1 - compared).clip(1e-7))
        sure = outputs.predictions(np.full((1, 1, columns), 99.0, np.float32))
        assert sure == pytest.approx(numbers.max(axis=0)[None] if bounds is None else 100)
    assert outputs.predictions(logits[:, None]) == pytest.approx(numbers, abs=1e-3)
    assert Outputs.from_record(json.loads(json.dumps(asdict(outputs)))) == outputs


def test_a_number_that_is_the_same_in_all_rows_has_no_spread_to_divide_by():
    numbers = np.array([[3.0, 1], [3, 2]])
    for loss in ("mse", "bce"):
        assert np.isfinite(outputs_for("number", loss, "ab", numbers).compared(numbers)).all()


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_a_number_is_never_predicted_beyond_its_bounds(loss):
    outputs = outputs_for("number", loss, "ab", np.array([[1.0, 2], [99, 50]]), (0, 100))
    found = outputs.predictions(np.array([[[-50, 50]], [[50, -50]]], np.float32))
    assert found == pytest.approx(np.array([[0, 100], [100, 0]]))


@given(numbers=st.lists(st.floats(-5, 15), min_size=1, max_size=9))
def test_grades_as_one_number_are_probabilities_whose_expected_grade_is_that_number(numbers):
    grades, targets = np.array([0, 1, 5, 10]), np.array([0, 1, 2, 3, 3])
    outputs = outputs_for("single", "mse", ["0", "1", "5", "10"], targets)
    assert outputs.width == 1
    logits = (np.array(numbers) - outputs.offset) / outputs.scale
    found = outputs.predictions(logits[:, None, None])
    assert found.sum(axis=1) == pytest.approx(1)
    assert (found >= 0).all()
    assert found @ grades == pytest.approx(np.clip(numbers, 0, 10))
    assert ((found > 0).sum(axis=1) <= 2).all()
    assert outputs.predictions(outputs.compared(targets)[:, None]).argmax(axis=1).tolist() == targets.tolist()


@given(shape=SHAPES, seed=st.integers(0, 99))
def test_grades_in_order_are_probabilities_whatever_the_logits(shape, seed):
    outputs = Outputs("ordinal", shape[2] + 1)
    found = outputs.predictions(logits_of(shape, seed))
    assert found.shape == (shape[0], shape[2] + 1)
    assert (found >= 0).all()
    assert found.sum(axis=1) == pytest.approx(1)
    targets = np.arange(shape[2] + 1)
    assert outputs.predictions(outputs.compared(targets)[:, None] * 20.0 - 10).argmax(axis=1).tolist() == list(targets)


@pytest.mark.parametrize("loss", ["mse", "ordinal"])
@pytest.mark.parametrize("classes", [["cat", "dog"], ["1", "01"], ["1", "nan"]])
def test_a_loss_of_grades_is_refused_where_classes_are_no_numbers(loss, classes):
    with pytest.raises(DeclarationError, match=f"`loss` is '{loss}'"):
        outputs_for("single", loss, classes, np.array([0, 1]))


def test_classes_by_sigmoids_sum_to_one_even_where_none_is_likely():
    outputs = outputs_for("single", "bce", "abc", np.array([0, 1, 2]))
    assert outputs.compared(np.array([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    found = outputs.predictions(np.array([[[0.0, 2.0, -1.0]], [[-900.0, -901.0, -999.0]]]))
    assert found.sum(axis=1) == pytest.approx(1)
    assert found.argmax(axis=1).tolist() == [1, 0]
