import numpy as np
import pandas as pd
import pytest

from comp import ClassName, LabelFunction, Metric, NumberPerRow, ProbabilityOf, ProbabilityPerRow, weighted_log_loss
from comp.errors import SubmissionError
from comp.submission.grading import compared, grader
from tests.declare.conftest import declare


def named(_targets, _probabilities, classes):
    return classes.index("cat")


def table(values):
    return pd.DataFrame({"id": [f"{row}" for row in range(len(values))], "label": values})


def test_classes_that_no_answer_shows_may_be_given():
    answers, given = table(["a", "c", "c", "d"]), table(["a", "c", "d", "d"])
    competition = declare(submission=ClassName(), metric="quadratic_kappa")
    apart, by_chance = 1 / 4, 44 / 16  # as b lies between a and c
    of_all = competition.scoring(*compared(competition, answers, given, ("a", "b", "c", "d")))
    assert of_all == pytest.approx(1 - apart / by_chance)
    assert of_all > grader(competition)(answers, given)

    mine = Metric("mine", "probabilities", higher_is_better=True, score=named, named=True)
    competition = declare(submission=ProbabilityOf("dog"), metric=mine)
    found = compared(competition, table(["1", "0"]), table(["0.9", "0.2"]), ("cat", "dog"))
    assert competition.scoring(*found) == 0


@pytest.mark.parametrize("weights", [{"cat": 3}, {"cat": 3, "dog": 1}, {"dog": 1 / 3}])
def test_the_other_of_two_classes_is_known_to_the_grader_where_the_metric_weighs_it(weights):
    competition = declare(submission=ProbabilityOf("dog"), metric=weighted_log_loss(weights))
    score = grader(competition)(table(["1", "0"]), table(["0.9", "0.2"]))
    assert score == pytest.approx(-(np.log(0.9) + 3 * np.log(0.8)) / 4)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("rmse", np.sqrt(np.mean([1, 0, 9, 4]))),
        ("mcrmse", np.mean([np.sqrt((1 + 0 + 9) / 3), 2])),
        ("mae", np.mean([4 / 3, 2])),
    ],
)
def test_images_that_lack_columns_are_graded_on_those_they_have(metric, expected):
    rows = ["a:x", "c:x", "b:y", "b:x"]
    answers, given = (
        pd.DataFrame({"id": rows, "value": [str(value) for value in values]}) for values in ([1, 2, 3, 4], [2, 2, 5, 7])
    )
    form = NumberPerRow(["x", "y"], row="{id}:{class}")
    grade = grader(declare(labels=LabelFunction(str, "number"), submission=form, metric=metric))
    assert grade(answers, given.iloc[::-1]) == pytest.approx(expected)
    assert grade(answers, answers) == 0
    with pytest.raises(SubmissionError, match="each of the 4 ids"):
        grade(answers, given[1:])


def test_a_metric_that_compares_the_columns_of_an_image_has_no_score_where_some_lack_them():
    answers = pd.DataFrame({"id": ["a:x", "b:x", "b:y"], "value": ["1", "0", "1"]})
    form = ProbabilityPerRow(["x", "y"], row="{id}:{class}")
    alike = Metric("mine", "probabilities", higher_is_better=True, score=named, named=True)
    for target, metric in (("single", "log_loss"), ("multi", alike)):
        competition = declare(labels=LabelFunction(str, target), submission=form, metric=metric)
        with pytest.raises(SubmissionError, match=r"no row of some columns .* compares all columns of an image"):
            grader(competition)(answers, answers)
    columns = declare(labels=LabelFunction(str, "multi"), submission=form, metric="mean_columnwise_roc_auc")
    assert grader(columns)(answers, answers) == 1  # y has no score, as all its answers are 1
