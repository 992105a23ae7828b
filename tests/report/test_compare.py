import re

import numpy as np
import pytest

from comp.errors import RunError
from comp.report.compare import compare, comparison, differences, gain
from comp.report.outcomes import errors_of_classes
from tests.report.conftest import Page
from tests.report.test_outcomes import judged

ANIMALS = ("cat", "dog")


def test_a_comparison_says_what_the_second_gains_on_the_images_of_both(made):
    weak, strong = (made.run(knows=knows, seed=1) for knows in (0.2, 3.0))
    page = Page(compare(made.competition, [weak, strong], made.workspace))
    assert "Gains over standard-1" in page.text
    assert "standard-2 12" in page.text
    assert "more than chance" in page.text
    assert re.search(r"accuracy gained.*\+0\.\d{5} ± 0\.\d{5}", page.text)


def test_classes_are_compared_on_the_images_that_validated_in_all_runs(made):
    half = np.where(np.arange(36) % 6 == 0, "valid", "train")
    wide, narrow = made.run(knows=0.2, seed=1), made.run(half, knows=3.0, seed=2)
    found = comparison(made.competition, [wide, narrow], made.workspace)
    assert [one.images for one in found["gains"]] == [6]
    assert sum(images for _, images, *_ in found["per_class"]) == 6
    for _, _, first, ((score, change, _),) in found["per_class"]:
        assert change == pytest.approx(score - first, nan_ok=True)


def test_a_difference_of_classes_is_certain_only_beyond_what_images_by_chance_make():
    truth = np.arange(200) % 2
    good, bad = truth.copy(), truth.copy()
    bad[:60], good[:2] = 1 - truth[:60], 1 - truth[:2]
    outcomes = [judged(truth, np.eye(2)[answers], ANIMALS) for answers in (good, bad)]
    errors = errors_of_classes(*outcomes, beta=1.0)
    assert ((errors > 0.01) & (errors < 0.08)).all()
    assert (errors_of_classes(outcomes[0], outcomes[0], 1.0) == 0).all()


def test_a_comparison_is_of_two_runs_or_more_of_one_competition_and_without_gains_where_they_share_no_image(made):
    first, second, _ = made.folds(3)
    page = Page(compare(made.competition, [first, second], made.workspace))
    assert "no image validated in both" in page.text
    assert "fold" in page.text
    with pytest.raises(RunError, match="two runs or more"):
        compare(made.competition, [first], made.workspace)
    other = made.run(competition="planet")
    with pytest.raises(RunError, match=r"is a run of planet and shades/standard-1 of shades"):
        compare(made.competition, [first, other], made.workspace)


def test_only_fields_that_differ_are_named_by_where_they_stand():
    first = {"seed": 0, "recipe": {"dropout": 0.5, "stages": [{"size": 64}, {"size": 128}]}, "command": "comp train a"}
    other = {"seed": 0, "recipe": {"dropout": 0.0, "stages": [{"size": 64}]}, "command": "comp train b"}
    assert differences([first, other]) == [("recipe.dropout", ["0.5", "0.0"]), ("recipe.stages.2.size", ["128", "–"])]
    assert differences([first, first]) == []
    one = {"fold": None, "all_data": True, "list": [1, 2], "word": "mean"}
    rows = differences([one, {"fold": 1, "all_data": False, "list": [], "word": ""}])
    in_words = {"fold": ["–", "1"], "all_data": ["yes", "no"], "list": ["1, 2", "none"], "word": ["mean", "–"]}
    assert dict(rows) == in_words


def test_a_gain_counts_what_is_right_in_one_alone_and_how_much_of_the_loss_is_saved():
    one = judged([0, 0, 0], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]], ANIMALS)
    other = judged([0, 0, 0], [[0.4, 0.6], [0.8, 0.2], [0.7, 0.3]], ANIMALS)
    found, back = gain(one, other), gain(other, one)
    assert (found.images, found.better, found.worse) == (3, 1, 1)
    assert found.loss == pytest.approx((np.log(0.9 / 0.4) + np.log(0.4 / 0.7)) / 3) == -back.loss


def test_a_difference_is_certain_only_beyond_its_standard_errors():
    sure, less, noisy = (
        judged([0] * 50, np.stack([chances, 1 - chances], axis=1), ANIMALS)
        for chances in (np.full(50, 0.9), np.full(50, 0.8), np.random.default_rng(0).uniform(0.8, 0.99, 50))
    )
    assert gain(sure, less).certain
    assert not gain(sure, noisy).certain
    assert not gain(sure.take(np.array([0])), less.take(np.array([0]))).certain
