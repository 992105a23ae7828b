import numpy as np
import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.metrics import METRICS, Metric
from comp.submission.postprocessing import Clip, Thresholds, untuned
from comp.submission.tuning import tune
from comp.submission.uncertainty import doubt, in_words, standard_errors
from tests.declare.conftest import scored_by
from tests.submission.conftest import drawn_by, of_two

BREEDS, PLANET, DIGITS = (
    competition_named(name, REPOSITORY_COMPETITIONS) for name in ("dog-breeds", "planet", "digits")
)


def drawn(rows, seed=0, temperature=1.5):
    """Targets, and probabilities (N, 3) that are over-confident by a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = drawn_by(rng, true)
    sure = true**temperature
    return targets, sure / sure.sum(axis=1, keepdims=True)


def test_the_right_temperature_lies_as_far_from_the_one_that_is_taken_as_is_said():
    """Temperatures drawn from the assumed distribution."""
    off, told = [], []
    for seed, right in enumerate(np.exp(np.random.default_rng(0).normal(0, 0.2, 60))):
        targets, predictions = drawn(40, seed, right)
        tuned = tune(BREEDS, "abc", targets, predictions)
        assert isinstance(tuned, Clip)
        if (said := standard_errors(BREEDS, "abc", targets, predictions, tuned).get("temperature")) is not None:
            off.append(np.log(tuned.temperature / right))
            told.append(said / tuned.temperature)
    assert len(off) > 40
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(np.median(told), rel=0.25)


def test_the_standard_error_of_a_mean_over_rows_is_that_of_the_mean():
    targets, predictions = drawn(4000)
    right = predictions.argmax(axis=1) == targets
    tuned = tune(DIGITS, "abc", targets, predictions)
    errors = standard_errors(DIGITS, "abc", targets, predictions, tuned)
    assert errors["tuned"] == pytest.approx(right.std() / np.sqrt(len(right)), rel=0.4)
    assert errors["gained"] == 0


def test_thresholds_have_a_standard_error_each():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (300, 2))
    predictions = (0.1 * targets + rng.normal(0.1, 0.02, targets.shape)).clip(0, 1)
    tuned = tune(PLANET, "ab", targets, predictions)
    assert isinstance(tuned, Thresholds)
    errors = standard_errors(PLANET, "ab", targets, predictions, tuned)
    assert len(errors["thresholds"]) == 2
    assert all(error < 0.1 for error in errors["thresholds"])
    assert "thresholds" in in_words(errors)


def test_decisions_by_a_score_of_one_s_own_which_may_be_slow_are_not_tuned_again():
    rng, calls = np.random.default_rng(0), []

    def score(*given):
        calls.append(1)
        return METRICS["quadratic_kappa"].score(*given, "012")

    targets, predictions = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90)
    found = {}
    for metric in ("quadratic_kappa", Metric("mine", "classes", True, score, tuned="grades")):
        tuned = untuned(scored_by(metric), "012")
        found[metric] = standard_errors(scored_by(metric), "012", targets, predictions, tuned)
    named, own = found.values()
    assert len(named.pop("cuts")) == 2
    assert own == named
    assert len(calls) < 50


def test_where_some_rows_would_have_no_threshold_none_has_a_standard_error():
    rng = np.random.default_rng(0)
    for _ in range(3):
        targets, predictions = of_two(rng, 400, 0.2, 1.8)
        tuned = tune(scored_by("pf1"), "ab", targets, predictions)
        errors = standard_errors(scored_by("pf1"), "ab", targets, predictions, tuned)
        assert "tuned" in errors
        assert "thresholds" not in errors


def test_few_rows_are_said_to_be_too_few_where_many_are_not():
    scores = {}
    for rows in (40, 4000):
        targets, predictions = drawn(rows)
        tuned = Clip(1e-7, 1.5, sums_to_one=True)
        scores[rows] = {"rows": rows, "standard_errors": standard_errors(BREEDS, "abc", targets, predictions, tuned)}
    assert "40 rows are too few" in doubt(scores[40])
    assert "--folds" in doubt(scores[40])
    assert "--folds" not in doubt(scores[40] | {"folds": [1]})
    assert doubt(scores[4000]) is None


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_of_two_rows_nothing_is_said(rows):
    targets, predictions = drawn(4)
    errors = standard_errors(BREEDS, "abc", targets[:rows], predictions[:rows], Clip(1e-7, sums_to_one=True))
    assert errors == {}
    assert doubt({"rows": rows, "standard_errors": errors}) is None
    assert doubt({"rows": rows}) is None
