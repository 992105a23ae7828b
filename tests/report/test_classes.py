import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, fbeta_score, precision_score, recall_score

from comp.report import classes as of_classes
from comp.report.outcomes import judge


def drawn(rows, classes, *, tags=False, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(2, size=(rows, classes)) if tags else rng.integers(classes, size=rows)
    probabilities = rng.random((rows, classes)) if tags else rng.dirichlet(np.ones(classes), rows)
    return judge(
        [str(row) for row in range(rows)],
        [""] * rows,
        targets,
        probabilities,
        [f"c{place}" for place in range(classes)],
    )


@pytest.mark.parametrize("tags", [False, True])
def test_figures_are_scikit_learn_s_of_each_class_against_the_rest(tags):
    outcomes = drawn(300, 4, tags=tags)
    truth, predicted = (part if tags else np.eye(4)[part] for part in (outcomes.targets, outcomes.predicted))
    for place, one in enumerate(of_classes.figures(outcomes, beta=2)):
        of_it, said = truth[:, place], predicted[:, place]
        assert (one.images, one.predicted) == (of_it.sum(), said.sum())
        assert one.precision == pytest.approx(precision_score(of_it, said))
        assert one.recall == pytest.approx(recall_score(of_it, said))
        assert one.score == pytest.approx(fbeta_score(of_it, said, beta=2))
        assert one.average_precision == pytest.approx(average_precision_score(of_it, outcomes.probabilities[:, place]))


def test_what_there_is_nothing_to_count_from_is_no_number():
    outcomes = judge(
        ["a", "b"], ["", ""], np.array([0, 0]), np.array([[0.9, 0.1, 0], [0.8, 0.1, 0.1]]), ["a", "b", "c"]
    )
    _, absent, _ = of_classes.figures(outcomes)
    assert absent.images == 0
    assert np.isnan([absent.precision, absent.recall, absent.average_precision, absent.loss]).all()


def test_the_mean_loss_of_classes_is_the_log_loss():
    outcomes = drawn(200, 3)
    found = of_classes.figures(outcomes)
    mean = sum(one.loss * one.images for one in found) / 200
    assert mean == pytest.approx(outcomes.losses.mean())


def test_reliability_is_scikit_learn_s_curve_and_its_error_the_mean_distance():
    rng = np.random.default_rng(0)
    confidence = rng.random(500)
    true = rng.random(500) < confidence**2
    predicted, observed, counts, error = of_classes.reliability(confidence, true)
    theirs = calibration_curve(true, confidence, n_bins=of_classes.BINS)
    assert observed == pytest.approx(theirs[0])
    assert predicted == pytest.approx(theirs[1])
    assert error == pytest.approx((np.abs(theirs[0] - theirs[1]) * counts).sum() / 500)
    assert 0.1 < error < 0.25


def test_what_is_calibrated_is_the_second_of_two_the_class_predicted_of_many_and_every_tag():
    two = judge(["a", "b"], [""] * 2, np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), ["cat", "dog"])
    confidence, true = of_classes.confidences(two, two.probabilities)
    assert (confidence.tolist(), true.tolist()) == ([0.1, 0.2], [False, True])
    many = judge(["a"], [""], np.array([2]), np.array([[0.6, 0.3, 0.1]]), ["cat", "dog", "emu"])
    confidence, true = of_classes.confidences(many, many.probabilities)
    assert (confidence.tolist(), true.tolist()) == ([0.6], [False])
    tags = drawn(5, 3, tags=True)
    assert [len(part) for part in of_classes.confidences(tags, tags.probabilities)] == [15, 15]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([1.0, 2.0]))
def test_a_threshold_s_curve_is_scikit_learn_s_score_at_every_candidate(seed, beta):
    outcomes = drawn(40, 2, tags=True, seed=seed)
    truth, probabilities = outcomes.targets[:, 0], outcomes.probabilities[:, 0]
    curve = of_classes.threshold_curve(truth, probabilities, beta)
    for place in (0, 19, 49, 98):
        said = probabilities > of_classes.CANDIDATES[place]
        assert curve[place] == pytest.approx(fbeta_score(truth, said, beta=beta, zero_division=0))
