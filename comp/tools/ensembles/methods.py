"""The methods of combining an ensemble's members, their scores, and the gain of the chosen one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from comp.data.splitting import draw_inner_folds
from comp.declare.competition import Competition
from comp.declare.metrics import Target
from comp.errors import OverrideError
from comp.submission.uncertainty import SURE
from comp.tools.ensembles.members import Combined, Together
from comp.tools.ensembles.weights import (
    Fit,
    fit_greedily,
    fit_least_squares,
    fit_weights,
    mean_of_logits,
    weighted_mean,
)

Array = npt.NDArray[Any]
Predictions = npt.NDArray[np.float64]
# One of `METHODS`, or the members' weights, like "2,1".
Method = str
METHODS: tuple[Method, ...] = ("mean", "logits", "ranks", "weights", "greedy", "nnls")

# The methods that fit weights, the simplest first.
FITTED: dict[Method, Fit] = {"weights": fit_weights, "greedy": fit_greedily, "nnls": fit_least_squares}
CROSS_FITS = 5


def rank_mean(predictions: Array, target: Target) -> Predictions:
    """The mean (N, C) of the models' ranks within each column of (M, N, C), scaled to lie between 0 and 1.

    Only the order counts, so an overconfident model has no more weight than the others. Ties share their mean rank.
    For one class per image and for shares, each row sums to one.
    """
    # Half a rank lower, so that the N ranks lie between 1/2N and 1 - 1/2N, and no row is all zeros.
    ranks = (rankdata(predictions, axis=1) - 0.5) / max(predictions.shape[1], 1)
    mean: Predictions = ranks.mean(axis=0)
    return mean / mean.sum(axis=1, keepdims=True) if target in ("single", "shares") else mean


def cross_fitted_mean(
    predictions: Array, targets: Array, folds: Array, target: Target, fit: Fit = fit_weights
) -> Predictions:
    """The combination (N, C) in which each image's weights were fitted on the other folds.

    folds: (N,), the fold of each image. The score of this combination estimates that of fitted weights on new images.
    """
    mean = np.empty(predictions.shape[1:])
    for fold in np.unique(folds):
        others = folds != fold
        weights = fit(predictions[:, others], targets[others], target)
        mean[~others] = _weighted(fit, predictions[:, ~others], target, weights)
    return mean


def _weighted(fit: Fit, predictions: Array, target: Target, weights: Array) -> Predictions:
    """The mean that ``fit`` fitted the weights for, of logits or of predictions."""
    return mean_of_logits(predictions, target, weights) if fit is fit_weights else weighted_mean(predictions, weights)


def cross_fit_folds(together: Together) -> Array | None:
    """The fold (R,) of each validation image for fitting weights without it: its validation fold, or a drawn one.

    None where the members have no folds and fewer than two validation images.
    """
    rows, groups = together.rows, together.tables.groups
    if together.of_folds:
        return together.parts[rows]
    if len(rows) < 2:
        return None
    groups = None if groups is None else groups[rows]
    return draw_inner_folds(np.arange(len(rows)), together.targets, min(CROSS_FITS, len(rows)), 0, groups)


def given_weights(how: Method, models: int) -> Array:
    """The weights (M,) in ``how``, scaled to sum to one; raises OverrideError for invalid ones."""
    with suppress(ValueError):
        weights: Array = np.array([float(part) for part in how.split(",")])
        if len(weights) == models and (weights >= 0).all() and 0 < weights.sum() < math.inf:
            weights /= weights.sum()
            return weights
    raise OverrideError(
        f"--how is {how!r}, but it should be {', '.join(METHODS[:-1])} or {METHODS[-1]}, or a weight for each of the "
        f"{models} runs, like {','.join(map(str, range(models, 0, -1)))}, none below zero."
    )


def by_every_method(together: Together, valid: Array, how: Method | None = None) -> dict[Method, Combined]:
    """The members' predictions combined by every method, the simplest first, and by the weights in ``how``, if any.

    valid: the members' predictions (M, R, C) of the validation images. Fitted weights are cross-fitted.
    """
    test, target, targets = together.test, together.competition.target, together.targets
    even = np.full(len(valid), 1 / len(valid))
    methods: dict[Method, Combined] = {"mean": together.combined(weighted_mean(valid), weighted_mean(test), even)}
    if len(valid) == 1:
        return methods
    # Ranks of numbers would lose their unit.
    if target != "number":
        methods["logits"] = together.combined(mean_of_logits(valid, target), mean_of_logits(test, target), even)
        methods["ranks"] = together.combined(rank_mean(valid, target), rank_mean(test, target), even)
    if (folds := cross_fit_folds(together)) is not None:
        for method, fit in FITTED.items():
            weights = fit(valid, targets, target)
            mean = cross_fitted_mean(valid, targets, folds, target, fit)
            methods[method] = together.combined(mean, _weighted(fit, test, target, weights), weights)
    if how is not None and how not in METHODS:
        weights = given_weights(how, len(valid))
        methods[how] = together.combined(weighted_mean(valid, weights), weighted_mean(test, weights), weights)
    return methods


def compare(
    together: Together, alone: Mapping[str, Combined], methods: Mapping[Method, Combined], how: Method
) -> dict[str, Any]:
    """The record of the scores of the method ``how``, every other method and each run ``alone``, and the gain.

    ``gain`` is over the best run alone, after post-processing; above zero is better, whatever the metric's direction.
    ``gain_error`` is its standard error, None if some images can't be scored without others.
    """
    chosen = methods[how]
    record: dict[str, Any] = {
        **chosen.record,
        "how": how,
        "members": [{"run": name, **one.scores} for name, one in alone.items()],
        "methods": {method: {**one.scores, "weights": one.weights.tolist()} for method, one in methods.items()},
    }
    if not chosen.record["rows"]:
        return record
    best = max(alone, key=lambda name: alone[name].goodness)
    gain, error = together.gain(chosen, alone[best])
    return {**record, "best_run": best, "gain": gain, "gain_error": error if math.isfinite(error) else None}


def describe(competition: Competition, scores: Mapping[str, Any]) -> list[str]:
    """The record of `compare` as a table, and the gain as a sentence."""
    members, methods, how, metric = scores["members"], scores["methods"], scores["how"], competition.scoring.name
    if not scores["rows"]:
        return [f"{competition.name}: {how} of {len(members)} runs; no image validates, so there is no score"]
    if len(members) == 1:
        return [f"{competition.name}: {scores['best_run']} is the first of the blend, {metric} {scores['tuned']:.5f}"]
    weights = [f"{weight:.3f}" for weight in methods[how]["weights"]]
    rows = [(one["run"], one, weight) for one, weight in zip(members, weights, strict=True)]
    rows += [(method, one, "") for method, one in methods.items()]
    before = next(one["tuned"] for one in members if one["run"] == scores["best_run"])
    gain, error = scores["gain"], scores["gain_error"]
    gained = "no better"
    if abs(gain) >= 5e-6:
        gained = f"{abs(gain):.5f} {'better' if gain > 0 else 'worse'}"
        if error is not None:
            gained += f" (± {error:.5f}{', so it may be chance' if abs(gain) < SURE * error else ''})"
    return [
        f"{competition.name}: {len(members)} runs on {scores['rows']} images; "
        f"{', '.join(f'`{name}`' for name in FITTED)} are scored on images that their weights were not fitted on",
        *as_table(
            ["", metric, "post-processed", f"weight by {how}"],
            *([name, one["untuned"], one["tuned"], weight] for name, one, weight in rows),
        ),
        f"{how}: {metric} {before:.5f} with {scores['best_run']} alone, {scores['tuned']:.5f} combined, {gained}",
    ]


def as_table(*rows: Sequence[object]) -> list[str]:
    """Rows of text and scores as lines: the first column left-aligned, the others right-aligned."""
    texts = [[f"{cell:.5f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in texts]
