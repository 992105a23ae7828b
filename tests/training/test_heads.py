import numpy as np
import pytest
import torch
from torch import nn

from comp.declare.recipe import HEADS, Head
from comp.errors import BackboneError, DeclarationError
from comp.training.backbone import build_classifier, digest, layer_groups, set_size
from comp.training.heads import build_head, is_new, joined, start_from_pretrained

PRIOR = np.zeros(3)


@pytest.fixture
def model():
    """A small backbone with a classifier of ten classes, as if it were pretrained."""
    torch.manual_seed(0)
    model = build_classifier("test_resnet", pretrained=False, dropout=0.0, prior=PRIOR)
    model.own_classifier = (nn.Linear(model.width, 10),)
    return model


def features_like(model, rows, copies=20):
    """Features that the pretrained classifier gives to these of its classes, and the targets 0, 1, 2, ..."""
    own = model.own_classifier[0]
    directions = own.weight.detach()[rows].repeat_interleave(copies, dim=0) * 20
    noise = torch.randn(directions.shape, generator=torch.Generator().manual_seed(1)) * 0.05
    return (directions + noise).numpy(), np.arange(len(rows)).repeat(copies)


def test_each_class_starts_at_the_row_its_images_fall_to(model):
    features, targets = features_like(model, [7, 2, 5])
    assert start_from_pretrained(model.head, *model.own_classifier, features, targets) == [7, 2, 5]


def test_the_head_then_predicts_what_those_rows_of_the_pretrained_classifier_do(model):
    features, targets = features_like(model, [7, 2, 5])
    start_from_pretrained(model.head, *model.own_classifier, features, targets)
    pooled = torch.from_numpy(features)
    with torch.no_grad():
        expected = model.own_classifier[0](pooled)[:, [7, 2, 5]]
        assert torch.allclose(model.head.eval()(pooled), expected, atol=1e-3)


def test_a_new_head_is_told_from_one_that_started(model):
    assert is_new(model.head)
    start_from_pretrained(model.head, *model.own_classifier, *features_like(model, [1, 2, 3]))
    assert not is_new(model.head)


def test_the_pretrained_classifier_is_no_part_of_the_model(model):
    assert not any("own_classifier" in name for name in model.state_dict())
    kept = {id(parameter) for parameter in model.parameters()}
    assert id(model.own_classifier[0].weight) not in kept


def test_a_backbone_without_weights_has_no_classifier_of_its_own():
    model = build_classifier("test_resnet", pretrained=False, dropout=0.0, prior=PRIOR)
    with pytest.raises(BackboneError, match="`head` is 'pretrained', but the backbone has no linear classifier"):
        start_from_pretrained(
            model.head, *model.own_classifier, np.zeros((4, model.width), np.float32), np.array([0, 1, 2, 0])
        )


def test_tags_have_no_row_of_their_own(model):
    with pytest.raises(BackboneError, match="an image has several tags"):
        start_from_pretrained(
            model.head, *model.own_classifier, np.zeros((4, model.width), np.float32), np.eye(4, 3, dtype=int)
        )


def test_a_head_of_standardised_features_does_not_mind_their_scale():
    features = torch.randn(64, 5)
    head, scaled = (build_head(5, np.log([0.5, 0.3, 0.2]), 0.0) for _ in range(2))
    for one in (head, scaled):
        nn.init.ones_(one[-1].weight)
    assert torch.allclose(head(features), scaled(features * 1000 + 7), atol=1e-3)


def build(head, backbone="test_resnet", size=32):
    torch.manual_seed(0)
    model = build_classifier(backbone, pretrained=False, dropout=0.5, prior=np.log([0.5, 0.3, 0.2]), head=head)
    set_size(model, size)
    return model.eval()


def convolution(features, outputs):
    return nn.Sequential(nn.Conv2d(features, outputs, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten())


IMAGES = torch.randint(0, 256, (4, 32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("head", [name for name in HEADS if name not in ("pretrained", "gem")])
def test_a_named_head_starts_from_the_prior_whatever_it_is_given(head, backbone):
    model = build(head, backbone)
    with torch.no_grad():
        features = model.features(IMAGES)
        assert features.shape[1:] == model.shape
        assert torch.allclose(model.head(features).exp(), torch.tensor([0.5, 0.3, 0.2]).expand(4, 3))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext"])
def test_gem_is_the_mean_where_its_power_is_one_and_near_the_largest_where_it_is_great(backbone):
    model, mean = build("gem", backbone), build("linear", backbone)
    pool = model.backbone.get_submodule(
        next(name.removesuffix(".p") for name, _ in model.backbone.named_parameters() if name.endswith(".p"))
    )
    maps = torch.rand(2, 5, 4, 4)
    with torch.no_grad():
        pool.p.fill_(1)
        assert torch.allclose(pool(maps).flatten(1), maps.mean(dim=(2, 3)), atol=1e-5)
        pool.p.fill_(100)
        assert torch.allclose(pool(maps).flatten(1), maps.amax(dim=(2, 3)), atol=0.05)
    assert any(parameter is pool.p for parameter in layer_groups(model)["late"])
    assert digest(model.backbone) != digest(mean.backbone)


def test_a_backbone_without_a_mean_over_maps_has_no_gem():
    with pytest.raises(BackboneError, match="`head` is 'gem'"):
        build("gem", "test_vit")


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext"])
def test_a_head_of_one_s_own_takes_pooled_features_or_maps(backbone):
    model = build(nn.Linear, backbone)
    assert model.shape == (model.width,)
    maps = build(Head(convolution, pooled=False), backbone)
    assert len(maps.shape) == 3
    with torch.no_grad():
        assert maps(IMAGES).shape == model(IMAGES).shape == (4, 3)


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (lambda features, outputs: nn.Linear(features, outputs + 1), r"`head` gives \(B, 4\).*logits \(B, 3\)"),
        (lambda features, outputs: nn.Linear(features + 1, outputs), "`head` should give .* shapes cannot be"),
        (lambda features, outputs: None, "`head` built None"),
        (convolution, "`head` should give"),
    ],
)
def test_a_wrong_head_is_told_what_it_should_give(head, named):
    with pytest.raises(DeclarationError, match=named):
        build(head)


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 3, 4, 5)], ids=["pooled", "tokens", "maps"])
def test_columns_are_more_features_the_same_everywhere(shape):
    features, columns = torch.rand(shape), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    whole = joined(features, columns)
    axis = 1 if len(shape) == 4 else -1
    own, added = whole.split([3, 2], dim=axis)
    assert own.equal(features)
    everywhere = added.movedim(axis, -1).flatten(1, -2) if len(shape) > 2 else added[:, None]
    assert everywhere.equal(columns[:, None].expand_as(everywhere))


def test_a_pretrained_head_starts_the_same_beside_columns():
    torch.manual_seed(0)
    pretrained, features, targets = nn.Linear(4, 10), np.random.default_rng(0).random((9, 4)), np.arange(9) % 3
    heads = [build_head(width, PRIOR, dropout=0.0) for width in (4, 6)]
    for head in heads:
        start_from_pretrained(head, pretrained, features.astype(np.float32), targets)
    given = torch.from_numpy(features.astype(np.float32))
    alone, beside = (
        head.eval()(one) for head, one in zip(heads, (given, joined(given, torch.rand(9, 2))), strict=True)
    )
    assert torch.allclose(alone, beside)
