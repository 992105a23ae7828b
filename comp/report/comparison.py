"""Runs side by side: what differs between their settings, and what one gains over another class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.runs.differences import flat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from comp.report.outcomes import Outcomes

    Array = npt.NDArray[Any]

# What a run's settings are not, or what follows from others.
NO_SETTINGS = ("command", "order", "classes", "kaggle", "competition", "metric", "settings", "postprocessing")
# A drawn loss that is further off than this many standard errors is called a difference.
CERTAIN = 2.0
# Of fewer images the standard error itself is chance.
FEWEST = 10


def differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The fields of the runs' configs that are not the same in all, named like ``recipe.stages.1.size``, and values."""
    each = [dict(flat({name: part for name, part in config.items() if name not in NO_SETTINGS})) for config in configs]
    fields = dict.fromkeys(field for one in each for field in one)
    rows = [(field, ["–" if field not in one else _in_words(one[field]) for one in each]) for field in fields]
    return [(field, values) for field, values in rows if len(set(values)) > 1]


def _in_words(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Gain:
    """What one run gains over another on the same images.

    better, worse: how many images are right in the one alone, and in the other alone.
    loss: how much lower its mean loss is, below zero where it is higher; error: that number's standard error.
    """

    images: int
    better: int
    worse: int
    loss: float
    error: float

    @property
    def certain(self) -> bool:
        """Whether the difference of losses can hardly be chance."""
        return self.images >= FEWEST and abs(self.loss) > CERTAIN * self.error


def gain(one: Outcomes, other: Outcomes) -> Gain:
    """What ``one`` gains over ``other``, outcomes of the same images in the same order."""
    saved = other.losses - one.losses
    error = float(saved.std(ddof=1) / np.sqrt(len(saved))) if len(saved) > 1 else float("inf")
    better, worse = int((one.right & ~other.right).sum()), int((~one.right & other.right).sum())
    return Gain(len(saved), better, worse, float(saved.mean()), error)


def of_rows(outcomes: Outcomes, rows: Array) -> Outcomes:
    """The outcomes of some rows, by their places."""
    return type(outcomes)(
        [outcomes.ids[row] for row in rows],
        outcomes.classes,
        [outcomes.folds[row] for row in rows],
        *(
            getattr(outcomes, field)[rows]
            for field in ("targets", "predicted", "probabilities", "losses", "uncertainty", "dearest")
        ),
    )
