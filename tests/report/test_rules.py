"""The rules on recordings that were changed, and on tables of losses that no recording has."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from comp.declare.recipe import Recipe, Stage
from comp.report.diagnosis import diagnose, healthy
from tests.report.conftest import in_stage, only_finding, recorded

SOLVED = Stage(size=16, train="head", cached=True, schedule="lbfgs")
LATE = Stage(size=16, train=2, cached=True, schedule="one_cycle", cycle_length=2, learning_rate=3e-4)
AFTER_A_SOLVED_HEAD = Recipe(stages=[SOLVED, LATE])
STEPS = 12
AS_SOLVED = {"schedule": "lbfgs", "cached": True, "train": "head", "cycles": 1}
TOO_LOW = "learning rate too low"
GUESSING = "no better than guessing"


def after_a_solved_head(train, valid):
    """The tables of a stage after a head that was solved, to a train loss of 0.1 and a validation loss of 0.2.

    train: the loss of each step, STEPS per epoch. valid: of each epoch; the score is the same.
    """
    stages = np.repeat([1, 2], [1, len(train)])
    epochs_of = [1, *(1 + np.arange(len(train)) // STEPS)]
    steps = pd.DataFrame({"stage": stages, "cycle": 1, "epoch": epochs_of, "loss": [0.1, *train], "lr_head": 3e-4})
    means = steps.groupby(["stage", "epoch"])["loss"].mean().to_numpy()
    valid = np.array([0.2, *valid])
    epochs = pd.DataFrame(
        {"stage": np.repeat([1, 2], [1, len(valid) - 1]), "cycle": 1, "epoch": [1, *epochs_of[1::STEPS]]}
    )
    return epochs.assign(train_loss=means, valid_loss=valid, metric="log_loss", score=valid), steps


@pytest.mark.parametrize(("guessing", "found"), [(0.4, []), (None, []), (0.15, ["learning rate too low"])])
def test_a_stage_after_a_solved_head_begins_trained_where_that_is_far_below_guessing(guessing, found):
    tables = after_a_solved_head(np.linspace(0.137, 0.114, 2 * STEPS), [0.19, 0.14])
    assert [one.kind for one in diagnose(*tables, AFTER_A_SOLVED_HEAD, guessing=guessing)] == found


@pytest.mark.parametrize(
    ("valid", "change"),
    [
        # It rises from the first epoch on, while train loss falls: overfitting, but of a stage that only did harm.
        ([0.22, 0.28, 0.3, 0.31], "learning_rate=3e-05"),
        # It comes down from a rise that the rate made.
        ([0.35, 0.3, 0.26, 0.23], "learning_rate=3e-05"),
        ([0.205, 0.205, 0.205, 0.205], "learning_rate=3e-05"),
        ([0.205], "learning_rate=3e-05"),
        # It begins hardly worse than the head, and falls.
        ([0.216, 0.212, 0.209, 0.205], "cycle_length=8"),
        # It is better than the head.
        ([0.35, 0.3, 0.25, 0.19], None),
    ],
)
def test_a_stage_that_ends_worse_than_the_solved_head_before_it_is_told_so_first(valid, change):
    tables = after_a_solved_head(np.linspace(0.13, 0.05, len(valid) * STEPS), valid)
    recipe = replace(AFTER_A_SOLVED_HEAD, stages=[SOLVED, replace(LATE, cycle_length=len(valid))])
    found = diagnose(*tables, recipe, guessing=0.8, baseline={"score": 0.2, "loss": 0.2})
    assert [one.kind for one in found] == ["no better than a linear model"] * (change is not None)
    assert all(one.change == f"--set stages.2.{change}" for one in found)


@pytest.mark.parametrize("loss", ["", max])
def test_a_loss_of_one_s_own_is_not_called_better_than_guessing(loss):
    epochs, steps = after_a_solved_head(np.full(2 * STEPS, 1.6), [1.61, 1.61])
    recipe = replace(AFTER_A_SOLVED_HEAD, loss=loss)
    assert bool(diagnose(epochs, steps, recipe, guessing=None if loss else 1.61)) != bool(loss)
    assert ("better than guessing isn't judged" in healthy(epochs, recipe)) == bool(loss)


def test_a_head_that_is_yet_to_be_solved_has_no_rate():
    epochs, steps = after_a_solved_head([], [])
    (finding,) = diagnose(
        epochs.head(0), steps.head(0), replace(AFTER_A_SOLVED_HEAD, stages=[replace(SOLVED, learning_rate=1.0)])
    )
    assert finding.evidence.startswith("0 of 1 epoch recorded; it still trains")


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


@pytest.mark.parametrize("steps_per_epoch", [1, 2, 5])
def test_a_single_epoch_of_few_steps_says_nothing(steps_per_epoch):
    recipe = Recipe(stages=[Stage(size=16, train="all", learning_rate=1e-3)])
    where = {"stage": 1, "cycle": 1, "epoch": 1}
    steps = pd.DataFrame([{**where, "loss": loss, "lr_head": 1e-3} for loss in np.linspace(2.3, 2.2, steps_per_epoch)])
    epochs = pd.DataFrame([{**where, "train_loss": 2.25, "valid_loss": 2.0, "metric": "accuracy", "score": 0.3}])
    assert diagnose(epochs, steps, recipe) == ()
    assert healthy(epochs, recipe).endswith("after 1 epoch")


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


def test_a_head_that_is_solved_has_no_rate_that_is_too_high():
    epochs, steps, recipe = recorded("rate_too_high")
    solved = replace(recipe, stages=[replace(recipe.stages[0], **AS_SOLVED)])
    assert not [one for one in diagnose(epochs, steps, solved) if one.kind == "learning rate too high"]


def test_a_head_that_is_solved_and_no_better_than_guessing_is_not_to_train_longer():
    epochs, steps, recipe = recorded("healthy_one_cycle")
    ended = epochs["valid_loss"].iloc[-1]
    solved = in_stage(recipe, **AS_SOLVED)
    (finding,) = (one for one in diagnose(epochs, steps, solved, guessing=ended) if one.kind == GUESSING)
    assert "step" not in finding.evidence
    assert finding.change.startswith("--folds 5")


def test_nothing_else_is_said_of_a_stage_that_was_undone():
    epochs, steps, recipe = recorded("rate_too_high_later")
    assert [one.kind for one in diagnose(epochs, steps, recipe, lost={2: 0})] == ["undone"]
    of_first = epochs[epochs["stage"] == 1]
    assert [one.kind for one in diagnose(of_first, steps, recipe, lost={2: 0})] == ["unfinished"], "its rows are gone"
