import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.data.splitting import oversampled

CLASSES = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


@given(classes=CLASSES, seed=st.integers(0, 99), data=st.data())
def test_every_class_gets_as_many_rows_as_the_most_frequent(classes, seed, data):
    rows = np.array(data.draw(st.lists(st.sampled_from(range(len(classes))), min_size=1, unique=True).map(sorted)))
    more = oversampled(rows, classes, seed)
    counts = np.bincount(classes[more])
    assert set(counts[counts > 0]) == {np.bincount(classes[rows]).max()}
    assert set(more) == set(rows)
    assert np.array_equal(more, np.sort(more))
    copies = np.bincount(more, minlength=len(classes))
    for name in np.unique(classes[rows]):
        of_class = copies[rows][classes[rows] == name]
        assert of_class.max() - of_class.min() <= 1
    assert np.array_equal(more, oversampled(rows, classes, seed))


def test_balanced_classes_are_left_as_they_are():
    rows = np.array([5, 3, 0, 1])
    assert oversampled(rows, np.array([0, 1, 0, 1, 0, 0]), 0).tolist() == rows.tolist()


def test_which_rows_have_one_copy_more_follows_from_the_seed():
    classes = np.array([0] * 15 + [1] * 10)
    drawn = {tuple(oversampled(np.arange(25), classes, seed)) for seed in range(20)}
    assert len(drawn) > 10


def tags_with_shares(rows, shares):
    return np.stack([np.arange(rows) % round(1 / share) == 0 for share in shares], axis=1).astype(np.int64)


def test_rows_are_repeated_as_their_rarest_tag_asks_for():
    # LVIS: max(1, sqrt(t / f)) copies, with t the median share, 1/10.
    tags = tags_with_shares(10_000, [1 / 2, 1 / 5, 1 / 10, 1 / 90, 1 / 250])
    copies = np.bincount(oversampled(np.arange(10_000), tags, 0), minlength=10_000)
    factors = [1, 1, 1, 3, 5]
    for rarest in range(5):
        of_tag = copies[(tags[:, rarest] == 1) & (tags[:, rarest + 1 :].sum(axis=1) == 0)]
        assert of_tag.mean() == pytest.approx(factors[rarest], abs=0.02)
    assert (copies[tags.sum(axis=1) == 0] == 1).all()


def test_a_fraction_of_a_copy_is_a_chance_of_one_more():
    tags = tags_with_shares(20_000, [1 / 2, 1 / 4, 1 / 8])
    copies = np.bincount(oversampled(np.arange(20_000), tags, 0))[tags[:, 2] == 1]
    assert set(copies) == {1, 2}
    assert copies.mean() == pytest.approx(np.sqrt(2), abs=0.03)


@given(st.integers(0, 99), st.integers(1, 40), st.integers(1, 5))
def test_tags_never_lose_a_row_and_follow_from_the_seed(seed, count, classes):
    tags = (np.random.default_rng(seed).random((count, classes)) < 0.3).astype(np.int64)
    rows = np.arange(0, count, 2)
    more = oversampled(rows, tags, seed)
    assert set(more) == set(rows)
    assert np.array_equal(more, oversampled(rows, tags, seed))
