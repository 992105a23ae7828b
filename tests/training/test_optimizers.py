import numpy as np
import pytest
import torch
from torch import nn

from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.training.backbone import build_classifier, layer_groups
from comp.training.optimizers import build_optimizer
from comp.training.schedule import group_rates

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)
EVERY = pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
OPTIMIZERS = pytest.mark.parametrize("optimizer", ["adamw", "sgd"])


def build(name):
    return build_classifier(name, pretrained=False, dropout=0.0, prior=np.zeros(3))


def recipe(**options):
    return Recipe(stages=[Stage(size=32, train="all")], **options)


def in_groups(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@pytest.mark.parametrize(("groups", "rates"), [(1, [0.9]), (2, [0.3, 0.9]), (3, [0.1, 0.3, 0.9])])
def test_each_earlier_group_learns_at_a_rate_smaller_by_the_ratio(groups, rates):
    assert group_rates(0.9, 3, groups) == pytest.approx(rates)


@OPTIMIZERS
@pytest.mark.parametrize("decay", ["all", "matrices"])
@pytest.mark.parametrize("groups", [1, 2, 3])
@EVERY
def test_the_last_layer_groups_learn_each_at_its_rate_and_every_parameter_once(name, groups, decay, optimizer):
    model = build(name)
    built = build_optimizer(model, recipe(optimizer=optimizer, decay=decay), 0.9, 3, groups)
    assert isinstance(built, {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer])
    names, members = LAYER_GROUPS[-groups:], layer_groups(model)
    rates = dict(zip(names, group_rates(0.9, 3, groups), strict=True))
    assert list(dict.fromkeys(group["name"] for group in built.param_groups)) == list(names)
    for group in built.param_groups:
        assert group["params"]
        assert group["lr"] == pytest.approx(rates[group["name"]])
        assert {id(parameter) for parameter in group["params"]} <= {id(found) for found in members[group["name"]]}
    held = [id(parameter) for parameter in in_groups(built)]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for part in names for parameter in members[part]}


@OPTIMIZERS
@EVERY
def test_without_a_gradient_matrices_shrink_and_biases_and_norms_stay(name, optimizer):
    model = build(name)
    nn.init.normal_(model.head[-1].weight)
    built = build_optimizer(model, recipe(optimizer=optimizer, decay="matrices", weight_decay=0.1), 0.5, 2, 3)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    built.step()
    steady = {
        f"{place}.{key}"
        for place, module in model.named_modules()
        if isinstance(module, NORMS)
        for key, _ in module.named_parameters()
    }
    steady |= {key for key in before if key.endswith("bias")}
    steady |= {f"backbone.{key}" for key in getattr(model.backbone, "no_weight_decay", set)()} & set(before)
    steady |= {key for key, value in before.items() if value.ndim == 1}
    assert steady
    assert steady < set(before)
    rates = {id(parameter): group["lr"] for group in built.param_groups for parameter in group["params"]}
    for key, parameter in model.named_parameters():
        kept = 1 if key in steady else 1 - rates[id(parameter)] * 0.1
        assert torch.allclose(parameter, before[key] * kept, atol=1e-7), key


def test_tokens_and_embedded_positions_of_a_transformer_are_steady_too():
    model = build("test_vit")
    built = build_optimizer(model, recipe(decay="matrices", weight_decay=0.1), 0.5, 2, 3)
    steady = {
        id(parameter) for group in built.param_groups if not group["weight_decay"] for parameter in group["params"]
    }
    assert model.backbone.pos_embed.ndim > 1
    assert id(model.backbone.pos_embed) in steady
    assert id(model.backbone.cls_token) in steady


def test_timms_names_may_be_patterns():
    model = build("test_vit")
    model.backbone.no_weight_decay = lambda: {"blocks.0.*"}
    built = build_optimizer(model, recipe(decay="matrices"), 0.5, 2, 3)
    steady = {
        id(parameter) for group in built.param_groups if not group["weight_decay"] for parameter in group["params"]
    }
    assert {id(parameter) for parameter in model.backbone.blocks[0].parameters()} <= steady
    assert id(model.backbone.blocks[1].mlp.fc1.weight) not in steady


@OPTIMIZERS
def test_unless_it_is_named_all_parameters_decay_in_one_part_per_layer_group(optimizer):
    model = build("test_resnet")
    built = build_optimizer(model, recipe(optimizer=optimizer, weight_decay=0.1), 0.5, 2, 3)
    assert [(group["name"], group["weight_decay"]) for group in built.param_groups] == [
        (name, 0.1) for name in LAYER_GROUPS
    ]
