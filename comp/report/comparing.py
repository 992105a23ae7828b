"""Runs of a competition side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.tables import read_tables
from comp.errors import RunError
from comp.report import COMPARISON, figures
from comp.report import classes as of_classes
from comp.report.comparison import differences, gain, of_rows
from comp.report.predicted import Predicted, read_members, read_predicted
from comp.report.rendering import write_page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from comp.declare.competition import Competition
    from comp.report.comparison import Gain
    from comp.runs import Run, Workspace


def compare(competition: Competition, runs: Sequence[Run], workspace: Workspace) -> Path:
    """Write compare.html beside the competition's runs; the first run is what the others are measured by.

    Raises RunError for a single run, one that was not predicted with, and runs of several competitions.
    """
    if len(runs) < 2:
        raise RunError("A comparison is of two runs or more; name them all.")
    for run in runs:
        if run.competition != competition.name:
            raise RunError(
                f"{run.name} is a run of {run.competition} and {runs[0].name} of {competition.name}; compare runs of "
                "one competition."
            )
    tables = read_tables(competition, workspace.data(competition.name))
    found = [read_predicted(member, tables) for member in read_members(runs)]
    facts = {
        "competition": competition,
        "runs": [_facts(one) for one in found],
        "differences": differences([one.member.config for one in found]),
        "charts": _charts(found, competition.metric),
        **_gains(found, competition.scoring.beta or 1.0),
    }
    return write_page(workspace.runs / competition.name / COMPARISON, "compare", **facts)


def _facts(one: Predicted) -> dict[str, Any]:
    run = one.member.run
    submitted = run.record("submitted") if run.has("submitted") else {}
    return {
        "name": run.folder.name,
        "scores": one.scores,
        "leaderboard": submitted.get("score"),
        "right": float(one.outcomes.right.mean()) if len(one.rows) else None,
        "seconds": float(run.history.stages()["seconds"].sum()) if (run.folder / "stages.csv").is_file() else None,
        "members": run.members,
    }


def _charts(found: Sequence[Predicted], metric: str) -> list[tuple[str, Any]]:
    """The runs' curves over each other, epoch by epoch through all stages; blends have none."""
    epochs = [one.member.run.history.epochs() if one.member.run.history.began else None for one in found]
    charts = []
    for caption, column in (
        ("Training loss per epoch", "train_loss"),
        ("Validation loss per epoch", "valid_loss"),
        (f"Validation {metric} per epoch", "score"),
    ):
        curves = [_curve(table, column) for table in epochs]
        if any(len(across) for across, _ in curves):
            charts.append((caption, figures.over_each_other(curves, "epoch", "loss" if "loss" in column else metric)))
    return charts


def _curve(epochs: pd.DataFrame | None, column: str) -> tuple[Any, Any]:
    if epochs is None:
        return np.empty(0), np.empty(0)
    values = epochs[column].to_numpy(float)
    known = np.isfinite(values)
    return np.arange(1, len(values) + 1)[known], values[known]


def _gains(found: Sequence[Predicted], beta: float) -> dict[str, Any]:
    """What every run gains over the first, on the images that validated in both; None where there are none."""
    first = found[0].outcomes
    alone = of_classes.figures(first, beta) if len(first.ids) else []
    gains: list[Gain | None] = []
    changes: list[list[float]] = []
    for one in found[1:]:
        shared = set(first.ids) & set(one.outcomes.ids)
        if not shared:
            gains.append(None)
            changes.append([np.nan] * len(alone))
            continue
        theirs, mine = (
            of_rows(outcomes, np.flatnonzero([id_ in shared for id_ in outcomes.ids]))
            for outcomes in (first, one.outcomes)
        )
        gains.append(gain(mine, theirs))
        pairs = zip(of_classes.figures(mine, beta), of_classes.figures(theirs, beta), strict=True)
        changes.append([now.score - before.score for now, before in pairs])
    per_class = [
        {
            "name": of_class.name,
            "images": of_class.images,
            "first": of_class.score,
            "changes": of_runs,
            "largest": max((abs(change) for change in of_runs if np.isfinite(change)), default=-1.0),
        }
        for of_class, *of_runs in zip(alone, *changes, strict=True)
    ]
    per_class.sort(key=lambda row: -row["largest"])
    return {"gains": gains, "per_class": per_class, "score_name": f"F{beta:g}"}
