from collections import deque
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW

from comp.data.augmenting import Preprocessing
from comp.data.loading import ImageDataset, ImageEpochs, in_views
from comp.data.reading import Reading
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import View, side_on, upright
from comp.errors import RunError
from comp.training.backbone import build_classifier, layer_groups, set_size
from comp.training.features import FeatureEpochs, in_batches
from comp.training.learner import Epoch, Learner, Step, Validation
from comp.training.losses import Objective

ROWS, SIZE = 24, 32
TRAINING, VALIDATING = np.arange(16), np.arange(16, ROWS)
CLASSES = torch.arange(ROWS) % 2
TAGS = torch.stack([CLASSES, 1 - CLASSES, CLASSES], dim=1)
NAMES = ["test_resnet", "test_vit", "test_convnext"]
EVERY = pytest.mark.parametrize("name", NAMES)
HEAD = Stage(size=SIZE, train="head", cycle_length=2, learning_rate=1e-2)
ALL = Stage(size=SIZE, train="all", cycle_length=2, learning_rate=1e-3)
RECIPE = Recipe(stages=[HEAD], batch_size=8, dropout=0.0)
PLAIN = (View(),)
UNALTERED = upright(max_zoom=1, max_rotation=0, max_light=0)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Noise that is reddish for class 0 and bluish for class 1."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"{row}.png" for row in range(ROWS)]
    for row, path in enumerate(paths):
        pixels = rng.integers(0, 60, (SIZE, SIZE, 3))
        pixels[:, :, 2 * (row % 2)] += 190
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return paths


def learner_of(name, recipe=RECIPE, target="single", ratio=10.0, seed=0):
    torch.manual_seed(seed)
    prior = np.zeros(2 if target == "single" else 3)
    model = build_classifier(name, pretrained=False, dropout=recipe.dropout, prior=prior)
    set_size(model, SIZE)
    name = "cross_entropy" if target == "single" else "bce"
    objective = Objective(name, one_of=target == "single", label_smoothing=recipe.label_smoothing)
    return Learner(model, recipe, ratio, objective)


def dataset_of(paths, viewpoint=UNALTERED):
    return ImageDataset(paths, Preprocessing(SIZE, Reading(), viewpoint), 0)


def features_of(learner, paths, rows=range(ROWS), views=PLAIN):
    return np.concatenate(list(learner.features(in_views(dataset_of(paths, side_on()), rows, views, 8, workers=0))))


def fit(learner, stage, paths, viewpoint=UNALTERED, batch_size=8, targets=CLASSES, seed=3):
    dataset = dataset_of(paths, viewpoint)
    epochs = ImageEpochs(dataset, TRAINING, targets, batch_size, workers=0)
    validation = Validation(
        lambda: learner.features(in_views(dataset, VALIDATING, PLAIN, 8, workers=0)), targets[VALIDATING]
    )
    return list(learner.fit(stage, stage.learning_rate, epochs, validation, seed))


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@EVERY
def test_the_frozen_backbone_keeps_every_byte_while_the_head_trains(paths, name):
    learner = learner_of(name)
    backbone, head = state_of(learner.model.backbone), state_of(learner.model.head)
    fit(learner, HEAD, paths, side_on())
    assert same(state_of(learner.model.backbone), backbone)
    trained = state_of(learner.model.head)
    assert all(not torch.equal(trained[key], head[key]) for key in head)


@EVERY
def test_every_group_trains_when_all_do(paths, name):
    learner = learner_of(name)
    # A head of zeros lets no gradient through, so it is trained first, as a recipe does.
    fit(learner, HEAD, paths)
    before = {group: [p.detach().clone() for p in ps] for group, ps in layer_groups(learner.model).items()}
    statistics = {key: value.clone() for key, value in learner.model.backbone.named_buffers() if "running" in key}
    fit(learner, ALL, paths)
    for group, parameters in layer_groups(learner.model).items():
        assert any(not torch.equal(old, new) for old, new in zip(before[group], parameters, strict=True)), group
    now = dict(learner.model.backbone.named_buffers())
    assert all(not torch.equal(value, now[key]) for key, value in statistics.items())


def test_a_head_after_all_freezes_again(paths):
    learner = learner_of("test_resnet")
    fit(learner, ALL, paths)
    backbone = state_of(learner.model.backbone)
    fit(learner, HEAD, paths)
    assert same(state_of(learner.model.backbone), backbone)


@EVERY
def test_cached_and_fresh_features_train_the_head_alike(paths, name):
    stage = Stage(size=SIZE, train="head", cycle_length=4, learning_rate=1e-2)
    fresh = learner_of(name)
    on_images = [event for event in fit(fresh, stage, paths, batch_size=len(TRAINING)) if isinstance(event, Epoch)]
    cached = learner_of(name)
    features = features_of(cached, paths)
    validation = Validation(lambda: in_batches(features, VALIDATING), CLASSES[VALIDATING])
    training = FeatureEpochs(features, TRAINING, CLASSES, len(TRAINING), seed=0)
    events = cached.fit(replace(stage, cached=True), stage.learning_rate, training, validation, seed=3)
    on_features = [event for event in events if isinstance(event, Epoch)]
    assert len(on_images) == len(on_features) == 4
    for one, other in zip(on_images, on_features, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
        assert one.valid_loss == pytest.approx(other.valid_loss, abs=1e-5)
        assert one.logits == pytest.approx(other.logits, abs=1e-4)
    assert on_images[-1].train_loss != pytest.approx(on_images[0].train_loss, abs=1e-2)


@pytest.mark.parametrize(("name", "optimizer"), [("test_resnet", "adamw"), ("test_vit", "sgd")])
def test_the_same_seed_ends_with_the_same_weights(paths, name, optimizer):
    recipe = replace(RECIPE, optimizer=optimizer, dropout=0.3)
    ends = []
    for seed in (3, 3, 4):
        learner = learner_of(name, recipe)
        for stage in (replace(HEAD, cycle_length=1), replace(ALL, cycle_length=1)):
            fit(learner, stage, paths, side_on(), seed=seed)
        ends.append(state_of(learner.model))
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


@pytest.mark.parametrize(("target", "targets"), [("single", CLASSES), ("multi", TAGS)])
@pytest.mark.parametrize("train", ["head", "all"])
def test_training_learns_what_can_be_told_apart(paths, target, targets, train):
    learner = learner_of("test_resnet", target=target)
    stage = Stage(size=SIZE, train=train, cycles=2, cycle_length=3, cycle_multiplier=2, learning_rate=3e-2)
    epochs = [event for event in fit(learner, stage, paths, targets=targets) if isinstance(event, Epoch)]
    assert epochs[-1].train_loss < 0.4 * epochs[0].train_loss
    assert epochs[-1].valid_loss < 0.7 * np.log(2)
    truth = targets[VALIDATING].numpy()
    chosen = epochs[-1].logits.argmax(axis=1) if target == "single" else (epochs[-1].logits > 0).astype(int)
    assert (chosen == truth).mean() >= 0.95


@pytest.mark.parametrize(("optimizer", "kind"), [("sgd", partial(SGD, momentum=0.9)), ("adamw", AdamW)])
def test_a_stage_is_what_a_plain_loop_of_the_same_steps_is(paths, optimizer, kind):
    learner = learner_of("test_resnet", replace(RECIPE, optimizer=optimizer, weight_decay=0.1))
    features = features_of(learner, paths)
    stage = Stage(size=SIZE, train="head", cached=True, cycle_length=2, learning_rate=1e-3)
    training = FeatureEpochs(features, TRAINING, CLASSES, 4, seed=0)
    head = deepcopy(learner.model.head).train()
    plain = kind(head.parameters(), lr=stage.learning_rate, weight_decay=0.1)
    batches = [batch for number in range(stage.epochs) for batch in training.epoch(number)]
    for step, (inputs, targets) in enumerate(batches):
        plain.param_groups[0]["lr"] = stage.learning_rate * (1 + np.cos(np.pi * step / len(batches))) / 2
        plain.zero_grad()
        cross_entropy(head(inputs), targets).backward()
        plain.step()
    list(learner.fit(stage, stage.learning_rate, training, None, seed=0))
    trained = learner.model.head.state_dict()
    assert all(torch.allclose(value, trained[key], atol=1e-6) for key, value in head.state_dict().items())


def test_every_step_and_epoch_is_reported_in_order(paths):
    stage = Stage(size=SIZE, train="all", cycles=2, cycle_length=1, cycle_multiplier=2, learning_rate=1e-2)
    events = fit(learner_of("test_resnet", ratio=3.0), stage, paths)
    steps = [event for event in events if isinstance(event, Step)]
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [type(event) for event in events] == [Step, Step, Epoch] * 3
    assert [(step.number, step.steps, step.images) for step in steps] == [(n, 6, 8) for n in range(1, 7)]
    assert [(epoch.number, epoch.cycle) for epoch in epochs] == [(0, 0), (1, 1), (2, 1)]
    for epoch in epochs:
        assert len(epoch.steps) == 2
        assert epoch.train_loss == pytest.approx(np.mean([step["loss"] for step in epoch.steps]))
        assert epoch.images_per_second == pytest.approx(16 / epoch.seconds)
        assert epoch.logits.shape == (len(VALIDATING), 2)
        assert epoch.valid_loss == pytest.approx(
            float(cross_entropy(torch.from_numpy(epoch.logits), CLASSES[VALIDATING])), abs=1e-6
        )
    rates = [[step[f"lr_{group}"] for group in ("early", "late", "head")] for epoch in epochs for step in epoch.steps]
    assert rates[0] == pytest.approx([1e-2 / 9, 1e-2 / 3, 1e-2])
    assert rates[2] == pytest.approx(rates[0])
    assert [row[2] for row in rates[2:]] == pytest.approx(
        [1e-2 * (1 + np.cos(np.pi * step / 4)) / 2 for step in range(4)]
    )


def test_a_head_stage_reports_the_heads_rate_alone(paths):
    epoch = fit(learner_of("test_resnet"), HEAD, paths)[2]
    assert [set(step) for step in epoch.steps] == [{"loss", "lr_head"}] * 2
    assert epoch.steps[0]["lr_head"] == pytest.approx(HEAD.learning_rate)


def test_without_validation_rows_nothing_is_validated(paths):
    learner = learner_of("test_resnet")
    epochs = ImageEpochs(dataset_of(paths), TRAINING, CLASSES, 8, workers=0)
    reported = [event for event in learner.fit(HEAD, 1e-2, epochs, None, 0) if isinstance(event, Epoch)]
    assert [(epoch.valid_loss, epoch.logits) for epoch in reported] == [(None, None)] * 2


def test_a_loss_that_is_no_number_ends_the_training_with_the_rate_that_did_it(paths):
    learner = learner_of("test_resnet", replace(RECIPE, optimizer="sgd"))
    stage = Stage(size=SIZE, train="all", cycle_length=5, learning_rate=1e12)
    with pytest.raises(RunError, match=r"NaN or infinite in epoch \d; lower the stage's learning rate, .* 1e\+12"):
        fit(learner, stage, paths)


@EVERY
def test_features_are_of_each_view_in_the_rows_order(paths, name):
    learner = learner_of(name)
    views = (*side_on().fixed_views, View(draw=0))
    together = features_of(learner, paths, views=views)
    assert together.shape == (ROWS, 3, learner.model.backbone.num_features)
    for place, view in enumerate(views):
        alone = features_of(learner, paths, rows=[5], views=(view,))
        assert together[5, place] == pytest.approx(alone[0, 0], abs=1e-4)
    assert not np.allclose(together[5, 0], together[5, 1], atol=1e-4)


def test_logits_are_the_heads_of_every_view_in_the_rows_order(paths):
    learner = learner_of("test_resnet")
    torch.nn.init.normal_(learner.model.head[-1].weight)
    features = features_of(learner, paths, views=side_on().fixed_views)
    logits = learner.logits(in_batches(features, np.arange(ROWS), batch_size=5))
    assert logits.shape == (ROWS, 2, 2)
    with torch.no_grad():
        by_hand = learner.model.head.eval()(torch.from_numpy(features[7]))
    assert logits[7] == pytest.approx(by_hand.numpy(), abs=1e-5)
    assert learner.logits([]).shape == (0, 1, 2)


def test_predicting_changes_nothing(paths):
    learner = learner_of("test_resnet")
    before = state_of(learner.model)
    learner.model.train()
    first = features_of(learner, paths)
    learner.model.train()
    assert np.array_equal(features_of(learner, paths), first)
    assert same(state_of(learner.model), before)


@pytest.mark.parametrize("train", [1, 2, 3])
def test_the_last_layer_groups_train_and_none_before_them(paths, train):
    learner = learner_of("test_resnet")
    fit(learner, HEAD, paths)
    before = {group: [p.detach().clone() for p in ps] for group, ps in layer_groups(learner.model).items()}
    fit(learner, replace(ALL, train=train), paths)
    changed = {
        group: any(not torch.equal(old, new) for old, new in zip(before[group], parameters, strict=True))
        for group, parameters in layer_groups(learner.model).items()
    }
    assert changed == {"early": train == 3, "late": train >= 2, "head": True}


def head_after(learner, training, stage, **kwargs):
    list(learner.fit(stage, stage.learning_rate, training, None, seed=0, **kwargs))
    return learner.model.head[-1].weight.detach().clone()


def test_gradients_of_several_batches_make_the_step_of_one_batch_of_all_their_rows(paths):
    stage = Stage(size=SIZE, train="head", cached=True, cycle_length=3, learning_rate=1e-2)
    features = features_of(learner_of("test_resnet"), paths)

    @dataclass
    class Twice:
        """Every batch twice: in one, or one after the other. The head's batch norm sees the same statistics."""

        once: FeatureEpochs
        together: bool

        @property
        def batch_size(self):
            return self.once.batch_size * (2 if self.together else 1)

        def __len__(self):
            return len(self.once) * (1 if self.together else 2)

        def epoch(self, number, start=0):
            for inputs, targets in self.once.epoch(number, start):
                if self.together:
                    yield torch.cat([inputs, inputs]), torch.cat([targets, targets])
                else:
                    yield inputs, targets
                    yield inputs, targets

    once = FeatureEpochs(features, TRAINING, CLASSES, 8, seed=0)
    whole = learner_of("test_resnet", replace(RECIPE, optimizer="sgd"))
    halves = learner_of("test_resnet", replace(RECIPE, optimizer="sgd", accumulation=2))
    one = head_after(whole, Twice(once, together=True), stage)
    other = head_after(halves, Twice(once, together=False), stage)
    assert torch.allclose(one, other, atol=1e-6)


def test_what_is_left_of_an_epoch_makes_a_step_of_its_own(paths):
    learner = learner_of("test_resnet", replace(RECIPE, accumulation=3))
    events = fit(learner, HEAD, paths, batch_size=4)
    assert [(event.number, event.steps, event.images) for event in events if isinstance(event, Step)] == [
        (1, 4, 12),
        (2, 4, 4),
        (3, 4, 12),
        (4, 4, 4),
    ]


def test_gradients_longer_than_the_norm_are_scaled_down_to_it(paths):
    stage = Stage(size=SIZE, train="head", cached=True, learning_rate=0.1)
    features = features_of(learner_of("test_resnet"), paths)
    ends = {}
    for norm in (0.0, 1e-3, 1e6):
        learner = learner_of("test_resnet", replace(RECIPE, optimizer="sgd", weight_decay=0.0, clip_norm=norm))
        training = FeatureEpochs(features, TRAINING, CLASSES, len(TRAINING), seed=0)
        ends[norm] = [head_after(learner, training, stage), learner.model.head[-1].bias.detach().clone()]
    assert all(torch.equal(free, loose) for free, loose in zip(ends[0.0], ends[1e6], strict=True))
    # One step from zero at rate 0.1: what it moved is the rate times the gradient.
    moved = torch.cat([part.flatten() for part in ends[1e-3]]).norm()
    assert float(moved) == pytest.approx(0.1 * 1e-3, rel=1e-4)
    assert float(torch.cat([part.flatten() for part in ends[0.0]]).norm()) > 10 * float(moved)


def test_the_average_of_the_weights_is_validated_and_kept(paths):
    recipe = replace(RECIPE, ema=0.9)
    learner = learner_of("test_resnet", recipe)
    plain = learner_of("test_resnet")
    averaged = [event for event in fit(learner, ALL, paths) if isinstance(event, Epoch)]
    last = [event for event in fit(plain, ALL, paths) if isinstance(event, Epoch)]
    assert [epoch.train_loss for epoch in averaged] == pytest.approx([epoch.train_loss for epoch in last])
    assert averaged[-1].valid_loss != pytest.approx(last[-1].valid_loss, abs=1e-6)
    assert learner.evaluated is learner.model
    features = learner.features(in_views(dataset_of(paths), VALIDATING, PLAIN, 8, workers=0))
    assert learner.logits(features)[:, 0] == pytest.approx(averaged[-1].logits, abs=1e-5)


def test_mixed_batches_train_on_shares_and_are_validated_on_labels(paths):
    stage = Stage(size=SIZE, train="all", cycle_length=12, learning_rate=1e-2)
    ends = {}
    for alpha in (0.0, 1.0):
        learner = learner_of("test_resnet", replace(RECIPE, mixup=alpha, cutmix=alpha))
        epochs = [event for event in fit(learner, stage, paths) if isinstance(event, Epoch)]
        assert epochs[-1].valid_loss < 0.8 * epochs[0].valid_loss
        ends[alpha] = epochs[-1].train_loss
    # Shares of two classes can't be predicted: their loss stays above the labels'.
    assert ends[1.0] > 2 * ends[0.0]


def test_cycles_say_when_they_end(paths):
    stage = replace(HEAD, cycles=2, cycle_length=1, cycle_multiplier=2)
    epochs = [event for event in fit(learner_of("test_resnet"), stage, paths) if isinstance(event, Epoch)]
    assert [epoch.ends_cycle for epoch in epochs] == [True, False, True]


def test_an_epoch_without_a_number_for_its_loss_is_reported_before_the_training_ends(paths):
    learner, seen = learner_of("test_resnet", replace(RECIPE, optimizer="sgd")), []
    training = ImageEpochs(dataset_of(paths), TRAINING, CLASSES, 8, workers=0)
    events = learner.fit(replace(ALL, cycle_length=9), 1e12, training, None, 0)
    with pytest.raises(RunError):
        deque(map(seen.append, events))
    assert not np.isfinite(seen[-1].train_loss)
    assert seen[-1].logits is None


def test_a_validation_loss_that_is_no_number_is_reported_before_the_training_ends(paths):
    """As where the last step of an epoch breaks the weights: its own loss was still a number."""
    learner, seen = learner_of("test_resnet"), []
    training = ImageEpochs(dataset_of(paths), TRAINING, CLASSES, 8, workers=0)
    diverged = torch.full((len(VALIDATING), 1, learner.model.width), torch.nan)
    events = learner.fit(HEAD, 1e-2, training, Validation(lambda: [diverged], CLASSES[VALIDATING]), 0)
    with pytest.raises(RunError, match="NaN or infinite"):
        deque(map(seen.append, events))
    assert np.isfinite(seen[-1].train_loss)
    assert not np.isfinite(seen[-1].valid_loss)
    assert seen[-1].logits is None
