"""A run's report: how well it predicts, where it errs, how its training went, and how to reproduce it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from comp.console import Console
from comp.data.tables import Tables, read_tables
from comp.declare.competition import Competition
from comp.declare.custom import short_name
from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.report import figures
from comp.report.diagnosis import as_it_went, baseline_of, diagnosis_of
from comp.report.gallery import gallery, largest_errors
from comp.report.outcomes import (
    CANDIDATES,
    Outcomes,
    calibration_in_words,
    confusion_to_read,
    figures_of_classes,
    most_confused,
    read_outcomes,
    reliability,
    threshold_curve,
)
from comp.report.rendering import write_page
from comp.runs import Run, Workspace
from comp.runs.choices import Choices
from comp.submission.postprocessing import Clip, PostProcessing, Thresholds, untuned
from comp.submission.uncertainty import doubt
from comp.submission.uncertainty import in_words as errors_in_words
from comp.training.finder import RangeTest

PAIRS = 20
# With more rows the page would be too large to open on a phone; the rows with the highest loss are kept.
ROWS = 20_000
# Temperatures between these make no visible difference.
OVERCONFIDENT, UNDERCONFIDENT = 1.02, 0.98


def explain(
    competition: Competition,
    run: Run,
    workspace: Workspace,
    console: Console,
    *,
    with_maps: bool = True,
    tables: Tables | None = None,
) -> Path:
    """Write report.html in the run's folder; raises RunError for a run without predictions.

    with_maps: add activation maps, for which the run's model is loaded and predicts the pictures again.
    tables: the competition's; read if not given.
    """
    of_images = tables or read_tables(competition, workspace.data(competition.name), console.say)
    tables = of_images.answers
    (outcomes,) = read_outcomes([run], tables)
    config, scores = run.record("config"), run.record("scores")
    errors = errors_in_words(scores.get("standard_errors") or {})
    recipe = None if run.without_weights else as_it_went(run)
    trained = run.known("trained")
    facts: dict[str, Any] = {
        "run": run.name,
        "config": config,
        "recipe": recipe,
        "scores": scores,
        "baseline": None if recipe is None else baseline_of(run, recipe),
        "leaderboard": run.leaderboard_score,
        "postprocessing": "; ".join(filter(None, [in_words(outcomes.postprocessing), errors])),
        "doubt": doubt(scores),
        "diagnosis": [] if recipe is None else diagnosis_of(run),
        "stages": [] if recipe is None else _stages(run, recipe, scores["metric"]),
        "command": command_of(config, trained or None),
        "unexplained": trained["unexplained"] if trained and _ended_early(config, trained) else None,
        "several": tables is not of_images,
        "outcomes": outcomes if len(outcomes.ids) and not outcomes.numbers else None,
        "numbers": None,
    }
    paths = [Path(path) for path in tables.train.set_index("id")["path"].loc[outcomes.ids]]
    if len(outcomes.ids) and outcomes.numbers:
        columns = zip(outcomes.targets.T, outcomes.probabilities.T, outcomes.classes, strict=True)
        facts |= {
            "numbers": figures_of_classes(outcomes),
            "scatters": [(column[-1], figures.scatter(*column)) for column in columns],
            "largest": largest_errors(competition, run, outcomes, paths),
        }
    elif len(outcomes.ids):
        facts |= {
            **gallery(competition, run, outcomes, paths, console, with_maps=with_maps),
            "folds": sorted(set(outcomes.folds), key=lambda fold: (len(fold), fold)),
            "table": table_of(outcomes),
            **_classes(competition, outcomes),
            **_calibration(outcomes),
        }
    return write_page(run.report, "report", **facts)


def in_words(postprocessing: PostProcessing) -> str:
    """The post-processing in words."""
    if not isinstance(postprocessing, Clip):
        return postprocessing.words
    text = f"probabilities are kept {postprocessing.smallest:g} away from 0 and 1"
    if UNDERCONFIDENT <= postprocessing.temperature <= OVERCONFIDENT:
        return text
    made = "less" if postprocessing.temperature > 1 else "more"
    return f"made {made} confident (temperature {postprocessing.temperature:.2f}), then {text}"


def table_of(outcomes: Outcomes) -> dict[str, Any]:
    """The table of all images for the page's script, the highest loss first, at most ROWS."""
    kept = np.argsort(-outcomes.losses, kind="stable")[:ROWS]
    shown = outcomes.take(kept)

    def indices(hot: np.ndarray[Any, Any]) -> list[Any]:
        return [np.flatnonzero(row).tolist() for row in hot] if outcomes.tags else hot.argmax(axis=1).tolist()

    columns = {
        "id": ("image", "text", shown.ids.tolist()),
        "actual": ("actual", "class", indices(shown.truth)),
        "predicted": ("predicted", "class", indices(shown.answers)),
        "right": ("right", "right", shown.right.astype(int).tolist()),
        "loss": ("loss", "number", shown.losses.round(4).tolist()),
    }
    if not outcomes.tags:
        probabilities = shown.probabilities[shown.truth]
        columns["probability"] = ("p(actual)", "number", probabilities.round(4).tolist())
    if len(set(outcomes.folds)) > 1:
        columns["fold"] = ("fold", "text", shown.folds.tolist())
    heads, kinds, values = zip(*columns.values(), strict=True)
    return {
        "heads": heads,
        "columns": list(columns),
        "kinds": kinds,
        "classes": outcomes.classes,
        "rows": list(zip(*values, strict=True)),
        "left_out": len(outcomes.ids) - len(kept),
    }


def _classes(competition: Competition, outcomes: Outcomes) -> dict[str, Any]:
    beta = competition.scoring.beta or 1.0
    facts = {"figures": figures_of_classes(outcomes, beta), "score_name": f"F{beta:g}", "confusion": None, "curves": []}
    if not outcomes.tags:
        confused = most_confused(outcomes)
        shown = confusion_to_read(outcomes.confusion)
        return facts | {
            "confusion": shown,
            "places": [outcomes.classes.index(name) for name in shown.columns],
            "images": outcomes.confusion.sum(axis=1),
            "confusions_left_out": len(outcomes.classes) - len(shown),
            "pairs": confused.head(PAIRS),
            "pairs_left_out": max(0, len(confused) - PAIRS),
        }
    before = untuned(competition, outcomes.classes)
    usual = before.thresholds[0] if isinstance(before, Thresholds) else 0.5
    tuned = outcomes.postprocessing
    taken = tuned.thresholds if isinstance(tuned, Thresholds) else [usual] * len(outcomes.classes)
    curves = [
        figures.thresholds(CANDIDATES, threshold_curve(truth, probabilities, beta), threshold, usual)
        for truth, probabilities, threshold in zip(outcomes.truth.T, outcomes.probabilities.T, taken, strict=True)
    ]
    return facts | {"curves": list(zip(outcomes.classes, taken, curves, strict=True)), "usual": usual}


def _calibration(outcomes: Outcomes) -> dict[str, Any]:
    named = {"as predicted": outcomes}
    if isinstance(outcomes.postprocessing, Clip):
        named["with post-processing"] = replace(outcomes, probabilities=outcomes.submitted)
    found = {name: reliability(*one.confidences) for name, one in named.items()}
    return {
        "calibrated": calibration_in_words(outcomes),
        "few": figures.FEW,
        "calibration_errors": {name: error for name, (*_, error) in found.items()},
        "reliability": figures.reliability({name: curve[:3] for name, curve in found.items()}, outcomes.confidences[0]),
    }


def _stages(run: Run, recipe: Recipe, metric: str) -> list[dict[str, Any]]:
    """Each stage with epochs: its settings, its charts, and its row in the table of times."""
    epochs, steps = run.history.epochs(), run.history.steps()
    took = run.history.stages().set_index("stage").to_dict("index")
    stages = []
    for number, stage in enumerate(recipe.stages, start=1):
        own, own_steps = epochs[epochs["stage"] == number], steps[steps["stage"] == number]
        if len(own):
            facts = {
                "number": number,
                "stage": stage,
                "epochs": own,
                "schedule": short_name(stage.schedule),
                "took": took.get(number, {}),
                "rate": float(own_steps["lr_head"].max()),
                "charts": list(_charts(run, number, stage, own, own_steps, metric)),
            }
            stages.append(facts)
    return stages


def _charts(
    run: Run, number: int, stage: Stage, epochs: pd.DataFrame, steps: pd.DataFrame, metric: str
) -> Iterator[tuple[str, Any]]:
    swept = run.history.range_test(number)
    if swept is not None:
        sweep = RangeTest(*swept[["rate", "loss", "smoothed"]].to_numpy(float).T)
        taken = steps["lr_head"].max() if isinstance(stage.learning_rate, str) else stage.learning_rate
        yield f"Learning-rate finder; taken: {taken:.2g}", figures.range_test(sweep)
    rates = pd.DataFrame({group: steps[f"lr_{group}"] for group in LAYER_GROUPS}).dropna(axis=1)
    yield "Learning rate of each layer group that trains", figures.rates(rates)
    yield "Loss per step", figures.losses(steps, epochs)
    if epochs["score"].notna().any():
        yield f"Validation {metric} per epoch", figures.scores(epochs, metric)


def command_of(config: Mapping[str, Any], trained: Mapping[str, Any] | None = None) -> str | None:
    """The command that reproduces a run, with nothing left to defaults; None for stages by hand unlike the recipe's.

    config: its config.json. trained: its trained.json.
    """
    if config.get("split_of"):
        return str(config["command"])
    if config.get("members"):
        how = [] if config.get("kind") == "folds" else ["--how", str(config["how"])]
        return shlex.join(["comp", "ensemble" if how else "join", *config["members"], *how])
    declared = config["recipe"]["stages"]
    ended = declared if trained is None else trained["stages"]
    # A finished stage has a number for a rate that was declared as "find".
    alike = all(one in (other, {**other, "learning_rate": "find"}) for one, other in zip(declared, ended, strict=False))
    whole = alike and (len(declared) == len(ended) or (trained and _ended_early(config, trained)))
    if config.get("by_hand") and not whole:
        return None
    like = config.get("like")
    options = Choices(
        recipe=config["recipe_name"],
        backbone=None if like else config["recipe"]["backbone"],
        **{
            name: config[name]
            for name in ("settings", "seed", "all_data", "folds", "fold", "split_seed")
            if name in config
        },
    ).options()
    if "teacher" in config:
        options += ["--teacher", config["teacher"]["run"]]
    return shlex.join(["comp", "run", config["competition"], *(["--like", like, *options[2:]] if like else options)])


def _ended_early(config: Mapping[str, Any], trained: Mapping[str, Any]) -> bool:
    """Whether training ended because the next stage was not needed."""
    missing, unexplained = config["recipe"]["stages"][len(trained["stages"]) :], trained.get("unexplained")
    return bool(missing) and unexplained is not None and unexplained <= missing[0].get("needed_above", 0)
