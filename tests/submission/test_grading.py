import numpy as np
import pandas as pd
import pytest

from comp import ClassName, Metric, ProbabilityOf, weighted_log_loss
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
