import numpy as np
import pytest

from comp.declare.metrics import METRICS
from comp.submission.scoring import interval

ACCURACY = METRICS["accuracy"]


def answered(right, wrong):
    """Targets and predictions of two classes, so many of them right and wrong."""
    targets = np.arange(right + wrong) % 2
    return targets, np.where(np.arange(right + wrong) < right, targets, 1 - targets)


@pytest.mark.parametrize(("right", "wrong"), [(180, 20), (1200, 800)])
def test_the_interval_of_an_accuracy_is_that_of_a_binomial(right, wrong):
    low, high = interval(ACCURACY, *answered(right, wrong))
    share = right / (right + wrong)
    half = 1.96 * np.sqrt(share * (1 - share) / (right + wrong))
    assert low == pytest.approx(share - half, abs=half / 4)
    assert high == pytest.approx(share + half, abs=half / 4)


def test_rows_that_are_copies_of_each_other_say_no_more_than_one_of_them():
    targets, predictions = answered(45, 5)
    alone = interval(ACCURACY, targets, predictions)
    copies = interval(ACCURACY, *(np.repeat(column, 8) for column in (targets, predictions)))
    grouped = interval(
        ACCURACY, *(np.repeat(column, 8) for column in (targets, predictions)), groups=np.repeat(np.arange(50), 8)
    )
    assert grouped == pytest.approx(alone, abs=0.03)
    assert copies[1] - copies[0] < 0.6 * (grouped[1] - grouped[0])


def test_draws_that_have_no_score_do_not_count():
    targets, probabilities = np.array([0, 0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
    low, high = interval(METRICS["roc_auc"], targets, probabilities)
    assert 0 <= low <= high <= 1
    assert np.isnan(interval(METRICS["roc_auc"], targets[:3], probabilities[:3])).all()
