"""From logits to probabilities: the mean over an image's views."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from comp.metrics import Target

Probabilities = npt.NDArray[np.float64]


def mean_over_views(logits: npt.NDArray[Any], target: Target) -> Probabilities:
    """Logits (N, V, C) to the probabilities (N, C): of each view its own, then their mean.

    One class per image: softmax, so rows sum to one; tags: a sigmoid each.
    """
    exact = logits.astype(np.float64)
    of_views: Probabilities = softmax(exact, axis=-1) if target == "single" else expit(exact)
    mean: Probabilities = of_views.mean(axis=1)
    return mean
