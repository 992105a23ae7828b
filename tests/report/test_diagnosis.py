"""The diagnosis of trainings that were made to go wrong; tests/report/record.py says how each was."""

import json
import re
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
from comp.report.rules import Finding
from comp.runs import EPOCH_COLUMNS, STEP_COLUMNS, Run, create_run
from comp.runs.resolve import recipe_of

HISTORIES = Path(__file__).parent / "histories"
HEALTHY = sorted(folder.name for folder in HISTORIES.glob("healthy_*"))
FAULTS = sorted(folder.name for folder in HISTORIES.iterdir() if not folder.name.startswith(("healthy_", "smoothed")))
DIGITS = competition_named("digits", REPOSITORY_COMPETITIONS)


def recorded(name):
    """The tables and the recipe of a recording."""
    folder = HISTORIES / name
    recipe = recipe_of({"recipe": json.loads((folder / "recipe.json").read_text())})
    return Run(folder).history.epochs(), Run(folder).history.steps(), recipe


def only_finding(epochs, steps, recipe):
    (finding,) = diagnose(epochs, steps, recipe)
    return finding


def in_words(*numbers):
    return [f"{number:.3g}" for number in numbers]


def as_metric(epochs, metric, scores):
    return epochs.assign(metric=metric, score=scores)


def test_a_loss_that_explodes_is_a_rate_that_is_too_high():
    epochs, steps, recipe = recorded("rate_too_high")
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == ("learning rate too high", 1)
    top = steps["loss"].rolling(5).mean()
    for number in (*in_words(steps["loss"][0], top.max()), f"step {top.idxmax() + 1} of {len(steps)}", "rate of 1"):
        assert number in finding.evidence
    assert finding.change == "--set stages.1.learning_rate=0.1"


def test_a_later_stage_whose_rate_spoils_what_came_before_is_named_by_its_own_number():
    epochs, steps, recipe = recorded("rate_too_high_later")
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == ("learning rate too high", 2)
    assert "rate of 0.3" in finding.evidence
    assert finding.change == "--set stages.2.learning_rate=0.03"


def test_a_stage_that_loses_what_it_was_given_for_a_while_only_is_healthy():
    epochs, steps, recipe = recorded("healthy_head_first")
    first_loss_of_all, end_of_head = epochs["train_loss"][30], epochs["train_loss"][29]
    assert first_loss_of_all > 10 * end_of_head
    assert diagnose(epochs, steps, recipe) == ()


@pytest.mark.parametrize(("name", "rate"), [("rate_too_low", "3e-05"), ("head_rate_too_low", "0.001")])
def test_a_loss_that_creeps_is_a_rate_that_is_too_low(name, rate):
    epochs, steps, recipe = recorded(name)
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == ("learning rate too low", 1)
    assert f"from {steps['loss'][:3].median():.4g} to " in finding.evidence
    assert f"in {len(epochs)} epochs" in finding.evidence
    assert finding.change == f"--set stages.1.learning_rate={rate}"


def test_a_loss_that_stands_still_is_a_rate_that_is_too_low():
    epochs, steps, recipe = recorded("rate_too_low")
    still = np.resize([2.3, 2.31, 2.29, 2.302], len(steps))
    finding = only_finding(epochs, steps.assign(loss=still), recipe)
    assert (finding.kind, finding.change) == ("learning rate too low", "--set stages.1.learning_rate=3e-05")
    assert "hardly moved" in finding.evidence


def test_a_loss_that_falls_little_but_at_once_and_then_stays_is_no_low_rate():
    epochs, steps, recipe = recorded("rate_too_low")
    hard = 2.1 + 0.2 * np.exp(-np.arange(len(steps)) / 4)
    assert diagnose(epochs, steps.assign(loss=hard), recipe) == ()


def test_a_head_that_still_learns_when_the_backbone_is_unfrozen_should_be_trained_longer():
    epochs, steps, recipe = recorded("head_not_converged")
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == ("head not converged", 1)
    assert "from {} to {}".format(*in_words(*epochs["train_loss"][:2])) in finding.evidence
    assert finding.change == "--set stages.1.cycle_length=4"


def test_a_head_that_nothing_follows_needs_not_be_done():
    epochs, steps, recipe = recorded("head_not_converged")
    alone = replace(recipe, stages=recipe.stages[:1])
    assert all(finding.kind != "head not converged" for finding in diagnose(epochs[:2], steps[:8], alone))


def test_cycles_that_each_restart_undoes_are_too_short():
    epochs, steps, recipe = recorded("cycle_too_short")
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == ("cycle too short", 1)
    cycles = [np.array_split(rows["loss"], 4) for _, rows in steps.groupby("cycle")][4:]
    high, low = (np.concatenate([quarters[part] for quarters in cycles]).mean() for part in (1, 3))
    assert "the last 4 of 8 cycles" in finding.evidence
    assert "up to {} after each restart and back to {}".format(*in_words(high, low)) in finding.evidence
    assert finding.change == "--set stages.1.cycle_length=2"


def test_train_loss_above_validation_loss_while_both_fall_is_too_few_epochs():
    epochs, steps, recipe = recorded("too_few_epochs")
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == ("too few epochs", 1)
    for number in in_words(*epochs["train_loss"], *epochs["valid_loss"]):
        assert number in finding.evidence
    assert finding.change == "--set stages.1.cycle_length=4"


def test_one_epoch_is_judged_by_its_thirds():
    epochs, steps, recipe = recorded("too_few_epochs_one")
    finding = only_finding(epochs, steps, recipe)
    _, middle, last = (part.mean() for part in np.array_split(steps["loss"], 3))
    assert finding.kind == "too few epochs"
    for number in in_words(middle, last, epochs["valid_loss"][0]):
        assert number in finding.evidence
    assert finding.change == "--set stages.1.cycle_length=2"


@pytest.mark.parametrize("regularised", [{"dropout": 0.3}, {"drop_path": 0.1}])
def test_one_epoch_with_dropout_may_have_its_train_loss_above_validation_loss(regularised):
    epochs, steps, recipe = recorded("too_few_epochs_one")
    assert diagnose(epochs, steps, replace(recipe, **regularised)) == ()


def test_with_dropout_train_loss_above_a_validation_loss_that_no_longer_falls_is_healthy():
    epochs, steps, recipe = recorded("too_few_epochs")
    settled = epochs.assign(valid_loss=[0.61, 0.60])
    assert diagnose(settled, steps, replace(recipe, dropout=0.5)) == ()
    assert only_finding(epochs, steps, replace(recipe, dropout=0.5)).kind == "too few epochs"


def test_smoothed_targets_put_train_loss_above_validation_loss_and_are_not_compared():
    epochs, steps, recipe = recorded("smoothed")
    assert epochs["train_loss"].iloc[-1] > 1.5 * epochs["valid_loss"].iloc[-1]
    assert diagnose(epochs, steps, recipe) == ()
    assert "not compared, because of label_smoothing" in healthy(epochs, recipe)
    assert only_finding(epochs, steps, replace(recipe, label_smoothing=0.0)).kind == "too few epochs"


@pytest.mark.parametrize("mixed", [{"mixup": 0.2}, {"cutmix": 1.0}, {"balance": "weights"}])
def test_neither_are_losses_of_mixed_or_balanced_rows(mixed):
    epochs, steps, recipe = recorded("too_few_epochs")
    assert diagnose(epochs, steps, replace(recipe, **mixed)) == ()


def test_a_validation_loss_that_rises_while_train_loss_falls_is_too_many_epochs():
    epochs, steps, recipe = recorded("too_many_epochs")
    finding = only_finding(epochs, steps, recipe)
    best = epochs["valid_loss"].idxmin()
    assert (finding.kind, finding.stage) == ("too many epochs", 1)
    numbers = (*epochs["valid_loss"].iloc[[best, -1]], *epochs["train_loss"].iloc[[best, -1]])
    for text in (*in_words(*numbers), f"epoch {best + 1} of {len(epochs)}"):
        assert text in finding.evidence
    assert finding.change == f"--set stages.1.cycle_length={best + 1}"


def test_epochs_that_still_raise_the_score_are_not_too_many():
    epochs, steps, recipe = recorded("too_many_epochs")
    rising = np.linspace(0.5, 0.9, len(epochs))
    assert diagnose(as_metric(epochs, "accuracy", rising), steps, recipe) == ()
    assert only_finding(as_metric(epochs, "accuracy", rising[::-1]), steps, recipe).kind == "too many epochs"
    assert only_finding(as_metric(epochs, "log_loss", rising), steps, recipe).kind == "too many epochs"


def test_of_several_cycles_those_after_the_best_epoch_are_left_out():
    epochs, steps, recipe = recorded("too_many_epochs")
    best = int(epochs["valid_loss"].idxmin()) + 1
    in_fives = replace(recipe, stages=[replace(recipe.stages[0], cycles=20, cycle_length=5)])
    fewer = max(best // 5, 1)
    assert only_finding(epochs, steps, in_fives).change == f"--set stages.1.cycles={fewer}"
    with_snapshots = replace(in_fives, snapshots=20)
    assert only_finding(epochs, steps, with_snapshots).change == "--set stages.1.cycle_length=2"


def test_a_stage_that_a_later_one_betters_was_not_overfitted():
    epochs, steps, recipe = recorded("too_many_epochs")
    better = epochs.tail(1).assign(stage=2, epoch=1, train_loss=0.2, valid_loss=0.3)
    more = steps.tail(12).assign(stage=2, epoch=1, loss=0.2)
    two = replace(recipe, stages=[*recipe.stages, Stage(size=16, train="head", learning_rate=1e-3)])
    assert diagnose(pd.concat([epochs, better]), pd.concat([steps, more]), two) == ()


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_has_no_finding(name):
    epochs, steps, recipe = recorded(name)
    assert diagnose(epochs, steps, recipe) == ()
    said = healthy(epochs, recipe)
    assert said.startswith(f"nothing looks wrong: train loss {epochs['train_loss'].iloc[-1]:.4g}")
    assert f"after {len(epochs)} epochs" in said


def test_without_validation_it_is_said_what_can_t_be_seen():
    epochs, _, recipe = recorded("healthy_all_data")
    said = healthy(epochs, recipe)
    assert said.endswith("; no image validated, so overfitting can't be seen")
    assert "nan" not in said


@pytest.mark.parametrize(
    "name", ["rate_too_high", "rate_too_low", "head_rate_too_low", "head_not_converged", "cycle_too_short"]
)
def test_without_validation_what_train_loss_shows_is_found_all_the_same(name):
    epochs, steps, recipe = recorded(name)
    blind = epochs.assign(valid_loss=float("nan"), score=float("nan"))
    assert diagnose(blind, steps, recipe) == diagnose(epochs, steps, recipe)


@pytest.mark.parametrize("name", ["too_few_epochs", "too_few_epochs_one", "too_many_epochs"])
def test_without_validation_nothing_is_guessed_about_it(name):
    epochs, steps, recipe = recorded(name)
    assert diagnose(epochs.assign(valid_loss=float("nan"), score=float("nan")), steps, recipe) == ()


def test_a_loss_that_overflowed_is_found_in_the_stage_that_did_it():
    epochs, steps, recipe = recorded("no_number")
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == ("loss is not finite", 2)
    assert "at a learning rate of 1e+09" in finding.evidence
    assert finding.change == "--set stages.2.learning_rate=1e+08"


def test_a_training_that_broke_off_says_which_stage_is_not_done_and_at_what_rate():
    epochs, steps, recipe = recorded("no_number")
    finding = only_finding(epochs[epochs["stage"] == 1], steps[steps["stage"] == 1], recipe)
    assert (finding.kind, finding.stage) == ("unfinished", 2)
    assert "0 of 2 epochs recorded, at a learning rate of 1e+09" in finding.evidence
    assert finding.change == "the same command again, which resumes it"


def test_a_head_from_the_pretrained_classifier_may_learn_little():
    epochs, steps, recipe = recorded("rate_too_low")
    assert diagnose(epochs, steps, replace(recipe, pretrained=True, head="pretrained")) == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_was_recorded_as_no_number_is_found_where_it_began(value):
    epochs, steps, recipe = recorded("rate_too_low")
    losses = steps["loss"].where(steps.index < 20, value)
    broken = epochs[:2].assign(train_loss=[2.3, value], valid_loss=[2.3, float("nan")])
    finding = only_finding(broken, steps[:32].assign(loss=losses[:32]), recipe)
    assert finding.kind == "loss is not finite"
    assert "from step 21 of 32 on, at a learning rate of 3e-06" in finding.evidence
    assert finding.change == "--set stages.1.learning_rate=3e-07"


def test_a_validation_loss_alone_can_be_no_number():
    epochs, steps, recipe = recorded("healthy_sgdr")
    epochs.loc[3, "valid_loss"] = float("nan")
    finding = only_finding(epochs, steps, recipe)
    assert (finding.kind, finding.stage) == ("loss is not finite", 1)
    assert "validation loss is not finite in epoch 4" in finding.evidence


def test_a_run_without_any_epoch_is_unfinished_at_the_declared_rate():
    _, _, recipe = recorded("rate_too_low")
    nothing = pd.DataFrame(columns=EPOCH_COLUMNS), pd.DataFrame(columns=STEP_COLUMNS)
    finding = only_finding(*nothing, recipe)
    assert (finding.kind, finding.stage) == ("unfinished", 1)
    assert "0 of 4 epochs recorded, at a learning rate of 3e-06" in finding.evidence
    to_find = replace(recipe, stages=[replace(recipe.stages[0], learning_rate="find")])
    assert "0 of 4 epochs recorded;" in only_finding(*nothing, to_find).evidence


def test_a_rate_that_was_found_is_read_from_the_steps():
    epochs, steps, recipe = recorded("rate_too_high")
    to_find = replace(recipe, stages=[replace(recipe.stages[0], learning_rate="find")])
    assert diagnose(epochs, steps, to_find) == diagnose(epochs, steps, recipe)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_that_was_stopped_is_unfinished_and_nothing_else(name):
    epochs, steps, recipe = recorded(name)
    for count in range(1, len(epochs)):
        rows = epochs[:count]
        taken = steps.merge(rows[["stage", "epoch"]])
        assert only_finding(rows, taken, recipe).kind == "unfinished", count


@pytest.mark.parametrize("steps_per_epoch", [1, 2, 5])
def test_a_single_epoch_of_few_steps_says_nothing(steps_per_epoch):
    recipe = Recipe(stages=[Stage(size=16, train="all", learning_rate=1e-3)])
    losses = np.linspace(2.3, 2.2, steps_per_epoch)
    place = {"stage": 1, "cycle": 1, "epoch": 1}
    steps = pd.DataFrame([{**place, "loss": loss, "lr_head": 1e-3} for loss in losses])
    epochs = pd.DataFrame([{**place, "train_loss": 2.25, "valid_loss": 2.0, "metric": "accuracy", "score": 0.3}])
    assert diagnose(epochs, steps, recipe) == ()
    assert healthy(epochs, recipe).endswith("after 1 epoch")


@pytest.mark.parametrize("name", FAULTS)
def test_every_change_is_one_that_the_command_line_takes(name):
    for finding in diagnose(*recorded(name)):
        option, setting = finding.change.split()
        assert option == "--set"
        _, recipe = recorded(name)[1:]
        _, changed = apply_overrides(DIGITS, recipe, [setting])
        assert changed != recipe


def test_a_finding_is_one_line_with_all_of_it():
    finding = Finding("too few epochs", 2, "train loss 0.6 is above", "--set stages.2.cycle_length=4")
    assert str(finding) == "stage 2: too few epochs: train loss 0.6 is above; try --set stages.2.cycle_length=4"


@pytest.fixture
def run_of(workspace):
    """A run folder with the tables and the recipe of a recording."""

    def make(name):
        run = create_run(workspace, "digits", name)
        recipe = json.loads((HISTORIES / name / "recipe.json").read_text())
        run.write_record("config", {"competition": "digits", "recipe": recipe})
        for table in ("epochs.csv", "history.csv"):
            shutil.copy(HISTORIES / name / table, run.folder / table)
        return run

    return make


def test_diagnose_prints_what_went_wrong_and_the_change_to_try(run_of, comp):
    run_of("rate_too_high")
    ended = comp("diagnose", "digits/rate_too_high-1")
    assert (ended.status, ended.err) == (0, "")
    (line,) = ended.out.splitlines()
    assert line.startswith("stage 1: learning rate too high: the loss rose from 2.3 to ")
    assert line.endswith("; try --set stages.1.learning_rate=0.1")


def test_diagnose_says_that_nothing_looks_wrong(run_of, comp):
    ended = comp("diagnose", run_of("healthy_sgdr").folder)
    assert ended.status == 0
    assert re.fullmatch(r"nothing looks wrong: train loss .*, accuracy 0\.98513 after 7 epochs\n", ended.out)


def test_a_run_that_broke_off_in_its_first_epoch_is_diagnosed(run_of, comp):
    run = run_of("rate_too_high")
    for table in ("epochs.csv", "history.csv"):
        (run.folder / table).unlink()
    ended = comp("diagnose", run.folder)
    assert ended.status == 0
    assert ended.out.startswith("stage 1: unfinished: 0 of 4 epochs recorded, at a learning rate of 1;")


def test_an_unknown_run_is_one_sentence(comp, workspace):
    ended = comp("diagnose", "digits/none-1")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"Error: There is no run 'digits/none-1' in {workspace.runs}.\n"


def test_a_training_ends_with_its_diagnosis(shades, serving, comp):
    plugins = ("--competitions", shades.plugins)
    with serving(shades):
        comp(*plugins, "download", "shades")
        *_, said, folder = comp(*plugins, "train", "shades", "--set", "stages.1.learning_rate=1e4").out.splitlines()
    assert said.startswith("stage 1: learning rate too high: ")
    assert said in (Path(folder) / "log.txt").read_text()


def test_a_history_of_another_version_is_one_sentence(run_of, comp):
    run = run_of("healthy_sgdr")
    (run.folder / "history.csv").write_text("stage,loss\n1,2.3\n")
    ended = comp("diagnose", run.folder)
    assert ended.status == 1
    assert "history.csv has no column cycle, epoch, step, lr_early, lr_late, lr_head" in ended.err


def test_a_config_of_another_version_is_one_sentence(run_of, comp):
    run = run_of("healthy_sgdr")
    run.write_record("config", {"competition": "digits"})
    ended = comp("diagnose", run.folder)
    assert ended.status == 1
    assert "config.json is of another version of comp" in ended.err


def test_lines_come_in_the_order_of_the_stages(run_of):
    run = run_of("head_not_converged")
    lines = diagnosis_of(run)
    assert [line.partition(":")[0] for line in lines] == ["stage 1"]
