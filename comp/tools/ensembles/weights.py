"""How an ensemble's members are weighted: by the least loss, by greedy selection, or by least squares."""

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
# Of predictions (M, N, C), targets and their kind: the weights (M,), none negative and summing to one.
Fit = Callable[[Array, Array, Target], Weights]
# Of weights (M,), a loss and its derivatives (M,).
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
    """`weighted_mean` of the logits of probabilities, as a logarithmic opinion pool has it (10.1214/ss/1177013825).

    Of models that are right on different images it is the surer one: a model that doesn't know has less say.
    Numbers are averaged as they are.
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

    targets: (N,) or (N, C). The loss is the log loss; of tags and fractions the mean of the columns' binary ones; of
    numbers the squared error, each column in standard deviations. The problem is convex: there is one best loss, found
    by sequential least squares programming.
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
    # Should the solver stop early, what it found is not to be worse than what needs no solver.
    return min((fitted, even, *np.eye(models)), key=lambda weights: loss(weights)[0])


def fit_greedily(predictions: Array, targets: Array, target: Target) -> Weights:
    """The weights (M,) by forward selection with replacement (Caruana et al. 2004, 10.1145/1015330.1015432).

    Time after time the model is added whose mean with all that were chosen before has the least loss;
    the best of these means counts. Weights are whole numbers of at most 50 choices, so few models are chosen, and they
    follow chance less.
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

    The squares are those of the probabilities' differences from 0 and 1: the Brier score; of numbers those of
    `fit_weights`.
    """
    truth = np.eye(predictions.shape[2])[targets] if target == "single" else targets
    scale = _deviations(targets) if target == "number" else np.ones(predictions.shape[2])
    columns = [(part / scale).ravel() for part in (*predictions, truth)]
    # As small as the models are many, and with the same squares.
    triangle: Array = np.asarray(np.linalg.qr(np.stack(columns, axis=1), mode="r"))
    found, _ = nnls(triangle[:, :-1], triangle[:, -1])
    even: Weights = np.full(len(predictions), 1 / len(predictions))
    return found / found.sum() if found.sum() > 0 else even


def _loss_of_mean(predictions: Array, targets: Array, target: Target) -> Callable[[Array], float]:
    """Of a `weighted_mean`, by its weights (M,)."""
    if target == "number":
        squared = _squared_error(predictions, targets)
        return lambda weights: squared(weights)[0]
    count = len(targets) if target in ONE_OF else targets.size
    if target == "single":  # all but the label's probability count nothing
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
    """The standard deviation of each column of numbers (N, K); 1 of those that are all the same."""
    deviations = targets.std(axis=0)
    return np.where(deviations > 0, deviations, 1)
