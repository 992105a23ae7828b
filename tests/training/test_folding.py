import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from comp.training.backbone import foldable, folded
from tests.training.conftest import learner_of

SIZE = 32
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8))


def classifier_of(name):
    """A classifier with batch norm's statistics and weights as a training may leave them."""
    model = learner_of(name, size=SIZE).model
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        model.train().features(IMAGES)
    return model.eval()


def batch_norms(model):
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.backbone.modules())


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "all_fold"),
    [("mobilenetv2_100", True), ("test_resnet", True), ("tf_efficientnet_lite0", True), ("resnetv2_18", False)],
)
def test_batch_norms_behind_convolutions_are_folded_and_features_and_model_stay(name, all_fold):
    model = classifier_of(name)
    before = copy.deepcopy(model.state_dict())
    pairs = foldable(model, IMAGES[:1])
    one = folded(model, pairs)
    # A batch norm before its convolution is not folded.
    assert (len(pairs) == batch_norms(model)) is all_fold
    assert len(pairs) > 0
    assert batch_norms(one) == batch_norms(model) - len(pairs)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    expected = model.features(IMAGES)
    assert one.features(IMAGES).numpy() == pytest.approx(expected.numpy(), abs=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_nothing_is_folded_where_no_batch_norm_is(name):
    assert foldable(classifier_of(name), IMAGES[:1]) == []


class Odd(nn.Module):
    """A backbone in which a batch norm and another layer take the same convolution's output."""

    def __init__(self, *, twice):
        super().__init__()
        self.twice = twice
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        given = self.conv(images)
        taken = self.norm(self.conv(self.norm(given))) if self.twice else self.norm(given) + 2 * given
        return taken.mean(dim=(2, 3))


@pytest.mark.parametrize("twice", [True, False])
def test_a_convolution_whose_output_others_take_too_or_that_is_used_twice_is_left(twice):
    model = classifier_of("test_resnet")
    model.backbone = Odd(twice=twice).eval()
    nn.init.uniform_(model.backbone.norm.running_var, 2, 3)
    assert foldable(model, IMAGES) == []


def test_what_is_folded_follows_from_the_layers_and_not_from_weights_that_broke():
    model = classifier_of("test_resnet")
    pairs = foldable(model, IMAGES[:1])
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(float("nan"))
    assert foldable(model, IMAGES[:1]) == pairs


def test_a_head_that_computes_its_weights_is_kept_as_it_is():
    model = classifier_of("test_resnet")
    model.head = spectral_norm(nn.Linear(model.head[-1].in_features, 2)).eval()
    other = folded(model, foldable(model, IMAGES[:1]))
    with torch.no_grad():
        assert torch.allclose(other(IMAGES), model(IMAGES), atol=1e-3)
