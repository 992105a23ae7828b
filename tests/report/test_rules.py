"""The rules on tables of losses that no recording has."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from comp.declare.recipe import Recipe, Stage
from comp.report.diagnosis import diagnose, healthy

SOLVED = Stage(size=16, train="head", cached=True, schedule="lbfgs")
LATE = Stage(size=16, train=2, cached=True, schedule="one_cycle", cycle_length=2, learning_rate=3e-4)
AFTER_A_SOLVED_HEAD = Recipe(stages=[SOLVED, LATE])
STEPS = 12


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
