"""What a training's losses say went wrong, and the one change to try: reading them as fast.ai's lesson 2 teaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from comp.report.record import records_of
from comp.report.rules import (
    Finding,
    counted,
    cycle_too_short,
    head_not_converged,
    no_number,
    not_comparable,
    too_few_epochs,
    too_high,
    too_low,
    too_many_epochs,
    unfinished,
)

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.recipe import Recipe


def diagnose(epochs: pd.DataFrame, steps: pd.DataFrame, recipe: Recipe) -> tuple[Finding, ...]:
    """What went wrong, at most one finding for each stage, in the stages' order; empty for a healthy training.

    epochs, steps: epochs.csv and history.csv of a run, which may end early or be empty. A validation loss that is no
    number in all rows means that no row validated.
    """
    findings: list[Finding] = []
    records = records_of(epochs, steps, recipe)
    validated = has_validation(epochs)
    for place, record in enumerate(records):
        broken = no_number(record, validated=validated)
        if broken and place + 1 < len(records) and len(records[place + 1].epochs):
            # The training went back to the weights from before it.
            findings.append(broken)
            continue
        broken = broken or too_high(record)
        if broken:
            # What follows started from these weights, so it says nothing about its own settings.
            return (*findings, broken)
        if not record.finished:
            return (*findings, unfinished(record))
        found = (
            too_low(record, recipe)
            or head_not_converged(record, records[place + 1 :], validated=validated)
            or cycle_too_short(record)
            or too_few_epochs(record, records[place + 1 :], recipe, validated=validated)
            or too_many_epochs(record, records[place + 1 :], recipe, validated=validated)
        )
        if found:
            findings.append(found)
    return tuple(findings)


def healthy(epochs: pd.DataFrame, recipe: Recipe) -> str:
    """The line for a training in which nothing was found, with the numbers it ended with and what wasn't looked at."""
    last = epochs.iloc[-1]
    numbers = [f"train loss {last['train_loss']:.4g}"]
    if has_validation(epochs):
        numbers += [f"validation loss {last['valid_loss']:.4g}"] if np.isfinite(last["valid_loss"]) else []
        numbers += [f"{last['metric']} {last['score']:.5g}"] if np.isfinite(last["score"]) else []
    text = f"nothing looks wrong: {', '.join(numbers)} after {counted(len(epochs), 'epoch')}"
    if not has_validation(epochs):
        return f"{text}; no row validated, so overfitting can't be seen"
    if reasons := not_comparable(recipe):
        return f"{text}; train and validation loss are not compared, because of {' and '.join(reasons)}"
    return text


def has_validation(epochs: pd.DataFrame) -> bool:
    """Whether any row validated."""
    return bool(epochs[["valid_loss", "score"]].notna().to_numpy().any())
