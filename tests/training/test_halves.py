from dataclasses import replace

import numpy as np
import pytest
import torch

from comp.declare.recipe import Stage
from comp.training.backbone import layer_groups
from comp.training.epochs import Epoch
from comp.training.features import FeatureEpochs
from comp.training.halves import cut_of
from tests.training.conftest import Batches, learner_of

SIZE = 32
IMAGES = torch.randint(256, (8, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
CLASSES = torch.arange(8) % 2
# One step an epoch, so that the order of images makes no difference.
LATE = Stage(size=SIZE, train=2, cached=True, schedule="one_cycle", cycle_length=3, learning_rate=1e-2)
CONVOLUTIONAL = pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])


def cut_learner(name="test_resnet", **fields):
    """A learner whose head and batch norm have seen images already."""
    learner = learner_of(name, **{"stages": [LATE], "freeze_batch_norm": True, **fields})
    learner.model.train()
    for _ in range(3):
        learner.model(IMAGES)
    with torch.no_grad():
        learner.model.head[-1].weight.normal_()
    learner.model.eval()
    return learner, cut_of(learner.model, SIZE)


def maps_of(learner, cut, images=IMAGES):
    return np.concatenate(list(learner.features(images[:, None].split(4), cut)))


@CONVOLUTIONAL
def test_the_late_half_makes_of_the_early_one_s_maps_what_the_whole_makes_of_images(name):
    learner, cut = cut_learner(name)
    maps = maps_of(learner, cut)
    assert maps.shape == (8, 1, *cut.shape)
    late = next(iter(learner.features_of_maps([torch.from_numpy(maps)], cut)))
    whole = next(iter(learner.features([IMAGES[:, None]])))
    assert torch.allclose(late, whole, rtol=1e-3, atol=1e-4)
    assert late.std() > 1e-3


@CONVOLUTIONAL
def test_the_halves_are_the_layer_groups(name):
    learner, cut = cut_learner(name)
    groups, late = layer_groups(learner.model), cut.late_half(learner.model)
    own = {id(parameter) for parameter in late.parameters()}
    assert own == {id(parameter) for parameter in (*groups["late"], *groups["head"])}
    assert {id(parameter) for parameter in learner.model.parameters()} - own == set(map(id, groups["early"]))


def test_a_backbone_whose_layers_take_more_than_the_last_one_s_output_is_not_cut():
    learner = learner_of("test_vit")
    assert cut_of(learner.model, SIZE) is None
    assert learner.given(replace(LATE, size=SIZE)) == "images"


@CONVOLUTIONAL
@pytest.mark.parametrize("frozen", [True, False])
def test_maps_train_the_late_half_as_images_do(name, frozen):
    def trained(stage, training, learner):
        events = learner.fit(stage, stage.learning_rate, training, None, seed=3)
        return [event.train_loss for event in events if isinstance(event, Epoch)]

    on_images, _ = cut_learner(name, freeze_batch_norm=frozen)
    losses = trained(replace(LATE, cached=False), Batches([(IMAGES, CLASSES)]), on_images)
    learner, cut = cut_learner(name, freeze_batch_norm=frozen)
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    maps = maps_of(learner, cut)
    found = trained(LATE, FeatureEpochs(maps, np.arange(8), CLASSES, 8, seed=0), learner)
    assert found == pytest.approx(losses, rel=0.005)
    assert losses[-1] < 0.9 * losses[0]
    assert np.allclose(maps_of(learner, cut), maps, atol=1e-5), "the early half is as it was"
    changed = {name for name, value in learner.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    # A ConvNeXt has no batch norm.
    learns = any("running_mean" in one for one in changed - {"head.0.running_mean"})
    assert learns == (not frozen and name != "test_convnext")
