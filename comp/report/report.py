"""The report of a run: how well it predicts, where it errs, how its training went, and how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from comp.console import Console
from comp.data.tables import Tables, read_tables
from comp.declare.brought import short_name
from comp.declare.competition import Competition
from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.report import figures
from comp.report.diagnosis import as_it_went, diagnosis_of
from comp.report.gallery import gallery
from comp.report.outcomes import (
    CANDIDATES,
    Outcomes,
    confidences,
    confusion_counts,
    confusion_to_read,
    figures_of_classes,
    most_confused,
    read_outcomes,
    reliability,
    threshold_curve,
)
from comp.report.rendering import write_page
from comp.runs import Run, Workspace
from comp.submission.postprocessing import Clip, PostProcessing, Thresholds, from_record, untuned
from comp.submission.predictions import read_members
from comp.training.finder import RangeTest

PAIRS = 20
# With more rows the page would be too large to open on a phone; those with the highest loss are kept.
ROWS = 20_000
# Temperatures nearer to 1 change nothing that a reader would see.
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
    """Write report.html in the run's folder; raises RunError for a run that was not predicted with.

    with_maps: with activation maps, for which the run's model is loaded and looks at the pictures once more.
    tables: the competition's; without them they are read.
    """
    tables = (tables or read_tables(competition, workspace.data(competition.name))).answers
    (member,) = read_members([run])
    outcomes, scores = read_outcomes(member, tables), run.record("scores")
    postprocessing = from_record(scores["postprocessing"])
    recipe = None if run.members else as_it_went(run)
    facts: dict[str, Any] = {
        "run": run.name,
        "competition": competition,
        "config": member.config,
        "recipe": recipe,
        "scores": scores,
        "submitted": run.record("submitted") if run.has("submitted") else {},
        "postprocessing": in_words(postprocessing),
        "diagnosis": [] if run.members else diagnosis_of(run),
        "stages": [] if recipe is None else _stages(run, recipe, competition.scoring.name),
        "command": command_of(member.config, run.record("trained") if run.has("trained") else None),
        "outcomes": outcomes if len(outcomes.ids) else None,
    }
    if len(outcomes.ids):
        paths = [Path(path) for path in tables.train.set_index("id")["path"].loc[outcomes.ids]]
        facts |= {
            **gallery(competition, run, outcomes, paths, console, with_maps=with_maps),
            "folds": sorted(set(outcomes.folds), key=lambda fold: (len(fold), fold)),
            "table": table_of(outcomes),
            **_classes(competition, outcomes),
            **_calibration(outcomes, postprocessing),
        }
    return write_page(run.report, "report", **facts)


def in_words(postprocessing: PostProcessing) -> str:
    """What the post-processing does to probabilities."""
    if not isinstance(postprocessing, Clip):
        return postprocessing.words
    text = f"probabilities are kept {postprocessing.smallest:g} away from 0 and 1"
    if UNDERCONFIDENT <= postprocessing.temperature <= OVERCONFIDENT:
        return text
    made = "less" if postprocessing.temperature > 1 else "more"
    return f"made {made} confident (temperature {postprocessing.temperature:.2f}), then {text}"


def table_of(outcomes: Outcomes) -> dict[str, Any]:
    """All images, those with the highest loss first, as the page's script takes them."""
    kept = np.argsort(-outcomes.losses, kind="stable")[:ROWS]

    def indices(hot: np.ndarray[Any, Any]) -> list[Any]:
        return [np.flatnonzero(row).tolist() if outcomes.tags else int(row.argmax()) for row in hot[kept]]

    columns = {
        "id": ("image", "text", outcomes.ids[kept].tolist()),
        "actual": ("actual", "class", indices(outcomes.truth)),
        "predicted": ("predicted", "class", indices(outcomes.answers)),
        "right": ("right", "right", outcomes.right[kept].astype(int).tolist()),
        "loss": ("loss", "number", outcomes.losses[kept].round(4).tolist()),
    }
    if not outcomes.tags:
        probabilities = outcomes.probabilities[kept, outcomes.targets[kept]]
        columns["probability"] = ("p(actual)", "number", probabilities.round(4).tolist())
    if len(set(outcomes.folds)) > 1:
        columns["fold"] = ("fold", "text", outcomes.folds[kept].tolist())
    heads, kinds, values = zip(*columns.values(), strict=True)
    return {
        "heads": heads,
        "columns": list(columns),
        "kinds": kinds,
        "classes": list(outcomes.classes),
        "rows": list(zip(*values, strict=True)),
        "left_out": max(0, len(outcomes.ids) - ROWS),
    }


def _classes(competition: Competition, outcomes: Outcomes) -> dict[str, Any]:
    """The figures of each class or tag; which classes are confused, or what each tag's threshold does."""
    beta = competition.scoring.beta or 1.0
    facts = {"figures": figures_of_classes(outcomes, beta), "score_name": f"F{beta:g}", "confusion": None, "curves": []}
    if not outcomes.tags:
        counts = confusion_counts(outcomes.targets, outcomes.answers.argmax(axis=1), outcomes.classes)
        confused = most_confused(outcomes.targets, outcomes.answers, outcomes.classes)
        shown, images = confusion_to_read(counts), counts.sum(axis=1)
        return facts | {
            "confusion": {
                "names": list(shown.index),
                "counts": shown.to_numpy().tolist(),
                "totals": shown.sum(axis=1).tolist(),
                "left_out": len(counts) - len(shown),
            },
            "pairs": [
                (
                    label,
                    answer,
                    count,
                    count / images[label],
                    outcomes.classes.index(label),
                    outcomes.classes.index(answer),
                )
                for label, answer, count in confused.head(PAIRS).itertuples(index=False)
            ],
            "pairs_left_out": max(0, len(confused) - PAIRS),
        }
    before = untuned(competition, outcomes.classes)
    usual = before.thresholds[0] if isinstance(before, Thresholds) else 0.5
    curves = []
    for tag, taken in enumerate(outcomes.thresholds or [usual] * len(outcomes.classes)):
        curve = threshold_curve(outcomes.truth[:, tag], outcomes.probabilities[:, tag], beta)
        curves.append((outcomes.classes[tag], taken, figures.thresholds(CANDIDATES, curve, taken, usual)))
    return facts | {"curves": curves, "usual": usual}


def _calibration(outcomes: Outcomes, postprocessing: PostProcessing) -> dict[str, Any]:
    named = {"as predicted": outcomes.probabilities}
    if isinstance(postprocessing, Clip):
        named["with post-processing"] = postprocessing(outcomes.probabilities)
    found = {name: reliability(*confidences(outcomes, probabilities)) for name, probabilities in named.items()}
    confidence, _ = confidences(outcomes, outcomes.probabilities)
    return {
        "calibration_errors": {name: error for name, (*_, error) in found.items()},
        "reliability": figures.reliability({name: curve[:3] for name, curve in found.items()}, confidence),
    }


def _stages(run: Run, recipe: Recipe, metric: str) -> list[dict[str, Any]]:
    """Each stage that began: its settings, its charts, and its row of the table of times."""
    if not run.history.began:
        return []
    epochs, steps = run.history.epochs(), run.history.steps()
    took = run.history.stages().set_index("stage").to_dict("index") if (run.folder / "stages.csv").is_file() else {}
    shown = []
    for number, stage in enumerate(recipe.stages, start=1):
        own, own_steps = epochs[epochs["stage"] == number], steps[steps["stage"] == number]
        if len(own):
            ended = took.get(number, {})
            shown.append(
                {
                    "number": number,
                    "stage": stage,
                    "schedule": short_name(stage.schedule),
                    "rate": float(own_steps["lr_head"].max()),
                    "charts": _charts(run, number, stage, own, own_steps, metric),
                    "epochs": len(own),
                    "images_per_second": float(own["images_per_second"].median()),
                    "seconds": ended.get("seconds"),
                    "training_seconds": float(own["seconds"].sum()),
                    "memory": ended.get("memory_mb"),
                    "last": own.iloc[-1].to_dict(),
                }
            )
    return shown


def _charts(
    run: Run, number: int, stage: Stage, epochs: pd.DataFrame, steps: pd.DataFrame, metric: str
) -> list[tuple[str, Any]]:
    charts = []
    swept = run.history.range_test(number)
    if swept is not None:
        rates, losses, smoothed = (swept[column].to_numpy(float) for column in ("rate", "loss", "smoothed"))
        sweep = RangeTest(rates, losses, smoothed)
        taken = steps["lr_head"].max() if isinstance(stage.learning_rate, str) else stage.learning_rate
        charts.append((f"Learning-rate finder; taken: {taken:.2g}", figures.range_test(sweep)))
    numbers = np.arange(1, len(steps) + 1)
    columns = {group: steps[f"lr_{group}"].to_numpy(float) for group in LAYER_GROUPS}
    trained = {group: values for group, values in columns.items() if np.isfinite(values).all()}
    charts.append(("Learning rate of each layer group that trains", figures.rates(numbers, trained)))
    ends = np.cumsum(steps.groupby("epoch", sort=True).size().to_numpy())
    per_step = figures.losses(numbers, steps["loss"].to_numpy(float), ends, epochs["valid_loss"].to_numpy(float))
    charts.append(("Loss per step", per_step))
    if epochs["score"].notna().any():
        scores = figures.scores(epochs["epoch"].to_numpy(), epochs["score"].to_numpy(float), metric)
        charts.append((f"Validation {metric} per epoch", scores))
    return charts


def command_of(config: Mapping[str, Any], trained: Mapping[str, Any] | None = None) -> str | None:
    """What to type for a run with this config.json, with nothing left to defaults; None for one trained by hand.

    trained: its trained.json.
    """
    if config.get("members"):
        how = [] if config.get("kind") == "folds" else ["--how", str(config["how"])]
        return shlex.join(["comp", "ensemble" if how else "join", *config["members"], *how])
    if trained is not None and not _as_declared(config["recipe"]["stages"], trained["stages"]):
        return None
    words = ["comp", "run", str(config["competition"])]
    if config.get("like"):
        words += ["--like", config["like"]]
    else:
        words += ["--recipe", config["recipe_name"], "--backbone", config["recipe"]["backbone"]]
    words += ["--seed", str(config["seed"])]
    for setting in config.get("settings", ()):
        words += ["--set", setting]
    if config.get("all_data"):
        words.append("--all-data")
    if config.get("fold"):
        words += ["--folds", str(config["folds"]), "--fold", str(config["fold"])]
    return shlex.join(words)


def _as_declared(declared: list[dict[str, Any]], trained: list[dict[str, Any]]) -> bool:
    """Whether the stages are the recipe's, but for rates that were to be found."""
    return len(declared) == len(trained) and all(
        stage == {**other, "learning_rate": stage["learning_rate"]}
        and stage["learning_rate"] in ("find", other["learning_rate"])
        for stage, other in zip(declared, trained, strict=True)
    )
