"""Read a training's losses as fast.ai's lesson 2 teaches: find what went wrong, and the one change to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from comp.declare.recipe import Recipe
from comp.errors import counted
from comp.report import rules
from comp.report.rules import LEARNED, Record, not_comparable
from comp.runs import Run
from comp.runs.history import NONE_LOST, kept
from comp.runs.resolve import recipe_of, stage_of
from comp.submission.scoring import TIMID

# In the order of checking; only a stage's first finding is told.
NOT_FINITE, UNFINISHED = "loss is not finite", "unfinished"
RULES = {
    NOT_FINITE: rules.not_finite,
    "learning rate too high": rules.too_high,
    UNFINISHED: rules.unfinished,
    "learning rate too low": rules.too_low,
    "no better than guessing": rules.no_better_than_guessing,
    "no better than a linear model": rules.no_better_than_a_linear_model,
    "head not converged": rules.head_not_converged,
    "cycle too short": rules.cycle_too_short,
    "too few epochs": rules.too_few_epochs,
    "too many epochs": rules.too_many_epochs,
}
# The only rules for a stage that was undone.
UNDONE = {NOT_FINITE: rules.not_finite, UNFINISHED: rules.unfinished, "undone": rules.undone}
# A validation loss that came down again is mentioned if it was this many times its previous minimum.
SHAKEN = 1.5
# Findings after which later stages aren't judged: they start from bad weights, whatever their settings.
ENDING = (NOT_FINITE, "learning rate too high", UNFINISHED)


@dataclass(frozen=True)
class Finding:
    """A problem in a stage: the numbers that it is based on, and the change to try; ``stage`` counts from 1."""

    kind: str
    stage: int
    evidence: str
    change: str

    def __str__(self) -> str:
        return f"stage {self.stage}: {self.kind}: {self.evidence}; try {self.change}"


def diagnosis_of(trained: Run) -> list[str]:
    """A line per finding, or one that says that nothing looks wrong; the run may have no finished epoch.

    Joined folds are judged together, the members of an ensemble one after the other. Raises RunError for another
    program's predictions.
    """
    members = [trained.beside(name) for name in trained.members]
    if trained.record("config").get("kind") == "folds":
        return common_findings(members) or [f"nothing looks wrong in any of {counted(len(members), 'fold')}"]
    if members:
        return [f"{one.name}: {line}" for one in members if not one.split_of for line in diagnosis_of(one)]
    trained.must_have_weights("diagnose a trained run")
    return [str(one) for one in findings_of(trained)] or [healthy(trained.history.epochs(), as_it_went(trained))]


def common_findings(trained: Sequence[Run]) -> list[str]:
    """A line per kind of finding in several trainings of a recipe: the first of its kind, and how many have it."""
    of_kinds: dict[tuple[int, str], list[Finding]] = {}
    for run in trained:
        for one in findings_of(run):
            of_kinds.setdefault((one.stage, one.kind), []).append(one)
    return [
        f"{alike[0]} (found in {len(alike)} of {len(trained)})" if len(trained) > 1 else str(alike[0])
        for alike in of_kinds.values()
    ]


def findings_of(trained: Run) -> tuple[Finding, ...]:
    """The findings in a run, which may have no finished epoch."""
    recipe, epochs, steps = as_it_went(trained), trained.history.epochs(), trained.history.steps()
    higher_is_better = trained.record("config").get("higher_is_better", False)
    guessing = trained.known("trained").get("guessing")
    found = diagnose(
        epochs,
        steps,
        recipe,
        higher_is_better=higher_is_better,
        guessing=guessing,
        baseline=baseline_of(trained, recipe),
        lost=trained.lost,
    )
    if trained.has("trained") and found and found[-1].kind == UNFINISHED:
        number = found[-1].stage
        short = "history.csv" if number in set(epochs["stage"]) - set(steps["stage"]) else "epochs.csv"
        why = f"the training ended, but {short} lacks rows of this stage"
        return *found[:-1], Finding("no full record", number, why, "the file from a copy of the run")
    if not found and (other := under_confident(trained, recipe)):
        return (other,)
    return found


def baseline_of(trained: Run, recipe: Recipe) -> dict[str, float] | None:
    """The score and validation loss of a linear model on the frozen features; None if the run is one or has none."""
    solved = recipe.stages[-1].schedule == "lbfgs"
    return None if solved else trained.known("trained").get("baseline")


def under_confident(trained: Run, recipe: Recipe) -> Finding | None:
    """The finding where the temperature tuned on the validation images is very low."""
    temperature = trained.known("scores").get("postprocessing", {}).get("temperature", 1.0)
    # A solved head can't train longer, and its confidence was already fitted on other rows.
    if temperature >= TIMID or recipe.stages[-1].schedule == "lbfgs":
        return None
    softened = next((field for field in not_comparable(recipe) if field != "balance"), None)
    last, length = len(recipe.stages), recipe.stages[-1].cycle_length
    return Finding(
        "badly under-confident",
        last,
        f"the best temperature on the validation images is {temperature:.2f}, so probabilities are far too near to "
        f"each other{f', as {softened} makes them' if softened else ''}",
        f"--set {softened}={'' if softened == 'mixing' else 0}"
        if softened
        else f"--set stages.{last}.cycle_length={2 * length}",
    )


def as_it_went(trained: Run) -> Recipe:
    """The recipe with the stages that were trained or diverged, numbered as in the run's tables."""
    # Stages trained by hand are not the declared recipe's.
    ended = trained.known("trained")
    recipe = recipe_of(trained.record("config"), ended or None)
    stages = list(recipe.stages)
    for diverged in ended.get("diverged", ()):
        # The whole stage as it began, instead of the cycles that were kept.
        at = diverged["number"] - 1
        stages[at : at + bool(diverged["cycles_kept"])] = [stage_of(diverged["stage"])]
    return replace(recipe, stages=stages)


def diagnose(
    epochs: pd.DataFrame,
    steps: pd.DataFrame,
    recipe: Recipe,
    *,
    higher_is_better: bool = False,
    guessing: float | None = None,
    baseline: Mapping[str, float] | None = None,
    lost: Mapping[int, int] = NONE_LOST,
) -> tuple[Finding, ...]:
    """The findings, at most one per stage, in the stages' order; empty for a healthy training.

    epochs, steps: epochs.csv and history.csv of a run, which may end early or be empty. A validation loss of NaN in all
    epochs means that no image validated. higher_is_better: of the score. guessing: the validation loss of predicting
    the classes' shares for every image; the first training loss by default. baseline: score and validation loss of a
    linear model on the frozen features. lost: the undone stages, as in `Run.lost`.
    """
    # A solved head begins with its optimum; the loss of balanced classes begins higher than validation's of guessing.
    began = steps["loss"].head(int(recipe.stages[0].schedule != "lbfgs"))
    known = [*began, *([] if guessing is None else [guessing])]
    first, stayed = float(max(filter(np.isfinite, known), default=np.nan)), kept(epochs, lost)
    records: list[Record] = []
    for number in range(len(recipe.stages), 0, -1):
        own, own_steps = epochs[epochs["stage"] == number], steps[steps["stage"] == number]
        ends = stayed.loc[stayed["stage"] < number, ["train_loss", "valid_loss"]].to_numpy(float)[-1:].ravel()
        record = Record(
            number,
            recipe.stages[number - 1],
            recipe,
            own,
            own_steps["loss"].to_numpy(float),
            own_steps["lr_head"].to_numpy(float),
            first,
            ends[np.isfinite(ends)].tolist(),
            records,
            has_validation(epochs),
            higher_is_better,
            first if guessing is None else guessing,
            baseline,
            int((steps["stage"] <= number).sum()),
        )
        records = [record, *records]
    findings = []
    for record in records:
        own_rules = UNDONE if record.number in lost else RULES
        said = ((kind, rule(record)) for kind, rule in own_rules.items())
        found = next((Finding(kind, record.number, *why) for kind, why in said if why), None)
        if found:
            findings.append(found)
            # After an undone stage, the next one starts from the weights before it, so it is judged too.
            lost_here = found.kind == NOT_FINITE or record.number in lost
            went_back = lost_here and record.later and len(record.later[0].epochs)
            if found.kind in ENDING and not went_back:
                break
    return tuple(findings)


def healthy(epochs: pd.DataFrame, recipe: Recipe) -> str:
    """The line for a training without findings: its final numbers, and what couldn't be judged."""
    last = epochs.iloc[-1]
    numbers = [f"train loss {last['train_loss']:.4g}"]
    numbers += [f"validation loss {last['valid_loss']:.4g}"] if np.isfinite(last["valid_loss"]) else []
    numbers += [f"{last['metric']} {last['score']:.5g}"] if np.isfinite(last["score"]) else []
    rose = rise_on_the_way(epochs)
    verdict = "it ended well" if rose else "nothing looks wrong"
    text = f"{verdict}: {', '.join(numbers)} after {counted(len(epochs), 'epoch')}{rose}"
    if not has_validation(epochs):
        return f"{text}; no image validated, so overfitting can't be seen"
    if callable(recipe.loss):
        text += "; whether it is better than guessing isn't judged, because of the custom loss"
    if reasons := not_comparable(recipe):
        text += f"; train and validation loss are not compared, because of {' and '.join(reasons)}"
    return text


def rise_on_the_way(epochs: pd.DataFrame) -> str:
    """The largest rise of validation loss, if the loss came down again, in words; empty without a large rise."""
    losses, stages, cycles = (epochs[name].to_numpy() for name in ("valid_loss", "stage", "cycle"))
    lowest = epochs.groupby("stage")["valid_loss"].cummin().groupby(epochs["stage"]).shift().to_numpy(float)
    shaken = (losses > SHAKEN * lowest) & (losses > SHAKEN * losses[-1])
    rises = np.where(shaken, losses - lowest, 0)
    at = int(rises.argmax())
    if not rises[at] > LEARNED * losses[0]:
        return ""
    restarted = ", where a cycle restarts" if cycles[at] != cycles[at - 1] else ""
    return (
        f"; on the way, in epoch {epochs['epoch'].iloc[at]} of stage {stages[at]}, validation loss rose from "
        f"{lowest[at]:.3g} to {losses[at]:.3g}{restarted}, and came back: a lower learning rate there would be "
        "steadier"
    )


def has_validation(epochs: pd.DataFrame) -> bool:
    return bool(epochs[["valid_loss", "score"]].notna().to_numpy().any())
