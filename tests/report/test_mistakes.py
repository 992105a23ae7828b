import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, log_loss

from comp.report.mistakes import most_confused, top_losses

ANIMALS = ("cat", "dog", "emu")
TAGS = ("clear", "cloudy", "road")


def chances(*rows):
    return np.array(rows, dtype=float)


def drawn(rows, classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(classes, size=rows), rng.dirichlet(np.ones(classes), rows)


def test_mistakes_are_counted_by_pair_the_most_frequent_first_then_by_name():
    targets = np.array([0, 0, 1, 2, 2, 1])
    probabilities = chances([0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1])
    table = most_confused(targets, probabilities, ANIMALS)
    assert list(table.columns) == ["label", "predicted", "count"]
    assert list(table.itertuples(index=False, name=None)) == [
        ("emu", "dog", 2),
        ("cat", "dog", 1),
        ("dog", "cat", 1),
        ("dog", "emu", 1),
    ]


def test_the_counts_are_those_of_the_confusion_matrix():
    targets, probabilities = drawn(200, 3)
    matrix = confusion_matrix(targets, probabilities.argmax(axis=1))
    table = most_confused(targets, probabilities, ANIMALS)
    assert len(table) == 6
    assert table["count"].is_monotonic_decreasing
    for label, predicted, count in table.itertuples(index=False):
        assert matrix[ANIMALS.index(label), ANIMALS.index(predicted)] == count


def test_without_a_mistake_the_table_is_empty_and_has_its_columns():
    for rows in (0, 3):
        table = most_confused(np.arange(rows), np.eye(3)[:rows], ANIMALS)
        assert table.empty
        assert list(table.columns) == ["label", "predicted", "count"]


def test_of_tags_the_missed_and_the_invented_are_counted_the_worst_first():
    targets = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 0]])
    probabilities = chances([0.9, 0.1, 0.4], [0.9, 0.6, 0.2], [0.1, 0.9, 0.7])
    table = most_confused(targets, probabilities, TAGS)
    assert list(table.itertuples(index=False, name=None)) == [("road", 2, 1), ("cloudy", 0, 1), ("clear", 0, 0)]
    assert list(table.columns) == ["tag", "missed", "invented"]
    assert list(table.index) == [0, 1, 2]


def test_a_tag_as_likely_as_not_is_not_predicted():
    table = most_confused(np.array([[1], [0]]), chances([0.5], [0.5]), ["road"])
    assert table.iloc[0].tolist() == ["road", 1, 0]


def test_the_dearest_image_comes_first_with_its_label_s_probability_and_loss():
    table = top_losses(
        ["a", "b", "c"], np.array([0, 1, 2]), chances([0.7, 0.2, 0.1], [0.8, 0.1, 0.1], [0, 0, 1]), ANIMALS
    )
    assert list(table.columns) == ["id", "label", "predicted", "probability", "loss"]
    assert list(table["id"]) == ["b", "a", "c"]
    assert list(table["label"]) == ["dog", "cat", "emu"]
    assert list(table["predicted"]) == ["cat", "cat", "emu"]
    assert table["probability"].tolist() == [0.1, 0.7, 1.0]
    assert table["loss"].tolist() == pytest.approx([-np.log(0.1), -np.log(0.7), 0], abs=1e-6)


def test_the_losses_mean_is_the_log_loss():
    targets, probabilities = drawn(50, 3)
    table = top_losses([str(row) for row in range(50)], targets, probabilities, ANIMALS)
    assert table["loss"].mean() == pytest.approx(log_loss(targets, probabilities))


def test_a_probability_of_nought_costs_much_but_not_infinitely():
    table = top_losses(["a"], np.array([0]), chances([0, 1, 0]), ANIMALS)
    assert table["probability"].tolist() == [0]
    assert table["loss"].tolist() == pytest.approx([-np.log(1e-7)])


def test_images_of_one_loss_stay_in_their_order():
    table = top_losses(list("bca"), np.array([0, 0, 0]), chances(*[[0.5, 0.5, 0]] * 3), ANIMALS)
    assert list(table["id"]) == ["b", "c", "a"]


def test_of_tags_the_one_that_costs_most_is_named_missed_or_invented():
    targets = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    probabilities = chances([0.9, 0.2, 0.1], [0.1, 0.9, 0.7], [0.1, 0.1, 0.2])
    table = top_losses(["a", "b", "c"], targets, probabilities, TAGS)
    assert table["id"].tolist() == ["a", "b", "c"]
    assert table["label"].tolist() == ["clear road", "cloudy", ""]
    assert table["predicted"].tolist() == ["-road", "+road", "+road"]
    assert table["probability"].tolist() == [0.1, 0.7, 0.2]
    by_hand = -np.log([0.9, 0.8, 0.1]).mean(), -np.log([0.9, 0.9, 0.3]).mean(), -np.log([0.9, 0.9, 0.8]).mean()
    assert table["loss"].tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("targets", [np.empty(0, int), np.empty((0, 3), int)])
def test_of_no_images_there_is_a_table_without_rows(targets):
    table = top_losses([], targets, np.empty((0, 3)), ANIMALS)
    assert isinstance(table, pd.DataFrame)
    assert table.empty
