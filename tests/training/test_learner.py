import re
from collections import deque
from copy import deepcopy
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW

from comp.declare.recipe import Stage
from comp.errors import DeclarationError, RunError
from comp.training.backbone import digest, layer_groups
from comp.training.epochs import Epoch, Step, Validation
from comp.training.features import FeatureEpochs, in_batches
from tests.training.conftest import SAM, Again, Batches, learner_of

ROWS, SIZE = 24, 32
TRAINING, VALIDATING = np.random.default_rng(0).permutation(16), np.arange(16, ROWS)
CLASSES = torch.arange(ROWS) % 2
TAGS = torch.stack([CLASSES, 1 - CLASSES, CLASSES], dim=1)
EVERY = pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
HEAD = Stage(size=SIZE, train="head", cycle_length=2, learning_rate=1e-2)
CACHED = replace(HEAD, cached=True)
ALL = Stage(size=SIZE, train="all", cycle_length=2, learning_rate=1e-3)
# Noise that is reddish for class 0 and bluish for class 1.
IMAGES = torch.randint(0, 60, (ROWS, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
IMAGES[::2, ..., 0] += 190
IMAGES[1::2, ..., 2] += 190


@pytest.fixture(scope="module")
def features():
    """Of test_resnet."""
    return features_of(learner_of())


def features_of(learner, views=IMAGES[:, None]):
    return np.concatenate(list(learner.features(views.split(8))))


def fit(learner, stage, batch_size=8, targets=CLASSES):
    """The events of a stage on images."""
    batches = zip(IMAGES[TRAINING].split(batch_size), targets[TRAINING].split(batch_size), strict=True)
    validation = Validation(lambda: learner.features([IMAGES[VALIDATING, None]]), targets[VALIDATING])
    return list(learner.fit(stage, stage.learning_rate, Batches(list(batches)), validation, seed=3))


def epochs_of(events):
    return [event for event in events if isinstance(event, Epoch)]


def head_after(learner, training, stage):
    """The head's weight and bias after a stage on features."""
    list(learner.fit(stage, stage.learning_rate, training, None, seed=0))
    return [learner.model.head[-1].weight.detach().clone(), learner.model.head[-1].bias.detach().clone()]


@EVERY
def test_the_last_layer_groups_train_and_nothing_before_them(name):
    learner = learner_of(name)
    # A head of zeros lets no gradient through, so it trains first, as in a recipe; and last, to see the rest freeze.
    for stage in (HEAD, replace(ALL, train=2), ALL, HEAD):
        before = {group: [p.detach().clone() for p in ps] for group, ps in layer_groups(learner.model).items()}
        statistics = {key: value.clone() for key, value in learner.model.backbone.named_buffers() if "running" in key}
        fit(learner, replace(stage, cycle_length=1))
        changed = [
            any(not torch.equal(old, new) for old, new in zip(before[group], parameters, strict=True))
            for group, parameters in layer_groups(learner.model).items()
        ]
        assert changed == [stage.groups == 3, stage.groups >= 2, True]
        now = dict(learner.model.backbone.named_buffers())
        kept = [torch.equal(value, now[key]) for key, value in statistics.items()]
        assert stage.groups == 2 or all(kept if stage.groups == 1 else [not one for one in kept])


@EVERY
def test_cached_and_fresh_features_train_the_head_alike(name):
    stage = replace(HEAD, cycle_length=4)
    on_images = epochs_of(fit(learner_of(name), stage, batch_size=len(TRAINING)))
    cached = learner_of(name)
    features = features_of(cached)
    validation = Validation(lambda: in_batches(features, VALIDATING), CLASSES[VALIDATING])
    training = FeatureEpochs(features, TRAINING, CLASSES, len(TRAINING), seed=0)
    on_features = epochs_of(cached.fit(replace(stage, cached=True), stage.learning_rate, training, validation, seed=3))
    assert len(on_images) == len(on_features) == 4
    for one, other in zip(on_images, on_features, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
        assert one.valid_loss == pytest.approx(other.valid_loss, abs=1e-5)
        assert one.logits == pytest.approx(other.logits, abs=1e-4)
    assert on_images[-1].train_loss != pytest.approx(on_images[0].train_loss, abs=1e-2)


@pytest.mark.parametrize(("one_of", "targets"), [(True, CLASSES), (False, TAGS)])
@pytest.mark.parametrize("train", ["head", "all"])
def test_training_learns_what_can_be_told_apart(one_of, targets, train):
    stage = Stage(size=SIZE, train=train, cycles=2, cycle_length=3, cycle_multiplier=2, learning_rate=3e-2)
    epochs = epochs_of(fit(learner_of(outputs=2 if one_of else 3, one_of=one_of), stage, targets=targets))
    assert epochs[-1].train_loss < 0.4 * epochs[0].train_loss
    assert epochs[-1].valid_loss < 0.7 * np.log(2)
    chosen = epochs[-1].logits.argmax(axis=1) if one_of else (epochs[-1].logits > 0).astype(int)
    assert (chosen == targets[VALIDATING].numpy()).mean() >= 0.95


@pytest.mark.parametrize(("optimizer", "kind"), [("sgd", partial(SGD, momentum=0.9)), ("adamw", AdamW)])
def test_a_stage_is_what_a_plain_loop_of_the_same_steps_is(features, optimizer, kind):
    learner = learner_of(optimizer=optimizer, weight_decay=0.1)
    stage = replace(CACHED, learning_rate=1e-3)
    training = FeatureEpochs(features, TRAINING, CLASSES, 4, seed=0)
    head = deepcopy(learner.model.head).train()
    plain = kind(head.parameters(), lr=stage.learning_rate, weight_decay=0.1)
    batches = [batch for number in range(stage.epochs) for batch in training.epoch(number)]
    for step, (inputs, targets) in enumerate(batches):
        plain.param_groups[0]["lr"] = stage.learning_rate * (1 + np.cos(np.pi * step / len(batches))) / 2
        plain.zero_grad()
        cross_entropy(head(inputs), targets).backward()
        plain.step()
    found = head_after(learner, training, stage)
    for mine, theirs in zip(found, (head[-1].weight, head[-1].bias), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_every_step_and_epoch_is_reported_in_order():
    stage = Stage(size=SIZE, train="all", cycles=2, cycle_length=1, cycle_multiplier=2, learning_rate=1e-2)
    events = fit(learner_of(ratio=3.0), stage)
    steps, epochs = [event for event in events if isinstance(event, Step)], epochs_of(events)
    assert [type(event) for event in events] == [Step, Step, Epoch] * 3
    assert [step.images for step in steps] == [8] * 6
    assert [(epoch.number, epoch.cycle, epoch.ends_cycle) for epoch in epochs] == [
        (0, 0, True),
        (1, 1, False),
        (2, 1, True),
    ]
    for epoch in epochs:
        assert epoch.train_loss == pytest.approx(np.mean([step["loss"] for step in epoch.steps]))
        assert epoch.images_per_second == pytest.approx(16 / epoch.seconds)
        assert epoch.logits.shape == (len(VALIDATING), 2)
        expected = cross_entropy(torch.from_numpy(epoch.logits), CLASSES[VALIDATING])
        assert epoch.valid_loss == pytest.approx(float(expected), abs=1e-6)
    rates = [[step[f"lr_{group}"] for group in ("early", "late", "head")] for epoch in epochs for step in epoch.steps]
    assert len(rates) == 6
    assert rates[0] == pytest.approx([1e-2 / 9, 1e-2 / 3, 1e-2])
    assert rates[2] == pytest.approx(rates[0])
    assert [row[2] for row in rates[2:]] == pytest.approx(
        [1e-2 * (1 + np.cos(np.pi * step / 4)) / 2 for step in range(4)]
    )


def test_a_head_stage_reports_the_head_s_rate_alone_and_validates_nothing_without_rows(features):
    training = FeatureEpochs(features, TRAINING, CLASSES, 8, seed=0)
    for epoch in epochs_of(learner_of().fit(CACHED, 1e-2, training, None, 0)):
        assert [set(step) for step in epoch.steps] == [{"loss", "lr_head"}] * 2
        assert (epoch.valid_loss, epoch.logits) == (None, None)


@EVERY
def test_features_are_of_each_view_in_the_rows_order_and_predicting_changes_nothing(name):
    learner = learner_of(name)
    before = digest(learner.model)
    views = torch.stack([IMAGES, IMAGES.flip(2)], dim=1)
    learner.model.train()
    together = features_of(learner, views)
    assert together.shape == (ROWS, 2, learner.model.backbone.num_features)
    for place in range(2):
        learner.model.train()
        alone = features_of(learner, views[5:6, place : place + 1])
        assert together[5, place] == pytest.approx(alone[0, 0], abs=1e-4)
    assert not np.allclose(together[5, 0], together[5, 1], atol=1e-4)
    assert digest(learner.model) == before


def test_logits_are_the_head_s_of_every_view_in_the_rows_order():
    learner = learner_of()
    torch.nn.init.normal_(learner.model.head[-1].weight)
    features = features_of(learner, torch.stack([IMAGES, IMAGES.flip(2)], dim=1))
    logits = learner.logits(in_batches(features, np.arange(ROWS), at_once=5))
    assert logits.shape == (ROWS, 2, 2)
    with torch.no_grad():
        by_hand = learner.model.head.eval()(torch.from_numpy(features[7]))
    assert logits[7] == pytest.approx(by_hand.numpy(), abs=1e-5)
    assert learner.logits([]).shape == (0, 1, 2)


def test_gradients_of_several_batches_make_the_step_of_one_batch_of_all_their_rows(features):
    once = list(FeatureEpochs(features, TRAINING, CLASSES, 8, seed=0).epoch(0))
    # Every batch twice: in one, or one after the other. The head's batch norm sees the same statistics.
    together = Batches([tuple(torch.cat([part, part]) for part in batch) for batch in once])
    one = head_after(learner_of(optimizer="sgd"), together, CACHED)
    in_turn = Batches([batch for batch in once for _ in range(2)])
    other = head_after(learner_of(optimizer="sgd", accumulation=2), in_turn, CACHED)
    assert torch.allclose(one[0], other[0], atol=1e-6)


def test_a_backbone_with_parameters_of_five_dimensions_trains():
    learner = learner_of("lambda_resnet26t")
    assert np.isfinite(epochs_of(fit(learner, replace(ALL, cycle_length=1)))[0].train_loss)


def test_what_is_left_of_an_epoch_makes_a_step_of_its_own(features):
    training = FeatureEpochs(features, TRAINING, CLASSES, 4, seed=0)
    events = learner_of(accumulation=3).fit(CACHED, 1e-2, training, None, 0)
    assert [event.images for event in events if isinstance(event, Step)] == [12, 4, 12, 4]


def test_gradients_longer_than_the_norm_are_scaled_down_to_it(features):
    stage = replace(CACHED, cycle_length=1, learning_rate=0.1)
    training = FeatureEpochs(features, TRAINING, CLASSES, len(TRAINING), seed=0)
    free, clipped, loose = (
        head_after(learner_of(optimizer="sgd", weight_decay=0.0, clip_norm=norm), training, stage)
        for norm in (0.0, 1e-3, 1e6)
    )
    assert all(torch.equal(one, other) for one, other in zip(free, loose, strict=True))
    # One step from zero at rate 0.1: the weights move by the rate times the gradient.
    moved, unclipped = (float(torch.cat([part.flatten() for part in end]).norm()) for end in (clipped, free))
    assert moved == pytest.approx(0.1 * 1e-3, rel=1e-4)
    assert unclipped > 10 * moved


def test_gradients_that_an_optimizer_asks_for_again_are_those_of_the_same_samples_and_dropout():
    fields = {"dropout": 0.5, "mixup": 0.4, "cutmix": 0.4, "accumulation": 2, "clip_norm": 0.1}
    once, again = (learner_of(optimizer=optimizer, **fields) for optimizer in (partial(AdamW, betas=(0.5, 0.9)), Again))
    fit(once, replace(ALL, cycles=2), 4)
    fit(again, replace(ALL, cycles=2), 4)
    assert digest(again.model) == digest(once.model)


def test_an_optimizer_is_given_the_gradients_at_the_weights_that_it_moved_to(features):
    training = FeatureEpochs(features, TRAINING, CLASSES, len(TRAINING), seed=0)
    learner, moved = learner_of(optimizer=SAM), learner_of()
    (inputs, targets), head = next(training.epoch(0)), moved.model.head.train()
    optimizer = AdamW(head.parameters(), lr=1e-2, weight_decay=0.01, betas=(0.5, 0.9))
    cross_entropy(head(inputs), targets).backward()
    before = deepcopy(head)
    norm = torch.stack([one.grad.norm() for one in head.parameters()]).norm()
    with torch.no_grad():
        for one in head.parameters():
            one += 0.05 * one.grad / norm
    optimizer.zero_grad()
    cross_entropy(head(inputs), targets).backward()
    with torch.no_grad():
        for one, old in zip(head.parameters(), before.parameters(), strict=True):
            one.copy_(old)
    optimizer.step()
    weight, _ = head_after(learner, training, replace(CACHED, cycle_length=1))
    assert torch.allclose(weight, head[-1].weight, atol=1e-6)


def test_an_optimizer_with_a_closure_is_refused_where_gradients_are_scaled(monkeypatch):
    scaled = SimpleNamespace(device=torch.device("cpu"), scaler=torch.amp.GradScaler("cpu"))
    monkeypatch.setattr("comp.training.learner.choose_device", lambda: scaled)
    with pytest.raises(DeclarationError, match=r"Recipe: `optimizer` SAM steps with a closure.* half precision"):
        learner_of(optimizer=SAM)
    learner_of()


def test_the_average_of_the_weights_is_validated_and_kept():
    learner = learner_of(ema=0.9)
    averaged, last = epochs_of(fit(learner, ALL)), epochs_of(fit(learner_of(), ALL))
    assert [epoch.train_loss for epoch in averaged] == pytest.approx([epoch.train_loss for epoch in last])
    assert averaged[-1].valid_loss != pytest.approx(last[-1].valid_loss, abs=1e-6)
    assert learner.evaluated is learner.model
    features = learner.features([IMAGES[VALIDATING, None]])
    assert learner.logits(features)[:, 0] == pytest.approx(averaged[-1].logits, abs=1e-5)


def test_mixed_batches_train_on_shares_and_are_validated_on_labels():
    stage, ends = replace(ALL, cycle_length=8, learning_rate=1e-2), {}
    for alpha in (0.0, 1.0):
        epochs = epochs_of(fit(learner_of(mixup=alpha, cutmix=alpha), stage))
        assert epochs[-1].valid_loss < 0.8 * epochs[0].valid_loss
        ends[alpha] = epochs[-1].train_loss
    # Shares of two classes can't be predicted: their loss stays above the labels'.
    assert ends[1.0] > 2 * ends[0.0]


@pytest.mark.parametrize("what", ["training", "validation"])
def test_a_loss_without_a_number_is_reported_before_the_training_ends_with_the_rate_that_did_it(features, what):
    """Only the validation loss is NaN where the last step of an epoch breaks the weights."""
    learner, seen = learner_of(optimizer="sgd"), []
    training = FeatureEpochs(features, TRAINING, CLASSES, 4, seed=0)
    diverged = torch.full((len(VALIDATING), 1, learner.model.width), torch.nan)
    validation = Validation(lambda: [diverged], CLASSES[VALIDATING])
    rate = 1e38 if what == "training" else 1e-2
    with pytest.raises(RunError, match=rf"NaN or infinite in epoch \d; .* learning rate, .*{re.escape(f'{rate:g}')}"):
        deque(map(seen.append, learner.fit(CACHED, rate, training, None if what == "training" else validation, 0)))
    assert np.isfinite(seen[-1].train_loss) == (what == "validation")
    assert what == "training" or not np.isfinite(seen[-1].valid_loss)
    assert seen[-1].logits is None
