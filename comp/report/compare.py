"""Runs of a competition side by side: different settings, curves, and what each run gains over the first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.data.tables import read_tables
from comp.declare.competition import Competition
from comp.declare.metrics import Metric
from comp.errors import RunError
from comp.report import COMPARISON, figures
from comp.report.outcomes import FEWEST, Outcomes, errors_of_classes, figures_of_classes, read_outcomes
from comp.report.rendering import write_page
from comp.runs import Run, Workspace
from comp.runs.resolve import flat
from comp.submission import uncertainty

Array = npt.NDArray[Any]
# Fields of a run's config that are no settings, or follow from other fields.
NO_SETTINGS = (
    *("command", "order", "classes", "kaggle", "competition", "metric", "higher_is_better"),
    *("settings", "postprocessing", "outputs"),
)
# A difference of mean losses counts as certain above this many standard errors.
CERTAIN = 2.0


@dataclass(frozen=True)
class Gain:
    """The gain of one run over another on the same images.

    better, worse: the number of images that only this run, and only the other run, predicted right.
    loss: how much lower its mean loss is, negative where it is higher; error: the standard error of ``loss``.
    """

    images: int
    better: int
    worse: int
    loss: float
    error: float

    @property
    def certain(self) -> bool:
        """Whether the difference of losses is more than chance."""
        return self.images >= FEWEST and abs(self.loss) > CERTAIN * self.error


def compare(competition: Competition, runs: Sequence[Run], workspace: Workspace) -> Path:
    """Write compare.html beside the competition's runs; raises what `comparison` raises."""
    path = workspace.runs / competition.name / COMPARISON
    return write_page(path, "compare", **comparison(competition, runs, workspace))


def comparison(competition: Competition, runs: Sequence[Run], workspace: Workspace) -> dict[str, Any]:
    """The page's content; the other runs are compared with the first.

    Raises RunError for a single run, a run without predictions, and runs of several competitions.
    """
    if len(runs) < 2:
        raise RunError("A comparison needs two runs or more; name them all.")
    for run in runs:
        if run.competition != competition.name:
            raise RunError(
                f"{run.name} is a run of {run.competition} and {runs[0].name} of {competition.name}; compare runs of "
                "one competition."
            )
    tables = read_tables(competition, workspace.data(competition.name)).answers
    found, metric = read_outcomes(runs, tables), competition.scoring
    return {
        "competition": competition,
        "runs": runs,
        "outcomes": found,
        "differences": differences([run.record("config") for run in runs]),
        "charts": list(_charts(runs, metric.name)),
        **_gains(found, metric),
    }


def _change(metric: Metric, now: Outcomes, before: Outcomes) -> tuple[float, float | None] | None:
    """The gain in score and its standard error, None where it isn't finite; None for too few images."""
    if len(now.ids) < FEWEST:
        return None
    gained, error = uncertainty.gain(metric, now.targets, now.submitted, before.submitted, now.classes)
    return gained, error if math.isfinite(error) else None


def differences(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The config fields that differ between runs, named like ``recipe.stages.1.size``, with each run's value."""
    each = [dict(flat({name: part for name, part in config.items() if name not in NO_SETTINGS})) for config in configs]
    fields = dict.fromkeys(field for one in each for field in one)
    rows = [(field, [_in_words(one.get(field)) for one in each]) for field in fields]
    return [(field, values) for field, values in rows if len(set(values)) > 1]


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in (None, "") else str(value)


def gain(one: Outcomes, other: Outcomes) -> Gain:
    """What ``one`` gains over ``other``, outcomes of the same images in the same order."""
    saved = other.losses - one.losses
    error = float(saved.std(ddof=1) / np.sqrt(len(saved))) if len(saved) > 1 else float("inf")
    better, worse = int((one.right & ~other.right).sum()), int((~one.right & other.right).sum())
    return Gain(len(saved), better, worse, float(saved.mean()), error)


def _charts(runs: Sequence[Run], metric: str) -> Iterator[tuple[str, Any]]:
    """The runs' curves in shared charts, epoch by epoch through all stages; ensembles have none."""
    tables = [run.history.epochs() for run in runs]
    for caption, column, axis in (
        ("Training loss per epoch", "train_loss", "loss"),
        ("Validation loss per epoch", "valid_loss", "loss"),
        (f"Validation {metric} per epoch", "score", metric),
    ):
        curves = [epochs[column].set_axis(range(1, len(epochs) + 1)).astype(float) for epochs in tables]
        finite = [curve[np.isfinite(curve)] for curve in curves]
        if any(map(len, finite)):
            yield caption, figures.over_each_other(finite, "epoch", axis)


def _gains(found: Sequence[Outcomes], metric: Metric) -> dict[str, Any]:
    """The gains of every run over the first, on the images that validated in both; None where there are none."""
    pairs = [_of_the_same_images([one, found[0]]) for one in found[1:]]
    return {
        "gains": [gain(*pair) if len(pair[0].ids) else None for pair in pairs],
        "changes": [_change(metric, *pair) for pair in pairs],
        "per_class": _class_by_class(_of_the_same_images(found), metric.beta or 1.0),
        "score_name": "R²" if found[0].numbers else f"F{metric.beta or 1.0:g}",
    }


def _of_the_same_images(found: Sequence[Outcomes]) -> list[Outcomes]:
    """The outcomes of the images that validated in all runs, in the same order."""
    shared = reduce(np.intersect1d, [one.ids for one in found])
    return [one.take(pd.Index(one.ids).get_indexer(pd.Index(shared))) for one in found]


def _class_by_class(found: Sequence[Outcomes], beta: float) -> list[tuple[str, int, float, list[tuple[float, ...]]]]:
    """The comparison of outcomes of the same images by class, the largest difference first.

    For each class: name, number of images, score in the first run, and for each other run its score, the difference
    and the difference's standard error.
    """
    if not len(found[0].ids):
        return []
    tables = [figures_of_classes(one, beta) for one in found]
    first, *others = (table["score"].to_numpy() for table in tables)
    of_runs = [
        np.stack([score, score - first, errors_of_classes(one, found[0], beta)], axis=1)
        for score, one in zip(others, found[1:], strict=True)
    ]
    largest = np.nan_to_num(np.abs([of_run[:, 1] for of_run in of_runs]), nan=-1.0).max(axis=0)
    names = tables[0][["name", "images"]].to_numpy().tolist()
    rows = [(*name, score, list(of_class)) for name, score, *of_class in zip(names, first, *of_runs, strict=True)]
    return [rows[index] for index in np.argsort(-largest, kind="stable")]
