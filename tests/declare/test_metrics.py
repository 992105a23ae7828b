import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.metrics import METRICS, Metric
from comp.errors import DeclarationError

moderately = settings(max_examples=40, deadline=None)


def draw(seed):
    return np.random.default_rng(seed)


def probabilities_of(rng, rows, classes):
    return rng.dirichlet(np.ones(classes), rows)


def pairwise_auc(targets, scores):
    """The share of pairs (1, 0) in which the 1 scores higher; ties are worth a half."""
    ones, zeros = scores[targets == 1], scores[targets == 0]
    difference = ones[:, None] - zeros[None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean()


def test_each_metric_is_listed_by_its_name_and_knows_its_direction():
    assert all(metric.name == name for name, metric in METRICS.items())
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == ["log_loss"]


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 30), classes=st.integers(2, 6))
def test_log_loss_is_the_mean_of_the_logarithm_of_the_true_class(seed, rows, classes):
    rng = draw(seed)
    targets, probabilities = rng.integers(classes, size=rows), probabilities_of(rng, rows, classes)
    by_hand = -np.mean([np.log(row[target]) for row, target in zip(probabilities, targets, strict=True)])
    assert METRICS["log_loss"](targets, probabilities) == pytest.approx(by_hand)


def test_log_loss_of_one_row_and_of_classes_that_do_not_occur():
    assert METRICS["log_loss"](np.array([2]), np.array([[0.5, 0.25, 0.25]])) == pytest.approx(np.log(4))


def test_log_loss_of_a_sure_mistake_is_dear_and_finite():
    loss = METRICS["log_loss"](np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert 10 < loss < 100


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 30), tags=st.integers(2, 6))
def test_log_loss_of_tags_is_the_mean_over_all_cells(seed, rows, tags):
    rng = draw(seed)
    targets, p = rng.integers(2, size=(rows, tags)), rng.uniform(0.01, 0.99, (rows, tags))
    by_hand = -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    assert METRICS["log_loss"](targets, p) == pytest.approx(by_hand)


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 30), classes=st.integers(2, 6))
def test_accuracy_and_macro_f1_are_those_of_the_formula(seed, rows, classes):
    rng = draw(seed)
    targets, chosen = rng.integers(classes, size=(2, rows))
    assert METRICS["accuracy"](targets, chosen) == pytest.approx(np.mean(targets == chosen))
    scores = [
        2 * np.sum((targets == c) & (chosen == c)) / (np.sum(targets == c) + np.sum(chosen == c))
        for c in set(targets) | set(chosen)
    ]
    assert METRICS["macro_f1"](targets, chosen) == pytest.approx(np.mean(scores))


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 30), tags=st.integers(2, 6), beta=st.sampled_from([1, 2]))
def test_mean_f_is_the_mean_over_rows_of_the_formula(seed, rows, tags, beta):
    rng = draw(seed)
    targets, chosen = rng.integers(2, size=(2, rows, tags))
    scores = []
    for truth, guess in zip(targets, chosen, strict=True):
        hits = np.sum(truth & guess)
        precision, recall = hits / max(guess.sum(), 1), hits / max(truth.sum(), 1)
        scores.append((1 + beta**2) * precision * recall / (beta**2 * precision + recall) if hits else 0)
    assert METRICS[f"mean_f{beta}"](targets, chosen) == pytest.approx(np.mean(scores))
    assert METRICS[f"mean_f{beta}"].beta == beta


def test_mean_f2_prefers_a_tag_too_many_to_one_too_few():
    truth, few, many = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]]), np.array([[1, 1, 1, 0]])
    assert METRICS["mean_f2"](truth, many) == pytest.approx(5 * 2 / (4 * 2 + 3))
    assert METRICS["mean_f2"](truth, few) == pytest.approx(5 * 1 / (4 * 2 + 1))


def test_a_row_without_tags_in_truth_and_prediction_scores_nothing():
    assert METRICS["mean_f2"](np.array([[0, 0], [1, 0]]), np.array([[0, 0], [1, 0]])) == 0.5


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(2, 30), digits=st.integers(1, 8))
def test_roc_auc_of_two_classes_is_the_share_of_pairs_in_order(seed, rows, digits):
    rng = draw(seed)
    targets, p = np.r_[0, 1, rng.integers(2, size=rows - 2)], rng.uniform(size=rows).round(digits)
    assert METRICS["roc_auc"](targets, np.stack([1 - p, p], axis=1)) == pytest.approx(pairwise_auc(targets, p))


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(4, 30), classes=st.integers(3, 4))
def test_roc_auc_of_more_classes_is_the_mean_of_each_against_the_rest(seed, rows, classes):
    rng = draw(seed)
    targets, p = rng.integers(classes, size=rows), probabilities_of(rng, rows, classes)
    of_classes = [pairwise_auc(targets == c, p[:, c]) for c in range(classes) if 0 < np.sum(targets == c) < rows]
    if of_classes:
        assert METRICS["roc_auc"](targets, p) == pytest.approx(np.mean(of_classes))


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(2, 20), tags=st.integers(2, 5))
def test_roc_auc_of_columns_leaves_out_columns_of_one_value(seed, rows, tags):
    rng = draw(seed)
    targets, p = rng.integers(2, size=(rows, tags)), rng.uniform(size=(rows, tags))
    targets[:, 0], targets[:2, 1] = seed % 2, (0, 1)
    defined = [c for c in range(tags) if 0 < targets[:, c].sum() < rows]
    by_hand = np.mean([pairwise_auc(targets[:, c], p[:, c]) for c in defined])
    assert METRICS["mean_columnwise_roc_auc"](targets, p) == pytest.approx(by_hand)


def test_roc_auc_without_two_values_is_not_a_number():
    p = np.full((3, 2), 0.5)
    assert np.isnan(METRICS["mean_columnwise_roc_auc"](np.ones((3, 2), int), p))
    assert np.isnan(METRICS["roc_auc"](np.zeros(3, int), p))


@moderately
@given(seed=st.integers(0, 2**32), rows=st.integers(2, 30), grades=st.integers(2, 6))
def test_quadratic_kappa_weighs_by_the_square_of_the_distance(seed, rows, grades):
    rng = draw(seed)
    targets, chosen = rng.integers(grades, size=(2, rows))
    observed = np.mean((targets - chosen) ** 2.0)
    by_chance = np.mean((targets[:, None] - chosen[None, :]) ** 2.0)
    if by_chance:
        assert METRICS["quadratic_kappa"](targets, chosen) == pytest.approx(1 - observed / by_chance)


def test_quadratic_kappa_counts_the_distance_over_grades_that_do_not_occur():
    targets, chosen = np.array([0, 4, 0, 4, 1]), np.array([0, 4, 4, 4, 0])
    observed = np.mean((targets - chosen) ** 2.0)
    by_chance = np.mean((targets[:, None] - chosen[None, :]) ** 2.0)
    assert METRICS["quadratic_kappa"](targets, chosen) == pytest.approx(1 - observed / by_chance)


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
        (lambda targets, predictions: targets[7], "IndexError"),
    ],
)
def test_a_metric_that_gives_no_number_is_told_so(score, said):
    with pytest.raises(DeclarationError, match=r"^Metric: `score` of 'mine'") as error:
        Metric("mine", "classes", True, score)(np.arange(3), np.arange(3))
    assert said in str(error.value)


@pytest.mark.parametrize("name", METRICS)
def test_perfect_predictions_have_the_best_score(name):
    metric = METRICS[name]
    for target in metric.targets:
        targets = np.array([0, 1, 2, 1, 0]) if target == "single" else np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
        exact = np.eye(3)[targets] if target == "single" else targets.astype(float)
        assert metric(targets, exact if metric.takes == "probabilities" else targets) == pytest.approx(
            0 if name == "log_loss" else 1
        )
