import numpy as np
from sklearn.metrics import confusion_matrix

from comp.report.confusion import MOST, confuse
from comp.report.matrices import confusion_cells, together_cells


def drawn(rows, classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(classes, size=rows), rng.integers(classes, size=rows)


def names(count):
    return [f"c{place}" for place in range(count)]


def test_few_classes_stand_in_their_order():
    targets, predicted = drawn(100, 5)
    confusion = confuse(targets, predicted, names(5))
    assert confusion.names == names(5)
    assert (confusion.counts == confusion_matrix(targets, predicted)).all()


def test_many_classes_are_the_same_counts_with_the_confused_side_by_side():
    targets = np.repeat(np.arange(60), 10)
    predicted = targets.copy()
    predicted[:5], predicted[590:595] = 59, 0  # the first and the last are taken for each other
    confusion = confuse(targets, predicted, names(60))
    assert sorted(confusion.places) == list(range(60))
    first, last = (list(confusion.places).index(place) for place in (0, 59))
    assert abs(first - last) == 1
    assert confusion.counts[first, last] == 5
    assert confusion.counts.sum() == 600


def test_of_more_classes_than_can_be_read_the_least_confused_are_left_out():
    count = MOST + 30
    targets = np.repeat(np.arange(count), 2)
    predicted = np.where(targets < 20, (targets + 1) % 20, targets)
    confusion = confuse(targets, predicted, names(count))
    assert confusion.left_out == 30
    assert set(range(20)) <= set(confusion.places.tolist())
    assert confusion.counts.shape == (MOST, MOST)


def test_cells_are_right_on_the_diagonal_and_empty_where_nothing_was_counted():
    confusion = confuse(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["cat", "dog"])
    (cat, (right, wrong)), (dog, (none, all_right)) = confusion_cells(confusion)
    assert (cat, dog) == ("cat", "dog")
    assert (right.kind, right.text, wrong.kind, wrong.text) == ("r", "2", "w", "1")
    assert wrong.share == 1 / 3
    assert wrong.title == "1 of cat predicted as dog"
    assert none is None
    assert all_right.share == 1


def test_tags_that_come_together_are_counted_as_shares_of_the_row_s():
    tags = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0]])
    rows = dict(together_cells(tags, ["clear", "road", "water"]))
    assert [cell and cell.text for cell in rows["clear"]] == ["4", "2", "1"]
    assert [cell and cell.text for cell in rows["road"]] == ["2", "2", None]
    assert rows["clear"][1].share == 0.5
    assert rows["road"][0].share == 1
    assert rows["road"][0].title == "2 of 2 with road have clear"
