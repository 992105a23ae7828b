"""The report of a run: how well it predicts, where it errs, how its training went, and how to make it again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.tables import read_tables
from comp.report import classes as of_classes
from comp.report import figures
from comp.report.confusion import confuse
from comp.report.diagnosing import as_it_went, diagnosis_of
from comp.report.gallery import gallery
from comp.report.mistakes import most_confused
from comp.report.predicted import Predicted, read_members, read_predicted
from comp.report.rendering import write_page
from comp.report.reproducing import command_of
from comp.report.stages import stages_of
from comp.submission.postprocessing import Clip, MostProbable, PostProcessing, Thresholds, untuned

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from comp.console import Console
    from comp.declare.competition import Competition
    from comp.report.outcomes import Outcomes
    from comp.runs import Run, Workspace

    Array = npt.NDArray[Any]

PAIRS = 20
# With more rows the page would be too large to open on a phone; the dearest are kept.
ROWS = 20_000
TOO_SURE, NOT_SURE_ENOUGH = 1.02, 0.98


def explain(
    competition: Competition, run: Run, workspace: Workspace, console: Console, *, with_maps: bool = True
) -> Path:
    """Write report.html in the run's folder; raises RunError for a run that was not predicted with.

    with_maps: with activation maps, for which the run's model is loaded and looks at the pictures once more.
    """
    tables = read_tables(competition, workspace.data(competition.name))
    (member,) = read_members([run])
    predicted = read_predicted(member, tables)
    trained = run.record("trained") if run.has("trained") else None
    recipe = None if run.members else as_it_went(run)
    facts: dict[str, Any] = {
        "run": run.name,
        "competition": competition,
        "config": member.config,
        "recipe": recipe,
        "scores": predicted.scores,
        "submitted": run.record("submitted") if run.has("submitted") else {},
        "postprocessing": in_words(predicted.postprocessing),
        "diagnosis": [] if run.members else diagnosis_of(run),
        "stages": [] if recipe is None else stages_of(run, recipe, competition.metric),
        "command": command_of(member.config, trained),
        "outcomes": None,
    }
    if len(predicted.rows):
        paths = [Path(path) for path in tables.train["path"].iloc[predicted.rows]]
        cards, why_no_maps = gallery(competition, run, predicted.outcomes, paths, console, with_maps=with_maps)
        facts |= {
            "outcomes": predicted.outcomes,
            "cards": cards,
            "has_maps": with_maps and not why_no_maps,
            "why_no_maps": why_no_maps,
            "folds": sorted(set(predicted.outcomes.folds), key=lambda fold: (len(fold), fold)),
            "table": table_of(predicted.outcomes),
            **_per_class(competition, predicted),
            **_calibration(predicted),
        }
    return write_page(run.report, "report", **facts)


def in_words(postprocessing: PostProcessing) -> str:
    """What the post-processing does to probabilities."""
    if isinstance(postprocessing, MostProbable):
        return "the most probable class is submitted"
    if isinstance(postprocessing, Thresholds):
        return "tags above their thresholds are submitted"
    text = f"probabilities are kept {postprocessing.smallest:g} away from 0 and 1"
    if postprocessing.temperature > TOO_SURE:
        return f"made less sure (temperature {postprocessing.temperature:.2f}), then {text}"
    if postprocessing.temperature < NOT_SURE_ENOUGH:
        return f"made surer (temperature {postprocessing.temperature:.2f}), then {text}"
    return text


def table_of(outcomes: Outcomes) -> dict[str, Any]:
    """All rows, the dearest first, as the page's script takes them."""
    classes, tags = outcomes.classes, outcomes.tags
    several = len(set(outcomes.folds)) > 1
    columns = [("image", "id", "text"), ("actual", "actual", "class"), ("predicted", "predicted", "class")]
    columns += [("right", "right", "right"), ("loss", "loss", "number")]
    columns += [] if tags else [("p(actual)", "probability", "number")]
    columns += [("fold", "fold", "text")] if several else []
    rows = []
    for row in np.argsort(-outcomes.losses, kind="stable")[:ROWS].tolist():
        truth, answer = outcomes.targets[row], outcomes.predicted[row]
        both = [np.flatnonzero(part).tolist() if tags else int(part) for part in (truth, answer)]
        shown = [outcomes.ids[row], *both, int(outcomes.right[row]), round(float(outcomes.losses[row]), 4)]
        shown += [] if tags else [round(float(outcomes.probabilities[row, truth]), 4)]
        rows.append([*shown, outcomes.folds[row]] if several else shown)
    return {
        "heads": [head for head, _, _ in columns],
        "columns": [name for _, name, _ in columns],
        "kinds": [kind for _, _, kind in columns],
        "classes": list(classes),
        "rows": rows,
        "left_out": max(0, len(outcomes.ids) - ROWS),
    }


def _per_class(competition: Competition, predicted: Predicted) -> dict[str, Any]:
    """The figures of each class or tag; which classes are confused, or what each tag's threshold does."""
    outcomes, beta = predicted.outcomes, competition.scoring.beta or 1.0
    facts: dict[str, Any] = {
        "figures": of_classes.figures(outcomes, beta),
        "score_name": f"F{beta:g}",
        "confusion": None,
        "curves": [],
    }
    confused = most_confused(outcomes.targets, outcomes.probabilities, outcomes.classes)
    if not outcomes.tags:
        place = {name: number for number, name in enumerate(outcomes.classes)}
        pairs = confused.head(PAIRS).itertuples(index=False, name=None)
        counts = np.bincount(outcomes.targets, minlength=len(outcomes.classes))
        return facts | {
            "confusion": confuse(outcomes.targets, outcomes.predicted, outcomes.classes),
            "pairs": [
                (label, answer, count, count / counts[place[label]], place[label], place[answer])
                for label, answer, count in pairs
            ],
            "pairs_left_out": max(0, len(confused) - PAIRS),
        }
    before = untuned(competition.scoring, competition.target, len(outcomes.classes))
    usual = before.thresholds[0] if isinstance(before, Thresholds) else 0.5
    postprocessing = predicted.postprocessing
    taken = postprocessing.thresholds if isinstance(postprocessing, Thresholds) else [usual] * len(outcomes.classes)
    curves = []
    for tag, name in enumerate(outcomes.classes):
        curve = of_classes.threshold_curve(outcomes.targets[:, tag], outcomes.probabilities[:, tag], beta)
        curves.append((name, taken[tag], figures.thresholds(of_classes.CANDIDATES, curve, taken[tag], usual)))
    return facts | {"curves": curves, "usual": usual, "thresholds": list(taken)}


def _calibration(predicted: Predicted) -> dict[str, Any]:
    outcomes = predicted.outcomes
    named = {"as predicted": outcomes.probabilities}
    if isinstance(predicted.postprocessing, Clip):
        named["with post-processing"] = predicted.postprocessing(outcomes.probabilities)
    curves, errors = {}, {}
    for name, probabilities in named.items():
        confidence, true = of_classes.confidences(outcomes, probabilities)
        mean, share, count, errors[name] = of_classes.reliability(confidence, true)
        curves[name] = (mean, share, count)
    confidence, _ = of_classes.confidences(outcomes, outcomes.probabilities)
    return {"calibration_errors": errors, "reliability": figures.reliability(curves, confidence)}
