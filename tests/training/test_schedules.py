import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.recipe import Recipe, Stage
from comp.training.schedules import (
    NOMINAL_RATE,
    STEPS_PER_EPOCH,
    in_words,
    planned_rates,
    simulate,
)

DRAWN = {
    "steps": st.integers(1, 20),
    "peak": st.floats(1e-5, 1),
    "groups": st.integers(1, 3),
    "ratio": st.sampled_from([1, 3, 10]),
}
moderately = settings(max_examples=20, deadline=None)


def head_rates(stage, steps, peak, ratio):
    """The head's rate at each step; also checks the number of steps, and the ratio of earlier groups' rates."""
    rates = simulate(stage, steps, peak, ratio).tolist()
    assert len(rates) == steps * stage.epochs
    assert min(min(row) for row in rates) >= 0
    for row in rates:
        assert len(row) == stage.groups
        for earlier, later in pairwise(row):
            assert later == pytest.approx(earlier * ratio, rel=1e-6, abs=1e-12)
    return [row[-1] for row in rates]


@moderately
@given(epochs=st.integers(1, 8), **DRAWN)
def test_one_cycle_starts_low_peaks_once_and_ends_near_zero(epochs, steps, peak, groups, ratio):
    stage = Stage(size=64, train=groups, cycle_length=epochs, schedule="one_cycle")
    head = head_rates(stage, steps, peak, ratio)
    assert head[0] == pytest.approx(peak / 25)
    top = head.index(max(head))
    assert max(head) <= peak * (1 + 1e-9)
    assert head[: top + 1] == sorted(head[: top + 1])
    assert head[top:] == sorted(head[top:], reverse=True)
    if len(head) >= 2:
        assert max(head) >= 0.85 * peak
    if len(head) >= 3:
        assert head[-1] <= peak * 1e-4
        assert top <= max(1, len(head) / 4)


@moderately
@given(epochs=st.integers(1, 8), **DRAWN)
def test_flat_then_cosine_stays_at_the_peak_for_three_quarters_and_ends_near_zero(epochs, steps, peak, groups, ratio):
    stage = Stage(size=64, train=groups, cycle_length=epochs, schedule="flat_cosine")
    head = head_rates(stage, steps, peak, ratio)
    flat = min(int(0.75 * len(head)), max(len(head) - 4, 0))
    assert head[: flat + 1] == pytest.approx([peak] * (flat + 1))
    assert head == sorted(head, reverse=True)
    assert head[-1] <= peak * min(1, (math.pi / 2 / (len(head) - flat)) ** 2) + 1e-9


@pytest.mark.parametrize("schedule", ["sgdr", "one_cycle", "flat_cosine"])
def test_a_schedule_of_few_steps_still_trains(schedule):
    for total in range(1, 9):
        assert simulate(Stage(size=64, train="head", cycle_length=total, schedule=schedule), 1, 1e-2, 1).max() >= 3e-4


HEAD = Stage(size=64, train="head", cycle_length=2, learning_rate=1e-2)
LATE = Stage(size=64, train=2, learning_rate=4e-3)
ALL = Stage(size=128, train="all", cycles=3, cycle_multiplier=2)


def test_what_a_recipe_plans_has_a_rate_per_step_of_every_group_that_trains():
    epochs, rates = planned_rates(Recipe(stages=[HEAD, LATE, ALL]), 10.0)
    assert rates.shape == ((2 + 1 + 7) * STEPS_PER_EPOCH, 3)
    assert epochs == pytest.approx(np.arange(len(rates)) / STEPS_PER_EPOCH)
    stages = epochs < 2, (epochs >= 2) & (epochs < 3), epochs >= 3
    frozen = [np.isnan(rates[stage]).all(axis=0).tolist() for stage in stages]
    assert frozen == [[True, True, False], [True, False, False], [False] * 3]
    # A rate yet to be found is drawn as the nominal one; each cycle starts at the peak.
    peaks = [rates[stage, 2].max() for stage in stages]
    assert peaks == pytest.approx([1e-2, 4e-3, NOMINAL_RATE])
    at_peak = np.isclose(rates[stages[2], 2], NOMINAL_RATE, rtol=1e-9)
    assert (np.flatnonzero(at_peak) / STEPS_PER_EPOCH).tolist() == [0, 1, 3]


def test_a_head_that_is_solved_has_no_rates_to_plan():
    solved = Stage(size=64, train="head", cached=True, schedule="lbfgs")
    assert planned_rates(Recipe(stages=[solved]), 10.0)[1].shape == (0, 3)
    epochs, rates = planned_rates(Recipe(stages=[solved, LATE]), 10.0)
    assert (len(rates), epochs[0]) == (STEPS_PER_EPOCH, 0)


def test_the_words_name_groups_epochs_and_peaks():
    first, second, third = in_words(Recipe(stages=[HEAD, LATE, ALL]), 10)
    assert first == "stage 1: head at 64 px, 2 epochs of sgdr, peaks [0.01]"
    assert second == "stage 2: late, head at 64 px, 1 epoch of sgdr, peaks [0.0004, 0.004]"
    assert (
        third == "stage 3: early, late, head at 128 px, 1 + 2 + 4 epochs of sgdr, peaks [0.01, 0.1, 1] x the rate found"
    )
    (solved,) = in_words(Recipe(stages=[replace(HEAD, cached=True, cycles=1, cycle_length=1, schedule="lbfgs")]), 10)
    assert solved == "stage 1: head at 64 px, solved by L-BFGS"


def test_a_function_gives_each_step_s_factor_of_every_group_s_peak():
    stage = Stage(size=64, train=2, cycle_length=2, schedule=lambda step, steps: (steps - step) / steps)
    assert simulate(stage, 2, 0.8, 2) == pytest.approx(np.array([[0.4, 0.8], [0.3, 0.6], [0.2, 0.4], [0.1, 0.2]]))
