import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

from comp.training import learner as learners
from comp.training.halves import cut_of
from comp.training.inference import compiled
from tests.training.conftest import learner_of

SIZE = 32
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8))


def trained(name):
    """A learner with batch norm's statistics and weights as a training may leave them."""
    learner = learner_of(name, size=SIZE)
    for module in learner.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        learner.model.train().features(IMAGES)
    learner.model.eval()
    return learner


def close(found, expected):
    return found.numpy() == pytest.approx(expected.numpy(), abs=1e-4 * float(expected.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["test_efficientnet", "test_resnet", "tf_efficientnet_lite0", "test_vit", "test_convnext"]
)
def test_a_compiled_network_has_the_same_features_and_leaves_the_model_as_it_is(name):
    model = trained(name).model
    before = copy.deepcopy(model.state_dict())
    found = compiled(model, None, IMAGES[:1])(IMAGES)
    assert all(torch.equal(model.state_dict()[part], value) for part, value in before.items())
    assert close(found, model.features(IMAGES))


@torch.no_grad()
def test_an_early_half_is_compiled_to_the_same_maps():
    model = trained("test_efficientnet").model
    cut = cut_of(model, SIZE)
    assert close(compiled(model, cut, IMAGES[:1])(IMAGES), cut.maps(model, IMAGES))


def features_of(learner, count):
    return torch.cat(list(learner.features([IMAGES[:, None]], count=count)))[:, 0]


@pytest.fixture
def compilations(monkeypatch):
    """The networks that were compiled, where the test's few pixels are worth it."""
    made = []
    monkeypatch.setattr(learners, "WORTH", 4 * SIZE**2)
    monkeypatch.setattr(learners, "compiled", lambda *given: made.append(given) or compiled(*given))
    return made


def test_many_images_are_predicted_by_one_compiled_network_until_the_weights_change(compilations):
    learner = trained("test_resnet")
    few = features_of(learner, 3)
    assert compilations == []
    many = [features_of(learner, 4) for _ in range(2)]
    assert len(compilations) == 1
    assert close(many[0], few)
    assert torch.equal(*many)
    with torch.no_grad():
        next(learner.model.backbone.parameters()).mul_(2)
    assert close(features_of(learner, 4), features_of(learner, 3))
    assert len(compilations) == 2


def test_torch_predicts_and_a_line_says_so_where_a_network_cannot_be_compiled(compilations, monkeypatch):
    learner, said = trained("test_resnet"), []
    learner.micro_batches.say = said.append
    monkeypatch.setitem(sys.modules, "openvino", None)
    expected = features_of(learner, 3)
    assert all(torch.equal(features_of(learner, 4), expected) for _ in range(2))
    (line,) = said
    assert "OpenVINO" in line


def test_a_network_whose_features_would_differ_is_not_compiled():
    model = trained("test_resnet").model

    class Drawn(nn.Module):
        def forward(self, images):
            return torch.randn(len(images), 8) + images.mean()

    model.backbone = Drawn()
    with pytest.raises(ValueError, match="differ"):
        compiled(model.eval(), None, IMAGES[:1])
