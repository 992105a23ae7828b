from types import SimpleNamespace

import numpy as np
import pytest
import torch

from comp.declare.reading import sides
from comp.declare.recipe import Recipe, Stage
from comp.report.activation import ActivationMaps
from comp.training.backbone import build_classifier, set_size

SIZE = 96


def classifier(backbone, classes=3):
    torch.manual_seed(0)
    recipe = Recipe(stages=[Stage(size=SIZE, train="head")], backbone=backbone, pretrained=False)
    model = build_classifier(recipe, np.zeros(classes)).eval()
    torch.nn.init.normal_(model.head[-1].weight)
    return model


def images(count, size):
    return np.random.default_rng(0).integers(0, 256, (count, *sides(size), 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("test_resnet", 96),
        # Its last activations are one pixel, so an earlier layer is explained.
        ("test_resnet", 32),
        ("test_convnext", 96),
        ("test_mambaout", 160),
        ("test_vit", 160),
        ("test_vit2", 64),
        ("test_vit4", 64),
        ("test_resnet", (96, 160)),
        ("test_vit2", (64, 96)),
    ],
)
def test_a_map_covers_its_image_whatever_the_backbone_pools(backbone, size):
    model = classifier(backbone)
    set_size(model, size)
    maps, pixels = ActivationMaps(model, size), images(3, size)
    # The two parts of the model must together compute what the model does.
    with torch.no_grad():
        whole = model(torch.from_numpy(pixels))
    assert torch.allclose(maps._parts(torch.from_numpy(pixels).permute(0, 3, 1, 2)), whole, atol=1e-5)
    found = maps(pixels, [0, 1, 2])
    assert found.shape == (3, *sides(size))
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.max() > 0.5


def test_of_mean_pooled_activations_the_map_is_their_sum_weighed_by_the_head():
    """Grad-CAM of a linear head on mean-pooled activations is CAM (Zhou et al. 2015, arXiv:1512.04150)."""
    model = classifier("test_resnet", classes=8)
    pixels = images(1, SIZE)
    with torch.no_grad():
        channels_first = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() * model.scale + model.shift
        activations = model.backbone.forward_features(channels_first)[0]
        norm, _, linear = model.head
        weights = linear.weight / (norm.running_var + norm.eps).sqrt()
        expected = torch.einsum("kc,chw->khw", weights, activations).clamp(min=0).numpy()
    place = int(expected.std(axis=(1, 2)).argmax())
    found = ActivationMaps(model, SIZE)(pixels, [place])[0]
    side = expected.shape[1]
    coarse = found.reshape(side, SIZE // side, side, -1).mean(axis=(1, 3))
    assert np.corrcoef(coarse.ravel(), expected[place].ravel())[0, 1] > 0.95


def test_a_backbone_whose_class_token_is_not_a_transformer_s_is_refused():
    body = SimpleNamespace(global_pool="token", blocks=None)
    with pytest.raises(ValueError, match="class token"):
        ActivationMaps(SimpleNamespace(backbone=body), SIZE)
