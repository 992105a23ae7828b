from operator import itemgetter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.metrics import METRICS
from comp.submission import tuning
from comp.submission.jackknife import STANDARD_ERRORS, error_of
from comp.submission.tuning import tune
from comp.submission.uncertainty import FINE
from tests.declare.conftest import scored_by
from tests.submission.conftest import counted, graded, tags_drawn


def share_right(right, wrong):
    """A function that scores rows by their share of right ones, and the number of rows."""
    rows = np.arange(right + wrong) < right
    return lambda some: rows[some].mean(), right + wrong


@pytest.mark.parametrize(("right", "wrong"), [(180, 20), (1200, 800)])
def test_the_standard_error_of_an_accuracy_is_that_of_a_binomial(right, wrong):
    share = right / (right + wrong)
    expected = (share * (1 - share) / (right + wrong)) ** 0.5
    assert error_of(*share_right(right, wrong), blocks=FINE) == pytest.approx(expected, rel=0.15)


def test_rows_that_are_copies_of_each_other_say_no_more_than_one_of_them():
    alone, of_eight = error_of(*share_right(45, 5), blocks=FINE), share_right(360, 40)
    grouped = error_of(*of_eight, groups=np.repeat(np.arange(50), 8).astype(str), blocks=FINE)
    assert grouped == pytest.approx(alone, rel=1e-6)
    assert error_of(*of_eight, blocks=FINE) < 0.6 * grouped


def test_what_some_rows_have_no_score_without_has_no_known_error():
    targets, probabilities = np.array([0, 0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.5, 0.5]])
    metric = METRICS["roc_auc"]
    assert error_of(lambda some: metric(targets[some], probabilities[some], "ab"), 4) == np.inf


@pytest.mark.long
@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(30, 200),
    st.sampled_from(["quadratic_kappa", "macro_f1_of_tags", "micro_f1", "pf1"]),
)
def test_what_is_tuned_is_the_surest_of_all_candidates_with_fewer_scores(seed, rows, name):
    rng, metric = np.random.default_rng(seed), METRICS[name]
    names, target = "ab" if name == "pf1" else "0123", "multi" if metric.takes == "tags" else "single"
    targets, probabilities = tags_drawn(rng, rows, 4, 0.4) if target == "multi" else graded(rng, rows)
    if name == "pf1":
        targets, probabilities = targets % 2, np.c_[1 - probabilities[:, 0], probabilities[:, 0]]

    def surest(start, candidates, worth, probabilities):
        """Compute every candidate's gain and its jackknife over all blocks."""

        def gain(candidate, rows=slice(None)):
            return worth(candidate(probabilities), rows) - worth(start(probabilities), rows)

        sure = [
            (gain(one) - STANDARD_ERRORS * error_of(lambda some, one=one: gain(one, some), rows), one)
            for one in candidates
        ]
        return max([(0.0, start), *sure], key=itemgetter(0))[1]

    (own, few), (again, many) = counted(metric), counted(metric)
    quick = tune(scored_by(own, target), names, targets, probabilities)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "surest", surest)
        slow = tune(scored_by(again, target), names, targets, probabilities)
    assert quick == slow
    assert len(few) < len(many)
