import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.metrics import METRICS, Metric, weighted_log_loss
from comp.errors import DeclarationError
from tests.declare.conftest import scored_by

TWO_CLASSES = {"f1", "pauc", "pf1"}
moderately = settings(max_examples=10, deadline=None)


def draw(seed):
    return np.random.default_rng(seed)


def test_each_metric_is_listed_by_its_name_and_knows_its_direction():
    assert all(metric.name == name for name, metric in METRICS.items())
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == [
        "log_loss",
        "weighted_log_loss",
        "rmse",
        "mcrmse",
        "mae",
    ]


@pytest.mark.parametrize("found", [1, 1.5, np.float32(2), np.array(3)])
def test_a_metric_of_one_s_own_is_asked_for_a_number(found):
    assert Metric("mine", "classes", True, lambda targets, predictions: found)([0], [1]) == found
    assert (
        Metric("mine", "classes", True, lambda targets, predictions, names: len(names), named=True)([0], [1], "ab") == 2
    )


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (lambda targets, predictions: targets == predictions, "an array of shape (3,)"),
        (lambda targets, predictions: None, "None"),
        (lambda targets, predictions: "good", "'good'"),
        (lambda targets: 1.0, "TypeError"),
        (lambda targets, predictions: targets[7], "given targets (3,) and classes (3,): <lambda> raises IndexError"),
    ],
)
def test_a_metric_that_gives_no_number_is_told_so(score, said):
    with pytest.raises(DeclarationError, match=r"^Metric 'mine': `score`") as error:
        Metric("mine", "classes", True, score)(np.arange(3), np.arange(3))
    assert said in str(error.value)


OF_TWO = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
NUMBERS, GUESSED = np.array([[1.0, 10], [2, 20], [3, 60]]), np.array([[1.0, 12], [4, 20], [3, 60]])
# Columns are in order, the wrong way round, and tied; the last has one value.
COLUMNS = np.array([[1, 1, 0, 1], [0, 0, 1, 1]])
OF_COLUMNS = np.array([[0.9, 0.2, 0.5, 0.3], [0.1, 0.4, 0.5, 0.8]])
BY_HAND = {
    # A class that doesn't occur; a confident mistake, at the smallest probability; tags, over all cells.
    "log_loss": [
        ([2], [[0.5, 0.25, 0.25]], np.log(4)),
        ([0, 1], [[0.0, 1.0], [0.0, 1.0]], -np.log(np.finfo(float).eps) / 2),
        ([[1, 0], [0, 0]], [[0.5, 0.5], [0.5, 0.75]], (3 * np.log(2) + np.log(4)) / 4),
    ],
    "accuracy": [([0, 1, 2, 2], [0, 1, 1, 2], 3 / 4)],
    # F1 of 0, 1 and 2: 1, 2/3 and 2/3.
    "macro_f1": [([0, 1, 2, 2], [0, 1, 1, 2], (1 + 2 / 3 + 2 / 3) / 3)],
    # Found, missed, and in neither.
    "macro_f1_of_tags": [([[1, 1, 0], [0, 1, 0]], [[1, 0, 0], [1, 1, 0]], (2 / 3 + 2 / 3 + 0) / 3)],
    # A tag too few, no tag, and no tag in either.
    "mean_f1": [([[1, 1], [1, 0], [0, 0]], [[1, 0], [0, 0], [0, 0]], 2 / 3 / 3)],
    # Recall counts more: a tag too many costs less than one too few.
    "mean_f2": [([[1, 1, 0]], [[1, 1, 1]], 5 * 2 / (4 * 2 + 3)), ([[1, 1, 0]], [[1, 0, 0]], 5 * 1 / (4 * 2 + 1))],
    # Of two ones and two zeros three pairs are in order, or two and a tie; of three classes all, all, 1 of 2 and a tie.
    "roc_auc": [
        ([0, 1, 1, 0], OF_TWO, 3 / 4),
        ([0, 1], [[0.5, 0.5], [0.5, 0.5]], 1 / 2),
        ([0, 1, 2], [[0.8, 0.1, 0.1], [0.1, 0.5, 0.4], [0.1, 0.5, 0.4]], (1 + 3 / 4 + 3 / 4) / 3),
        ([0, 0], OF_TWO[:2], None),
    ],
    "mean_columnwise_roc_auc": [(COLUMNS, OF_COLUMNS, (1 + 0 + 1 / 2) / 3), (COLUMNS[:, 3:], OF_COLUMNS[:, 3:], None)],
    # Two of two zeros and one of two ones are right, or one of three of a class that occurs.
    "balanced_accuracy": [([0, 0, 1, 1], [0, 0, 1, 0], 3 / 4), ([0, 0, 0, 1], [0, 2, 2, 1], (1 / 3 + 1) / 2)],
    # Precision 1/2, recall 1/3.
    "f1": [([1, 1, 1, 0], [1, 0, 0, 1], 2 / 5), ([0, 0], [0, 0], 0)],
    # 2 hits; 3 tags are true and 4 predicted.
    "micro_f1": [([[1, 1, 0], [0, 0, 1]], [[1, 0, 1], [1, 0, 1]], 4 / 7)],
    # One hit of two predicted and one true; none.
    "mean_f05": [([[1, 0], [0, 1]], [[1, 1], [1, 0]], 1.25 * 0.5 / (0.25 * 0.5 + 1) / 2)],
    # 1 of 2 and 2 of 3 are in the first two, the second of them at the second place.
    "top_k_accuracy": [([0, 1, 2], [[0, 2], [2, 1], [0, 1]], 2 / 3), ([2], [[-1, -1]], 0)],
    "map_at_k": [([0, 1, 2], [[0, 2], [2, 1], [0, 1]], (1 + 1 / 2) / 3), ([2], [[2, 2]], 1)],
    # In the order .8, .7, .4, .1 the ones are first and third: 1/1 and 2/3. Of three classes: 1, 1/2 and 1/2.
    "average_precision": [
        ([0, 1, 1, 0], OF_TWO, (1 + 2 / 3) / 2),
        ([0, 1, 2], [[0.8, 0.1, 0.1], [0.1, 0.4, 0.5], [0.1, 0.5, 0.4]], (1 + 1 / 2 + 1 / 2) / 3),
        ([[1, 1], [0, 1]], [[0.2, 0.5], [0.7, 0.5]], 1 / 2),
    ],
    # The whole area or none of it.
    "pauc": [
        ([0, 1], [[0.6, 0.4], [0.1, 0.9]], 0.2),
        ([0, 1], [[0.1, 0.9], [0.6, 0.4]], 0),
        ([1, 1], OF_TWO[:2], None),
    ],
    # The ones have .8 and .4, of 2 in total.
    "pf1": [([0, 1, 1, 0], OF_TWO, 2 * 1.2 / (2 + 2)), ([0, 0], OF_TWO[:2], 0)],
    # Errors of 2 and 2 among six numbers; for each column.
    "rmse": [(NUMBERS, GUESSED, np.sqrt(8 / 6))],
    "mcrmse": [(NUMBERS, GUESSED, np.sqrt(4 / 3))],
    "mae": [(NUMBERS, GUESSED, 4 / 6)],
    # Around their means, 2 and 30, the squares are 2 and 1400.
    "r2": [(NUMBERS, GUESSED, ((1 - 4 / 2) + (1 - 4 / 1400)) / 2), (NUMBERS[:1], GUESSED[:1], None)],
    # One mistake of distance 2, against (0+2+1+1)/4 by chance.
    "linear_kappa": [([0, 1], [2, 1], 1 - (2 / 2) / ((2 + 1 + 1 + 0) / 4)), ([1, 1], [1, 1], None)],
    # Grade 3 doesn't occur; by chance (0 + 1 + 16 + 9) / 4.
    "quadratic_kappa": [
        ([0, 1], [2, 1], 1 - (4 / 2) / ((4 + 1 + 1 + 0) / 4)),
        ([0, 4], [0, 1], 1 - (9 / 2) / ((0 + 1 + 16 + 9) / 4)),
    ],
    # The zeros weigh 1/3 each, the one 1.
    "weighted_log_loss": [
        ([0, 0, 0, 1], [[0.5, 0.5], [0.5, 0.5], [0.25, 0.75], [0.75, 0.25]], (4 / 3 * np.log(2) + 2 * np.log(2)) / 2)
    ],
    # 2 true positives, 1 true negative, 1 false negative.
    "mcc": [([1, 1, 1, 0], [1, 1, 0, 0], 2 / np.sqrt(2 * 3 * 1 * 2)), ([1, 1], [1, 1], 0)],
    # Right, wrong, right, of 4 images with a class; one has none, one no answer.
    "gap": [
        ([0, 1, 2, -1, 2], [[0, 0.9], [0, 0.5], [2, 0.7], [1, 0.8], [-1, 0]], (1 + 2 / 3) / 4),
        ([0, 1], [[-1, 0], [-1, 0]], 0),
    ],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", METRICS)
def test_a_score_is_the_one_worked_by_hand(name):
    for targets, predictions, expected in BY_HAND[name]:
        score = METRICS[name](np.array(targets), np.array(predictions))
        assert np.isnan(score) if expected is None else score == pytest.approx(expected)


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 60), share=st.sampled_from([0.05, 0.5]))
def test_the_macro_f1_of_tags_is_scikit_learn_s(seed, rows, share):
    from sklearn.metrics import f1_score

    targets, tags = (draw(seed).uniform(size=(2, rows, 5)) < share).astype(int)
    expected = f1_score(targets, tags, average="macro", zero_division=0)
    assert METRICS["macro_f1_of_tags"](targets, tags) == pytest.approx(expected)


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(5, 60))
def test_the_area_above_a_rate_is_that_above_it_under_the_whole_curve(seed, rows):
    from sklearn.metrics import roc_curve

    rng = draw(seed)
    targets, p = np.r_[0, 1, rng.integers(2, size=rows - 2)], rng.uniform(size=rows)
    false, true, _ = roc_curve(targets, p, drop_intermediate=False)
    # At each true positive rate, how far the curve is from the right edge.
    reached = true.searchsorted(np.linspace(0.8, 1, 20001) - 1e-12)
    expected = np.mean(1 - false[reached]) * 0.2
    assert METRICS["pauc"](targets, np.stack([1 - p, p], axis=1)) == pytest.approx(expected, abs=1e-3)


def test_soft_labels_have_the_cross_entropy_of_their_row_or_of_each_column():
    shares, p = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    of_shares, of_fractions = (scored_by("log_loss", target).scoring for target in ("shares", "fractions"))
    assert of_shares(shares, p) == pytest.approx(-(np.log(0.25) / 2 + np.log(0.75) / 2 + np.log(0.5)) / 2)
    assert of_shares(shares * 0.9991, p) == pytest.approx(0.9991 * of_shares(shares, p))
    # Fractions may sum to one as well, in some rows or all.
    p = np.array([[0.25, 0.5], [0.5, 0.5]])
    of_cells = [(np.log(0.25) + np.log(0.75)) / 2, np.log(0.5), np.log(0.5), np.log(0.5)]
    assert of_fractions(shares, p) == pytest.approx(-np.mean(of_cells))
    assert of_fractions(np.array([[0.5, 1.0], [1.0, 0.0]]), p) == pytest.approx(-np.mean(of_cells))
    assert of_fractions.is_named


def test_kappas_count_the_distance_of_grades_that_are_named_by_numbers():
    targets, chosen = np.array([0, 2, 1, 2]), np.array([0, 1, 1, 2])
    grades = np.array([0, 1, 4])
    for name, power in (("linear_kappa", 1), ("quadratic_kappa", 2)):
        observed = np.mean(np.abs(grades[targets] - grades[chosen]) ** power)
        by_chance = np.mean(np.abs(grades[targets][:, None] - grades[chosen]) ** power)
        assert METRICS[name](targets, chosen, ("0", "1", "4")) == pytest.approx(1 - observed / by_chance)
        assert METRICS[name](targets, chosen, ("a", "b", "c")) == METRICS[name](targets, chosen)


def test_weights_of_classes_are_given_by_their_names():
    metric, p = weighted_log_loss({"b": 3}), np.array([[0.5, 0.5], [0.75, 0.25]])
    assert metric(np.array([0, 1]), p, ("a", "b")) == pytest.approx((np.log(2) + 3 * np.log(4)) / 4)
    of_columns = (np.log(2) - np.log(0.25)) / 2, (np.log(2) - np.log(0.25)) / 2
    assert metric(np.array([[1, 0], [0, 1]]), p, ("a", "b")) == pytest.approx(np.average(of_columns, weights=[1, 3]))
    with pytest.raises(DeclarationError, match="a weight for 'b', but the classes are a, c"):
        metric(np.array([0, 1]), p, ("a", "c"))


@pytest.mark.parametrize("name", sorted(TWO_CLASSES))
def test_a_metric_of_two_classes_refuses_more(name):
    METRICS[name].must_fit(["no", "yes"])
    with pytest.raises(DeclarationError, match=f"{name}.*3"):
        METRICS[name].must_fit(["a", "b", "c"])


def test_metrics_and_their_parts_can_be_sent_to_another_process():
    for metric in (*METRICS.values(), weighted_log_loss({"a": 2})):
        assert pickle.loads(pickle.dumps(metric)).name == metric.name
