"""The ways to blend several runs, scored side by side, and what the best one gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.splitting import draw_folds
from comp.submission.scoring import tune_on_probabilities
from comp.tools.ensembles.blending import cross_fitted_mean, fit_weights, rank_mean, weighted_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from comp.declare.competition import Competition
    from comp.submission.postprocessing import PostProcessing
    from comp.tools.ensembles.blending import Way

    Array = npt.NDArray[Any]

CROSS_FITS = 5


@dataclass(frozen=True)
class Scored:
    """What a way of blending makes of M runs, and its score.

    valid: (R, C), of the validating rows; where weights were fitted, each row's on other rows. test: (T, C).
    weights: (M,), what each run counts, summing to one.
    """

    valid: Array
    test: Array
    weights: Array
    postprocessing: PostProcessing
    record: Mapping[str, Any]


def score_ways(
    competition: Competition, valid: Array, test: Array, targets: Array, folds: Array | None, *, of_folds: bool
) -> dict[Way, Scored]:
    """Every way to blend the runs' probabilities (M, R, C) and (M, T, C), the simplest first.

    folds: (R,) what fitted weights are cross-fitted by; without it, there are none.
    of_folds: the runs are joined folds, each row of ``valid`` of one model and each of ``test`` a mean of several.
    """
    target, even = competition.target, np.full(len(valid), 1 / len(valid))

    def scored(blended: Array, blended_test: Array, weights: Array) -> Scored:
        return Scored(
            blended, blended_test, weights, *tune_on_probabilities(competition, targets, blended, of_one_model=of_folds)
        )

    ways: dict[Way, Scored] = {
        "mean": scored(weighted_mean(valid), weighted_mean(test), even),
        "ranks": scored(rank_mean(valid, target), rank_mean(test, target), even),
    }
    if folds is not None:
        weights = fit_weights(valid, targets)
        ways["weights"] = scored(cross_fitted_mean(valid, targets, folds), weighted_mean(test, weights), weights)
    return ways


def cross_fit_folds(parts: Array, targets: Array, groups: Array | None) -> Array | None:
    """The fold (R,) of each validating row that weights are fitted without: its own where folds were joined, or drawn.

    parts, groups: (R,). None for fewer than two rows.
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


def best_way(ways: Mapping[Way, Scored]) -> Way:
    """The way with the best score after post-processing; of equals, the simplest."""
    return max(ways, key=lambda way: _goodness(ways[way].record))


def compare(
    names: Sequence[str], alone: Sequence[Mapping[str, Any]], ways: Mapping[Way, Scored], how: Way
) -> dict[str, Any]:
    """The record of the chosen way's scores, with those of every way and of each run ``alone``, and what is gained.

    ``gain`` is over the best run alone, after post-processing; above zero is better, whatever the metric's direction.
    """
    chosen = ways[how].record
    record: dict[str, Any] = {
        **chosen,
        "how": how,
        "members": [{"run": name, **_scores(one)} for name, one in zip(names, alone, strict=True)],
        "ways": {
            way: {**_scores(scored.record), "weights": [float(weight) for weight in scored.weights]}
            for way, scored in ways.items()
        },
    }
    if not chosen["rows"]:
        return record
    best = max(range(len(names)), key=lambda place: _goodness(alone[place]))
    return {**record, "best_run": names[best], "gain": _goodness(chosen) - _goodness(alone[best])}


def describe(competition: Competition, scores: Mapping[str, Any]) -> list[str]:
    """The record of `compare` as a table, and the gain in words."""
    members, ways, how = scores["members"], scores["ways"], scores["how"]
    if not scores["rows"]:
        return [f"{competition.name}: {how} of {len(members)} runs; no row validates, so there is no score"]
    fitted = ways["weights"]["weights"] if "weights" in ways else [None] * len(members)
    lines = [(one["run"], one, weight) for one, weight in zip(members, fitted, strict=True)]
    lines += [(way, one, None) for way, one in ways.items()]
    width = max(len(name) for name, _, _ in lines)
    row = f"{{:<{width}}}  {{:>12}}  {{:>17}}  {{:>6}}"
    before = next(one["tuned"] for one in members if one["run"] == scores["best_run"])
    return [
        f"{competition.name}: {len(members)} runs on {scores['rows']} rows; "
        "`weights` is scored on rows that its weights were not fitted on",
        row.format("", competition.metric, "with post-processing", "weight"),
        *(
            row.format(
                name, f"{one['untuned']:.5f}", f"{one['tuned']:.5f}", "" if weight is None else f"{weight:.3f}"
            ).rstrip()
            for name, one, weight in lines
        ),
        f"{how}: {competition.metric} {before:.5f} with {scores['best_run']} alone, {scores['tuned']:.5f} blended, "
        f"{_gained(scores['gain'])}",
    ]


def _gained(gain: float) -> str:
    if abs(gain) < 5e-6:  # of the digits that are said
        return "no better"
    return f"{gain:.5f} better" if gain > 0 else f"{-gain:.5f} worse"


def _scores(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("untuned", "tuned") if name in record}


def _goodness(record: Mapping[str, Any]) -> float:
    """The score after post-processing, the higher the better; none, or one that is no number, is worst."""
    score = record.get("tuned", np.nan)
    return -np.inf if np.isnan(score) else float(score if record["higher_is_better"] else -score)
