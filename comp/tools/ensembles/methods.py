"""The methods by which an ensemble's members are combined, scored side by side, and what the best one gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import LinearConstraint, minimize
from scipy.stats import rankdata

from comp.data.splitting import draw_folds
from comp.declare.competition import Competition
from comp.declare.metrics import Target
from comp.submission.postprocessing import PostProcessing
from comp.submission.scoring import tune_on_predictions

Array = npt.NDArray[Any]
Probabilities = npt.NDArray[np.float64]
Method = Literal["mean", "ranks", "weights"]

SMALLEST = 1e-15
CROSS_FITS = 5


def weighted_mean(probabilities: Array, weights: Array | None = None) -> Probabilities:
    """The mean (N, C) of M models' probabilities (M, N, C); weights (M,) sum to one, and are even if not given."""
    models = len(probabilities)
    mean: Probabilities = np.tensordot(np.full(models, 1 / models) if weights is None else weights, probabilities, 1)
    # Rounding may leave a mean of ones a little above one.
    return mean.clip(0, 1)


def rank_mean(probabilities: Array, target: Target) -> Probabilities:
    """The mean (N, C) over the models of each column's ranks within each of (M, N, C), scaled to lie between 0 and 1.

    Only the order counts, so a model that is too sure of itself has no more say than another. Ties share their mean
    rank. One class per image: each image's sum to one.
    """
    # Half a rank lower: the lowest of N is 1/2N above 0, as the highest is below 1, and no row is all zeros.
    ranks = (rankdata(probabilities, axis=1) - 0.5) / max(probabilities.shape[1], 1)
    mean: Probabilities = ranks.mean(axis=0)
    return mean / mean.sum(axis=1, keepdims=True) if target == "single" else mean


def fit_weights(probabilities: Array, targets: Array) -> Probabilities:
    """The weights (M,), none negative and summing to one, whose mean of (M, N, C) has the least log loss.

    targets: (N,) indices of classes, or (N, C) of 0 and 1, for which it is the mean of the tags' binary log losses.
    The problem is convex: there is one best loss, found by sequential least squares programming.
    """
    models = len(probabilities)
    if targets.ndim == 1:
        likelihoods = probabilities[:, np.arange(len(targets)), targets]
    else:
        likelihoods = np.where(targets == 1, probabilities, 1 - probabilities).reshape(models, -1)

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
    """The weighted mean (N, C) in which no image had a say in its own weights: they are fitted on the other folds.

    folds: (N,), the fold of each image. Its score is what fitting weights is worth on images that were not seen.
    """
    mean = np.empty(probabilities.shape[1:])
    for fold in np.unique(folds):
        others = folds != fold
        mean[~others] = weighted_mean(probabilities[:, ~others], fit_weights(probabilities[:, others], targets[others]))
    return mean


def cross_fit_folds(parts: Array, targets: Array, groups: Array | None) -> Array | None:
    """The fold (R,) of each validating image that weights are fitted without: its own of joined folds, or one drawn.

    parts, groups: (R,). None for fewer than two images.
    """
    named, numbers = np.unique(parts, return_inverse=True)
    if len(named) > 1:
        return numbers
    if len(targets) < 2:
        return None
    count = len(targets) if groups is None else len(np.unique(groups))
    if count < 2:
        groups, count = None, len(targets)
    return draw_folds(targets, min(CROSS_FITS, count), seed=0, groups=groups)


@dataclass(frozen=True)
class Combined:
    """What several runs predict together, and its score.

    valid: (R, C), of the validating images; where weights were fitted, each image's on others. test: (T, C).
    weights: (M,), what each run counts, summing to one. record: of the scores.
    """

    valid: Array
    test: Array
    weights: Array
    postprocessing: PostProcessing
    record: Mapping[str, Any]


def by_every_method(
    competition: Competition,
    classes: Sequence[str],
    valid: Array,
    test: Array,
    targets: Array,
    folds: Array | None,
    *,
    of_folds: bool,
) -> dict[Method, Combined]:
    """The runs' probabilities (M, R, C) and (M, T, C), combined by every method, the simplest first.

    folds: (R,) what fitted weights are cross-fitted by; without it, there are none.
    of_folds: the runs are joined folds, each row of ``valid`` of one model and each of ``test`` a mean of several.
    """
    target, even = competition.target, np.full(len(valid), 1 / len(valid))

    def scored(valid: Array, test: Array, weights: Array) -> Combined:
        tuned = tune_on_predictions(competition, classes, targets, valid, of_one_model=of_folds)
        return Combined(valid, test, weights, *tuned)

    methods: dict[Method, Combined] = {
        "mean": scored(weighted_mean(valid), weighted_mean(test), even),
        "ranks": scored(rank_mean(valid, target), rank_mean(test, target), even),
    }
    if folds is not None:
        weights = fit_weights(valid, targets)
        methods["weights"] = scored(cross_fitted_mean(valid, targets, folds), weighted_mean(test, weights), weights)
    return methods


def best_method(methods: Mapping[Method, Combined]) -> Method:
    """The method with the best score after post-processing; of equals, the simplest."""
    return max(methods, key=lambda method: _goodness(methods[method].record))


def compare(alone: Mapping[str, Mapping[str, Any]], methods: Mapping[Method, Combined], how: Method) -> dict[str, Any]:
    """The record of the chosen method's scores, with those of every method and of each run ``alone``, and the gain.

    alone: records by the names of the runs. ``gain`` is over the best run alone, after post-processing; above zero is
    better, whatever the metric's direction.
    """
    chosen = methods[how].record
    record: dict[str, Any] = {
        **chosen,
        "how": how,
        "members": [{"run": name, **_scores(one)} for name, one in alone.items()],
        "methods": {
            method: {**_scores(combined.record), "weights": combined.weights.tolist()}
            for method, combined in methods.items()
        },
    }
    if not chosen["rows"]:
        return record
    best = max(alone, key=lambda name: _goodness(alone[name]))
    return {**record, "best_run": best, "gain": _goodness(chosen) - _goodness(alone[best])}


def describe(competition: Competition, scores: Mapping[str, Any]) -> list[str]:
    """The record of `compare` as a table, and the gain in words."""
    members, methods, how, metric = scores["members"], scores["methods"], scores["how"], competition.scoring.name
    if not scores["rows"]:
        return [f"{competition.name}: {how} of {len(members)} runs; no image validates, so there is no score"]
    fitted = methods["weights"]["weights"] if "weights" in methods else [None] * len(members)
    rows = [(one["run"], one, weight) for one, weight in zip(members, fitted, strict=True)]
    rows += [(method, one, None) for method, one in methods.items()]
    before = next(one["tuned"] for one in members if one["run"] == scores["best_run"])
    gain = scores["gain"]
    gained = "no better" if abs(gain) < 5e-6 else f"{abs(gain):.5f} {'better' if gain > 0 else 'worse'}"
    return [
        f"{competition.name}: {len(members)} runs on {scores['rows']} images; "
        "`weights` is scored on images that its weights were not fitted on",
        *as_table(
            ["", metric, "post-processed", "weight"],
            *(
                [name, one["untuned"], one["tuned"], "" if weight is None else f"{weight:.3f}"]
                for name, one, weight in rows
            ),
        ),
        f"{how}: {metric} {before:.5f} with {scores['best_run']} alone, {scores['tuned']:.5f} combined, {gained}",
    ]


def as_table(*rows: Sequence[object]) -> list[str]:
    """Rows of text and scores as lines: the first column to the left, the others to the right."""
    texts = [[f"{cell:.5f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in texts]


def _scores(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("untuned", "tuned") if name in record}


def _goodness(record: Mapping[str, Any]) -> float:
    """The score after post-processing, the higher the better; none, or NaN, is worst."""
    score = record.get("tuned", np.nan)
    return -np.inf if np.isnan(score) else float(score if record["higher_is_better"] else -score)
