"""The diagnosis of trainings that were made to go wrong, which tests/report/record.py recorded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.overrides import apply_overrides
from comp.declare.recipe import Recipe, Stage
from comp.report.diagnosis import diagnose, diagnosis_of, healthy
from comp.runs import EPOCH_COLUMNS, STEP_COLUMNS, Run, create_run
from comp.runs.resolve import recipe_of

HISTORIES = Path(__file__).parent / "histories"
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


def recorded(name):
    """The tables and the recipe of a recording."""
    folder = HISTORIES / name
    recipe = recipe_of({"recipe": json.loads((folder / "recipe.json").read_text())})
    return Run(folder).history.epochs(), Run(folder).history.steps(), recipe


def only_finding(epochs, steps, recipe):
    (finding,) = diagnose(epochs, steps, recipe)
    return finding


def in_stage(recipe, **changes):
    return replace(recipe, stages=[replace(recipe.stages[0], **changes)])


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


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (lambda steps: np.resize([2.3, 2.31, 2.29, 2.302], steps), "hardly moved"),
        # The loss falls little, but at once, and then stays: the task is hard.
        (lambda steps: 2.1 + 0.2 * np.exp(-np.arange(steps) / 4), None),
        # It rose.
        (lambda steps: np.interp(np.arange(steps), [2, 3, steps * 0.66, steps * 0.67], [2.0, 2.4, 2.4, 2.1]), None),
    ],
)
def test_a_loss_that_stands_still_is_a_rate_that_is_too_low_but_not_one_that_fell_at_once_or_rose(losses, words):
    epochs, steps, recipe = recorded("rate_too_low")
    losses = losses(len(steps))
    found = diagnose(epochs.assign(valid_loss=1.5), steps.assign(loss=losses), recipe)
    assert [finding.kind for finding in found if finding.kind == TOO_LOW] == ([TOO_LOW] if words else [])
    assert words is None or words in found[0].evidence


def test_a_head_that_begins_with_the_classifier_may_learn_little_and_one_that_nothing_follows_needs_not_be_done():
    epochs, steps, recipe = recorded("rate_too_low")
    assert diagnose(epochs, steps, replace(recipe, pretrained=True, head="pretrained"), guessing=4.0) == ()
    epochs, steps, recipe = recorded("head_not_converged")
    alone = replace(recipe, stages=recipe.stages[:1])
    assert all(finding.kind != "head not converged" for finding in diagnose(epochs[:2], steps[:8], alone))


FEW = "too few epochs"


@pytest.mark.parametrize(
    ("name", "valid", "changes", "found"),
    [
        # With one epoch the gap may be dropout's; with two it is known whether validation loss falls.
        *(("too_few_epochs_one", [], regularised, []) for regularised in ({"dropout": 0.3}, {"drop_path": 0.1})),
        ("too_few_epochs", [], {"dropout": 0.5}, [FEW]),
        ("too_few_epochs", [0.61, 0.60], {"dropout": 0.5}, []),
        # With these settings train loss and validation loss aren't comparable.
        *(
            ("too_few_epochs", [], mixed, [])
            for mixed in ({"mixup": 0.2}, {"cutmix": 1.0}, {"mixing": max}, {"balance": "weights"})
        ),
        ("smoothed", [], {}, []),
        ("smoothed", [], {"label_smoothing": 0.0}, [FEW]),
    ],
)
def test_only_losses_that_can_be_compared_are(name, valid, changes, found):
    epochs, steps, recipe = recorded(name)
    recipe = replace(recipe, **changes)
    told = diagnose(epochs.assign(valid_loss=valid) if valid else epochs, steps, recipe)
    assert [finding.kind for finding in told] == found
    assert ("not compared, because of label_smoothing" in healthy(epochs, recipe)) == bool(recipe.label_smoothing)


def test_epochs_that_still_raise_the_score_are_not_too_many():
    epochs, steps, recipe = recorded("too_many_epochs")
    rising = np.linspace(0.5, 0.9, len(epochs))
    for scores, higher_is_better, found in ((rising, True, 0), (rising[::-1], True, 1), (rising, False, 1)):
        scored = epochs.assign(score=scores)
        assert len(diagnose(scored, steps, recipe, higher_is_better=higher_is_better)) == found


def test_the_cycles_after_the_best_epoch_are_left_out():
    epochs, steps, recipe = recorded("too_many_epochs")
    in_fives = in_stage(recipe, cycles=20, cycle_length=5)
    assert only_finding(epochs, steps, in_fives).change == "--set stages.1.cycles=1"
    assert only_finding(epochs, steps, replace(in_fives, snapshots=20)).change == "--set stages.1.cycle_length=2"


def test_a_stage_that_a_later_one_betters_was_not_overfitted():
    epochs, steps, recipe = recorded("too_many_epochs")
    better = epochs.tail(1).assign(stage=2, epoch=1, train_loss=0.2, valid_loss=0.3)
    more = steps.tail(12).assign(stage=2, epoch=1, loss=0.2)
    two = replace(recipe, stages=[*recipe.stages, Stage(size=16, train="head", learning_rate=1e-3)])
    assert diagnose(pd.concat([epochs, better]), pd.concat([steps, more]), two) == ()


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


@pytest.mark.parametrize("steps_per_epoch", [1, 2, 5])
def test_a_single_epoch_of_few_steps_says_nothing(steps_per_epoch):
    recipe = Recipe(stages=[Stage(size=16, train="all", learning_rate=1e-3)])
    where = {"stage": 1, "cycle": 1, "epoch": 1}
    steps = pd.DataFrame([{**where, "loss": loss, "lr_head": 1e-3} for loss in np.linspace(2.3, 2.2, steps_per_epoch)])
    epochs = pd.DataFrame([{**where, "train_loss": 2.25, "valid_loss": 2.0, "metric": "accuracy", "score": 0.3}])
    assert diagnose(epochs, steps, recipe) == ()
    assert healthy(epochs, recipe).endswith("after 1 epoch")


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


@pytest.mark.parametrize(
    ("ends", "changes", "change", "words"),
    [
        (6.75e8, {}, "cycle_length=2", "6.75e+08; guessing the same for every image has 2.3"),
        # Averaged weights warm up over fewer steps than were taken; whether they harm is unknown.
        (6.75e8, {"ema": 0.999}, "cycle_length=2", "34 steps are too few"),
        (6.75e8, {"freeze_batch_norm": True}, "cycle_length=2", "34 steps are too few to learn from"),
        # The loss of guessing is unknown for a custom loss, and isn't its first value either.
        (6.75e8, {"loss": lambda logits, targets: logits.mean()}, None, None),
        (2.29, {}, "cycle_length=2", "34 steps are too few"),
        (2.0, {}, None, None),
    ],
)
def test_a_validation_loss_that_ends_at_or_far_above_guessing_is_found_after_one_epoch(ends, changes, change, words):
    epochs, steps, recipe = recorded("too_few_epochs_one")
    steps = pd.concat([steps] * 3)[:34].assign(loss=np.linspace(2.3, 0.6, 34))
    found = diagnose(epochs.assign(valid_loss=ends), steps, replace(recipe, **changes), guessing=2.3)
    assert [one.kind for one in found] == ([GUESSING] if words else [])
    assert all(one.change.endswith(change) and words in one.evidence for one in found)


@pytest.mark.parametrize(
    ("ends", "train", "changes", "cause", "rate"),
    [
        (9e4, 0.1, {}, "running statistics lag", "0.0004"),
        (9e4, 0.1, {"freeze_batch_norm": True}, "doesn't generalise to new images", "0.0004"),
        (2.4, 2.35, {}, "learned nothing", "0.04"),
    ],
)
def test_after_enough_steps_the_rate_made_the_validation_loss_what_it_is(ends, train, changes, cause, rate):
    epochs, steps, recipe = recorded("healthy_with_dropout")
    recipe = replace(recipe, **changes)
    spoilt = epochs.assign(valid_loss=[*epochs["valid_loss"][:-1] * 0 + 2.3, ends], train_loss=train)
    (finding,) = diagnose(spoilt, steps, recipe, guessing=2.3)
    assert (finding.kind, finding.change) == (GUESSING, f"--set stages.1.learning_rate={rate}")
    assert cause in finding.evidence


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


def test_a_head_that_is_solved_has_no_rate_that_is_too_high():
    epochs, steps, recipe = recorded("rate_too_high")
    solved = replace(recipe, stages=[replace(recipe.stages[0], **SOLVED)])
    assert not [one for one in diagnose(epochs, steps, solved) if one.kind == "learning rate too high"]


def test_a_head_that_is_solved_and_no_better_than_guessing_is_not_to_train_longer():
    epochs, steps, recipe = recorded("healthy_one_cycle")
    ended = epochs["valid_loss"].iloc[-1]
    solved = in_stage(recipe, **SOLVED)
    (finding,) = (one for one in diagnose(epochs, steps, solved, guessing=ended) if one.kind == GUESSING)
    assert "step" not in finding.evidence
    assert finding.change.startswith("--folds 5")


def test_nothing_else_is_said_of_a_stage_that_was_undone():
    epochs, steps, recipe = recorded("rate_too_high_later")
    assert [one.kind for one in diagnose(epochs, steps, recipe, lost={2: 0})] == ["undone"]


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
