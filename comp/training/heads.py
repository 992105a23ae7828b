"""Heads, which turn a backbone's features into logits, and their initial weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from timm.layers import SelectAdaptivePool2d  # type: ignore[attr-defined]
from torch import Tensor, nn

from comp.declare.custom import called
from comp.declare.recipe import Head
from comp.errors import BackboneError, DeclarationError

HIDDEN = 512
ATTENDED = 128


def build_head(
    features: int, prior: npt.NDArray[Any], dropout: float, head: str | Callable[[int, int], Any] | Head = "linear"
) -> nn.Module:
    """The head of a name, or as a function of features and outputs builds it; `takes_maps` says what its inputs are.

    prior: the logits (C,) that a new named head gives for any input.
    Raises DeclarationError where a function builds no module.
    """
    if not isinstance(head, str):
        build = head.build if isinstance(head, Head) else head
        built = called("Recipe: `head`", build, features, len(prior))
        if not isinstance(built, nn.Module):
            raise DeclarationError(
                f"Recipe: `head` built {built!r}, but it should build a torch module of {features} features and "
                f"{len(prior)} outputs."
            )
        return built
    if head == "attention":
        return nn.Sequential(AttentionPooling(features), *_classifier(features, prior, dropout))
    if head == "mlp":
        hidden = [nn.BatchNorm1d(features, affine=False), nn.Dropout(dropout), nn.Linear(features, HIDDEN), nn.ReLU()]
        return nn.Sequential(*hidden, *_classifier(HIDDEN, prior, dropout))
    return nn.Sequential(*_classifier(features, prior, dropout))


def takes_maps(head: object) -> bool:
    """Whether a head takes the backbone's last maps or tokens, and not their mean."""
    return head == "attention" or (isinstance(head, Head) and not head.pooled)


def _classifier(features: int, prior: npt.NDArray[Any], dropout: float) -> list[nn.Module]:
    """A linear classifier on standardised features: it converges in few epochs, whatever the features' scales."""
    linear = nn.Linear(features, len(prior))
    nn.init.zeros_(linear.weight)
    with torch.no_grad():
        linear.bias.copy_(torch.as_tensor(prior))
    return [nn.BatchNorm1d(features, affine=False), nn.Dropout(dropout), linear]


class AttentionPooling(nn.Module):
    """Maps (B, F, H, W) or tokens (B, T, F) to their mean (B, F), weighted by gated attention (arXiv:1802.04712)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.content, self.gate = nn.Linear(features, ATTENDED), nn.Linear(features, ATTENDED)
        self.score = nn.Linear(ATTENDED, 1)
        nn.init.zeros_(self.score.weight)

    def forward(self, maps: Tensor) -> Tensor:
        tokens = maps.flatten(2).transpose(1, 2) if maps.ndim == 4 else maps
        weights = self.score(self.content(tokens).tanh() * self.gate(tokens).sigmoid()).softmax(dim=1)
        return (weights * tokens).sum(dim=1)


class GeM(nn.Module):
    """Generalised mean pooling (arXiv:1711.02512) in place of ``average``, a mean; the power ``p`` is learned."""

    def __init__(self, average: nn.Module, p: float = 3.0) -> None:
        super().__init__()
        self.average, self.p = average, nn.Parameter(torch.tensor([p]))

    def forward(self, maps: Tensor) -> Tensor:
        powers = maps.float().clamp(min=1e-6).pow(self.p)
        return self.average(powers).pow(1 / self.p)


def pool_generalised(backbone: nn.Module) -> None:
    """Replace a backbone's global pooling by GeM; raises BackboneError where it isn't a single mean over maps."""
    pools = [name for name, module in backbone.named_modules() if isinstance(module, SelectAdaptivePool2d)]
    if len(pools) != 1:
        raise BackboneError(
            "Recipe: `head` is 'gem', but the backbone has no mean over maps that it could replace; take 'linear' or "
            "'attention', or a convolutional backbone."
        )
    backbone.set_submodule(pools[0], GeM(backbone.get_submodule(pools[0])))


def joined(features: Tensor, columns: Tensor) -> Tensor:
    """Features (B, F), maps (B, F, H, W) or tokens (B, T, F) with columns (B, K) as K more, equal at all positions."""
    columns = columns.to(features.dtype)
    if features.ndim == 4:
        return torch.cat([features, columns[:, :, None, None].expand(-1, -1, *features.shape[2:])], dim=1)
    everywhere = columns[:, None].expand(-1, features.shape[1], -1) if features.ndim == 3 else columns
    return torch.cat([features, everywhere], dim=-1)


def is_new(head: nn.Module) -> bool:
    """Whether a linear head is untrained: all its weights are zero."""
    assert isinstance(head, nn.Sequential)
    return not bool(head[-1].get_parameter("weight").any())


def start_from_pretrained(
    head: nn.Module, pretrained: nn.Linear, features: npt.NDArray[np.float32], targets: npt.NDArray[Any]
) -> None:
    """Give each class the row of the pretrained classifier that most of its images are predicted as.

    These rows were learned from far more images than a competition has: they tell ImageNet's breeds of dogs apart
    better than any head trained anew. Classes that share a row start alike.

    pretrained: the classifier of the same features. targets: (N,) class indices.
    features: pooled, of the training samples (N, F); the head's standardisation comes from them as well.
    """
    assert isinstance(head, nn.Sequential)
    norm, linear = head[0], head[-1]
    assert isinstance(norm, nn.BatchNorm1d)
    weight, bias = pretrained.weight.detach(), pretrained.bias.detach()
    pooled = torch.from_numpy(np.ascontiguousarray(features))
    fallen = (pooled @ weight.T + bias).argmax(dim=1).numpy()
    classes = len(linear.get_parameter("bias"))
    rows = [int(np.bincount(fallen[targets == index], minlength=len(weight)).argmax()) for index in range(classes)]
    mean, variance = pooled.mean(dim=0), pooled.var(dim=0, correction=0)
    # The table's columns follow the features, and keep their initial weights.
    own = pooled.shape[1]
    with torch.no_grad():
        norm.get_buffer("running_mean")[:own].copy_(mean)
        norm.get_buffer("running_var")[:own].copy_(variance)
        # The head sees standardised features, the pretrained classifier saw raw ones.
        linear.get_parameter("weight")[:, :own].copy_(weight[rows] * (variance + norm.eps).sqrt())
        linear.get_parameter("bias").copy_(bias[rows] + weight[rows] @ mean)
