"""Activation maps by Grad-CAM (Selvaraju et al. 2016, arXiv:1610.02391), computed by the library grad-cam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from comp.declare.reading import Size, sides
from comp.training.backbone import Classifier

# The fewest cells along a grid's shorter side: a coarser grid doesn't say where in an image something is.
SIDES = 3


class ActivationMaps:
    """The activation maps of one model. Raises ValueError for a class token unlike a vision transformer's.

    size: the size of the images to explain.
    A model that averages the last layer's activations is explained by these, or by an earlier stage's where they are
    fewer than SIDES wide. A transformer with a class token is explained by the input of its last block: the last
    block's other tokens don't affect the prediction.
    """

    def __init__(self, model: Classifier, size: Size) -> None:
        backbone = model.backbone
        blocks: Any = getattr(backbone, "blocks", None)
        by_token = getattr(backbone, "global_pool", "") in ("token", "map")
        if by_token and (blocks is None or not hasattr(blocks[-1], "norm1")):
            raise ValueError("its class token is not like a vision transformer's")
        stages = [] if by_token else list(getattr(backbone, "feature_info", ()))
        fine = [stage for stage in stages if min(sides(size)) >= SIDES * stage["reduction"]]
        earlier = fine[-1] if fine and fine[-1] is not stages[-1] else None
        self._shape = sides(size)
        self._parts = _InParts(model, cut=not by_token and earlier is None)
        self._width = earlier["num_chs"] if earlier else backbone.num_features
        layer = backbone.get_submodule(earlier["module"]) if earlier else self._parts.activations
        self._cam = GradCAM(self._parts, [blocks[-1].norm1 if by_token else layer], self._as_channels_first)

    def __call__(self, images: npt.NDArray[np.uint8], classes: Sequence[int]) -> npt.NDArray[np.float32]:
        """How much each place of the images (B, H, W, C) speaks for their classes (B,): maps (B, H, W), 0 to 1.

        A map is all 0 where nothing speaks for the class. Raises ValueError where the model's activations are no grid.
        """
        channels_first = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
        maps: npt.NDArray[np.float32] = self._cam(channels_first, [ClassifierOutputTarget(index) for index in classes])
        return maps.astype(np.float32)

    def _as_channels_first(self, activations: Tensor) -> Tensor:
        """Turn activations (B, C, H, W), (B, H, W, C) or tokens (B, N, C), prefix tokens first, into (B, C, H, W)."""
        backbone = self._parts.model.backbone
        if activations.ndim == 4:
            last = getattr(backbone, "output_fmt", "") == "NHWC" or activations.shape[1] != self._width
            return activations.permute(0, 3, 1, 2) if last else activations
        if activations.ndim != 3:
            raise ValueError(f"its activations have the shape {tuple(activations.shape)}")
        tokens = activations[:, getattr(backbone, "num_prefix_tokens", 0) :]
        # The grid has the image's aspect ratio.
        height, width = self._shape
        rows = max(1, round((tokens.shape[1] * height / width) ** 0.5))
        if tokens.shape[1] % rows:
            raise ValueError(f"its {tokens.shape[1]} tokens are no grid of the image's shape")
        return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, tokens.shape[1] // rows)


class _InParts(nn.Module):
    """A classifier whose activations before pooling pass through a module of their own.

    cut: gradients end at that module; the layers before it need none.
    """

    def __init__(self, model: Classifier, *, cut: bool) -> None:
        super().__init__()
        self.model, self.cut = model, cut
        self.activations = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Bytes, channels first, to logits (B, C)."""
        model = self.model
        with torch.set_grad_enabled(not self.cut):
            activations = model.backbone.forward_features(images.float() * model.scale + model.shift)
        activations = self.activations(activations.detach().requires_grad_() if self.cut else activations)
        # A linear head's maps don't depend on the columns of a table.
        return model.on_features(model.given(activations))
