"""The validation scores of a training under way, and of its predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comp.submission.decisions import Decision, from_record, to_record, tune, untuned
from comp.submission.tta import mean_over_views

if TYPE_CHECKING:
    import numpy.typing as npt

    from comp.declare.competition import Competition

    Array = npt.NDArray[Any]


def score_logits(competition: Competition, targets: Array, logits: Array | None) -> float | None:
    """The metric of one view's logits (N, C), before any decision is tuned; None without validation rows."""
    if logits is None:
        return None
    return score_undecided(competition, targets, mean_over_views(logits[:, None], competition.target))


def score_undecided(competition: Competition, targets: Array, probabilities: Array) -> float:
    """The metric of probabilities (N, C), before any decision is tuned."""
    decision = untuned(competition.scoring, competition.target, probabilities.shape[1])
    return competition.scoring(targets, decision(probabilities))


def decide(
    competition: Competition, targets: Array, logits: Array, found: dict[str, Any] | None = None
) -> tuple[Decision, dict[str, Any]]:
    """The decision tuned on the validation rows' logits (N, V, C), and the record of their scores.

    found: the record of a decision tuned before, for a training in which no row validates.
    ``plain`` is the score of the first view, ``tta`` of the mean over all, ``decided`` after the decision: the last was
    tuned on the same rows, so it flatters a little.
    """
    decision, record = decide_blended(competition, targets, mean_over_views(logits, competition.target))
    if not len(targets):
        decision = from_record(found) if found else decision
        return decision, {**record, "decision": to_record(decision)}
    plain, mean = score_logits(competition, targets, logits[:, 0]), record.pop("undecided")
    return decision, {**record, "plain": plain, "tta": mean}


def decide_blended(
    competition: Competition, targets: Array, probabilities: Array, *, of_one_model: bool = False
) -> tuple[Decision, dict[str, Any]]:
    """The decision tuned on the validation rows' probabilities (N, C), and the record of their scores.

    of_one_model: each row is predicted by one model, and the decision is for the mean of several.

    ``undecided`` is the score before the decision, ``decided`` after it, which flatters a little.
    """
    metric = competition.scoring
    record: dict[str, Any] = {"metric": metric.name, "higher_is_better": metric.higher_is_better, "rows": len(targets)}
    if not len(targets):
        decision = untuned(metric, competition.target, probabilities.shape[1])
        return decision, {**record, "decision": to_record(decision)}
    limits = {"hottest": 1.0} if of_one_model else {}
    decision = tune(metric, competition.target, targets, probabilities, **limits)
    return decision, {
        **record,
        "undecided": score_undecided(competition, targets, probabilities),
        "decided": metric(targets, decision(probabilities)),
        "decision": to_record(decision),
    }


def describe(scores: dict[str, Any]) -> str:
    """The record in one line."""
    if not scores["rows"]:
        return "no row validates, so there is no score and nothing to tune a decision on"
    return (
        f"validation {scores['metric']}: {scores['plain']:.5f} plain, {scores['tta']:.5f} with TTA, "
        f"{scores['decided']:.5f} with the tuned decision, on {scores['rows']} rows"
    )
