"""The diagnosis of trainings that were made to go wrong, which tests/report/record.py recorded."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.overrides import apply_overrides
from comp.report.diagnosis import diagnose, diagnosis_of, healthy
from comp.runs import EPOCH_COLUMNS, STEP_COLUMNS, create_run
from tests.report.conftest import HISTORIES, in_stage, only_finding, recorded

HEALTHY = sorted(folder.name for folder in HISTORIES.glob("healthy_*"))
DIGITS = competition_named("digits", REPOSITORY_COMPETITIONS)
TOO_HIGH, TOO_LOW, NOT_FINITE = "learning rate too high", "learning rate too low", "loss is not finite"
# The largest rise of validation loss on the way, in trainings that ended well.
RISES = {
    "healthy_head_first": "in epoch 4 of stage 2, validation loss rose from 0.157 to 0.332, where a cycle restarts",
    "healthy_one_cycle": "in epoch 3 of stage 1, validation loss rose from 0.568 to 1.35, and came back",
    "healthy_sgdr": "in epoch 4 of stage 1, validation loss rose from 0.114 to 0.597, where a cycle restarts",
}
GUESSING = "no better than guessing"
FOUND = {
    "rate_too_high": (TOO_HIGH, 1, "learning_rate=0.1", "rate of 1"),
    "rate_too_high_later": (TOO_HIGH, 2, "learning_rate=0.03", "rate of 0.3"),
    "rate_too_low": (TOO_LOW, 1, "learning_rate=3e-05", "in 4 epochs"),
    "head_rate_too_low": (TOO_LOW, 1, "learning_rate=0.001", "in 8 epochs"),
    "head_not_converged": ("head not converged", 1, "cycle_length=4", "unfrozen"),
    "cycle_too_short": ("cycle too short", 1, "cycle_length=2", "the last 4 of 8 cycles"),
    "too_few_epochs": ("too few epochs", 1, "cycle_length=4", "both still fell"),
    "too_few_epochs_one": ("too few epochs", 1, "cycle_length=2", "last third of its one epoch"),
    "too_many_epochs": ("too many epochs", 1, "cycle_length=7", "lowest in epoch 7 of 100"),
    "no_number": (NOT_FINITE, 2, "learning_rate=1e+08", "rate of 1e+09"),
}


def numbers_of(name, epochs, steps):
    """The numbers from the tables that a finding's evidence must name."""
    train, valid, losses = epochs["train_loss"], epochs["valid_loss"], steps["loss"]
    if name == "rate_too_high":
        means = losses.rolling(5).mean()
        return [losses[0], means.max(), f"step {means.idxmax() + 1} of {len(losses)}"]
    if name == "cycle_too_short":
        cycles = [np.array_split(rows["loss"], 4) for _, rows in steps.groupby("cycle")][4:]
        return [np.concatenate([quarters[part] for quarters in cycles]).mean() for part in (1, 3)]
    if name == "too_few_epochs_one":
        return [*(part.mean() for part in np.array_split(losses, 3)[1:]), valid[0]]
    if name == "too_many_epochs":
        return [*valid.iloc[[valid.idxmin(), -1]], *train.iloc[[valid.idxmin(), -1]]]
    return {"head_not_converged": [*train[:2]], "too_few_epochs": [*train, *valid]}.get(name, [])


@pytest.mark.parametrize("name", FOUND)
def test_what_went_wrong_is_named_with_the_tables_numbers_and_a_change_that_the_command_line_takes(name):
    epochs, steps, recipe = recorded(name)
    finding = only_finding(epochs, steps, recipe)
    kind, stage, change, evidence = FOUND[name]
    assert (finding.kind, finding.stage) == (kind, stage)
    assert finding.change == f"--set stages.{stage}.{change}"
    for number in (evidence, *numbers_of(name, epochs, steps)):
        assert (number if isinstance(number, str) else f"{number:.3g}") in finding.evidence
    _, changed = apply_overrides(DIGITS, recipe, [finding.change.removeprefix("--set ")])
    assert changed != recipe


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_has_no_finding_and_is_unfinished_where_it_was_stopped(name):
    epochs, steps, recipe = recorded(name)
    assert diagnose(epochs, steps, recipe) == ()
    said = healthy(epochs, recipe)
    # A stage whose loss rises only for a while is healthy.
    assert name != "healthy_head_first" or epochs["train_loss"][30] > 10 * epochs["train_loss"][29]
    verdict = "it ended well" if name in RISES else "nothing looks wrong"
    assert said.startswith(f"{verdict}: train loss {epochs['train_loss'].iloc[-1]:.4g}")
    assert RISES.get(name, "") in said
    assert f"after {len(epochs)} epochs" in said
    for count in range(1, len(epochs)):
        rows = epochs[:count]
        assert only_finding(rows, steps.merge(rows[["stage", "epoch"]]), recipe).kind == "unfinished", count


@pytest.mark.parametrize("name", sorted(FOUND.keys() - {"no_number"}))
def test_without_validation_what_train_loss_shows_is_found_and_nothing_is_guessed(name):
    epochs, steps, recipe = recorded(name)
    found = diagnose(epochs.assign(valid_loss=float("nan"), score=float("nan")), steps, recipe)
    needs_validation = name.startswith("too_")
    assert "no image validated" in (said := healthy(*recorded("healthy_all_data")[::2]))
    assert "nan" not in said
    assert found == (() if needs_validation else diagnose(epochs, steps, recipe))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_was_recorded_as_not_finite_is_found_where_it_began_be_it_validation_s_alone(value):
    epochs, steps, recipe = recorded("rate_too_low")
    losses = steps["loss"].where(steps.index < 20, value)
    broken = epochs[:2].assign(train_loss=[2.3, value], valid_loss=[2.3, float("nan")])
    finding = only_finding(broken, steps[:32].assign(loss=losses[:32]), recipe)
    assert (finding.kind, finding.change) == (NOT_FINITE, "--set stages.1.learning_rate=3e-07")
    assert "step 21 of 32" in finding.evidence
    epochs, steps, recipe = recorded("healthy_sgdr")
    epochs.loc[3, "valid_loss"] = value
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == (NOT_FINITE, 1)
    assert "validation loss is not finite in epoch 4" in finding.evidence


def test_a_training_that_broke_off_says_which_stage_is_not_done_and_at_what_rate():
    epochs, steps, recipe = recorded("no_number")
    finding = only_finding(epochs[epochs["stage"] == 1], steps[steps["stage"] == 1], recipe)
    assert (finding.kind, finding.stage) == ("unfinished", 2)
    assert "0 of 2 epochs recorded, at a learning rate of 1e+09" in finding.evidence
    assert "the same command" in finding.change
    nothing = pd.DataFrame(columns=EPOCH_COLUMNS), pd.DataFrame(columns=STEP_COLUMNS)
    assert "0 of 7 epochs recorded;" in only_finding(*nothing, in_stage(recipe, learning_rate="find")).evidence
    # A rate that was found is read from the steps.
    epochs, steps, recipe = recorded("rate_too_high")
    assert diagnose(epochs, steps, in_stage(recipe, learning_rate="find")) == diagnose(epochs, steps, recipe)


@pytest.fixture
def run_of(workspace):
    """A run folder with the tables and the recipe of a recording; ``stages`` and ``settings`` change the recipe.

    beside: more fields of its config.
    """

    def make(name, stages=None, beside=None, **settings):
        run = create_run(workspace, "digits", name)
        recipe = json.loads((HISTORIES / name / "recipe.json").read_text())
        recipe = {**recipe, **settings, "stages": [{**stage, **(stages or {})} for stage in recipe["stages"]]}
        run.write_record("config", {"competition": "digits", "recipe": recipe, **(beside or {})})
        for table in ("epochs.csv", "history.csv"):
            shutil.copy(HISTORIES / name / table, run.folder / table)
        return run

    return make


def test_diagnose_prints_what_went_wrong_or_that_nothing_looks_so_or_that_it_broke_off_in_its_first_epoch(run_of, comp):
    for name, words in (("rate_too_high", "stage 1: learning rate too high: "), ("healthy_sgdr", "it ended well: ")):
        ended = comp("diagnose", f"digits/{run_of(name).folder.name}")
        assert (ended.status, ended.err) == (0, "")
        (line,) = ended.out.splitlines()
        assert line.startswith(words)
        assert ("; try --set stages.1.learning_rate=" in line) == (name == "rate_too_high")
    run = run_of("rate_too_high")
    for table in ("epochs.csv", "history.csv"):
        (run.folder / table).unlink()
    (line,) = diagnosis_of(run)
    assert line.startswith("stage 1: unfinished: 0 of 4 epochs recorded, at a learning rate of 1;")


@pytest.mark.parametrize("gone", ["epochs.csv", "history.csv"])
def test_a_training_that_ended_is_not_unfinished_where_a_table_is_gone(run_of, gone):
    run = run_of("healthy_sgdr")
    run.write_record("trained", {"stages": run.record("config")["recipe"]["stages"]})
    (run.folder / gone).unlink()
    (line,) = diagnosis_of(run)
    assert line.startswith(f"stage 1: no full record: the training ended, but {gone} lacks rows of this stage;")


def test_joined_folds_are_judged_together_and_members_of_an_ensemble_each_for_itself(run_of, workspace):
    folds = [run_of("too_many_epochs") for _ in range(2)]
    joined, blend = (create_run(workspace, "digits", name) for name in ("quick", "ensemble"))
    joined.write_config({"competition": "digits", "kind": "folds", "members": [run.name for run in folds]})
    (line,) = diagnosis_of(joined)
    (alone,) = diagnosis_of(folds[0])
    assert line == f"{alone} (found in 2 of 2)"
    sound = run_of("healthy_sgdr")
    blend.write_config({"competition": "digits", "kind": "ensemble", "members": [joined.name, sound.name]})
    assert diagnosis_of(blend) == [f"{joined.name}: {line}", f"{sound.name}: {diagnosis_of(sound)[0]}"]


def test_tables_or_a_config_of_another_version_are_one_sentence(run_of, comp):
    run = run_of("healthy_sgdr")
    (run.folder / "history.csv").write_text("stage,loss\n1,2.3\n")
    told = comp("diagnose", run.folder).sentence
    assert "history.csv has no column cycle, epoch, step, lr_early, lr_late, lr_head" in told
    run.write_record("config", {"competition": "digits"})
    assert "another version of comp" in comp("diagnose", run.folder).err


SOLVED = {"schedule": "lbfgs", "cached": True, "train": "head", "cycles": 1}


@pytest.mark.parametrize(
    ("temperature", "settings", "of_stage", "change"),
    [
        (0.64, {}, {}, "--set stages.1.cycle_length=2"),
        (0.64, {"label_smoothing": 0.1}, {}, "--set label_smoothing=0"),
        (0.95, {}, {}, None),
        # A solved head can't train longer.
        (0.6, {}, SOLVED, None),
    ],
)
def test_a_run_whose_temperature_is_far_below_one_is_under_confident(run_of, temperature, settings, of_stage, change):
    run = run_of("healthy_sgdr", of_stage, **settings)
    run.write_record("scores", {"postprocessing": {"kind": "Clip", "smallest": 1e-4, "temperature": temperature}})
    found = [line for line in diagnosis_of(run) if "under-confident" in line]
    assert [line.partition("; try ")[2] for line in found] == [change] * (change is not None)


@pytest.mark.parametrize(
    ("score", "loss", "valid_loss", "change"),
    [
        (0.999, 1e-4, None, "--set stages.1.cycle_length=2"),
        # A run that is worse in loss or score alone may be so by chance, or overconfident.
        *((score, loss, None, None) for score, loss in ((0.999, 10.0), (0.5, 1e-4), (0.5, 10.0))),
        # Where validation loss rises from the first epoch on, more epochs do no good.
        (0.999, 1e-4, 0.5 + 0.01 * np.arange(7), "--set stages.1.learning_rate=0.0004"),
    ],
)
def test_a_run_that_a_linear_model_on_frozen_features_beats_is_told_so(run_of, score, loss, valid_loss, change):
    run = run_of("healthy_sgdr", beside={"higher_is_better": True})
    trained = {"stages": run.record("config")["recipe"]["stages"], "baseline": {"score": score, "loss": loss}}
    run.write_record("trained", trained)
    if valid_loss is not None:
        path = run.folder / "epochs.csv"
        pd.read_csv(path).assign(valid_loss=valid_loss).to_csv(path, index=False)
    found = [line for line in diagnosis_of(run) if "linear model" in line]
    assert [line.partition("; try ")[2] for line in found] == [change] * (change is not None)
    assert all("0.999" in line for line in found)


@pytest.mark.parametrize("later", [0, 1])
def test_a_stage_that_was_undone_is_a_finding_and_what_follows_is_judged_by_the_weights_from_before(run_of, later):
    run = run_of("healthy_head_first")
    first, second = run.record("config")["recipe"]["stages"]
    undone = {"number": 2, "stage": second, "epoch": 6, "cycles_kept": 0}
    epochs, steps = run.history.epochs(), run.history.steps()
    of_head = epochs["stage"] == 1
    before = epochs.loc[of_head, "valid_loss"].iloc[-1]
    epochs.loc[~of_head, "valid_loss"] *= 2 * before / epochs["valid_loss"].iloc[-1]
    if later:
        # The head is trained again and ends at the same loss.
        run.write_record("config", {"recipe": {**run.record("config")["recipe"], "stages": [first, second, first]}})
        epochs, steps = (pd.concat([table, table[table["stage"] == 1].assign(stage=3)]) for table in (epochs, steps))
    epochs.to_csv(run.folder / "epochs.csv", index=False)
    steps.to_csv(run.folder / "history.csv", index=False)
    run.write_record("trained", {"stages": [first] * (1 + later), "diverged": [undone]})
    (line,) = diagnosis_of(run)
    assert line.startswith(f"stage 2: undone: validation loss rose from {before:.3g} to {2 * before:.3g}")
    assert line.endswith("; try --set stages.2.learning_rate=0.0002")
