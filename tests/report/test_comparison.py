import numpy as np
import pytest

from comp.report.comparison import differences, gain, of_rows
from comp.report.outcomes import judge


def outcomes(probabilities, targets):
    ids = [f"i{row}" for row in range(len(targets))]
    return judge(ids, ["valid"] * len(ids), np.array(targets), np.array(probabilities, float), ["cat", "dog"])


def test_only_fields_that_differ_are_named_by_where_they_stand():
    first = {"seed": 0, "recipe": {"dropout": 0.5, "stages": [{"size": 64}, {"size": 128}]}, "command": "comp train a"}
    other = {"seed": 0, "recipe": {"dropout": 0.0, "stages": [{"size": 64}]}, "command": "comp train b"}
    assert differences([first, other]) == [
        ("recipe.dropout", ["0.5", "0.0"]),
        ("recipe.stages.2.size", ["128", "–"]),
    ]
    assert differences([first, first]) == []


def test_values_are_said_in_words():
    rows = differences([{"fold": None, "all_data": True, "list": [1, 2]}, {"fold": 1, "all_data": False, "list": []}])
    assert rows == [("fold", ["–", "1"]), ("all_data", ["yes", "no"]), ("list", ["1, 2", ""])]


def test_a_gain_counts_what_is_right_in_one_alone_and_what_of_the_loss_is_saved():
    one = outcomes([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], [0, 0, 0])
    other = outcomes([[0.4, 0.6], [0.8, 0.2], [0.7, 0.3]], [0, 0, 0])
    found = gain(one, other)
    assert (found.images, found.better, found.worse) == (3, 1, 1)
    assert found.loss == pytest.approx((np.log(0.9 / 0.4) + np.log(0.4 / 0.7)) / 3)
    back = gain(other, one)
    assert (back.better, back.worse, back.loss) == (1, 1, pytest.approx(-found.loss))


def test_a_difference_is_certain_only_beyond_its_standard_errors():
    targets = [0] * 50
    sure, less, noisy = (
        outcomes(np.stack([chances, 1 - chances], axis=1), targets)
        for chances in (np.full(50, 0.9), np.full(50, 0.8), np.random.default_rng(0).uniform(0.8, 0.99, 50))
    )
    assert gain(sure, less).certain
    assert not gain(sure, noisy).certain
    assert not gain(of_rows(sure, np.array([0])), of_rows(less, np.array([0]))).certain


def test_rows_are_taken_with_all_that_is_known_of_them():
    whole = outcomes([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], [0, 1, 0])
    part = of_rows(whole, np.array([2, 0]))
    assert part.ids == ["i2", "i0"]
    assert part.right.tolist() == [False, True]
    assert part.losses.tolist() == [whole.losses[2], whole.losses[0]]
