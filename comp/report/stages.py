"""How a run's training went, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from comp.declare.recipe import LAYER_GROUPS
from comp.report import figures
from comp.training.finder import RangeTest

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.recipe import Recipe
    from comp.runs import Run


def stages_of(run: Run, recipe: Recipe, metric: str) -> list[dict[str, Any]]:
    """Each stage that began: its settings, its charts, and its row of the table of times."""
    if not run.history.began:
        return []
    epochs, steps = run.history.epochs(), run.history.steps()
    took = run.history.stages().set_index("stage").to_dict("index") if (run.folder / "stages.csv").is_file() else {}
    shown = []
    for number, stage in enumerate(recipe.stages, start=1):
        own, own_steps = epochs[epochs["stage"] == number], steps[steps["stage"] == number]
        if own.empty:
            continue
        ended = took.get(number)
        shown.append(
            {
                "number": number,
                "stage": stage,
                "rate": float(own_steps["lr_head"].max()),
                "charts": _charts(run, number, own, own_steps, metric),
                "epochs": len(own),
                "training_seconds": float(own["seconds"].sum()),
                "images_per_second": float(own["images_per_second"].median()),
                "seconds": None if ended is None else ended["seconds"],
                "memory": None if ended is None else ended["memory_mb"],
                "last": own.iloc[-1].to_dict(),
            }
        )
    return shown


def _charts(run: Run, number: int, epochs: pd.DataFrame, steps: pd.DataFrame, metric: str) -> list[tuple[str, Any]]:
    charts = []
    swept = run.history.range_test(number)
    if swept is not None:
        sweep = RangeTest(*(swept[column].to_numpy(float) for column in ("rate", "loss", "smoothed")))
        drawn = figures.sweep(sweep.rates, sweep.losses, sweep.smoothed, sweep.suggestions)
        charts.append((f"Learning-rate finder; taken: {sweep.suggestion:.2g}", drawn))
    numbers = np.arange(1, len(steps) + 1)
    columns = {group: steps[f"lr_{group}"].to_numpy(float) for group in LAYER_GROUPS}
    trained = {group: values for group, values in columns.items() if np.isfinite(values).all()}
    charts.append(("Learning rate of each part that trains", figures.rates(numbers, trained)))
    ends = np.cumsum(steps.groupby("epoch", sort=True).size().to_numpy())
    drawn = figures.losses(numbers, steps["loss"].to_numpy(float), ends, epochs["valid_loss"].to_numpy(float))
    charts.append(("Loss per step", drawn))
    if epochs["score"].notna().any():
        drawn = figures.scores(epochs["epoch"].to_numpy(), epochs["score"].to_numpy(float), metric)
        charts.append((f"Validation {metric} per epoch", drawn))
    return charts
