import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.recipe import Stage
from comp.errors import RunError
from comp.training import finder
from comp.training.backbone import freeze
from comp.training.epochs import Epoch
from comp.training.features import FeatureEpochs
from comp.training.finder import HIGHEST, LOWEST, RangeTest, range_test
from tests.training import conftest

SIZE, ROWS = 32, 48
CLASSES = torch.arange(ROWS) % 2
HEAD = Stage(size=SIZE, train="head")
# Noise that is brighter for class 1.
NOISE = torch.randint(0, 100, (ROWS, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(0))
BRIGHTER = (NOISE + 120 * CLASSES[:, None, None, None]).to(torch.uint8)
IMAGES = conftest.Batches(list(zip(BRIGHTER.split(8), CLASSES.split(8), strict=True)))

learner_of = partial(conftest.learner_of, dropout=0.3)


def features_of(learner):
    features = np.random.default_rng(0).normal(size=(ROWS, 1, learner.model.width)).astype(np.float32)
    features[1::2] += 1
    return FeatureEpochs(features, np.arange(ROWS), CLASSES, 16, seed=0)


def everything(learner):
    model = learner.model
    return (
        {name: value.tolist() for name, value in model.state_dict().items()},
        [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()],
        [module.training for module in model.modules()],
        random.getstate(),
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
    )


@pytest.mark.parametrize(("name", "train"), [("test_resnet", "all"), ("test_vit", 2)])
def test_a_sweep_gives_back_everything_bit_for_bit_and_follows_from_the_seed(monkeypatch, name, train):
    monkeypatch.setattr(finder, "BATCHES", 20)
    learner, stage = learner_of(name), replace(HEAD, train=train)
    freeze(learner.model, 2)
    before = everything(learner)
    found = range_test(learner, stage, IMAGES, seed=0)
    assert everything(learner) == before
    assert found.rates[0] == pytest.approx(LOWEST)
    assert np.allclose(found.rates[1:] / found.rates[:-1], (HIGHEST / LOWEST) ** (1 / 19))
    assert np.array_equal(range_test(learner, stage, IMAGES, seed=0).losses, found.losses)


@pytest.mark.parametrize(("accumulation", "in_a_step"), [(1, 1), (4, 4), (50, 5)])
def test_gathered_batches_are_one_step_and_a_hundred_all_together(accumulation, in_a_step):
    learner, taken = learner_of(accumulation=accumulation), []
    learner.step = lambda network, together, optimizer: taken.append(len(together)) or torch.tensor(1.0)
    range_test(learner, HEAD, IMAGES, seed=0)
    assert set(taken) == {in_a_step}
    assert sum(taken) == finder.BATCHES


def test_a_sweep_ends_where_the_loss_diverges():
    learner = learner_of(optimizer="sgd", dropout=0.0)
    found = range_test(learner, replace(HEAD, train="all"), IMAGES, seed=0)
    assert len(found.rates) < finder.BATCHES
    assert all(LOWEST / 10 <= rate < found.rates[-1] for rate in found.suggestions.values())


def test_what_is_suggested_on_cached_features_trains_the_head_on_them():
    stage = replace(HEAD, cached=True, cycle_length=4)
    found = range_test(learner_of(), stage, features_of(learner_of()), seed=0)
    assert found.smoothed.min() < 0.5 * found.smoothed[0]
    for rate in found.suggestions.values():
        learner = learner_of()
        epochs = learner.fit(stage, rate, features_of(learner), None, 0)
        losses = [epoch.train_loss for epoch in epochs if isinstance(epoch, Epoch)]
        assert losses[-1] < losses[0]


def test_a_loss_that_is_never_a_number_is_said():
    learner = learner_of()
    with torch.no_grad():
        learner.model.head[-1].bias.fill_(float("nan"))
    with pytest.raises(RunError, match="No learning rate could be found"):
        range_test(learner, HEAD, IMAGES, seed=0)


def curve(losses):
    losses = np.asarray(losses, float)
    return RangeTest(np.geomspace(LOWEST, HIGHEST, 100)[: len(losses)], losses, losses)


def test_the_suggestions_of_a_textbook_curve():
    """Flat to 1e-4, then straight down in log rate to 1e-1, then up."""
    logs = np.log10(np.geomspace(LOWEST, HIGHEST, 100))
    found = curve(np.where(logs < -4, 2 - 1e-4 * logs, np.where(logs < -1, 2 - (logs + 4) * 0.5, 0.5 + (logs + 1) * 3)))
    assert found.suggestions["minimum"] == pytest.approx(1e-2, rel=0.2)
    assert 1e-4 <= found.suggestions["steepest"] <= 1e-1
    assert 1e-4 <= found.suggestions["valley"] <= 1e-1
    assert found.suggestion == found.suggestions["valley"]


def test_the_steepest_fall_is_not_the_chance_of_the_first_batches():
    """A regression's smoothed losses: the first is of a single hard batch."""
    settling = np.array([1.447, 1.053, 0.971, 0.988, 0.932, 0.947, 0.974, 0.987, 0.993, 1.002])
    found = curve(np.concatenate([settling, np.linspace(0.99, 0.9, 40), np.linspace(0.88, 0.4, 20), [0.5, 2]]))
    assert found.rates[50] <= found.suggestions["steepest"] <= found.rates[70]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 10), min_size=10, max_size=100))
def test_any_curve_has_suggestions_within_its_rates(losses):
    found = curve(losses)
    for rule, rate in found.suggestions.items():
        assert LOWEST / 11 <= rate <= found.rates[-1] * (1 + 1e-9), rule


def test_a_rule_of_one_s_own_chooses_the_rate():
    found = RangeTest(np.array([1e-3, 1e-2, 1e-1]), np.zeros(3), np.array([2.0, 1.0, 3.0]), lambda r, s: r[s.argmin()])
    assert found.suggestion == found.suggestions["<lambda>"] == 1e-2
