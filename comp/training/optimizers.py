"""Optimizers over layer groups, each with its rate and weight decay, and the moving average of the weights (EMA)."""

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers, param_groups_weight_decay  # type: ignore[attr-defined]
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from comp.declare.custom import called
from comp.declare.recipe import LAYER_GROUPS, Recipe
from comp.errors import DeclarationError
from comp.training.backbone import Classifier, layer_groups
from comp.training.schedules import group_rates

# timm documents two powers; this one is for trainings of fewer than a million steps.
WARM_UP_POWER = 3 / 4
# timm's optimizers that are left out, by the beginning of their names.
LEFT_OUT = {
    "adahessian": "its step needs the graph of the gradients",
    "kron": "its state is the square of a layer's size",
}
# Optimizers taken from torch; timm's sgd uses Nesterov momentum.
TORCHS: dict[str, Callable[..., Optimizer]] = {"adamw": AdamW, "sgd": partial(SGD, momentum=0.9)}


def build_optimizer(model: Classifier, recipe: Recipe, learning_rate: float, ratio: float, groups: int) -> Optimizer:
    """The recipe's optimizer of the last ``groups`` layer groups, at their peak rates.

    learning_rate: the peak of the head's rate. ratio: how much smaller each earlier group's is.

    Each of the optimizer's ``param_groups`` has the ``name`` of its layer group. With ``decay="matrices"`` a layer
    group has two ``param_groups`` at the same rate, one with weight decay and one without; none is empty.
    Raises DeclarationError for a name that timm doesn't know, arguments that don't fit it, and a function that returns
    something else.
    """
    members = layer_groups(model)
    parts: list[dict[str, Any]] = [
        {"params": parameters, "lr": rate, "weight_decay": decay, "name": name}
        for name, rate in zip(LAYER_GROUPS[-groups:], group_rates(learning_rate, ratio, groups), strict=True)
        for decay, parameters in _by_decay(model, members[name], recipe)
    ]
    if callable(recipe.optimizer):
        return _checked(called("Recipe: `optimizer`", recipe.optimizer, parts), parts)
    known, name = optimizer_names(), recipe.optimizer.removeprefix("lookahead_")
    if reason := next((reason for left_out, reason in LEFT_OUT.items() if name.startswith(left_out)), None):
        raise DeclarationError(
            f"Recipe: `optimizer` is {recipe.optimizer!r}, which is left out, as {reason}; "
            "`comp list --what optimizers` has the others."
        )
    if name not in known:
        near = ", ".join(difflib.get_close_matches(recipe.optimizer, known, n=3)) or "adamw, sgd"
        raise DeclarationError(
            f"Recipe: `optimizer` is {recipe.optimizer!r}, but it should be one of timm's, like {near} (`comp list "
            "--what optimizers`), or a function of the parameter groups."
        )
    build = TORCHS.get(recipe.optimizer) or partial(
        create_optimizer_v2, opt=recipe.optimizer, lr=learning_rate, weight_decay=recipe.weight_decay
    )
    try:
        return _checked(build(parts, **recipe.optimizer_options), parts)
    except (ValueError, TypeError, AssertionError, ImportError, RuntimeError) as error:
        raise DeclarationError(
            f"Recipe: `optimizer` {recipe.optimizer!r} with `optimizer_options` {dict(recipe.optimizer_options)!r} "
            f"can't be made: {str(error).rstrip('.') or type(error).__name__}."
        ) from error


def optimizer_names() -> list[str]:
    """The names that a recipe may use."""
    return [str(name) for name in list_optimizers() if not str(name).startswith(tuple(LEFT_OUT))]


def needs_closure(recipe: Recipe) -> bool:
    """Whether a custom optimizer steps only with a closure, as SAM does (arXiv:2010.01412), found by trying."""
    weights = [nn.Parameter(torch.ones(2, 2)) for _ in LAYER_GROUPS]

    def closure() -> torch.Tensor:
        for weight in weights:
            weight.grad = torch.ones(2, 2)
        return weights[0].detach().sum()

    def steps(*given: Callable[[], torch.Tensor]) -> bool:
        closure()
        groups = [
            {"params": [weight], "lr": 1e-3, "weight_decay": 0.0, "name": name}
            for weight, name in zip(weights, LAYER_GROUPS, strict=True)
        ]
        try:
            recipe.optimizer(groups).step(*given)  # type: ignore[operator]
        except Exception:  # custom code; `build_optimizer` says what is wrong with it
            return False
        return True

    return callable(recipe.optimizer) and not steps() and steps(closure)


def _checked(optimizer: Any, parts: list[dict[str, Any]]) -> Optimizer:
    """The optimizer that a function made of the parts; raises DeclarationError where it doesn't have all parts."""
    names = {part["name"] for part in parts}
    if not isinstance(optimizer, Optimizer) or {group.get("name") for group in optimizer.param_groups} != names:
        raise DeclarationError(
            f"Recipe: `optimizer` returned {type(optimizer).__name__}, but it should return a torch optimizer of the "
            f"parameter groups that it is given, with their names {', '.join(sorted(names))}."
        )
    return optimizer


def _by_decay(
    model: Classifier, parameters: list[nn.Parameter], recipe: Recipe
) -> list[tuple[float, list[nn.Parameter]]]:
    """The parameters with weight decay, and those without, each with the decay; empty parts are left out."""
    if recipe.decay == "all":
        return [(recipe.weight_decay, parameters)]
    vectors = _without_decay(model)
    matrices = [parameter for parameter in parameters if id(parameter) not in vectors]
    rest = [parameter for parameter in parameters if id(parameter) in vectors]
    return [(decay, part) for decay, part in ((recipe.weight_decay, matrices), (0.0, rest)) if part]


def _without_decay(model: Classifier) -> set[int]:
    """The ids of parameters without decay: biases, norm layers, and what timm names: tokens, position embeddings."""
    named = model.backbone.no_weight_decay() if hasattr(model.backbone, "no_weight_decay") else ()
    groups = param_groups_weight_decay(model, no_weight_decay_list=[f"backbone.{name}" for name in named])
    return {id(parameter) for group in groups if not group["weight_decay"] for parameter in group["params"]}


def average_of(model: nn.Module, decay: float) -> ModelEmaV3:
    """An exponential moving average of a model's weights and statistics (timm's; Polyak and Juditsky 1992).

    Its ``module`` is a separate model in evaluation. decay: the share that the average keeps of itself at each step;
    with warm-up, ``1 - n ** -0.75`` at step n where that is less: otherwise a short training would keep its start.
    """
    return ModelEmaV3(model, decay=decay, use_warmup=True, warmup_power=WARM_UP_POWER)
