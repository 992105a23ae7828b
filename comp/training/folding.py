"""Batch norm folded into the convolutions before it, for a network that predicts: one layer is computed for two."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from comp.training.backbone import Classifier

# By name: a convolution, and the batch norm that alone takes what it gives.
Pair = tuple[str, str]

# Of these kinds only: others alter their weights in each pass, or normalise in another way.
CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
BATCH_NORMS = (nn.BatchNorm2d, BatchNormAct2d)
# The largest difference in a feature, relative to the largest feature.
TOLERANCE = 1e-3


@torch.no_grad()
def foldable(model: Classifier, images: Tensor) -> list[Pair]:
    """The pairs of a classifier in evaluation that folding hardly changes the features of these images by.

    images: bytes of RGB (B, size, size, 3). None of the pairs where a feature changes by more than TOLERANCE, as where
    something else also takes what a convolution gives.
    """
    pairs = _pairs(model, images)
    if not pairs:
        return []
    expected, given = model.features(images), folded(model, pairs).features(images)
    close = (given - expected).abs().max() <= TOLERANCE * expected.abs().max()
    # Of weights that a training broke nothing is known; whether to fold is to follow from the layers alone.
    return pairs if close or not expected.isfinite().all() else []


@torch.no_grad()
def folded(model: Classifier, pairs: Sequence[Pair]) -> Classifier:
    """A copy of a classifier in evaluation, each pair of its backbone one convolution."""
    classifier = copy.deepcopy(model)
    for of_convolution, of_norm in pairs:
        convolution, norm = (classifier.backbone.get_submodule(name) for name in (of_convolution, of_norm))
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        convolution.weight, convolution.bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)
        rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        classifier.backbone.set_submodule(of_norm, rest.eval())
    return classifier


def _pairs(model: Classifier, images: Tensor) -> list[Pair]:
    """Each convolution whose output, in one pass, is the input of a batch norm."""
    outputs: list[tuple[str, Tensor]] = []
    inputs: list[tuple[str, Tensor]] = []

    def gave(name: str, _: nn.Module, __: Any, output: Tensor) -> None:
        outputs.append((name, output))

    def takes(name: str, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs.append((name, arguments[0]))

    hooks = []
    for name, module in model.backbone.named_modules():
        if type(module) in CONVOLUTIONS:
            hooks.append(module.register_forward_hook(partial(gave, name)))
        if type(module) in BATCH_NORMS and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(partial(takes, name)))
    try:
        model.features(images)
    finally:
        for hook in hooks:
            hook.remove()
    # Layers that share weights have several outputs of one name.
    once = [[name for name, _ in found] for found in (outputs, inputs)]
    return [
        (convolution, norm)
        for convolution, output in outputs
        for norm, taken in inputs
        if taken is output and once[0].count(convolution) == once[1].count(norm) == 1
    ]
