"""Validation scores during a training and of its predictions, with post-processing tuned on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from comp.declare.competition import Competition
from comp.declare.custom import key_of
from comp.declare.forms import TagNames
from comp.declare.metrics import Metric
from comp.errors import DeclarationError
from comp.submission.jackknife import BLOCKS
from comp.submission.postprocessing import PostProcessing, Thresholds, from_record, to_record, untuned
from comp.submission.predictions import combined, postprocessed
from comp.submission.temperature import TEMPERATURES
from comp.submission.tuning import tune
from comp.submission.uncertainty import gain, standard_errors

if TYPE_CHECKING:
    from comp.submission.outputs import Outputs  # scipy.special is slow to import, and `comp new` doesn't need it

Array = npt.NDArray[Any]

# The number of values in the predictions that a custom metric is tried on.
TRIED = 1 << 16
# A temperature below this is badly under-confident: a probability of 0.8 should have been 0.85 or more.
TIMID = 0.8


def score_logits(
    competition: Competition,
    outputs: Outputs,
    classes: Sequence[str],
    targets: Array,
    logits: Array | None,
    answers: Array | None = None,
) -> float | None:
    """The score of one view's logits (N, C) before post-processing is tuned; None without validation images.

    targets, answers: as `tune_on_logits` takes them.
    """
    if logits is None:
        return None
    predictions = combined(competition, outputs.predictions(logits[:, None]), answers)
    return score_untuned(competition, classes, targets, predictions)


def score_untuned(competition: Competition, classes: Sequence[str], targets: Array, predictions: Array) -> float:
    """The score of predictions (N, C) before post-processing is tuned."""
    return competition.scoring(targets, untuned(competition, classes)(predictions), classes)


def tune_on_logits(
    competition: Competition,
    outputs: Outputs,
    classes: Sequence[str],
    targets: Array,
    logits: Array,
    found: dict[str, Any] | None = None,
    answers: Array | None = None,
    views: int | None = None,
    labelled: Array | None = None,
    ids: Sequence[str] = (),
) -> tuple[PostProcessing, dict[str, Any]]:
    """Tune the post-processing on the validation images' logits (N, V, C); return it and the record of scores.

    targets: (A, …) of the answers. answers: each image's answer (N,), None where each image is one.
    found: the record of post-processing tuned before, for a training in which no image validates.
    views: the number of views of each snapshot, the plain one first; by default all V views are of one snapshot.
    labelled: as `tune_on_predictions` takes it. ids: the answers' ids (A,), for a competition's `postprocess`.

    The record has the score of the first view, ``plain``, of the mean over all views, ``tta``, and after
    post-processing, ``tuned``, which is slightly optimistic: it was tuned on the same images. ``tta_loses`` is true
    where, after post-processing, the snapshots' plain views alone score better. Where they do so by more than a
    standard error of the difference, ``tta_used`` is false, and only the plain views are used; a smaller difference
    counts as chance, as a mean of views is mostly better than one view.
    """
    views = views or logits.shape[1]
    before, *others_before = (
        combined(competition, outputs.predictions(some), answers)
        for some in (logits, logits[:, ::views], logits[:, :1])
    )
    predictions, plain_ones, plain_one = (
        postprocessed(competition, ids, classes, some) for some in (before, *others_before)
    )
    postprocessing, record = tune_on_predictions(competition, classes, targets, predictions, before, labelled=labelled)
    if not len(targets):
        postprocessing = from_record(found) if found else postprocessing
        return postprocessing, {**record, "postprocessing": to_record(postprocessing)}
    plain, mean = score_untuned(competition, classes, targets, plain_one), record.pop("untuned")
    scores: dict[str, Any] = {"plain": plain, "tta": mean, "tta_loses": False, "tta_used": True}
    if views > 1:
        alone, others = tune_on_predictions(competition, classes, targets, plain_ones, labelled=labelled)
        with_views, without = postprocessing(predictions), alone(plain_ones)
        lost, error = gain(competition.scoring, targets, without, with_views, classes, BLOCKS)
        scores["tta_loses"] = lost > 0
        if lost > error:
            del others["untuned"]
            predictions, postprocessing, record, scores["tta_used"] = plain_ones, alone, others, False
    errors = standard_errors(competition, classes, targets, predictions, postprocessing)
    return postprocessing, {**record, **scores, "standard_errors": errors}


def tune_on_predictions(
    competition: Competition,
    classes: Sequence[str],
    targets: Array,
    predictions: Array,
    before: Array | None = None,
    *,
    of_one_model: bool = False,
    labelled: Array | None = None,
) -> tuple[PostProcessing, dict[str, Any]]:
    """Tune the post-processing on the validation images' predictions (N, C); return it and the record of scores.

    before: the predictions before the competition's `postprocess`.
    of_one_model: each image is predicted by one model, but the post-processing is for the mean of several.
    labelled: the targets (L, …) of all labelled images, by default the validation images': where each has a tag, every
        prediction in `TagNames` gets one as well.
    Raises DeclarationError where a custom metric isn't finite.

    In the record ``untuned`` is the score before post-processing, ``tuned`` after it, slightly optimistic.
    """
    metric = competition.scoring
    record: dict[str, Any] = {"metric": metric.name, "higher_is_better": metric.higher_is_better, "rows": len(targets)}
    if competition.postprocess is not None:
        record["postprocess"] = key_of(competition.postprocess)
        if before is not None and len(targets):
            record["before_postprocess"] = score_untuned(competition, classes, targets, before)
    postprocessing = untuned(competition, classes)
    if len(targets):
        record["untuned"] = score_untuned(competition, classes, targets, predictions)
        _must_be_finite(competition, record["untuned"], f"the predictions of {len(targets)} validation images")
        hottest = 1.0 if of_one_model else TEMPERATURES[1]
        postprocessing = tune(competition, classes, targets, predictions, hottest)
    labelled = targets if labelled is None else labelled
    if isinstance(postprocessing, Thresholds) and isinstance(competition.submission, TagNames) and len(labelled):
        postprocessing = replace(postprocessing, never_none=bool(labelled.any(axis=1).all()))
    if len(targets):
        record["tuned"] = metric(targets, postprocessing(predictions), classes)
    return postprocessing, {**record, "postprocessing": to_record(postprocessing)}


def must_score(competition: Competition, classes: Sequence[str], targets: Array) -> None:
    """Raise DeclarationError where the metric can't score predictions of these targets.

    Only a custom metric is tried, on random predictions: named metrics are tested, and scikit-learn is slow to import.
    """
    competition.scoring.must_fit(classes)
    if isinstance(competition.metric, str):
        return
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(targets))[: max(2, TRIED // len(classes))]
    score = score_untuned(competition, classes, targets[rows], _drawn(competition, classes, len(rows), rng))
    _must_be_finite(competition, score, "random predictions")


def must_postprocess(competition: Competition, classes: Sequence[str], targets: Array, ids: Sequence[str]) -> None:
    """Raise DeclarationError where the competition's `postprocess` fails on random predictions of these ids.

    targets: (L, …) of labelled images; numbers are drawn from these, as a rule may depend on their unit.
    """
    if competition.postprocess is None:
        return
    rng = np.random.default_rng(0)
    if competition.target == "number":
        drawn = rng.choice(targets, len(ids))
    else:
        drawn = _drawn(competition, classes, len(ids), rng)
    postprocessed(competition, ids, classes, drawn)


def _drawn(competition: Competition, classes: Sequence[str], rows: int, rng: np.random.Generator) -> Array:
    if competition.target in ("single", "shares"):
        return rng.dirichlet(np.ones(len(classes)), rows)
    return rng.uniform(size=(rows, len(classes)))


def _must_be_finite(competition: Competition, score: float, of: str) -> None:
    """Raise DeclarationError where a custom metric isn't finite; a named metric is NaN where it isn't defined."""
    if isinstance(competition.metric, Metric) and not np.isfinite(score):
        raise DeclarationError(
            f"Metric {competition.metric.name!r}: `score` returns {score} for {of}, but it should return a finite "
            "number; check for a division by 0."
        )


def describe(scores: dict[str, Any], what: str = "images") -> str:
    """The record in one line. what: the word for its rows."""
    if not scores["rows"]:
        return "no image validates, so there is no score and nothing to tune post-processing on"
    text = (
        f"validation {scores['metric']}: {scores['plain']:.5f} plain, {scores['tta']:.5f} with TTA, "
        f"{with_error(scores)} as submitted, on {scores['rows']} {what}"
    )
    if (before := scores.get("before_postprocess")) is not None:
        text += f"; {before:.5f} before `postprocess`, {scores['tta']:.5f} after it"
    if not scores.get("tta_used", True):
        text += "; TTA scores worse, so it is not used: the submission is predicted from the plain view"
    elif scores.get("tta_loses"):
        text += "; TTA scores worse, but the difference is within chance, so it is used"
    temperature = scores["postprocessing"].get("temperature", 1.0)
    if temperature < TIMID:
        text += f"; badly under-confident without its temperature of {temperature:.2f}"
    return text


def with_error(scores: Mapping[str, Any]) -> str:
    """The score after post-processing, with its standard error if known."""
    error = (scores.get("standard_errors") or {}).get("tuned")
    return f"{scores['tuned']:.5f}" + ("" if error is None else f" ± {error:.5f}")
