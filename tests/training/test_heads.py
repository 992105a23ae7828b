import math

import numpy as np
import pytest
import torch
from torch import nn

from comp.errors import BackboneError
from comp.training.backbone import build_classifier
from comp.training.heads import build_head, is_new, prior_logits, start_from_pretrained

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


def test_the_prior_is_the_share_of_each_class():
    targets = np.array([0, 0, 0, 1])
    shares = np.exp(prior_logits(targets, 3, "single"))
    assert shares == pytest.approx(np.array([3.5, 1.5, 0.5]) / 5.5)
    assert shares.sum() == pytest.approx(1)


def test_the_prior_of_tags_is_the_share_of_each_and_finite():
    logits = prior_logits(np.array([[1, 0, 1], [1, 0, 0]]), 3, "multi")
    assert [1 / (1 + math.exp(-logit)) for logit in logits] == pytest.approx([2.5 / 3, 0.5 / 3, 0.5])
