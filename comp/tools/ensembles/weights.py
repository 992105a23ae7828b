"""Weights of an ensemble's members: by the least loss, by greedy selection, or by least squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import LinearConstraint, minimize, nnls
from scipy.special import expit, logsumexp, softmax

from comp.declare.metrics import Target

Array = npt.NDArray[Any]
Weights = npt.NDArray[np.float64]
Predictions = npt.NDArray[np.float64]
# From predictions (M, N, C), targets and their kind to weights (M,), none negative and summing to one.
Fit = Callable[[Array, Array, Target], Weights]
# From weights (M,) to a loss and its derivatives (M,).
Loss = Callable[[Array], tuple[float, Array]]

SMALLEST = 1e-15
ONE_OF = ("single", "shares")
SELECTIONS = 50


def weighted_mean(predictions: Array, weights: Array | None = None) -> Predictions:
    """The mean (N, C) of M models' predictions (M, N, C); weights (M,) sum to one, and are even if not given."""
    models = len(predictions)
    mean: Predictions = np.tensordot(np.full(models, 1 / models) if weights is None else weights, predictions, 1)
    # Rounding may leave a mean of ones a little above one.
    return mean.clip(predictions.min(initial=0), predictions.max(initial=1))


def mean_of_logits(predictions: Array, target: Target, weights: Array | None = None) -> Predictions:
    """Probabilities from the `weighted_mean` of logits: a logarithmic opinion pool (10.1214/ss/1177013825).

    An unsure model has less influence on an image than a sure one. Numbers are averaged as they are.
    """
    if target == "number":
        return weighted_mean(predictions, weights)
    even = np.full(len(predictions), 1 / len(predictions))
    logits = np.tensordot(even if weights is None else weights, _logits(predictions, target), 1)
    return softmax(logits, axis=-1) if target in ONE_OF else expit(logits)


def _logits(predictions: Array, target: Target) -> Array:
    logarithms: Array = np.log(predictions.clip(SMALLEST, 1))
    if target in ONE_OF:
        return logarithms
    return logarithms - np.log((1 - predictions).clip(SMALLEST, 1))


def fit_weights(predictions: Array, targets: Array, target: Target) -> Weights:
    """The weights (M,), none negative and summing to one, whose `mean_of_logits` of (M, N, C) has the least loss.

    targets: (N,) or (N, C). The loss is the log loss; for tags and fractions the mean of the columns' binary ones; for
    numbers the squared error, each column in standard deviations. The problem is convex, and solved by sequential
    least squares programming (SLSQP).
    """
    models = len(predictions)
    if target == "number":
        loss = _squared_error(predictions, targets)
    else:
        loss = _log_loss_of_logits(_logits(predictions, target), targets, target)
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
    # Should the solver stop early, even weights or a single model may be better.
    return min((fitted, even, *np.eye(models)), key=lambda weights: loss(weights)[0])


def fit_greedily(predictions: Array, targets: Array, target: Target) -> Weights:
    """The weights (M,) by forward selection with replacement (Caruana et al. 2004, 10.1145/1015330.1015432).

    Each of 50 steps adds the model whose mean with all models chosen before has the least loss; the best of these means
    is taken. So each weight is a share of at most 50 choices, few models are chosen, and overfitting is limited.
    """
    loss, models = _loss_of_mean(predictions, targets, target), np.eye(len(predictions))
    chosen: Weights = np.zeros(len(models))
    best, least = chosen, np.inf
    for count in range(1, SELECTIONS + 1):
        losses = [loss((chosen + model) / count) for model in models]
        chosen = chosen + models[int(np.argmin(losses))]
        if min(losses) < least:
            best, least = chosen / count, min(losses)
    return best


def fit_least_squares(predictions: Array, targets: Array, target: Target) -> Weights:
    """The weights (M,) by non-negative least squares (Lawson and Hanson 1974), scaled to sum to one.

    The squared differences of probabilities from the targets are the Brier score; for numbers they are those of
    `fit_weights`.
    """
    truth = np.eye(predictions.shape[2])[targets] if target == "single" else targets
    scale = _deviations(targets) if target == "number" else np.ones(predictions.shape[2])
    columns = [(part / scale).ravel() for part in (*predictions, truth)]
    # The triangle R of QR has the same sums of squares as the columns, and only as many rows as columns.
    triangle: Array = np.asarray(np.linalg.qr(np.stack(columns, axis=1), mode="r"))
    found, _ = nnls(triangle[:, :-1], triangle[:, -1])
    even: Weights = np.full(len(predictions), 1 / len(predictions))
    return found / found.sum() if found.sum() > 0 else even


def _loss_of_mean(predictions: Array, targets: Array, target: Target) -> Callable[[Array], float]:
    """The loss of a `weighted_mean`, as a function of its weights (M,)."""
    if target == "number":
        squared = _squared_error(predictions, targets)
        return lambda weights: squared(weights)[0]
    count = len(targets) if target in ONE_OF else targets.size
    if target == "single":  # only the label's probability counts
        predictions, targets = predictions[:, np.arange(len(targets)), targets], np.ones(len(targets))
    likelihoods, truth = predictions.reshape(len(predictions), -1), targets.ravel()

    def loss(weights: Array) -> float:
        mixed = weights @ likelihoods
        yes = truth @ np.log(np.maximum(mixed, SMALLEST))
        no = 0.0 if target in ONE_OF else (1 - truth) @ np.log(np.maximum(1 - mixed, SMALLEST))
        return -float(yes + no) / count

    return loss


def _log_loss_of_logits(logits: Array, targets: Array, target: Target) -> Loss:
    truth: Array = np.eye(logits.shape[2])[targets] if target == "single" else targets
    count = len(targets) if target in ONE_OF else targets.size

    def loss(weights: Array) -> tuple[float, Array]:
        mixed = np.tensordot(weights, logits, 1)
        if target in ONE_OF:
            of_all, probabilities = logsumexp(mixed, axis=-1), softmax(mixed, axis=-1)
        else:
            of_all, probabilities = np.logaddexp(0, mixed), expit(mixed)
        value = float(of_all.sum() - (truth * mixed).sum())
        slope = np.tensordot(logits, probabilities - truth, 2)
        return value / count, slope / count

    return loss


def _squared_error(predictions: Array, targets: Array) -> Loss:
    errors = ((predictions - targets) / _deviations(targets)).reshape(len(predictions), -1)

    def loss(weights: Array) -> tuple[float, Array]:
        mixed = weights @ errors
        return float((mixed**2).mean()), 2 * (errors * mixed).mean(axis=1)

    return loss


def _deviations(targets: Array) -> Array:
    """The standard deviation of each column of numbers (N, K); 1 for a constant column."""
    deviations = targets.std(axis=0)
    return np.where(deviations > 0, deviations, 1)
