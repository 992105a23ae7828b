"""Losses by their names, and the recipe fields that don't fit them."""

from __future__ import annotations

from comp.declare.custom import short_name
from comp.declare.metrics import TARGETS, Target
from comp.declare.recipe import LOSSES, Recipe

OF_NUMBERS = ("mse", "l1", "huber")
WEIGHTED = ("cross_entropy", "bce", "focal")


def loss_of(recipe: Recipe, target: Target) -> str:
    """The name of a recipe's loss, or the target's default; empty for a custom function."""
    if callable(recipe.loss):
        return ""
    return recipe.loss or next(name for name, targets in LOSSES.items() if target in targets)


def misfit(recipe: Recipe, target: Target) -> str | None:
    """The end of a sentence that says what in a recipe doesn't fit its target or loss, or None."""
    loss = loss_of(recipe, target)
    named = f"`loss` is {short_name(recipe.loss or loss)!r}"
    if loss and target not in LOSSES[loss]:
        fitting = ", ".join(name for name, targets in LOSSES.items() if target in targets)
        return f"has {TARGETS[target]}, but {named}; say one of {fitting}, or give a function"
    classes = target in ("single", "multi")
    if recipe.head == "pretrained" and (target != "single" or loss not in ("cross_entropy", "focal", "asymmetric", "")):
        only = "which is for one class per image; say head=linear"
        return f"has {TARGETS[target]} and {named}, but `head` is 'pretrained', {only}"
    if recipe.label_smoothing and (target == "number" or loss in (*OF_NUMBERS, "ordinal", "")):
        return f"has {TARGETS[target]} and {named}, which has no labels to smooth; leave `label_smoothing` at 0"
    if recipe.balance == "weights" and not (classes and loss in WEIGHTED):
        weighted = ", ".join(WEIGHTED)
        return f"has {TARGETS[target]} and {named}, but balance 'weights' is for classes or tags with {weighted}"
    if recipe.balance == "oversample" and not classes:
        return f"has {TARGETS[target]}, where no class is rarer than others; leave `balance` at 'none'"
    if (recipe.mixup or recipe.cutmix or recipe.mixing) and loss == "asymmetric" and target == "single":
        return (
            f"has {TARGETS[target]} and {named}, which takes no mixed classes; leave out `mixup`, `cutmix` and `mixing`"
        )
    return None
