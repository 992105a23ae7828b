from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.errors import DeclarationError
from comp.training.backbone import layer_groups
from comp.training.optimizers import average_of, build_optimizer, needs_closure, optimizer_names
from tests.training.conftest import SAM, Again, learner_of

BACKBONES = ["test_resnet", "test_vit", "test_convnext"]


def optimizer_of(model, groups=3, **fields):
    """The optimizer of a recipe with these fields, at a peak rate of 0.9, three times less in each earlier group."""
    recipe = Recipe(stages=[Stage(size=32, train="all")], **{"weight_decay": 0.1, **fields})
    return build_optimizer(model, recipe, 0.9, 3, groups)


def steady(optimizer):
    """The parameters without weight decay."""
    return {id(one) for group in optimizer.param_groups if not group["weight_decay"] for one in group["params"]}


def radam(groups):
    return torch.optim.RAdam(groups, betas=(0.8, 0.9))


KINDS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, radam: torch.optim.RAdam}


@pytest.mark.parametrize("decay", ["all", "matrices"])
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [*product(BACKBONES, ["adamw", "sgd"]), *product(BACKBONES[:1], ["muon", "lion", "nadamw", "lamb", radam])],
)
def test_the_last_layer_groups_learn_each_at_its_rate_and_every_parameter_once(name, optimizer, decay):
    model, rates = learner_of(name).model, {"early": 0.1, "late": 0.3, "head": 0.9}
    members = layer_groups(model)
    for groups in (1, 2, 3):
        built = optimizer_of(model, groups, optimizer=optimizer, decay=decay)
        assert isinstance(built, KINDS.get(optimizer, torch.optim.Optimizer))
        names = LAYER_GROUPS[-groups:]
        assert list(dict.fromkeys(group["name"] for group in built.param_groups)) == list(names)
        held = []
        for group in built.param_groups:
            own = [id(parameter) for parameter in group["params"]]
            assert own
            assert group["lr"] == pytest.approx(rates[group["name"]])
            assert set(own) <= {id(found) for found in members[group["name"]]}
            held += own
        assert sorted(held) == sorted(id(parameter) for part in names for parameter in members[part])
        decays = {group["weight_decay"] for group in built.param_groups}
        assert decays == ({0.1} if decay == "all" else {0.0, 0.1})
    model(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).sum().backward()
    built.step()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("name", BACKBONES)
def test_without_a_gradient_matrices_shrink_and_biases_norms_tokens_and_positions_stay(name, optimizer):
    model = learner_of(name).model
    nn.init.normal_(model.head[-1].weight)
    built = optimizer_of(model, optimizer=optimizer, decay="matrices")
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    built.step()
    stay = {key for key, value in before.items() if value.ndim == 1 or key.endswith("bias")}
    if name == "test_vit":
        assert before["backbone.pos_embed"].ndim > 1
        stay |= {"backbone.pos_embed", "backbone.cls_token"}
    assert stay < set(before)
    rates = {id(parameter): group["lr"] for group in built.param_groups for parameter in group["params"]}
    for key, parameter in model.named_parameters():
        kept = 1 if key in stay else 1 - rates[id(parameter)] * 0.1
        assert torch.allclose(parameter, before[key] * kept, atol=1e-7), key


def test_timm_s_names_may_be_patterns():
    model = learner_of("test_vit").model
    model.backbone.no_weight_decay = lambda: {"blocks.0.*"}
    found = steady(optimizer_of(model, decay="matrices"))
    assert {id(parameter) for parameter in model.backbone.blocks[0].parameters()} <= found
    assert id(model.backbone.blocks[1].mlp.fc1.weight) not in found


def test_an_optimizer_takes_its_arguments():
    built = optimizer_of(learner_of().model, 1, optimizer="muon", optimizer_options={"momentum": 0.5})
    assert {group["momentum"] for group in built.param_groups} == {0.5}
    assert "muon" in optimizer_names()


@pytest.mark.parametrize("name", ["kron", "lookahead_kron", "adahessian"])
def test_an_optimizer_of_timm_s_that_is_left_out_is_told_why(name):
    with pytest.raises(DeclarationError, match=f"'{name}', which is left out, as its st"):
        optimizer_of(learner_of().model, optimizer=name)


def lbfgs(groups):
    return torch.optim.LBFGS([one for group in groups for one in group["params"]])


def by_name(groups):
    (early,) = (group for group in groups if group["name"] == "early")
    return SAM([early])


class OnGPUs(torch.optim.SGD):
    """Steps with and without a closure, but not on the CPU, as NVIDIA's fused optimizers."""

    def step(self, closure=None):
        if closure is not None:
            closure()
        if any(one.device.type == "cpu" for group in self.param_groups for one in group["params"]):
            raise RuntimeError("its kernel is for GPUs")
        super().step()


@pytest.mark.parametrize(
    ("optimizer", "needs"),
    [("adamw", False), (radam, False), (by_name, True), (SAM, True), (Again, True), (lbfgs, True), (OnGPUs, False)],
)
def test_an_optimizer_needs_a_closure_that_steps_only_with_one(optimizer, needs):
    assert needs_closure(Recipe(optimizer=optimizer, stages=[Stage(size=32, train="all")])) is needs


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.9999])
def test_the_average_is_the_weighted_sum_of_the_weights_of_all_steps(decay):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    average, history = average_of(model, decay), []
    for step in range(1, 13):
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        model(torch.randn(8, 3))
        history.append({name: value.clone() for name, value in model.state_dict().items()})
        average.update(model, step=step)
    # At step n the average keeps d_n of itself, so that step k weighs (1 - d_k) times all later d's.
    kept = [min(decay, 1 - step**-0.75) for step in range(1, 13)]
    weights = [(1 - kept[step]) * np.prod(kept[step + 1 :]) for step in range(12)]
    assert sum(weights) == pytest.approx(1)
    for name, found in average.module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert found == 12
        else:
            expected = sum(weight * state[name] for weight, state in zip(weights, history, strict=True))
            assert torch.allclose(found, expected, atol=1e-5), name
