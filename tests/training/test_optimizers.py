import numpy as np
import pytest
import torch
from torch import nn

from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.errors import DeclarationError
from comp.training.backbone import build_classifier, layer_groups
from comp.training.optimizers import Average, build_optimizer, optimizer_names
from comp.training.schedules import group_rates

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)
EVERY = pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
OPTIMIZERS = pytest.mark.parametrize("optimizer", ["adamw", "sgd"])


def build(name):
    return build_classifier(name, pretrained=False, dropout=0.0, prior=np.zeros(3))


def recipe(**options):
    return Recipe(stages=[Stage(size=32, train="all")], **options)


def in_groups(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


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


def radam(groups):
    return torch.optim.RAdam(groups, betas=(0.8, 0.9))


@pytest.mark.parametrize("optimizer", ["muon", "lion", "nadamw", "lamb", radam])
def test_any_optimizer_keeps_the_layer_groups_with_their_rates_and_decay(optimizer):
    model = build("test_resnet")
    built = build_optimizer(model, recipe(optimizer=optimizer, decay="matrices", weight_decay=0.1), 0.9, 3, 3)
    rates = {(group["name"], round(group["lr"], 6)) for group in built.param_groups}
    assert rates == {("early", 0.1), ("late", 0.3), ("head", 0.9)}
    assert {group["weight_decay"] for group in built.param_groups} == {0.0, 0.1}
    assert {id(parameter) for parameter in in_groups(built)} == {id(parameter) for parameter in model.parameters()}
    model(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).sum().backward()
    built.step()


def test_an_optimizer_takes_its_arguments():
    options = {"optimizer": "muon", "optimizer_options": {"momentum": 0.5}}
    built = build_optimizer(build("test_resnet"), recipe(**options), 0.9, 3, 1)
    assert {group["momentum"] for group in built.param_groups} == {0.5}
    assert "muon" in optimizer_names()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"optimizer": "adamx"}, "`optimizer` is 'adamx'.*like adam"),
        ({"optimizer": "muon", "optimizer_options": {"momentun": 1}}, "'momentun'"),
        ({"optimizer": "adamw", "optimizer_options": {"betas": 1}}, "`optimizer` 'adamw' with `optimizer_options`"),
        ({"optimizer": lambda groups: groups}, "`optimizer` returned list"),
        ({"optimizer": lambda groups: torch.optim.SGD(groups[0]["params"], 1)}, "`optimizer` returned SGD"),
    ],
)
def test_an_optimizer_that_can_t_be_made_is_named(options, named):
    with pytest.raises(DeclarationError, match=named):
        build_optimizer(build("test_resnet"), recipe(**options), 0.9, 3, 2)


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def train(model, average, steps, first=1):
    """Random weights for so many steps; the weights after each."""
    history = []
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        model(torch.randn(8, 3, generator=generator))
        history.append({name: value.clone() for name, value in model.state_dict().items()})
        average.update(step)
    return history


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.9999])
def test_the_average_is_the_weighted_sum_of_the_weights_of_all_steps(decay):
    model = small_model()
    average = Average(model, decay)
    history = train(model, average, 12)
    # At step n the average keeps d_n of itself, so that step k weighs (1 - d_k) times all later d's.
    kept = [min(decay, 1 - step**-0.75) for step in range(1, 13)]
    weights = [(1 - kept[step]) * np.prod(kept[step + 1 :]) for step in range(12)]
    assert sum(weights) == pytest.approx(1)
    for name, found in average.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert found == 12
        else:
            expected = sum(weight * state[name] for weight, state in zip(weights, history, strict=True))
            assert torch.allclose(found, expected, atol=1e-5), name


def test_once_warmed_up_the_average_keeps_its_decay():
    model = small_model()
    average = Average(model, 0.9)
    before = {name: value.clone() for name, value in average.state_dict().items()}
    with torch.no_grad():
        model[0].weight.add_(1)
    average.update(10_000)
    assert torch.allclose(average.module[0].weight, before["0.weight"] + 0.1)
    assert torch.equal(average.module[2].weight, before["2.weight"])


def test_averaged_weights_are_nearer_to_where_noisy_weights_hover():
    model = nn.Linear(50, 50)
    average = Average(model, 0.99)
    for step in range(1, 301):
        model.weight.data = 1 + torch.randn(50, 50, generator=torch.Generator().manual_seed(step))
        average.update(step)
    assert float(average.module.weight.detach().std()) < 0.25 * float(model.weight.detach().std())


def test_the_average_is_a_model_of_its_own_in_evaluation():
    model = small_model()
    average = Average(model, 0.9)
    train(model, average, 5)
    model.train()
    average.update(6)
    assert not any(module.training for module in average.module.modules())
    assert all(module.training for module in model.modules())
    mine = {value.data_ptr() for value in model.state_dict().values()}
    assert not mine & {value.data_ptr() for value in average.state_dict().values()}


def test_a_model_is_given_the_averaged_weights_and_statistics():
    model = small_model()
    average = Average(model, 0.9)
    train(model, average, 5)
    inputs = torch.randn(4, 3)
    averaged = average.module(inputs)
    assert not torch.allclose(model.eval()(inputs), averaged)
    average.into(model)
    assert torch.equal(model.eval()(inputs), averaged)


def test_what_is_frozen_stays_as_it_is_to_the_last_bit():
    model = build_classifier("test_resnet", pretrained=False, dropout=0.0, prior=np.zeros(3))
    average = Average(model, 0.9)
    for step in range(1, 20):
        with torch.no_grad():
            model.head[-1].weight.add_(1)
        average.update(step)
    for name, value in average.module.backbone.state_dict().items():
        assert torch.equal(value, model.backbone.state_dict()[name]), name
    assert not torch.equal(average.module.head[-1].weight, model.head[-1].weight)


def test_an_average_that_is_saved_and_loaded_goes_on_the_same():
    model, again = small_model(), small_model()
    average = Average(model, 0.9)
    train(model, average, 5)
    saved = {name: value.clone() for name, value in average.state_dict().items()}
    resumed = Average(again, 0.9)
    again.load_state_dict(model.state_dict())
    resumed.load_state_dict(saved)
    train(model, average, 5, first=6)
    train(again, resumed, 5, first=6)
    for name, value in average.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
