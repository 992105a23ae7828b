import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.submission.predictions import mean_over_views

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(2, 5))


def logits_of(shape, seed, dtype=np.float32):
    return np.random.default_rng(seed).normal(0, 4, shape).astype(dtype)


@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_one_class_per_image_is_the_mean_of_the_softmax_of_each_view(shape, seed):
    logits = logits_of(shape, seed)
    mean = mean_over_views(logits, "single")
    raised = np.exp(logits.astype(np.float64))
    assert mean == pytest.approx((raised / raised.sum(axis=2, keepdims=True)).mean(axis=1))
    assert mean.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert mean.dtype == np.float64


@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_tags_are_the_mean_of_the_sigmoid_of_each_view(shape, seed):
    logits = logits_of(shape, seed)
    assert mean_over_views(logits, "multi") == pytest.approx(
        (1 / (1 + np.exp(-logits.astype(np.float64)))).mean(axis=1)
    )


@pytest.mark.parametrize("target", ["single", "multi"])
@given(shape=SHAPES, seed=st.integers(0, 2**32))
def test_the_order_of_views_does_not_matter_and_that_of_rows_does(target, shape, seed):
    logits = logits_of(shape, seed)
    mean = mean_over_views(logits, target)
    assert mean_over_views(logits[:, ::-1], target) == pytest.approx(mean)
    assert np.array_equal(mean_over_views(logits[::-1], target), mean[::-1])


@pytest.mark.parametrize("target", ["single", "multi"])
def test_a_view_more_that_shows_the_same_changes_nothing(target):
    logits = logits_of((3, 1, 4), 0)
    assert mean_over_views(logits.repeat(3, axis=1), target) == pytest.approx(mean_over_views(logits, target))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_very_sure_logits_stay_finite(dtype):
    logits = np.array([[[6e4, -6e4]]], dtype)
    for target in ("single", "multi"):
        assert mean_over_views(logits, target) == pytest.approx(np.array([[1.0, 0.0]]))
