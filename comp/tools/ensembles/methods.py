"""The methods by which an ensemble's members are combined, scored side by side, and what the best one gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from comp.data.splitting import draw_folds
from comp.declare.competition import Competition
from comp.declare.metrics import Target
from comp.submission.postprocessing import PostProcessing
from comp.submission.predictions import postprocessed
from comp.submission.scoring import tune_on_predictions
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
Method = Literal["mean", "logits", "ranks", "weights", "greedy", "nnls"]

# What fits weights (M,) on predictions (M, N, C) and targets, the simplest first.
FITTED: dict[Method, Fit] = {"weights": fit_weights, "greedy": fit_greedily, "nnls": fit_least_squares}
CROSS_FITS = 5


def rank_mean(predictions: Array, target: Target) -> Predictions:
    """The mean (N, C) over the models of each column's ranks within each of (M, N, C), scaled to lie between 0 and 1.

    Only the order counts, so a model that is too sure of itself has no more say than another. Ties share their mean
    rank. One class per image, and shares: each image's sum to one.
    """
    # Half a rank lower: the lowest of N is 1/2N above 0, as the highest is below 1, and no row is all zeros.
    ranks = (rankdata(predictions, axis=1) - 0.5) / max(predictions.shape[1], 1)
    mean: Predictions = ranks.mean(axis=0)
    return mean / mean.sum(axis=1, keepdims=True) if target in ("single", "shares") else mean


def cross_fitted_mean(
    predictions: Array, targets: Array, folds: Array, target: Target, fit: Fit = fit_weights
) -> Predictions:
    """The combination (N, C) in which no image had a say in its own weights: ``fit`` finds them on the other folds.

    folds: (N,), the fold of each image. Its score is what fitting weights is worth on images that were not seen.
    """
    mean = np.empty(predictions.shape[1:])
    for fold in np.unique(folds):
        others = folds != fold
        weights = fit(predictions[:, others], targets[others], target)
        mean[~others] = _weighted(fit, predictions[:, ~others], target, weights)
    return mean


def _weighted(fit: Fit, predictions: Array, target: Target, weights: Array) -> Predictions:
    """By weights that were fitted for what they do: of logits or of predictions."""
    return mean_of_logits(predictions, target, weights) if fit is fit_weights else weighted_mean(predictions, weights)


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
    made: (R, C), what the competition's `postprocess` makes of ``valid``.
    weights: (M,), what each run counts, summing to one. record: of the scores.
    """

    valid: Array
    test: Array
    made: Array
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
    labelled: Array | None = None,
    ids: Sequence[str] = (),
) -> dict[Method, Combined]:
    """The runs' predictions (M, R, C) and (M, T, C), combined by every method, the simplest first.

    folds: (R,) what fitted weights are cross-fitted by; without it, there are none.
    of_folds: the runs are joined folds, each row of ``valid`` of one model and each of ``test`` a mean of several.
    labelled: as `tune_on_predictions` takes it. ids: of the validating images (R,).
    """
    target, even = competition.target, np.full(len(valid), 1 / len(valid))

    def scored(valid: Array, test: Array, weights: Array) -> Combined:
        made = postprocessed(competition, ids, classes, valid)
        tuned = tune_on_predictions(
            competition, classes, targets, made, valid, of_one_model=of_folds, labelled=labelled
        )
        return Combined(valid, test, made, weights, *tuned)

    methods: dict[Method, Combined] = {"mean": scored(weighted_mean(valid), weighted_mean(test), even)}
    if len(valid) == 1:
        return methods
    # Ranks of numbers would lose their unit.
    if target != "number":
        methods["logits"] = scored(mean_of_logits(valid, target), mean_of_logits(test, target), even)
        methods["ranks"] = scored(rank_mean(valid, target), rank_mean(test, target), even)
    if folds is not None:
        for method, fit in FITTED.items():
            weights = fit(valid, targets, target)
            methods[method] = scored(
                cross_fitted_mean(valid, targets, folds, target, fit), _weighted(fit, test, target, weights), weights
            )
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
    if len(members) == 1:
        return [f"{competition.name}: {scores['best_run']} is the first of the blend, {metric} {scores['tuned']:.5f}"]
    shown = how if how in FITTED else "weights"
    weights = [f"{weight:.3f}" for weight in methods[shown]["weights"]] if shown in methods else [""] * len(members)
    rows = [(one["run"], one, weight) for one, weight in zip(members, weights, strict=True)]
    rows += [(method, one, "") for method, one in methods.items()]
    before = next(one["tuned"] for one in members if one["run"] == scores["best_run"])
    gain = scores["gain"]
    gained = "no better" if abs(gain) < 5e-6 else f"{abs(gain):.5f} {'better' if gain > 0 else 'worse'}"
    return [
        f"{competition.name}: {len(members)} runs on {scores['rows']} images; "
        f"{', '.join(f'`{name}`' for name in FITTED)} are scored on images that their weights were not fitted on",
        *as_table(
            ["", metric, "post-processed", f"by {shown}"],
            *([name, one["untuned"], one["tuned"], weight] for name, one, weight in rows),
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
