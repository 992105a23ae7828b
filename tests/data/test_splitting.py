import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from comp.data.splitting import draw_folds, draw_hidden, draw_inner_folds, draw_split, strata
from comp.data.tables import Tables, folds_of, split_of
from comp.data.targets import targets_of
from comp.errors import DataError

SHARES = st.sampled_from([0.05, 0.1, 0.2, 0.25, 1 / 3, 0.5])
SEEDS = st.integers(0, 2**32 - 1)
KINDS = pytest.mark.parametrize("kind", ["single", "multi"])
moderately = settings(max_examples=10, deadline=None)


def shuffled(counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def tags_drawn(seed, rows, tags):
    rng = np.random.default_rng(seed)
    return (rng.uniform(size=(rows, tags)) < rng.uniform(0.02, 0.9, tags)).astype(np.int64)


def targets_drawn(kind, seed, rows, classes):
    if kind == "multi":
        return tags_drawn(seed, rows, classes)
    return np.random.default_rng(seed).integers(0, classes, rows)


def groups_drawn(seed, rows, groups):
    """A group name per row; each of the ``groups`` groups has a row at least."""
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(np.append(np.arange(groups), rng.integers(0, groups, rows - groups)))
    return np.array([f"patient {number}" for number in numbers])


def assert_whole(parts, groups):
    """Assert that each group is in one part."""
    assert (pd.Series(parts).groupby(groups).nunique() == 1).all()


@moderately
@given(labels=st.lists(st.sets(st.sampled_from("abc")).map(tuple), min_size=1))
def test_labels_become_places_of_classes_or_columns_of_0_and_1(labels):
    tags = targets_of(pd.DataFrame({"label": labels}), ("c", "a", "b"), "multi")
    assert tags.shape == (len(labels), 3)
    assert [{"cab"[place] for place in np.flatnonzero(row)} for row in tags] == [set(names) for names in labels]
    classes = [names[0] for names in labels if names]
    targets = targets_of(pd.DataFrame({"label": classes}), ("c", "a", "b"), "single")
    assert ["cab"[place] for place in targets] == classes


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
@given(counts=st.lists(st.integers(1, 20), min_size=2, max_size=30), share=SHARES, seed=SEEDS)
def test_every_class_trains_however_rare_it_is(counts, share, seed):
    targets = shuffled(counts)
    try:
        validates = draw_split(targets, share, seed)
    except DataError:
        assume(False)
    assert 0 < validates.sum() < len(targets)
    assert (np.bincount(targets[~validates], minlength=len(counts)) > 0).all()
    assert not validates[np.array(counts)[targets] == 1].any()


@KINDS
@pytest.mark.parametrize(("groups", "of_rows", "of_classes"), [(None, 0.02, 0.02), (150, 0.03, 0.06)])
def test_each_part_has_nearly_its_share_of_rows_and_of_each_class(kind, groups, of_rows, of_classes):
    targets, names = targets_drawn(kind, 5, 600, 4), groups and groups_drawn(5, 600, groups)
    of_class = np.eye(4)[targets] if kind == "single" else targets
    folds = draw_folds(targets, 5, 0, names)
    splits = [(draw_split(targets, share, 0, names), share) for share in (0.1, 0.2, 0.5)]
    for part, share in (*splits, *((folds == fold, 0.2) for fold in range(5))):
        assert part.mean() == pytest.approx(share, abs=of_rows)
        assert of_class[part].sum(axis=0) / of_class.sum(axis=0) == pytest.approx([share] * 4, abs=of_classes)


@KINDS
@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups"])
@pytest.mark.parametrize("draw", [draw_split, draw_folds])
def test_what_is_drawn_follows_from_the_seed_and_not_from_numpy_s_global_state(kind, grouped, draw):
    targets, groups = targets_drawn(kind, 2, 90, 3), groups_drawn(2, 90, 40) if grouped else None
    how_many = 0.2 if draw is draw_split else 3
    drawn = [draw(targets, how_many, seed, groups) for seed in range(4)]
    for seed, parts in enumerate(drawn):
        np.random.seed(seed)
        assert np.array_equal(draw(targets, how_many, seed, groups), parts)
    assert len({parts.tobytes() for parts in drawn}) == 4


@pytest.mark.parametrize(
    "targets",
    [
        shuffled([1, 1]),
        shuffled([1] * 10),
        np.array([[1, 0], [0, 1]]),
        shuffled([2, 1]),
        shuffled([2] * 3 + [1] * 50),
        np.array([[1, 0]]),
        np.array([[1, 0], [0, 1], [1, 1]]),
    ],
    ids=lambda targets: "x".join(map(str, targets.shape)),
)
def test_too_few_images_to_split_are_an_error_or_a_split_with_two_sides(targets):
    try:
        validates = draw_split(targets, 0.2, 0)
    except DataError as error:
        assert "too few to split off 20% for validation" in str(error)  # noqa: PT017
        assert "--all-data" in str(error)  # noqa: PT017
    else:
        assert len(targets) > 2
        assert 0 < validates.sum() < len(targets)


@pytest.mark.filterwarnings("error")
@moderately
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=12), folds=st.integers(2, 10), seed=SEEDS)
@example(counts=[1, 2, 3, 40], folds=5, seed=0)
def test_folds_have_every_class_and_all_rows_within_one_row_without_a_warning(counts, folds, seed):
    assume(sum(counts) >= folds)
    targets = shuffled(counts)
    drawn = draw_folds(targets, folds, seed)
    of_folds = np.bincount(drawn, minlength=folds)
    assert of_folds.sum() == len(targets)
    assert len(of_folds) == folds
    assert np.ptp(of_folds) <= 1
    assert of_folds.min() >= 1
    for label in range(len(counts)):
        assert np.ptp(np.bincount(drawn[targets == label], minlength=folds)) <= 1


@KINDS
@moderately
@given(
    seed=SEEDS,
    rows=st.integers(2, 120),
    groups=st.integers(2, 30),
    classes=st.integers(2, 8),
    folds=st.integers(2, 8),
    share=SHARES,
)
def test_parts_keep_groups_whole_and_none_is_empty(kind, seed, rows, groups, classes, folds, share):
    assume(rows >= max(groups, folds))
    targets, names = targets_drawn(kind, seed, rows, classes), groups_drawn(seed, rows, groups)
    assert set(draw_folds(targets, folds, seed)) == set(range(folds))
    validates = draw_split(targets, share, seed, names)
    assert 0 < validates.sum() < rows
    assert_whole(validates, names)
    if groups >= folds:
        drawn = draw_folds(targets, folds, seed, names)
        assert set(drawn) == set(range(folds))
        assert_whole(drawn, names)


def test_a_class_of_one_group_trains_where_another_group_can_validate():
    targets, groups = np.repeat([0, 1, 2], [40, 40, 10]), np.repeat(np.arange(9), 10)
    for seed in range(5):
        assert not draw_split(targets, 0.25, seed, groups)[targets == 2].any()


@KINDS
@pytest.mark.parametrize(
    ("draw", "how_many", "rows", "groups", "duplicates", "says"),
    [
        (draw_folds, 1, 10, None, None, "can't be split into 1 folds; ask for at least 2"),
        (draw_folds, 5, 4, None, None, "4 labelled images are too few for 5 folds"),
        (draw_folds, 5, 9, list("abc") * 3, None, "3 groups, too few for 5 folds"),
        (draw_folds, 3, 20, None, np.repeat([0, 1], 10), "are of 2 groups, too few for 3 folds"),
        (draw_split, 0.2, 10, ["a"] * 10, None, "All 10 labelled images are of one gr"),
        (draw_split, 0.2, 20, None, np.zeros(20, int), "duplicates of each other"),
    ],
)
def test_what_can_t_be_drawn_is_refused(kind, draw, how_many, rows, groups, duplicates, says):
    with pytest.raises(DataError, match=says):
        draw(targets_drawn(kind, 0, rows, 2), how_many, 0, groups, duplicates)


def sets_drawn(rng, rows, largest=4):
    """The duplicate group of each row; most rows are alone."""
    return rng.permutation(np.repeat(np.arange(rows), rng.choice([1, 1, 1, 1, largest], rows))[:rows])


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["single", "multi"]), count=st.integers(2, 6))
@example(seed=500, kind="multi", count=2)  # a tag's only training rows are duplicates of validation rows
def test_duplicates_are_on_one_side_and_in_one_fold_and_no_other_row_moves(seed, kind, count):
    rows, rng = 90, np.random.default_rng(seed)
    targets = shuffled([30, 30, 30], seed) if kind == "single" else tags_drawn(seed, rows, 4)
    duplicates = sets_drawn(rng, rows)
    alone = np.bincount(duplicates)[duplicates] == 1
    for drawn, before in (
        (draw_split(targets, 0.3, seed, duplicates=duplicates), draw_split(targets, 0.3, seed)),
        (draw_folds(targets, count, seed, duplicates=duplicates), draw_folds(targets, count, seed)),
    ):
        assert_whole(drawn, duplicates)
        assert (drawn[alone] == before[alone]).all()
        assert len(np.unique(drawn)) == len(np.unique(before))
    # Without duplicates nothing changes.
    none = rng.permutation(rows)
    for groups in (None, [f"{row // 3}" for row in range(rows)]):
        assert (draw_split(targets, 0.2, seed, groups, none) == draw_split(targets, 0.2, seed, groups)).all()
        assert (draw_folds(targets, count, seed, groups, none) == draw_folds(targets, count, seed, groups)).all()


@moderately
@given(seed=SEEDS)
def test_a_class_trains_though_all_its_images_are_duplicates(seed):
    targets = np.repeat([0, 1, 2], [20, 2, 3])
    duplicates = np.arange(25)
    duplicates[20:22], duplicates[22:25] = 20, 22
    validates = draw_split(targets, 0.3, seed, duplicates=duplicates)
    assert not validates[20:].any()
    assert validates[:20].any()


def test_every_fold_has_rows_though_nearly_all_are_duplicates():
    targets, duplicates = np.repeat([0, 1], 10), np.repeat([0, 1, 2, 3], [14, 3, 2, 1])
    for seed in range(20):
        folds = draw_folds(targets, 3, seed, duplicates=duplicates)
        assert set(folds) == {0, 1, 2}
        assert_whole(folds, duplicates)


@moderately
@given(seed=SEEDS)
def test_groups_that_share_duplicates_are_one(seed):
    rng = np.random.default_rng(seed)
    targets, groups, duplicates = shuffled([30, 30], seed), rng.integers(12, size=60), np.arange(60)
    duplicates[rng.permutation(60)[:6]] = [0, 0, 1, 1, 2, 2]
    for parts in (draw_split(targets, 0.3, seed, groups, duplicates), draw_folds(targets, 2, seed, groups, duplicates)):
        assert_whole(parts, groups)
        assert_whole(parts, duplicates)


def test_what_a_class_keeps_shown_is_whole_where_groups_and_duplicates_are_a_chain():
    # In each of six chains, image 0 is the only one of its class; image 1 of its group is a duplicate in another.
    targets = np.array([[chain + 1, 0, 0, 0] for chain in range(6)]).ravel()
    groups = np.arange(24) // 2
    duplicates = np.array([[4 * chain + place for place in (0, 1, 1, 3)] for chain in range(6)]).ravel()
    able = np.arange(24) > 3
    with pytest.raises(DataError, match="without a class or a group being lost"):
        draw_hidden(targets, 0.3, 0, able, groups, duplicates)
    targets[-8:] = 0
    able[4] = False
    hidden = draw_hidden(targets, 0.3, 0, able, groups, duplicates)
    assert set(np.flatnonzero(hidden)) <= set(range(16, 24))
    assert_whole(hidden, groups)


@moderately
@given(seed=SEEDS, count=st.integers(2, 5))
def test_as_many_groups_as_folds_are_the_folds_also_where_a_group_has_duplicates(seed, count):
    rng = np.random.default_rng(seed)
    targets, groups = shuffled([30, 30], seed), rng.permutation(np.arange(60) % count)
    groups[:5] = 0
    duplicates = np.where(np.arange(60) < 5, 0, np.arange(60))
    for given_duplicates in (None, duplicates):
        folds = draw_folds(targets, count, seed, groups, given_duplicates)
        assert_whole(folds, groups)
        assert set(folds) == set(range(count))
    duplicates[np.flatnonzero(groups == 1)[0]] = 0
    with pytest.raises(DataError, match=f"{count - 1} groups, too few for {count} folds .*share duplicates"):
        draw_folds(targets, count, seed, groups, duplicates)


def tables_of(targets, **columns):
    train = pd.DataFrame({"id": [str(row) for row in range(len(targets))], **columns})
    return Tables(train, train, train, ("a", "b"), targets, 0)


@KINDS
def test_rows_that_only_train_are_in_no_fold_and_not_drawn_and_the_others_are_as_without_them(kind):
    targets, trains = targets_drawn(kind, 0, 90, 2), np.arange(90) % 3 == 0
    # Folds take validation and training rows of a given split alike.
    said = np.where(trains, False, np.where(np.arange(90) % 2, True, None))
    tables, others = tables_of(targets, validates=said), tables_of(targets[~trains])
    folds, validates = folds_of(tables, 4, 0), split_of(tables, 0.2, 0)
    assert (folds[trains] == -1).all()
    assert np.array_equal(folds[~trains], folds_of(others, 4, 0))
    assert not validates[trains].any()
    assert np.array_equal(validates[~trains], split_of(others, 0.2, 0))


def test_a_group_of_which_a_row_only_trains_is_in_no_fold():
    targets, groups = shuffled([30, 30]), np.arange(60) // 5
    folds = folds_of(tables_of(targets, group=groups, validates=[False] + [None] * 59), 3, 0)
    assert set(np.flatnonzero(folds < 0)) == set(range(5))
    assert_whole(folds, groups)


def test_where_all_rows_only_train_none_can_be_drawn():
    for draw in (lambda tables: folds_of(tables, 2, 0), lambda tables: split_of(tables, 0.2, 0)):
        with pytest.raises(DataError, match="All 9 labelled images only train"):
            draw(tables_of(np.arange(9) % 2, validates=[False] * 9))


@pytest.mark.parametrize(("of_groups", "trains"), [(3, 3), (3, 2), (2, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("kind", ["groups", "duplicates"])
def test_inner_folds_leave_out_some_training_rows_and_not_all_however_few_groups_there_are(kind, of_groups, trains):
    targets, belongs = shuffled([20, 20]), np.arange(40) % of_groups
    training = np.flatnonzero(belongs < trains)
    folds = draw_inner_folds(training, targets, 3, 0, **{kind: belongs})
    assert len(np.unique(folds[training])) == (3 if trains == 1 else min(3, trains))
    if trains > 1:
        assert_whole(folds, belongs)
    if of_groups == 3:
        assert np.array_equal(folds, draw_folds(targets, 3, 0, **{kind: belongs}))


@moderately
@given(rows=st.integers(20, 150), columns=st.integers(1, 3), seed=st.integers(0, 99))
def test_numbers_are_split_by_their_quantiles(rows, columns, seed):
    numbers = np.random.default_rng(seed).lognormal(size=(rows, columns))
    validates = draw_split(numbers, 0.25, seed)
    assert validates.sum() == pytest.approx(rows / 4, abs=2 if columns == 1 else 3 + rows / 20)
    folds = draw_folds(numbers, 4, seed)
    assert set(folds) == {0, 1, 2, 3}
    if columns == 1 and rows >= 40:
        low = numbers[:, 0] < np.median(numbers)
        assert np.ptp([low[folds == fold].mean() for fold in range(4)]) < 0.35


def test_numbers_that_are_nearly_all_the_same_make_few_strata():
    numbers = np.array([[0.0]] * 90 + [[1.0]] * 10)
    assert set(strata(numbers)) <= {0, 1}
    assert strata(np.array([[3.0]])).tolist() == [0]
    tags = np.array([[0, 1]])
    assert strata(tags) is tags
