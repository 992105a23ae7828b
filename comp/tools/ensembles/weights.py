"""How an ensemble's members are weighted: by the least loss, by greedy selection, or by least squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import LinearConstraint, minimize, nnls

from comp.declare.metrics import Target

Array = npt.NDArray[Any]
Weights = npt.NDArray[np.float64]
# Of predictions (M, N, C), targets and their kind: the weights (M,), none negative and summing to one.
Fit = Callable[[Array, Array, Target], Weights]
# Of weights (M,), a loss and its derivatives (M,).
Loss = Callable[[Array], tuple[float, Array]]

SMALLEST = 1e-15
SELECTIONS = 50


def fit_weights(predictions: Array, targets: Array, target: Target) -> Weights:
    """The weights (M,), none negative and summing to one, whose mean of (M, N, C) has the least loss.

    targets: (N,) or (N, C). The loss is the log loss; of tags and fractions the mean of the columns' binary ones; of
    numbers the squared error, each column in standard deviations. The problem is convex: there is one best loss, found
    by sequential least squares programming.
    """
    models = len(predictions)
    loss = _loss(predictions, targets, target)
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
    best: Weights = min((fitted, even, *np.eye(models)), key=lambda weights: loss(weights)[0])
    return best


def fit_greedily(predictions: Array, targets: Array, target: Target) -> Weights:
    """The weights (M,) by forward selection with replacement (Caruana et al. 2004, 10.1145/1015330.1015432).

    Time after time the model is added whose mean with all that were chosen before has the least loss of `fit_weights`;
    the best of these means counts. Weights are whole numbers of at most 50 choices, so few models are chosen, and they
    follow chance less.
    """
    loss, models = _loss(predictions, targets, target), np.eye(len(predictions))
    chosen: Weights = np.zeros(len(models))
    best, least = chosen, np.inf
    for count in range(1, SELECTIONS + 1):
        losses = [loss((chosen + model) / count)[0] for model in models]
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


def _loss(predictions: Array, targets: Array, target: Target) -> Loss:
    return _squared_error(predictions, targets) if target == "number" else _log_loss(predictions, targets, target)


def _log_loss(predictions: Array, targets: Array, target: Target) -> Loss:
    # What each likelihood (M, …) counts. Those of classes and tags are taken out, as all others count nothing.
    parts: list[tuple[Any, Array]]
    if target == "single":
        parts = [(1.0, predictions[:, np.arange(len(targets)), targets])]
    elif target == "multi":
        parts = [(1.0, np.where(targets == 1, predictions, 1 - predictions))]
    else:
        parts = [(targets, predictions)] + [(1 - targets, 1 - predictions)] * (target == "fractions")
    parts = [(np.ravel(share), likelihoods.reshape(len(predictions), -1)) for share, likelihoods in parts]
    count = len(targets) if target == "shares" else parts[0][1].shape[1]

    def loss(weights: Array) -> tuple[float, Array]:
        mixtures = [np.maximum(weights @ likelihoods, SMALLEST) for _, likelihoods in parts]
        terms = list(zip(parts, mixtures, strict=True))
        value = sum(float(-(share * np.log(mixed)).sum()) for (share, _), mixed in terms)
        slope = sum(-(share * likelihoods / mixed).sum(axis=1) for (share, likelihoods), mixed in terms)
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
