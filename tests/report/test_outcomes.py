import numpy as np
import pytest

from comp.report.outcomes import judge, orders, worth_a_picture

ANIMALS = ("cat", "dog", "emu")


def drawn(rows, classes, *, tags=False, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(2, size=(rows, classes)) if tags else rng.integers(classes, size=rows)
    probabilities = rng.random((rows, classes)) if tags else rng.dirichlet(np.ones(classes), rows)
    names = [f"c{place}" for place in range(classes)]
    return judge([f"i{row}" for row in range(rows)], ["valid"] * rows, targets, probabilities, names)


def test_a_row_is_right_where_its_most_probable_class_is_the_label():
    outcomes = judge(["a", "b"], ["1", "2"], np.array([0, 2]), np.array([[0.6, 0.3, 0.1], [0.1, 0.5, 0.4]]), ANIMALS)
    assert outcomes.right.tolist() == [True, False]
    assert outcomes.predicted.tolist() == [0, 1]
    assert outcomes.losses == pytest.approx([-np.log(0.6), -np.log(0.4)])
    assert outcomes.dearest.tolist() == [0, 2]


def test_tags_are_right_only_together_by_their_thresholds():
    targets, probabilities = np.array([[1, 0, 1], [1, 0, 0]]), np.array([[0.9, 0.3, 0.25], [0.9, 0.3, 0.05]])
    usual, tuned = (
        judge(["a", "b"], ["valid"] * 2, targets, probabilities, ANIMALS, limits) for limits in (None, [0.5, 0.35, 0.2])
    )
    assert usual.right.tolist() == [False, True]
    assert tuned.right.tolist() == [True, True]
    assert usual.dearest.tolist() == [2, 1]


def test_a_row_is_least_certain_where_all_is_as_likely():
    outcomes = judge(
        ["a", "b", "c"], [""] * 3, np.array([0, 0, 0]), np.array([[1, 0, 0], [1 / 3] * 3, [0.5, 0.5, 0]]), ANIMALS
    )
    assert outcomes.uncertainty == pytest.approx([0, 1, np.log(2) / np.log(3)], abs=1e-4)
    assert orders(outcomes)["uncertain"].tolist() == [1, 2, 0]
    tags = judge(["a", "b"], [""] * 2, np.array([[1, 0], [1, 0]]), np.array([[0.5, 0.5], [1.0, 0.0]]), ANIMALS[:2])
    assert tags.uncertainty == pytest.approx([1, 0], abs=1e-4)


def test_the_most_surely_right_are_right_and_cost_least():
    outcomes = drawn(200, 4)
    sure = orders(outcomes)["sure"]
    assert outcomes.right[sure].all()
    assert len(sure) == outcomes.right.sum()
    assert (np.diff(outcomes.losses[sure]) >= 0).all()


@pytest.mark.parametrize("tags", [False, True])
@pytest.mark.parametrize("classes", [2, 40])
def test_pictures_are_of_every_class_and_of_the_ends_of_every_order(tags, classes):
    outcomes = drawn(1000, classes, tags=tags)
    chosen = worth_a_picture(outcomes, 100)
    assert len(chosen) == len(set(chosen)) == 100
    assert (np.diff(outcomes.losses[chosen]) <= 0).all()
    for order, count in {"loss": 35, "uncertain": 15, "sure": 15}.items():
        assert set(orders(outcomes)[order][:count].tolist()) <= set(chosen)
    of_class = (
        outcomes.targets[chosen].sum(axis=0) if tags else np.bincount(outcomes.targets[chosen], minlength=classes)
    )
    assert (of_class > 0).all()


def test_of_few_rows_all_are_pictures():
    assert sorted(worth_a_picture(drawn(7, 3), 100)) == list(range(7))
