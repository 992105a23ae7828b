"""Optimizers over layer groups: at which rate each learns, and which of its parameters decay."""

from fnmatch import fnmatch
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from comp.declare.recipe import LAYER_GROUPS, Recipe
from comp.training.backbone import Classifier, layer_groups
from comp.training.schedule import group_rates


def build_optimizer(model: Classifier, recipe: Recipe, learning_rate: float, ratio: float, groups: int) -> Optimizer:
    """The recipe's optimizer of the last ``groups`` layer groups, at their peak rates.

    learning_rate: the peak of the head's rate. ratio: how much smaller each earlier group's is.

    Each of the optimizer's ``param_groups`` has the ``name`` of its layer group. With ``decay="matrices"`` a layer
    group has two of them at the same rate, one that decays and one that doesn't; none is empty.
    """
    members = layer_groups(model)
    parts: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate, "weight_decay": decay, "name": name}
        for name, rate in zip(LAYER_GROUPS[-groups:], group_rates(learning_rate, ratio, groups), strict=True)
        for decay, parameters in _by_decay(model, members[name], recipe)
    ]
    if recipe.optimizer == "sgd":
        return SGD(parts, momentum=0.9)
    return AdamW(parts)


def _by_decay(
    model: Classifier, parameters: list[nn.Parameter], recipe: Recipe
) -> list[tuple[float, list[nn.Parameter]]]:
    """The parameters that decay, and those that don't, with their weight decay; no part without any."""
    if recipe.decay == "all":
        return [(recipe.weight_decay, parameters)]
    vectors = _without_decay(model)
    matrices = [parameter for parameter in parameters if id(parameter) not in vectors]
    rest = [parameter for parameter in parameters if id(parameter) in vectors]
    return [(decay, part) for decay, part in ((recipe.weight_decay, matrices), (0.0, rest)) if part]


def _without_decay(model: Classifier) -> set[int]:
    """Biases and norm layers, which are vectors, and what timm names of the backbone: tokens, embedded positions."""
    named = model.backbone.no_weight_decay() if hasattr(model.backbone, "no_weight_decay") else ()
    # Some of timm's names are patterns.
    listed = {
        id(parameter)
        for name, parameter in model.backbone.named_parameters()
        if any(fnmatch(name, pattern) for pattern in named)
    }
    return listed | {id(parameter) for parameter in model.parameters() if parameter.ndim < 2}
