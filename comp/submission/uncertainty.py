"""The uncertainty of scores and tuned decisions, from the validation rows."""

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

# The fewest rows for a standard error.
FEWEST = 3
# Jackknife blocks for a single number: its error is then known to 5 %.
FINE = 200
# The most probabilities for which a decision is tuned again without each block of rows, within seconds. It takes
# thousands of scores, for which a custom metric may need minutes.
TUNED_AGAIN = 50_000
# A gain of fewer standard errors than this may be chance.
SURE = 2.0


def standard_errors(
    competition: Competition, classes: Sequence[str], targets: Array, predictions: Array, postprocessing: PostProcessing
) -> dict[str, Any]:
    """The standard errors of the ``tuned`` score, of its ``gain`` over untuned post-processing, and of what was tuned.

    By the jackknife over 20 blocks of rows (Efron and Stein 1981, 10.1214/aos/1176345462). For thresholds and cuts:
    their variation when tuned without each block, except for a custom metric; for a temperature: its likely distance
    from the right one. Empty where there are too few rows, or where the metric can't score some of them.
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
    # Where tuning may also choose no threshold, some blocks have none.
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
    """The gain in score of post-processed predictions over others of the same rows, and its standard error."""

    def gained(some: Array | slice) -> float:
        after, start = (metric.worth(targets[some], made[some], classes) for made in (now, before))
        return after - start

    return gained(slice(None)), float(error_of(gained, len(targets), blocks=blocks))


def doubt(scores: Mapping[str, Any]) -> str | None:
    """A sentence where the gain of post-processing may be noise; else None."""
    errors = scores.get("standard_errors") or {}
    # Without a gain, there is nothing to doubt.
    if not errors.get("gained") or errors["gained"] > SURE * errors["gain"]:
        return None
    return (
        f"{scores['rows']} rows are too few to tell the gain of post-processing, {errors['gained']:.5f} ± "
        f"{errors['gain']:.5f}, from noise; --folds 5 lets every labelled row decide"
        if "folds" not in scores and "members" not in scores
        else f"the gain of post-processing, {errors['gained']:.5f} ± {errors['gain']:.5f}, may be noise"
    )


def in_words(errors: Mapping[str, Any]) -> str:
    """The standard errors of what was tuned, in words; empty where none is known."""
    if "temperature" in errors:
        return f"the temperature is known to ± {errors['temperature']:.2f}"
    for name in ("thresholds", "cuts"):
        if name in errors:
            return f"{name} are known to ± {np.median(errors[name]):.2g}, at the median"
    return ""
