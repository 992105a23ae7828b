"""How uncertain scores and decisions are, by the validation rows that they were tuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.declare.competition import Competition
from comp.submission.postprocessing import Clip, CutPoints, PostProcessing, Thresholds, error_of, tune, untuned

Array = npt.NDArray[Any]

# Rows of which a standard error says something.
FEWEST = 3
# A decision is tuned anew without each block of rows where there are no more probabilities: it takes seconds.
TUNED_AGAIN = 50_000
# Of the logarithm of a temperature, for the curvature of the log likelihood.
STEP = 0.1
# A gain of fewer standard errors may be chance.
SURE = 2.0


def standard_errors(
    competition: Competition,
    classes: Sequence[str],
    targets: Array,
    predictions: Array,
    postprocessing: PostProcessing,
) -> dict[str, Any]:
    """Of the score ``tuned``, of its ``gain`` over untuned post-processing, and of what was tuned.

    The jackknife's over 20 blocks of rows (Efron and Stein 1981, 10.1214/aos/1176345462). Thresholds and cuts: how much
    they vary when tuned without each block. A temperature's follows from the curvature of the log likelihood. Empty
    where there are too few rows to tell, or where the metric can't score some of them.
    """
    rows, metric = len(targets), competition.scoring
    if rows < FEWEST:
        return {}
    after, before = postprocessing(predictions), untuned(competition, classes)(predictions)

    def scored(some: Array | slice) -> Array:
        tuned, plain = (metric.worth(targets[some], made[some], classes) for made in (after, before))
        return np.array([tuned, tuned - plain])

    errors = error_of(scored, rows)
    if not np.isfinite(errors).all():
        return {}
    tuned, gain = map(float, errors)
    found: dict[str, Any] = {"tuned": tuned, "gain": gain, "gained": float(scored(slice(None))[1])}
    if isinstance(postprocessing, Clip) and postprocessing.temperature != 1:
        found["temperature"] = _of_temperature(postprocessing, competition, classes, targets, predictions)
    if isinstance(postprocessing, Thresholds | CutPoints) and predictions.size <= TUNED_AGAIN:
        name = "thresholds" if isinstance(postprocessing, Thresholds) else "cuts"
        found[name] = error_of(
            lambda some: np.array(asdict(tune(competition, classes, targets[some], predictions[some]))[name]), rows
        ).tolist()
    return found


def doubt(scores: Mapping[str, Any]) -> str | None:
    """A sentence where the rows that validate are too few to say more than noise of what was tuned; else None."""
    errors = scores.get("standard_errors") or {}
    # What changes nothing was not decided by these rows.
    if not errors.get("gained") or errors["gained"] > SURE * errors["gain"]:
        return None
    return (
        f"{scores['rows']} rows are too few to tell the gain of post-processing, {errors['gained']:.5f} ± "
        f"{errors['gain']:.5f}, from noise; --folds 5 lets every labelled row decide"
        if "folds" not in scores and "members" not in scores
        else f"the gain of post-processing, {errors['gained']:.5f} ± {errors['gain']:.5f}, may be noise"
    )


def in_words(errors: Mapping[str, Any]) -> str:
    """The standard errors of what was tuned: ``temperature ± 0.04``; empty where none is known."""
    if "temperature" in errors:
        return f"the temperature is known to ± {errors['temperature']:.2f}"
    for name in ("thresholds", "cuts"):
        if name in errors:
            return f"{name} are known to ± {np.median(errors[name]):.2g}, at the median"
    return ""


def _of_temperature(
    clip: Clip, competition: Competition, classes: Sequence[str], targets: Array, predictions: Array
) -> float:
    """In the temperature's unit: one over the square root of the Fisher information of its logarithm."""

    def loss(step: float) -> float:
        moved = replace(clip, temperature=clip.temperature * float(np.exp(step)))
        return -len(targets) * competition.scoring.worth(targets, moved(predictions), classes)

    information = (loss(STEP) - 2 * loss(0.0) + loss(-STEP)) / STEP**2
    return float(clip.temperature / np.sqrt(information)) if information > 0 else float("inf")
