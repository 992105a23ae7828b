import numpy as np
import pytest
import torch
from torch import nn

from comp.declare.recipe import HEADS, Head, Recipe, Stage
from comp.errors import BackboneError
from comp.training.backbone import build_classifier, digest, layer_groups, set_size
from comp.training.heads import build_head, is_new, joined, start_from_pretrained

SHARES = torch.tensor([0.5, 0.3, 0.2])
IMAGES = torch.randint(0, 256, (4, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def build(head="linear", backbone="test_resnet"):
    torch.manual_seed(0)
    recipe = Recipe(stages=[Stage(size=32, train="head")], backbone=backbone, pretrained=False, head=head)
    model = build_classifier(recipe, SHARES.log().numpy())
    set_size(model, 32)
    return model.eval()


def test_a_head_starts_from_the_rows_of_the_pretrained_classifier_that_its_classes_fall_to():
    model = build()
    own = nn.Linear(model.width, 10)
    model.own_classifier = (own,)
    # The pretrained classifier is no part of the model.
    assert not any("own_classifier" in name for name in model.state_dict())
    assert all(parameter is not own.weight for parameter in model.parameters())
    rows = [7, 2, 5]
    directions = own.weight.detach()[rows].repeat_interleave(20, dim=0) * 20
    features = directions + torch.randn(directions.shape, generator=torch.Generator().manual_seed(1)) * 0.05
    assert is_new(model.head)
    beside_columns = build_head(model.width + 2, np.zeros(3), dropout=0.0).eval()
    for head in (model.head, beside_columns):
        start_from_pretrained(head, own, features.numpy(), np.arange(3).repeat(20))
    assert not is_new(model.head)
    with torch.no_grad():
        assert torch.allclose(model.head(features), own(features)[:, rows], atol=1e-3)
        with_columns = joined(features, torch.rand(len(features), 2))
        assert torch.allclose(beside_columns(with_columns), model.head(features), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("head", [name for name in HEADS if name not in ("pretrained", "gem")])
def test_a_named_head_starts_from_the_prior_whatever_it_is_given(head, backbone):
    model = build(head, backbone)
    features = model.features(IMAGES)
    assert features.shape[1:] == model.shape
    assert torch.allclose(model.head(features).exp(), SHARES.expand(4, 3))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext"])
def test_gem_is_the_mean_where_its_power_is_one_and_near_the_largest_where_it_is_great(backbone):
    model = build("gem", backbone)
    (place,) = (name.removesuffix(".p") for name, _ in model.backbone.named_parameters() if name.endswith(".p"))
    pool, maps = model.backbone.get_submodule(place), torch.rand(2, 5, 4, 4)
    with torch.no_grad():
        pool.p.fill_(1)
        assert torch.allclose(pool(maps).flatten(1), maps.mean(dim=(2, 3)), atol=1e-5)
        pool.p.fill_(100)
        assert torch.allclose(pool(maps).flatten(1), maps.amax(dim=(2, 3)), atol=0.05)
    assert any(parameter is pool.p for parameter in layer_groups(model)["late"])
    assert digest(model.backbone) != digest(build("linear", backbone).backbone)


def test_a_backbone_without_a_mean_over_maps_has_no_gem():
    with pytest.raises(BackboneError, match="`head` is 'gem'"):
        build("gem", "test_vit")


def convolution(features, outputs):
    return nn.Sequential(nn.Conv2d(features, outputs, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten())


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext"])
def test_a_head_of_one_s_own_takes_pooled_features_or_maps(backbone):
    for head, axes in ((nn.Linear, 1), (Head(convolution, pooled=False), 3)):
        model = build(head, backbone)
        assert len(model.shape) == axes
        assert model(IMAGES).shape == (4, 3)


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 3, 4, 5)], ids=["pooled", "tokens", "maps"])
def test_columns_are_more_features_the_same_everywhere(shape):
    features, columns = torch.rand(shape), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    axis = 1 if len(shape) == 4 else -1
    own, added = joined(features, columns).split([3, 2], dim=axis)
    assert own.equal(features)
    everywhere = added.movedim(axis, -1).reshape(2, -1, 2)
    assert everywhere.equal(columns[:, None].expand_as(everywhere))
