import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.data.splitting import oversampled, shown
from comp.errors import DeclarationError


@settings(max_examples=20)
@given(classes=st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array), seed=st.integers(0, 99))
def test_every_class_gets_as_many_rows_as_the_most_frequent_and_no_row_of_classes_or_tags_is_lost(classes, seed):
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(rng.random(len(classes)) < 0.7)
    rows = rows if len(rows) else np.arange(len(classes))
    for targets in ((rng.random((len(classes), 3)) < 0.3).astype(np.int64), classes):
        more = oversampled(rows, targets, seed)
        assert set(more) == set(rows)
        assert np.array_equal(more, oversampled(rows, targets, seed))
    assert np.array_equal(more, np.sort(more))
    counts = np.bincount(classes[more])
    assert set(counts[counts > 0]) == {np.bincount(classes[rows]).max()}
    copies = np.bincount(more, minlength=len(classes))
    for name in np.unique(classes[rows]):
        assert np.ptp(copies[rows][classes[rows] == name]) <= 1


def test_which_rows_have_one_copy_more_follows_from_the_seed():
    classes = np.array([0] * 15 + [1] * 10)
    assert len({tuple(oversampled(np.arange(25), classes, seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize(
    ("shares", "factors"),
    [
        # LVIS: max(1, sqrt(t / f)) copies, with t the median share.
        ([2, 5, 10, 90, 250], [1, 1, 1, 3, 5]),
        # A fraction of a copy is a chance of one more.
        ([2, 4, 8], [1, 1, np.sqrt(2)]),
    ],
)
def test_rows_are_repeated_as_their_rarest_tag_asks_for(shares, factors):
    tags = np.stack([np.arange(20_000) % share == 0 for share in shares], axis=1).astype(np.int64)
    copies = np.bincount(oversampled(np.arange(20_000), tags, 0), minlength=20_000)
    for rarest, factor in enumerate(factors):
        of_tag = copies[(tags[:, rarest] == 1) & (tags[:, rarest + 1 :].sum(axis=1) == 0)]
        assert of_tag.mean() == pytest.approx(factor, abs=0.03)
        assert np.ptp(of_tag) <= 1
    assert (copies[tags.sum(axis=1) == 0] == 1).all()


def test_a_function_of_the_training_targets_says_how_often_each_row_is_shown():
    rows, classes = np.array([5, 3, 0, 1]), np.array([0, 1, 9, 2, 9, 0])
    assert shown(rows, classes, lambda targets: [2, 1, 2, 0]).tolist() == [5, 5, 3, 0, 0]
    assert shown(rows, classes, lambda targets: 1 + targets).tolist() == [5, 3, 3, 3, 0, 1, 1]
    tags = np.stack([classes == 0, classes == 1], axis=1).astype(np.int64)
    assert shown(rows, tags, lambda targets: 2.0 * targets.sum(axis=1)).tolist() == [5, 5, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda targets: targets[:1], r"shape \(1,\)"),
        (lambda targets: 2, r"shape \(\)"),
        (lambda targets: ["often"] * len(targets), "list"),
        (lambda targets: targets + 0.5, "0.5"),
        (lambda targets: targets - 1, "-1"),
        (lambda targets: targets * np.nan, "nan"),
        (lambda targets: targets * 0, "0"),
        (lambda targets: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_what_is_no_number_of_times_for_each_row_is_refused(returned, said):
    with pytest.raises(DeclarationError, match=f"`balance` .*{said}"):
        shown(np.arange(3), np.array([0, 1, 2]), returned)
