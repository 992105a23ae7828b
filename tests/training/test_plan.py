import numpy as np
import pytest

from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.training.plan import NOMINAL_RATE, STEPS_PER_EPOCH, in_words, planned_rates

HEAD = Stage(size=64, train="head", cycle_length=2, learning_rate=1e-2)
LATE = Stage(size=64, train=2, learning_rate=4e-3)
ALL = Stage(size=128, train="all", cycles=3, cycle_multiplier=2)


def rates_of(*stages, ratio=10.0):
    return planned_rates(Recipe(stages=stages), ratio)


def test_there_is_a_rate_per_step_of_every_epoch_and_group():
    epochs, rates = rates_of(HEAD, LATE, ALL)
    assert rates.shape == ((2 + 1 + 7) * STEPS_PER_EPOCH, len(LAYER_GROUPS))
    assert epochs.shape == rates.shape[:1]
    assert epochs[0] == 0
    assert np.allclose(np.diff(epochs), 1 / STEPS_PER_EPOCH)
    assert epochs[-1] < 10


def test_a_group_that_is_frozen_has_no_rate():
    epochs, rates = rates_of(HEAD, LATE, ALL)
    head, late, everything = epochs < 2, (epochs >= 2) & (epochs < 3), epochs >= 3
    assert np.isnan(rates[head]).all(axis=0).tolist() == [True, True, False]
    assert np.isnan(rates[late]).all(axis=0).tolist() == [True, False, False]
    assert not np.isnan(rates[everything]).any()
    assert not np.isnan(rates[:, -1]).any()


@pytest.mark.parametrize("ratio", [1, 3, 10])
def test_earlier_groups_have_the_ratio_s_share(ratio):
    _, rates = rates_of(ALL, ratio=ratio)
    assert np.allclose(rates[:, 0] * ratio, rates[:, 1])
    assert np.allclose(rates[:, 1] * ratio, rates[:, 2])


def test_each_cycle_starts_at_the_peak_and_falls():
    _, rates = rates_of(HEAD)
    head = rates[:, -1]
    assert head[0] == pytest.approx(1e-2)
    assert (np.diff(head) < 0).all()
    assert head[-1] < 1e-5
    _, rates = rates_of(ALL)
    peaks = np.flatnonzero(np.isclose(rates[:, -1], NOMINAL_RATE, rtol=1e-9)) / STEPS_PER_EPOCH
    assert peaks.tolist() == [0, 1, 3]


def test_a_rate_that_is_to_be_found_is_drawn_as_a_nominal_one():
    _, rates = rates_of(ALL)
    assert np.nanmax(rates) == pytest.approx(NOMINAL_RATE)


def test_the_words_name_groups_epochs_and_peaks():
    first, second, third = in_words(Recipe(stages=[HEAD, LATE, ALL]), 10)
    assert first == "stage 1: head at 64 px, 2 epochs of sgdr, peaks [0.01]"
    assert second == "stage 2: late, head at 64 px, 1 epochs of sgdr, peaks [0.0004, 0.004]"
    assert (
        third == "stage 3: early, late, head at 128 px, 1 + 2 + 4 epochs of sgdr, peaks [0.01, 0.1, 1] x the rate found"
    )


@pytest.mark.parametrize("schedule", ["one_cycle", "flat_cosine"])
def test_the_drawn_peak_of_other_schedules_is_the_stage_s(schedule):
    _, rates = rates_of(Stage(size=64, train="head", cycle_length=4, schedule=schedule, learning_rate=2e-3))
    assert rates[:, -1].max() == pytest.approx(2e-3, rel=0.01)
    assert rates[-1, -1] < 2e-4
