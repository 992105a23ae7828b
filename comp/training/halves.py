"""A backbone's two halves: the early layers, which may stay frozen and run once per image, and the late ones."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from comp.declare.reading import Size, sides
from comp.training.backbone import Classifier, alike, layer_groups, sharing


@dataclass(frozen=True)
class Cut:
    """Where a backbone is cut in halves.

    early: the names of the early half's outermost modules, in the order in which they end.
    shape: of the early half's maps of an image, channels last (H, W, F).
    """

    early: tuple[str, ...]
    shape: tuple[int, ...]

    def maps(self, model: Classifier, images: Tensor) -> Tensor:
        """Bytes (B, size, size, channels) to the early half's maps (B, H, W, F)."""
        with model.backbone.get_submodule(self.early[-1]).register_forward_hook(_stop):
            try:
                model.features(images)
            except _Reached as reached:
                return reached.activations.permute(0, 2, 3, 1)
        raise AssertionError(f"{self.early[-1]} was not reached")

    def late_half(self, model: Classifier) -> Classifier:
        """The classifier without its early half, on the same tensors and in the same mode: takes maps (B, H, W, F)."""
        late: Classifier = sharing(model)
        for name in self.early:
            late.backbone.set_submodule(name, nn.Identity())
        # Maps come channels last, as images do.
        late.register_buffer("scale", torch.ones_like(model.scale[:, :1]), persistent=False)
        late.register_buffer("shift", torch.zeros_like(model.shift[:, :1]), persistent=False)
        return late


class _Reached(BaseException):
    """Ends a pass after the early half; a BaseException, so that a model's own error handling doesn't catch it."""

    def __init__(self, activations: Tensor) -> None:
        super().__init__()
        self.activations = activations


def _stop(_: nn.Module, __: object, activations: Tensor) -> None:
    raise _Reached(activations)


@torch.no_grad()
def cut_of(model: Classifier, size: Size) -> Cut | None:
    """Where to cut a classifier's backbone; None where its halves, one after the other, don't make the same features.

    A backbone can be cut where its early layers pass on nothing but the output of the last of them, as in most
    convolutional networks. The model is left in evaluation.
    """
    noise = torch.Generator().manual_seed(0)
    shape = 1, *sides(size), model.scale.shape[1]
    images = torch.randint(256, shape, generator=noise, dtype=torch.uint8).to(model.scale.device)
    late = {id(parameter) for parameter in layer_groups(model)["late"]}
    ended: list[str] = []
    given: list[Tensor] = []
    reached: list[nn.Module] = []

    def begins(module: nn.Module, _: object) -> None:
        reached.append(module)

    def ends(name: str, _: nn.Module, __: object, activations: Tensor) -> None:
        if not reached:
            ended[:] = [*(one for one in ended if not one.startswith(f"{name}.")), name]
            given[:] = [activations]

    with ExitStack() as hooks:
        for name, module in model.backbone.named_modules():
            hooks.enter_context(module.register_forward_hook(partial(ends, name)))
            own = {id(parameter) for parameter in module.parameters()}
            if own and own <= late:
                hooks.enter_context(module.register_forward_pre_hook(begins))
        expected = model.eval().features(images)
    try:
        if not ended or given[0].ndim != 4:
            return None
        _, channels, height, width = given[0].shape
        cut = Cut(tuple(ended), (height, width, channels))
        found = cut.late_half(model).features(cut.maps(model, images))
        return cut if alike(found, expected) else None
    # A backbone's code between its modules may not accept maps in place of images.
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError):
        return None
