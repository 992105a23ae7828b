"""How uncertain scores and decisions are, by the validation rows that they were tuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.declare.competition import Competition
from comp.declare.metrics import Metric
from comp.submission.jackknife import error_of
from comp.submission.postprocessing import Clip, CutPoints, PostProcessing, Thresholds, untuned
from comp.submission.temperature import error_of_temperature, spread
from comp.submission.tuning import tune

Array = npt.NDArray[Any]

# Rows of which a standard error says something.
FEWEST = 3
# Blocks for a number that is asked for once: its error is then known to 5 %.
FINE = 200
# A decision is tuned anew without each block of rows where there are no more probabilities: it takes seconds, but
# thousands of scores, which of one's own may take minutes.
TUNED_AGAIN = 50_000
# A gain of fewer standard errors may be chance.
SURE = 2.0


def standard_errors(
    competition: Competition, classes: Sequence[str], targets: Array, predictions: Array, postprocessing: PostProcessing
) -> dict[str, Any]:
    """Of the score ``tuned``, of its ``gain`` over untuned post-processing, and of what was tuned.

    The jackknife's over 20 blocks of rows (Efron and Stein 1981, 10.1214/aos/1176345462). Thresholds and cuts: how much
    they vary when tuned without each block, but not for a metric of one's own; a temperature: how far the right one may
    lie from it. Empty where there are too few rows to tell, or where the metric can't score some of them.
    """
    rows, metric = len(targets), competition.scoring
    if rows < FEWEST:
        return {}
    start = untuned(competition, classes)
    after, before = postprocessing(predictions), start(predictions)

    def scored(some: Array | slice) -> Array:
        tuned, plain = (metric.worth(targets[some], made[some], classes) for made in (after, before))
        return np.array([tuned, tuned - plain])

    errors = error_of(scored, rows)
    if not np.isfinite(errors).all():
        return {}
    tuned, gain = map(float, errors)
    found: dict[str, Any] = {"tuned": tuned, "gain": gain, "gained": float(scored(slice(None))[1])}
    if isinstance(postprocessing, Clip) and postprocessing.temperature != 1:
        error = error_of_temperature(
            postprocessing, lambda made, some: metric.worth(targets[some], made[some], classes), predictions
        )
        found["temperature"] = postprocessing.temperature * spread(error)
    # Where probabilities may also be left as they are, some blocks have no threshold.
    again = type(start) is type(postprocessing) and predictions.size <= TUNED_AGAIN and metric.is_named
    if again and isinstance(postprocessing, Thresholds | CutPoints):
        name = "thresholds" if isinstance(postprocessing, Thresholds) else "cuts"
        found[name] = error_of(
            lambda some: np.array(asdict(tune(competition, classes, targets[some], predictions[some]))[name]), rows
        ).tolist()
    return found


def gain(
    metric: Metric, targets: Array, now: Array, before: Array, classes: Sequence[str], blocks: int = FINE
) -> tuple[float, float]:
    """How much better post-processed predictions of some rows score than others of them, and its standard error."""

    def gained(some: Array | slice) -> float:
        after, start = (metric.worth(targets[some], made[some], classes) for made in (now, before))
        return after - start

    return gained(slice(None)), float(error_of(gained, len(targets), blocks=blocks))


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
