import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.recipe import Recipe, Stage
from comp.errors import DeclarationError, RunError
from comp.training.backbone import build_classifier, freeze
from comp.training.features import FeatureEpochs
from comp.training.finder import BATCHES, HIGHEST, LOWEST, RangeTest, range_test
from comp.training.learner import Epoch, Learner
from comp.training.losses import Objective

SIZE, ROWS = 32, 48
CLASSES = torch.arange(ROWS) % 2
HEAD = Stage(size=SIZE, train="head")
RECIPE = Recipe(stages=[HEAD], batch_size=8, dropout=0.3)


class Images:
    """Noise that is brighter for class 1, the same every epoch."""

    batch_size = 8

    def __init__(self):
        noise = np.random.default_rng(0).integers(0, 100, (ROWS, SIZE, SIZE, 3))
        self.images = torch.from_numpy((noise + 120 * (np.arange(ROWS) % 2)[:, None, None, None]).astype(np.uint8))

    def __len__(self):
        return ROWS // 8

    def epoch(self, number, start=0):
        for start in range(0, ROWS, 8):
            yield self.images[start : start + 8], CLASSES[start : start + 8]


def learner_of(name="test_resnet", recipe=RECIPE):
    torch.manual_seed(0)
    model = build_classifier(name, pretrained=False, dropout=recipe.dropout, prior=np.zeros(2))
    if hasattr(model.backbone, "set_input_size"):
        model.backbone.set_input_size(img_size=(SIZE, SIZE))
    return Learner(model, recipe, 10.0, Objective("cross_entropy", one_of=True))


def everything(learner):
    model = learner.model
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()],
        [module.training for module in model.modules()],
        random.getstate(),
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
    )


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("train", ["head", 2, "all"])
def test_a_sweep_gives_back_everything_bit_for_bit(name, train):
    learner = learner_of(name)
    freeze(learner.model, 2)
    before = everything(learner)
    found = range_test(learner, replace(HEAD, train=train), Images(), seed=0)
    after = everything(learner)
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert before[1:] == after[1:]
    assert len(found.rates) <= BATCHES


def test_a_training_after_a_sweep_is_the_training_without_it():
    ends = []
    for sweeps in (False, True):
        learner = learner_of()
        if sweeps:
            range_test(learner, replace(HEAD, train="all"), Images(), seed=5)
        ends.append([e.train_loss for e in learner.fit(HEAD, 1e-2, Images(), None, 0) if isinstance(e, Epoch)])
    assert ends[0] == ends[1]


def test_the_same_seed_sweeps_the_same_way():
    one, other = (range_test(learner_of(), HEAD, Images(), seed=1) for _ in range(2))
    assert np.array_equal(one.losses, other.losses)


def test_the_rate_grows_by_the_same_factor_and_is_the_head_s_whatever_else_trains():
    for train in ("head", "all"):
        rates = range_test(learner_of(), replace(HEAD, train=train), Images(), seed=0).rates
        assert rates[0] == pytest.approx(LOWEST)
        assert np.allclose(rates[1:] / rates[:-1], (HIGHEST / LOWEST) ** (1 / (BATCHES - 1)))


@pytest.mark.parametrize(("accumulation", "in_a_step"), [(1, 1), (4, 4), (50, 5)])
def test_gathered_batches_are_one_step_and_a_hundred_all_together(accumulation, in_a_step):
    images = Images()
    learner = learner_of(recipe=replace(RECIPE, accumulation=accumulation))
    taken = []
    learner.step = lambda network, together, optimizer: taken.append(len(together)) or torch.tensor(1.0)
    range_test(learner, HEAD, images, seed=0)
    assert set(taken) == {in_a_step}
    assert sum(taken) == BATCHES


def test_a_sweep_ends_where_the_loss_diverges():
    learner = learner_of(recipe=replace(RECIPE, optimizer="sgd", dropout=0.0))
    found = range_test(learner, replace(HEAD, train="all"), Images(), seed=0)
    assert len(found.rates) < BATCHES
    assert all(LOWEST / 10 <= rate < found.rates[-1] for rate in found.suggestions.values())


def test_a_sweep_on_cached_features_trains_the_head_on_them():
    learner = learner_of()
    features = np.random.default_rng(0).normal(size=(ROWS, 1, learner.model.width)).astype(np.float32)
    features[1::2] += 1
    training = FeatureEpochs(features, np.arange(ROWS), CLASSES, 16, seed=0)
    found = range_test(learner, replace(HEAD, cached=True), training, seed=0)
    assert found.smoothed.min() < 0.5 * found.smoothed[0]


def test_rates_at_which_training_fails_come_from_no_suggestion():
    """What is suggested trains: its loss ends below where it began."""
    for rule in ("minimum", "steepest", "valley"):
        learner = learner_of()
        rate = range_test(learner, HEAD, Images(), seed=0).suggestions[rule]
        epochs = learner.fit(replace(HEAD, cycle_length=6), rate, Images(), None, 0)
        losses = [epoch.train_loss for epoch in epochs if isinstance(epoch, Epoch)]
        assert losses[-1] < losses[0]


def test_a_loss_that_is_never_a_number_is_said():
    learner = learner_of()
    with torch.no_grad():
        learner.model.head[-1].bias.fill_(float("nan"))
    with pytest.raises(RunError, match="No learning rate could be found"):
        range_test(learner, HEAD, Images(), seed=0)


def curve(losses):
    losses = np.asarray(losses, float)
    return RangeTest(np.geomspace(LOWEST, HIGHEST, BATCHES)[: len(losses)], losses, losses)


def test_the_suggestions_of_a_textbook_curve():
    """Flat to 1e-4, then straight down in log rate to 1e-1, then up."""
    logs = np.log10(np.geomspace(LOWEST, HIGHEST, BATCHES))
    found = curve(np.where(logs < -4, 2 - 1e-4 * logs, np.where(logs < -1, 2 - (logs + 4) * 0.5, 0.5 + (logs + 1) * 3)))
    assert found.suggestions["minimum"] == pytest.approx(1e-2, rel=0.2)
    assert 1e-4 <= found.suggestions["steepest"] <= 1e-1
    assert 1e-4 <= found.suggestions["valley"] <= 1e-1
    assert found.suggestion in found.suggestions.values()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 10), min_size=10, max_size=BATCHES))
def test_any_curve_has_suggestions_within_its_rates(losses):
    found = curve(losses)
    for rule, rate in found.suggestions.items():
        assert LOWEST / 11 <= rate <= found.rates[-1] * (1 + 1e-9), rule


def test_a_rule_of_one_s_own_chooses_the_rate():
    found = RangeTest(np.array([1e-3, 1e-2, 1e-1]), np.zeros(3), np.array([2.0, 1.0, 3.0]), lambda r, s: r[s.argmin()])
    assert found.suggestion == found.suggestions["<lambda>"] == 1e-2


@pytest.mark.parametrize("rate", [0, np.nan, None, np.array([1.0])])
def test_a_rule_that_gives_no_rate_is_named(rate):
    with pytest.raises(DeclarationError, match="`rate_rule` returned"):
        _ = RangeTest(np.array([1.0, 2.0]), np.ones(2), np.ones(2), lambda rates, losses: rate).suggestion
