"""What a report shows of predicted numbers: truth against prediction, and the largest errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from comp.report import figures
from comp.report.outcomes import Outcomes
from comp.report.rendering import thumbnail

LARGEST = 40


def of_numbers(outcomes: Outcomes, pictures: Sequence[Path], read: Any) -> dict[str, Any]:
    """Each number's scatter and measures, and the images with the largest errors.

    pictures: of the outcomes' images. read: a function of a path that gives the pixels to show.
    """
    columns = zip(outcomes.classes, outcomes.targets.T, outcomes.probabilities.T, strict=True)
    return {"numbers": [_of_column(*column) for column in columns], "largest": _largest(outcomes, pictures, read)}


def _of_column(name: str, truth: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> dict[str, Any]:
    varies = len(truth) > 1 and np.ptp(truth) > 0 and np.ptp(predicted) > 0
    return {
        "name": name,
        "rmse": float(root_mean_squared_error(truth, predicted)),
        "mae": float(mean_absolute_error(truth, predicted)),
        "r2": float(r2_score(truth, predicted)) if varies else None,
        "correlation": float(pearsonr(truth, predicted)[0]) if varies else None,
        "chart": (name, figures.scatter(truth, predicted, name)),
    }


def _largest(outcomes: Outcomes, pictures: Sequence[Path], read: Any) -> list[dict[str, Any]]:
    largest = []
    for row in np.argsort(-outcomes.losses, kind="stable")[:LARGEST].tolist():
        values = zip(outcomes.classes, outcomes.targets[row], outcomes.probabilities[row], strict=True)
        picture = thumbnail(read(pictures[row]))
        largest.append({"id": outcomes.ids[row], "picture": picture, "values": list(values)})
    return largest
