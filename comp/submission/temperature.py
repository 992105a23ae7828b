"""Tuning the temperature of probabilities on validation images, and its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.submission.jackknife import error_of, surest
from comp.submission.postprocessing import CLIPS, FAINTEST, Clip

Array = npt.NDArray[Any]

TEMPERATURES = (0.5, 2.0)
# The standard deviation of the logarithms of the temperatures that models need, around 0.
USUAL = 0.2
# The step for the slope and the curvature of a score, as a share of a temperature.
STEP = 0.05


def tune_clip(start: Clip, worth: Callable[..., float], probabilities: Array, hottest: float) -> Clip:
    """Tune the temperature, shrunk towards 1, and the clipping where it surely gains: few wrong images decide both."""
    from scipy.optimize import minimize_scalar  # a slow import, which `comp new` doesn't need

    found = minimize_scalar(
        lambda logarithm: -worth(replace(start, temperature=float(np.exp(logarithm)))(probabilities)),
        bounds=np.log((TEMPERATURES[0], hottest)),
        method="bounded",
    )
    error = error_of_temperature(replace(start, temperature=float(np.exp(found.x))), worth, probabilities)
    tempered = replace(start, temperature=float(np.exp(shrunk(found.x, error))))
    tempered = max(start, tempered, key=lambda clip: worth(clip(probabilities)))
    clips = (
        replace(tempered, smallest=smallest)
        for smallest in CLIPS
        # Rows without a mistake don't show how rare mistakes are.
        if smallest > start.smallest or smallest * probabilities.size >= 1
    )
    return surest(tempered, clips, worth, probabilities)


def shrunk(logarithm: float, error: float) -> float:
    """Shrink a temperature's logarithm with this standard error towards 0: the posterior mean for the prior USUAL."""
    return float(logarithm / (1 + (error / USUAL) ** 2))


def spread(error: float) -> float:
    """The uncertainty of a `shrunk` logarithm: the posterior's standard deviation."""
    return USUAL if np.isinf(error) else float(error * USUAL / np.hypot(error, USUAL))


def error_of_temperature(clip: Clip, worth: Callable[..., float], probabilities: Array) -> float:
    """The standard error of the logarithm of a temperature near the best, from a Newton step without each block.

    The likelihood's curvature alone would underestimate it, as losses have long tails. worth: as `surest` takes it.
    """

    def with_floor(smallest: float) -> float:
        near = [
            replace(clip, smallest=smallest, temperature=clip.temperature / (1 + step))(probabilities)
            for step in (-STEP, 0, STEP)
        ]

        def best(some: Array) -> float:
            low, middle, high = (worth(made, some) for made in near)
            curvature = 2 * middle - low - high
            return STEP * (high - low) / 2 / curvature if curvature > 0 else np.inf

        with np.errstate(invalid="ignore"):  # inf - inf
            return float(error_of(best, len(probabilities)))

    # A log loss is convex in a temperature's inverse, except where a mistake falls below the floor.
    return next(filter(np.isfinite, map(with_floor, (clip.smallest, FAINTEST))), np.inf)
