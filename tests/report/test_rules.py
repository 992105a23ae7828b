"""The rules on tables of losses that no recording has."""

import numpy as np
import pandas as pd
import pytest

from comp.declare.recipe import Recipe, Stage
from comp.report.diagnosis import diagnose

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
