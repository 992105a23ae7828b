import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from comp.data.splitting import draw_split, targets_of
from comp.errors import DataError

SHARES = st.sampled_from([0.05, 0.1, 0.2, 0.25, 1 / 3, 0.5])
SEEDS = st.integers(0, 2**32 - 1)
moderately = settings(max_examples=60, deadline=None)


def shuffled(counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def tags_drawn(seed, rows, tags):
    rng = np.random.default_rng(seed)
    return (rng.uniform(size=(rows, tags)) < rng.uniform(0.02, 0.9, tags)).astype(np.int64)


@given(labels=st.lists(st.sampled_from("abc"), min_size=1))
def test_classes_become_their_places(labels):
    targets = targets_of(pd.DataFrame({"label": labels}), ("c", "a", "b"), "single")
    assert [("c", "a", "b")[place] for place in targets] == labels


@given(labels=st.lists(st.sets(st.sampled_from("abc")).map(tuple), min_size=1))
def test_tags_become_columns_of_0_and_1(labels):
    targets = targets_of(pd.DataFrame({"label": labels}), ("c", "a", "b"), "multi")
    assert targets.shape == (len(labels), 3)
    assert [{"cab"[place] for place in np.flatnonzero(row)} for row in targets] == [set(tags) for tags in labels]


@moderately
@given(counts=st.lists(st.integers(2, 60), min_size=2, max_size=8), share=SHARES, seed=SEEDS)
def test_every_class_has_its_share_within_one_row(counts, share, seed):
    targets = shuffled(counts)
    validates = draw_split(targets, share, seed)
    assert validates.shape == targets.shape
    assert validates.dtype == bool
    assert validates.sum() == max(round(len(targets) * share), len(counts))
    of_class = np.bincount(targets[validates], minlength=len(counts))
    assert np.abs(of_class - np.array(counts) * validates.mean()).max() <= 1
    assert (of_class < counts).all()


@moderately
@given(
    counts=st.lists(st.integers(1, 20), min_size=2, max_size=30),
    share=st.sampled_from([0.1, 0.2, 0.3, 0.5]),
    seed=SEEDS,
)
def test_every_class_trains_however_rare_it_is(counts, share, seed):
    targets = shuffled(counts)
    try:
        validates = draw_split(targets, share, seed)
    except DataError:
        assume(False)
    assert 0 < validates.sum() < len(targets)
    assert (np.bincount(targets[~validates], minlength=len(counts)) > 0).all()
    assert not validates[np.array(counts)[targets] == 1].any()


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, rows=st.integers(60, 250), tags=st.integers(2, 12), share=st.sampled_from([0.2, 0.25, 0.5]))
def test_every_tag_of_ten_images_is_on_both_sides(seed, rows, tags, share):
    targets = tags_drawn(seed, rows, tags)
    validates = draw_split(targets, share, seed)
    assert validates.mean() == pytest.approx(share, abs=0.08)
    often = targets.sum(axis=0) >= 10
    assert (targets[validates].sum(axis=0)[often] > 0).all()
    assert (targets[~validates].sum(axis=0)[often] > 0).all()


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_common_tags_keep_their_share(share):
    targets = tags_drawn(3, 600, 8)
    validates = draw_split(targets, share, 0)
    assert targets[validates].mean(axis=0) == pytest.approx(targets.mean(axis=0), abs=0.03)


@pytest.mark.parametrize("targets", [shuffled([30, 40, 50]), tags_drawn(0, 120, 5)], ids=["single", "multi"])
def test_the_same_seed_draws_the_same_split_and_another_seed_another(targets):
    splits = [draw_split(targets, 0.2, seed) for seed in range(5)]
    for seed, split in enumerate(splits):
        np.random.default_rng(99).shuffle(np.arange(9))
        assert np.array_equal(draw_split(targets, 0.2, seed), split)
    assert len({split.tobytes() for split in splits}) == 5


def test_the_split_does_not_depend_on_nor_touch_numpys_global_random_state():
    for targets in (shuffled([30, 40]), tags_drawn(0, 80, 4)):
        np.random.seed(1)
        first = draw_split(targets, 0.2, 0)
        np.random.seed(2)
        assert np.array_equal(draw_split(targets, 0.2, 0), first)


@pytest.mark.parametrize(
    "targets",
    [
        shuffled([1, 1]),
        shuffled([1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        shuffled([2, 1]),
        shuffled([2] * 3 + [1] * 50),
        np.array([[1, 0]]),
        np.array([[1, 0], [0, 1]]),
        np.array([[1, 0], [0, 1], [1, 1]]),
    ],
    ids=lambda targets: "x".join(map(str, targets.shape)),
)
def test_too_few_images_to_split_are_an_error_or_a_split_with_two_sides(targets):
    try:
        validates = draw_split(targets, 0.2, 0)
    except DataError as error:
        assert "too few" in str(error)  # noqa: PT017
        assert "--all-data" in str(error)  # noqa: PT017
    else:
        assert 0 < validates.sum() < len(targets)


@pytest.mark.parametrize("targets", [shuffled([1, 1]), shuffled([1] * 10), np.array([[1, 0], [0, 1]])])
def test_images_that_cannot_be_split_are_refused(targets):
    with pytest.raises(DataError, match=r"too few to split off 20% for validation"):
        draw_split(targets, 0.2, 0)
