"""Whether a stage spoilt the weights, and the weights to go back to."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from comp.declare.metrics import Metric

# The validation loss and score of some weights; None where no image validates.
Reached = tuple[float, float] | None

# A stage that raises the validation loss by more than this share, and has no better score, is undone.
WORSE = 0.2


class Finite(NamedTuple):
    """The last weights with finite losses: after ``cycles`` cycles of the current stage; 0 is before it."""

    weights: dict[str, Tensor]
    cycles: int
    reached: Reached = None


def made_worse(metric: Metric, before: Reached, after: Reached) -> str:
    """What became far worse, in words; empty where nothing did, or where that isn't known."""
    if before is None or after is None:
        return ""
    (loss_before, score_before), (loss, score) = before, after
    better = score > score_before if metric.higher_is_better else score < score_before
    # A custom loss may be negative.
    if loss - loss_before <= WORSE * abs(loss_before) or better:
        return ""
    return f"the validation loss rose from {loss_before:.4g} to {loss:.4g}, and {metric.name} is no better"
