"""A head that starts as the pretrained classifier's own rows for the classes at hand, instead of from nothing."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from comp.errors import BackboneError
from comp.training.backbone import Classifier
from comp.training.features import Features


def is_new(model: Classifier) -> bool:
    """Whether the head is as it was built: all its weights are zero."""
    return not bool(model.head[-1].get_parameter("weight").any())


def start_from_pretrained(model: Classifier, features: Features, targets: npt.NDArray[Any]) -> list[int]:
    """Give each class's row of the head the pretrained classifier's row that most images of the class fall to.

    Its rows were learned from far more images than a competition has: the breeds of a hundred dogs each, which are
    classes of ImageNet, are told apart better by them than by any head trained anew. Where several classes share a row
    they start alike.

    features: pooled, of the training rows (N, F); they give the head its standardisation as well.
    targets: (N,) places of classes. Returns the rows chosen, one per class.
    Raises BackboneError where there is no linear classifier, or where targets are tags.
    """
    (own,) = model.own_classifier
    if own is None or targets.ndim != 1:
        why = "the backbone has no linear classifier" if own is None else "an image has several tags"
        raise BackboneError(f"Recipe: `head` is 'pretrained', but {why}; let it be 'new'.")
    weight, bias = own.weight.detach(), own.bias.detach()
    pooled = torch.from_numpy(np.ascontiguousarray(features))
    fallen = (pooled @ weight.T + bias).argmax(dim=1).numpy()
    rows = [
        int(np.bincount(fallen[targets == place], minlength=len(weight)).argmax()) for place in range(model.classes)
    ]
    mean, variance = pooled.mean(dim=0), pooled.var(dim=0, correction=0)
    norm, linear = model.head[0], model.head[-1]
    assert isinstance(norm, torch.nn.BatchNorm1d)
    with torch.no_grad():
        norm.get_buffer("running_mean").copy_(mean)
        norm.get_buffer("running_var").copy_(variance)
        # The head sees standardised features, the pretrained classifier saw them as they are.
        linear.get_parameter("weight").copy_(weight[rows] * (variance + norm.eps).sqrt())
        linear.get_parameter("bias").copy_(bias[rows] + weight[rows] @ mean)
    return rows
