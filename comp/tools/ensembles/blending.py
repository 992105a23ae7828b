"""Blending: the probabilities that several models give the same rows, made into one."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import LinearConstraint, minimize
from scipy.stats import rankdata

from comp.declare.metrics import Target

Array = npt.NDArray[Any]
Probabilities = npt.NDArray[np.float64]
Way = Literal["mean", "ranks", "weights"]

SMALLEST = 1e-15


def weighted_mean(probabilities: Array, weights: Array | None = None) -> Probabilities:
    """Of M models' probabilities (M, N, C), their mean (N, C); weights (M,) sum to one, and are even if not given."""
    models = len(probabilities)
    mean: Probabilities = np.tensordot(np.full(models, 1 / models) if weights is None else weights, probabilities, 1)
    # Rounding may leave a mean of ones a little above one.
    return mean.clip(0, 1)


def rank_mean(probabilities: Array, target: Target) -> Probabilities:
    """Of each column's ranks within each of (M, N, C), scaled to lie between 0 and 1, the mean over the models (N, C).

    Only the order counts, so a model that is too sure of itself has no more say than another. Ties share their mean
    rank. One class per image: rows are made to sum to one.
    """
    rows = probabilities.shape[1]
    # Half a rank lower: the lowest of N is 1/2N above 0, as the highest is below 1, and no row is all zeros.
    ranks = (rankdata(probabilities, axis=1) - 0.5) / max(rows, 1)
    mean: Probabilities = ranks.mean(axis=0)
    return mean / mean.sum(axis=1, keepdims=True) if target == "single" else mean


def fit_weights(probabilities: Array, targets: Array) -> Probabilities:
    """The weights (M,), none negative and summing to one, whose mean of (M, N, C) has the least log loss.

    targets: (N,) places of classes, or (N, C) of 0 and 1, for which it is the mean of the tags' binary log losses.
    The problem is convex: there is one best loss, found by sequential least squares programming.
    """
    models = len(probabilities)
    likelihoods = _likelihoods(probabilities, targets)

    def loss(weights: Array) -> tuple[float, Array]:
        mixed = np.maximum(weights @ likelihoods, SMALLEST)
        return float(-np.log(mixed).mean()), -(likelihoods / mixed).mean(axis=1)

    even = np.full(models, 1 / models)
    found = minimize(
        loss,
        even,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * models,
        constraints=LinearConstraint(np.ones(models), 1, 1),
        options={"ftol": 1e-9},
    ).x.clip(0)
    fitted = found / found.sum() if found.sum() > 0 else even
    # Should the solver stop early, what it found is not to be worse than what needs no solver.
    best: Probabilities = min((fitted, even, *np.eye(models)), key=lambda weights: loss(weights)[0])
    return best


def cross_fitted_mean(probabilities: Array, targets: Array, folds: Array) -> Probabilities:
    """The weighted mean (N, C) in which no row had a say in its own weights: they are fitted on the other folds' rows.

    folds: (N,), the fold of each row. Its score is what fitting weights is worth on rows that were not seen.
    """
    blended = np.empty(probabilities.shape[1:])
    for fold in np.unique(folds):
        others = folds != fold
        weights = fit_weights(probabilities[:, others], targets[others])
        blended[~others] = weighted_mean(probabilities[:, ~others], weights)
    return blended


def _likelihoods(probabilities: Array, targets: Array) -> Array:
    """What each model gives to what was the case: (M, N), or (M, N * C) for tags."""
    if targets.ndim == 1:
        return probabilities[:, np.arange(len(targets)), targets]
    return np.where(targets == 1, probabilities, 1 - probabilities).reshape(len(probabilities), -1)
