"""From logits to probabilities: the mean over an image's views."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

from comp.declare.metrics import Target

Probabilities = npt.NDArray[np.float64]

VALUES_AT_ONCE = 1 << 22


def mean_over_views(logits: npt.NDArray[Any], target: Target) -> Probabilities:
    """Logits (N, V, C) to the probabilities (N, C): of each view its own, then their mean.

    One class per image: softmax, so rows sum to one; tags: a sigmoid each.
    """
    mean = np.empty((logits.shape[0], logits.shape[2]))
    # In pieces: of all rows at once the views' probabilities would take several times what is kept of them.
    at_once = max(1, VALUES_AT_ONCE // max(1, logits.shape[1] * logits.shape[2]))
    for start in range(0, len(logits), at_once):
        exact = logits[start : start + at_once].astype(np.float64)
        of_views: Probabilities = softmax(exact, axis=-1) if target == "single" else expit(exact)
        mean[start : start + at_once] = of_views.mean(axis=1)
    return mean
