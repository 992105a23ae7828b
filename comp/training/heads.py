"""Heads: what turns a backbone's pooled features into logits, and what its weights start from."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from comp.declare.metrics import Target
from comp.errors import BackboneError


def build_head(features: int, prior: npt.NDArray[Any], dropout: float) -> nn.Sequential:
    """A linear classifier of standardised features: it converges in few epochs, whatever the features' scales."""
    linear = nn.Linear(features, len(prior))
    nn.init.zeros_(linear.weight)
    with torch.no_grad():
        linear.bias.copy_(torch.as_tensor(prior))
    return nn.Sequential(nn.BatchNorm1d(features, affine=False), nn.Dropout(dropout), linear)


def prior_logits(targets: npt.NDArray[np.int64], classes: int, target: Target) -> npt.NDArray[np.float64]:
    """The logits (C,) of each class's share of the rows, half a row added to each so that none is infinite."""
    if target == "single":
        share = (np.bincount(targets, minlength=classes) + 0.5) / (len(targets) + 0.5 * classes)
        logits: npt.NDArray[np.float64] = np.log(share)
    else:
        share = (targets.sum(axis=0) + 0.5) / (len(targets) + 1)
        logits = np.log(share / (1 - share))
    return logits


def is_new(head: nn.Sequential) -> bool:
    """Whether it is as it was built: all its weights are zero."""
    return not bool(head[-1].get_parameter("weight").any())


def start_from_pretrained(
    head: nn.Sequential, pretrained: nn.Linear | None, features: npt.NDArray[np.float32], targets: npt.NDArray[Any]
) -> list[int]:
    """Give each class the row of the pretrained classifier that most images of the class fall to.

    Its rows were learned from far more images than a competition has: the breeds of a hundred dogs each, which are
    classes of ImageNet, are told apart better by them than by any head trained anew. Where several classes share a row
    they start alike.

    pretrained: the classifier, on the same features; None where the backbone has none that is linear.
    features: pooled, of the training samples (N, F); they give the head its standardisation as well.
    targets: (N,) indices of classes. Returns the rows chosen, one per class.
    Raises BackboneError without a pretrained classifier, or where targets are tags.
    """
    if pretrained is None or targets.ndim != 1:
        why = "the backbone has no linear classifier" if pretrained is None else "an image has several tags"
        raise BackboneError(f"Recipe: `head` is 'pretrained', but {why}; let it be 'new'.")
    norm, linear = head[0], head[-1]
    assert isinstance(norm, nn.BatchNorm1d)
    weight, bias = pretrained.weight.detach(), pretrained.bias.detach()
    pooled = torch.from_numpy(np.ascontiguousarray(features))
    fallen = (pooled @ weight.T + bias).argmax(dim=1).numpy()
    classes = len(linear.get_parameter("bias"))
    rows = [int(np.bincount(fallen[targets == index], minlength=len(weight)).argmax()) for index in range(classes)]
    mean, variance = pooled.mean(dim=0), pooled.var(dim=0, correction=0)
    with torch.no_grad():
        norm.get_buffer("running_mean").copy_(mean)
        norm.get_buffer("running_var").copy_(variance)
        # The head sees standardised features, the pretrained classifier saw them as they are.
        linear.get_parameter("weight").copy_(weight[rows] * (variance + norm.eps).sqrt())
        linear.get_parameter("bias").copy_(bias[rows] + weight[rows] @ mean)
    return rows
