import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.tools.ensembles.methods import FITTED, cross_fitted_mean, rank_mean
from comp.tools.ensembles.weights import fit_greedily, fit_weights, mean_of_logits, weighted_mean

SEEDS = st.integers(0, 2**32 - 1)
KINDS = pytest.mark.parametrize("kind", ["single", "multi", "shares", "fractions", "number"])
RANKED = pytest.mark.parametrize("kind", ["single", "multi", "shares"])
moderately = settings(max_examples=6, deadline=None)


def drawn(kind, seed, models, rows, classes):
    """Predictions (M, N, C) that know something of the targets, some probabilities exactly 0 or 1."""
    rng = np.random.default_rng(seed)
    if kind in ("single", "shares"):
        targets = rng.integers(0, classes, rows) if kind == "single" else rng.dirichlet(np.ones(classes), rows)
        truth = np.eye(classes)[targets] if kind == "single" else targets
        scores = rng.gamma(0.3, size=(models, rows, classes)) + truth * rng.uniform(0, 3)
        return scores / scores.sum(axis=2, keepdims=True), targets
    if kind == "number":
        targets = rng.normal(5, (10, *[3] * (classes - 1)), (rows, classes))
        return targets * rng.uniform(0, 1) + rng.normal(0, 9, (models, rows, classes)), targets
    targets = rng.integers(0, 2, (rows, classes)) if kind == "multi" else rng.uniform(size=(rows, classes))
    return (0.3 * targets + rng.uniform(0, 1, (models, rows, classes))).clip(0, 1), targets


def loss(predictions, targets, kind):
    """The loss that weights are fitted for."""
    if kind == "number":
        return (((predictions - targets) / np.where(targets.std(axis=0) > 0, targets.std(axis=0), 1)) ** 2).mean()
    if kind == "single":
        targets, kind = np.eye(predictions.shape[1])[targets], "shares"
    yes, no = (np.log(part.clip(1e-15, 1)) for part in (predictions, 1 - predictions))
    if kind == "shares":
        return -(targets * yes).sum(axis=1).mean()
    return -(targets * yes + (1 - targets) * no).mean()


@pytest.mark.parametrize("fit", FITTED.values())
@KINDS
@moderately
@given(seed=SEEDS, models=st.integers(1, 6), rows=st.integers(1, 40), classes=st.integers(2, 5))
def test_fitted_weights_are_non_negative_and_sum_to_one(fit, kind, seed, models, rows, classes):
    weights = fit(*drawn(kind, seed, models, rows, classes), kind)
    assert weights.shape == (models,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)


@KINDS
@moderately
@given(seed=SEEDS, models=st.integers(2, 5), rows=st.integers(5, 60))
def test_fitted_and_greedy_weights_lose_no_more_than_the_plain_mean_or_any_model_alone(kind, seed, models, rows):
    probabilities, targets = drawn(kind, seed, models, rows, 3)
    if kind in ("multi", "fractions"):
        # Between 1 - 1e-15 and 1 there are only nine doubles, too few for the loss of a wrong yes.
        probabilities = probabilities.clip(1e-3, 1 - 1e-3)
    fitted = loss(mean_of_logits(probabilities, kind, fit_weights(probabilities, targets, kind)), targets, kind)
    assert fitted <= loss(mean_of_logits(probabilities, kind), targets, kind) + 1e-9
    even, *each = (loss(mean, targets, kind) for mean in (weighted_mean(probabilities), *probabilities))
    alone = min(each)
    assert fitted <= alone + 1e-9
    greedy = loss(weighted_mean(probabilities, fit_greedily(probabilities, targets, kind)), targets, kind)
    assert greedy <= min(alone + 1e-9, even + 0.02)


@KINDS
def test_fitted_weights_are_the_best_of_a_fine_grid(kind):
    probabilities, targets = drawn(kind, 7, 2, 300, 4)
    shares = [np.array([w, 1 - w]) for w in np.linspace(0, 1, 51)]
    fitted, *grid = (
        loss(mean_of_logits(probabilities, kind, weights), targets, kind)
        for weights in (fit_weights(probabilities, targets, kind), *shares)
    )
    assert fitted <= min(grid) + 1e-7


@pytest.mark.parametrize("fit", FITTED.values())
def test_a_model_that_knows_gets_all_the_weight_beside_one_that_guesses(fit):
    targets = np.random.default_rng(0).integers(0, 3, 200)
    knows, guesses = np.eye(3)[targets] * 0.9 + 0.1 / 3, np.full((200, 3), 1 / 3)
    assert fit(np.stack([guesses, knows]), targets, "single") == pytest.approx([0, 1], abs=1e-4)


@KINDS
def test_least_squares_are_the_least_of_a_fine_grid(kind):
    probabilities, targets = drawn(kind, 7, 2, 300, 4)
    truth = np.eye(4)[targets] if kind == "single" else targets
    scale = targets.std(axis=0) if kind == "number" else 1
    weights = FITTED["nnls"](probabilities, targets, kind)

    def squares(share):
        mixed = share * probabilities[0] + (1 - share) * probabilities[1]
        return (((mixed - truth) / scale) ** 2).sum()

    # Least-squares weights needn't sum to one; scaled to one, they are close to the minimum.
    assert squares(weights[0]) <= min(map(squares, np.linspace(0, 1, 201))) * 1.02


@RANKED
@moderately
@given(seed=SEEDS, models=st.integers(1, 4), rows=st.integers(1, 30), classes=st.integers(2, 4))
def test_rank_means_lie_within_0_and_1_and_sum_to_one_where_there_is_one_class(kind, seed, models, rows, classes):
    mean = rank_mean(drawn(kind, seed, models, rows, classes)[0], kind)
    assert mean.shape == (rows, classes)
    assert (mean > 0).all()
    assert (mean < 1).all()
    if kind != "multi":
        assert mean.sum(axis=1) == pytest.approx(np.ones(rows))


@moderately
@given(seed=SEEDS, power=st.floats(0.2, 5))
def test_a_rank_mean_depends_on_the_order_alone(seed, power):
    probabilities, _ = drawn("multi", seed, 3, 25, 3)
    bent = probabilities.copy()
    bent[1] = bent[1] ** power
    assert rank_mean(bent, "multi") == pytest.approx(rank_mean(probabilities, "multi"))


def test_ranks_of_two_classes_still_sum_to_one_and_ties_share_theirs():
    first = np.array([0.1, 0.5, 0.5, 0.9])
    mean = rank_mean(np.stack([first, 1 - first], axis=1)[None], "single")
    assert mean[:, 0] == pytest.approx([0.125, 0.5, 0.5, 0.875])


@RANKED
def test_the_mean_of_logits_is_that_of_the_surer_model(kind):
    sure, unsure = (np.array([[share, 1 - share]]) for share in (0.98, 0.5))
    pooled = mean_of_logits(np.stack([sure, unsure]), kind)
    assert pooled.sum() == pytest.approx(1)
    assert pooled[0, 0] == pytest.approx(0.875)  # odds of 49, whose logarithm is halved, become 7


def test_cross_fitted_images_have_no_say_in_their_own_weights():
    probabilities, targets = drawn("single", 3, 2, 60, 3)
    folds = np.arange(60) % 3
    mean = cross_fitted_mean(probabilities, targets, folds, "single")
    other = targets.copy()
    other[folds == 1] = (other[folds == 1] + 1) % 3
    again = cross_fitted_mean(probabilities, other, folds, "single")
    assert again[folds == 1] == pytest.approx(mean[folds == 1])
    assert not np.allclose(again[folds != 1], mean[folds != 1])


@KINDS
def test_no_images_are_combined_to_none(kind):
    empty = np.empty((2, 0, 3))
    assert weighted_mean(empty).shape == rank_mean(empty, kind).shape == (0, 3)
