import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD

from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.errors import DeclarationError
from comp.training.schedules import (
    NOMINAL_RATE,
    STEPS_PER_EPOCH,
    group_rates,
    in_words,
    planned_rates,
    scheduler,
    simulate,
)

PEAKS = st.floats(1e-5, 1)
RATIOS = st.sampled_from([1, 3, 10])
moderately = settings(max_examples=60, deadline=None)


def assert_ratios_are_kept(rates, ratio):
    for row in rates:
        for earlier, later in pairwise(row):
            assert later == pytest.approx(earlier * ratio, rel=1e-6, abs=1e-12)


@given(peak=PEAKS, ratio=RATIOS)
def test_each_earlier_group_has_its_rate_divided_by_the_ratio(peak, ratio):
    assert group_rates(peak, ratio, 3) == pytest.approx([peak / ratio**2, peak / ratio, peak])
    assert group_rates(peak, ratio, 1) == [peak]


@moderately
@given(
    cycles=st.integers(1, 4),
    length=st.integers(1, 4),
    multiplier=st.integers(1, 3),
    steps=st.integers(1, 9),
    peak=PEAKS,
    groups=st.integers(1, 3),
    ratio=RATIOS,
)
def test_each_cycle_descends_from_the_peak_to_near_zero(cycles, length, multiplier, steps, peak, groups, ratio):
    stage = Stage(
        size=64,
        train=groups,
        cycles=cycles,
        cycle_length=length,
        cycle_multiplier=multiplier,
    )
    rates = simulate(stage, steps, peak, ratio).tolist()
    assert_ratios_are_kept(rates, ratio)
    head = [row[-1] for row in rates]
    assert min(min(row) for row in rates) >= 0
    start = 0
    for epochs in stage.cycle_epochs:
        cycle = head[start : start + epochs * steps]
        assert len(cycle) == epochs * steps
        assert cycle == pytest.approx(
            [peak * (1 + math.cos(math.pi * step / len(cycle))) / 2 for step in range(len(cycle))], abs=1e-9
        )
        assert cycle[0] == pytest.approx(peak)
        assert cycle == sorted(cycle, reverse=True)
        assert cycle[-1] <= peak * min(1, (math.pi / 2 / len(cycle)) ** 2) + 1e-9
        start += len(cycle)
    assert start == len(head)


@moderately
@given(epochs=st.integers(1, 8), steps=st.integers(1, 20), peak=PEAKS, groups=st.integers(1, 3), ratio=RATIOS)
def test_one_cycle_starts_low_peaks_once_and_ends_near_zero(epochs, steps, peak, groups, ratio):
    stage = Stage(size=64, train=groups, cycle_length=epochs, schedule="one_cycle")
    rates = simulate(stage, steps, peak, ratio).tolist()
    assert_ratios_are_kept(rates, ratio)
    head = [row[-1] for row in rates]
    total = epochs * steps
    assert len(head) == total
    assert min(head) >= 0
    assert head[0] == pytest.approx(peak / 25)
    top = head.index(max(head))
    assert max(head) <= peak * (1 + 1e-9)
    assert head[: top + 1] == sorted(head[: top + 1])
    assert head[top:] == sorted(head[top:], reverse=True)
    if total >= 2:
        assert max(head) >= 0.85 * peak
    if total >= 3:
        assert head[-1] <= peak * 1e-4
        assert top <= max(1, total / 4)


@moderately
@given(epochs=st.integers(1, 8), steps=st.integers(1, 20), peak=PEAKS, groups=st.integers(1, 3), ratio=RATIOS)
def test_flat_then_cosine_stays_at_the_peak_for_three_quarters_and_ends_near_zero(epochs, steps, peak, groups, ratio):
    stage = Stage(size=64, train=groups, cycle_length=epochs, schedule="flat_cosine")
    rates = simulate(stage, steps, peak, ratio).tolist()
    assert_ratios_are_kept(rates, ratio)
    head = [row[-1] for row in rates]
    assert len(head) == epochs * steps
    flat = min(int(0.75 * len(head)), max(len(head) - 4, 0))
    assert head[: flat + 1] == pytest.approx([peak] * (flat + 1))
    assert head == sorted(head, reverse=True)
    descent = len(head) - flat
    assert 0 <= head[-1] <= peak * min(1, (math.pi / 2 / descent) ** 2) + 1e-9


@pytest.mark.parametrize("schedule", ["sgdr", "one_cycle", "flat_cosine"])
def test_a_simulated_schedule_is_the_one_that_an_optimizer_follows(schedule):
    stage = Stage(size=64, train=2, cycle_length=3, schedule=schedule)
    peaks = group_rates(0.1, 3, 2)
    optimizer = SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": peak} for peak in peaks])
    follows, rates = scheduler(optimizer, stage, 5), []
    for _ in range(15):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        follows.step()
    assert simulate(stage, 5, 0.1, 3) == pytest.approx(np.array(rates))


@pytest.mark.parametrize("total", range(1, 9))
def test_a_stage_of_few_steps_still_trains(total):
    for schedule in ("sgdr", "one_cycle", "flat_cosine"):
        stage = Stage(size=64, train="head", cycle_length=total, schedule=schedule)
        assert simulate(stage, 1, 1e-2, 1).max() >= 3e-4


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
    assert second == "stage 2: late, head at 64 px, 1 epoch of sgdr, peaks [0.0004, 0.004]"
    assert (
        third == "stage 3: early, late, head at 128 px, 1 + 2 + 4 epochs of sgdr, peaks [0.01, 0.1, 1] x the rate found"
    )


@pytest.mark.parametrize("schedule", ["one_cycle", "flat_cosine"])
def test_the_drawn_peak_of_other_schedules_is_the_stage_s(schedule):
    _, rates = rates_of(Stage(size=64, train="head", cycle_length=4, schedule=schedule, learning_rate=2e-3))
    assert rates[:, -1].max() == pytest.approx(2e-3, rel=0.01)
    assert rates[-1, -1] < 2e-4


def test_a_function_gives_each_step_s_factor_of_every_group_s_peak():
    stage = Stage(size=64, train=2, cycle_length=2, schedule=lambda step, steps: (steps - step) / steps)
    assert simulate(stage, 2, 0.8, 2) == pytest.approx(np.array([[0.4, 0.8], [0.3, 0.6], [0.2, 0.4], [0.1, 0.2]]))


@pytest.mark.parametrize("factor", [-1, math.nan, None, "half"])
def test_a_factor_that_is_none_is_told_what_it_should_be(factor):
    with pytest.raises(DeclarationError, match=r"`schedule` returned .* for step 0 of 4"):
        simulate(Stage(size=64, train=1, schedule=lambda step, steps: factor), 4, 1, 1)
