"""Losses, the weights of rare classes in them, and mixup and CutMix."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.class_weight import compute_class_weight
from timm.loss.asymmetric_loss import AsymmetricLossMultiLabel, AsymmetricLossSingleLabel
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss
from torchvision.transforms.v2 import CutMix, MixUp

from comp.declare.custom import called, short_name
from comp.errors import DeclarationError

MOST_WEIGHT = 100.0
FOCUS = 2.0

OF_NUMBERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": functional.huber_loss,
}


@dataclass
class Objective:
    """The objective of a training: a loss of logits (B, C) and targets, as `Outputs.compared` gives them.

    loss: a name of `comp.declare.losses.LOSSES`, or a function.
    one_of: whether each image has one class, by softmax; otherwise each logit stands alone.
    label_smoothing: the share of a target spread over the classes (arXiv:1512.00567), or over a tag's yes and no.
    class_weights: (C,), above 0: the weight of a row of the class, or of a row with the tag (one without weighs 1).
        A weight counts as copies of the row: torch's own would also weigh what smoothing gives to a rare class.
    """

    loss: str | Callable[[Tensor, Tensor], Tensor]
    _: KW_ONLY
    one_of: bool
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    def plain(self) -> "Objective":
        """The same without smoothing and class weights, for validation."""
        return Objective(self.loss, one_of=self.one_of)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss over the batch, a scalar.

        targets: classes (B,) or shares of classes (B, C) for one class per image, else (B, C). A custom loss is given
        all targets but classes as floats.
        """
        if callable(self.loss):
            return self.loss(logits, _of_own(targets))
        if self.loss in OF_NUMBERS:
            return OF_NUMBERS[self.loss](logits, targets)
        return self._of_classes(logits, targets) if self.one_of else self._of_tags(logits, targets)

    def _of_classes(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.loss == "asymmetric":
            return torch.as_tensor(AsymmetricLossSingleLabel(eps=self.label_smoothing)(logits, targets))
        losses = _focal if self.loss == "focal" else functional.cross_entropy
        if self.class_weights is None:
            return losses(logits, targets, label_smoothing=self.label_smoothing)
        weighted = _shares(targets, logits.shape[1]) * self.class_weights
        row_weights = weighted.sum(dim=1)
        of_rows = losses(
            logits, weighted / row_weights[:, None], label_smoothing=self.label_smoothing, reduction="none"
        )
        return (of_rows * row_weights).sum() / row_weights.sum()

    def _of_tags(self, logits: Tensor, targets: Tensor) -> Tensor:
        shares, weights = targets.float(), None
        if self.class_weights is not None:
            weights = shares * self.class_weights + (1 - shares)
            shares = shares * self.class_weights / weights
        smoothed = shares * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.loss == "asymmetric":
            # In one row: timm's loss is the sum of a row, or of all.
            whole = AsymmetricLossMultiLabel()(logits.reshape(1, -1), smoothed.reshape(1, -1))
            return torch.as_tensor(whole) / logits.numel()
        if self.loss == "focal":
            focal: Tensor = sigmoid_focal_loss(logits, smoothed, alpha=-1, gamma=FOCUS, reduction="none")
            return (focal if weights is None else focal * weights).mean()
        return functional.binary_cross_entropy_with_logits(logits, smoothed, weight=weights)

    def try_on(
        self, targets: Tensor, width: int, *, mixed: bool, taught: bool = False, start: Tensor | None = None
    ) -> None:
        """Call a custom loss with some logits, to find its errors before anything is computed.

        targets: of some rows, as `Outputs.compared` gives them. mixed: whether training batches will be mixed; taught:
        whether a teacher gives shares. start: the logits (C,) of the untrained network for any input, where known.
        Raises DeclarationError where the function fails, gives no finite scalar with a gradient, or has parameters,
        which would not be trained.
        """
        if not callable(self.loss):
            return
        tried = {"": targets}
        if self.one_of and targets.ndim == 1 and (mixed or taught):
            # With a teacher, validation images have shares as well.
            tried = {} if taught else {", classes of validation images": targets}
            why = "as a teacher gives them" if taught else "as batches are mixed"
            tried[f", shares of classes (B, C), {why}"] = _shares(targets, width)
        drawn = torch.linspace(-1, 1, len(targets) * width, device=targets.device).reshape(-1, width)
        for (why, given), (of, logits) in product(
            tried.items(), (("logits from -1 to 1", drawn), ("the logits of a new network", start))
        ):
            if logits is not None:
                logits = logits.expand_as(drawn).clone().requires_grad_()
                _must_be_a_loss(self.loss, logits, _of_own(given), of, why)

    def count(self, targets: Tensor) -> Tensor:
        """The weight of these rows in the mean over their batch, a scalar."""
        if not self.one_of or self.class_weights is None:
            return torch.tensor(float(len(targets)))
        return (_shares(targets, len(self.class_weights)) * self.class_weights).sum()


def _of_own(targets: Tensor) -> Tensor:
    """The targets that a custom loss is given: classes (B,), or floats (B, C)."""
    return targets if targets.ndim == 1 else targets.float()


def _must_be_a_loss(loss: Callable[[Tensor, Tensor], Any], logits: Tensor, targets: Tensor, of: str, why: str) -> None:
    given = f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}{why}"
    try:
        with torch.random.fork_rng():
            found = called("Recipe: `loss`", loss, logits, targets)
    except DeclarationError as error:
        raise DeclarationError(f"{str(error).rstrip('.')}; it was given {given}.") from error
    named, wrong = f"Recipe: `loss` {short_name(loss)}", None
    if not isinstance(found, Tensor) or found.ndim:
        shape = f" of shape {tuple(found.shape)}" if hasattr(found, "shape") else ""
        wrong = f"returns a {type(found).__name__}{shape}"
    elif not found.isfinite():
        wrong = f"returns {found.item()} for {of}"
    elif not found.requires_grad:
        wrong = "returns a number without a gradient"
    if wrong is not None:
        raise DeclarationError(
            f"{named} {wrong}, but it should return the finite mean, a scalar tensor; it was given {given}."
        )
    if _follows_from_more_than(logits, found):
        raise DeclarationError(
            f"{named} has parameters, which would never be trained; put learned layers in the `head`, whose "
            "forward is given the features, and a margin in the loss, which knows the targets."
        )


def _follows_from_more_than(logits: Tensor, found: Tensor) -> bool:
    """Whether the loss that was found has gradients for other tensors than the logits."""
    nodes, seen = [found.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        if getattr(node, "variable", logits) is not logits:
            return True
        seen.add(node)
        nodes += [before for before, _ in node.next_functions]
    return False


def _focal(logits: Tensor, targets: Tensor, label_smoothing: float, reduction: str = "mean") -> Tensor:
    """Cross-entropy that counts a class less, the surer the prediction is (Lin et al. 2017, arXiv:1708.02002)."""
    logarithms = functional.log_softmax(logits, dim=1)
    shares = _shares(targets, logits.shape[1]) * (1 - label_smoothing) + label_smoothing / logits.shape[1]
    losses = -(shares * (1 - logarithms.exp()) ** FOCUS * logarithms).sum(dim=1)
    return losses.mean() if reduction == "mean" else losses


def class_weights(targets: npt.NDArray[np.int64], classes: int) -> Tensor:
    """The weight of each class in the loss (C,), so that rare classes count as much as frequent ones.

    targets: of the training rows, (N,) class indices or (N, C) of 0 and 1.
    One class per image: scikit-learn's ``balanced``. Tags: rows without the tag per row with it, at most MOST_WEIGHT,
    lest a handful of rows dominate. A class or tag in no row, and a tag in every row, weighs 1.
    """
    weights = np.ones(classes)
    if targets.ndim == 1:
        present = np.unique(targets)
        weights[present] = compute_class_weight("balanced", classes=present, y=targets)
    else:
        positives = targets.sum(axis=0)
        negatives = len(targets) - positives
        mixed = (positives > 0) & (negatives > 0)
        weights[mixed] = np.clip(negatives[mixed] / positives[mixed], 1 / MOST_WEIGHT, MOST_WEIGHT)
    return torch.as_tensor(weights, dtype=torch.float32)


def _shares(targets: Tensor, classes: int) -> Tensor:
    """Classes (B,), or shares of classes (B, C), as shares."""
    return targets if targets.ndim == 2 else functional.one_hot(targets, classes)


class Mixing:
    """Mixes a batch in pairs: blends them (mixup, arXiv:1710.09412) or pastes a rectangle (CutMix, arXiv:1905.04899).

    mixup, cutmix: alpha of the Beta(alpha, alpha) distribution that an image's own share is drawn from; 0 is off.
        Where both are above 0, a batch gets one of the two, with even odds.
    classes: C. own: a custom function in place of both.

    Every row is paired with the previous one. All draws use torch's random state; timm's Mixup uses numpy's, changes
    its batch in place and takes only batches of even size.
    """

    def __init__(self, mixup: float, cutmix: float, classes: int, own: Callable[..., Any] | None = None) -> None:
        self.mixup = MixUp(alpha=mixup) if mixup > 0 else None
        self.cutmix = CutMix(alpha=cutmix) if cutmix > 0 else None
        self.classes, self.own = classes, own

    def __call__(self, inputs: Tensor, targets: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
        """Mix a batch of images (B, size, size, 3) as bytes, or of features (B, ...), and its targets.

        targets: (B,) class indices, or (B, C) numbers; returned as shares or numbers (B, C). Blended images are
        returned as floats from 0 to 255. Features have no area to paste; blending them is Manifold Mixup
        (arXiv:1806.05236) at the last layer. columns: (B, K) each, mixed like the shares and returned after them.
        """
        shares = _shares(targets, self.classes).float()
        # Columns are mixed like the shares.
        shares, widths = torch.cat([shares, *columns], dim=1), [shares.shape[1], *(one.shape[1] for one in columns)]
        if inputs.dtype != torch.uint8:
            if self.mixup is not None:
                # torchvision's mixup takes images only: each feature is a channel of one pixel.
                pixels, shares = self.mixup(inputs.reshape(len(inputs), -1, 1, 1), shares)
                inputs = pixels.reshape(inputs.shape)
            return inputs, *torch.split(shares, widths, dim=1)
        # torchvision takes images (B, 3, size, size); this view stays channels last in memory.
        images = inputs.permute(0, 3, 1, 2)
        if self.own is not None:
            images, shares = _mixed_by(self.own, images.float(), shares)
        elif self.cutmix is not None and (self.mixup is None or torch.rand(()) < 0.5):
            images, shares = self.cutmix(images, shares)
        elif self.mixup is not None:
            images, shares = self.mixup(images.float(), shares)
        return images.permute(0, 2, 3, 1), *torch.split(shares, widths, dim=1)


def _mixed_by(own: Callable[..., Any], images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    found, shapes = called("Recipe: `mixing`", own, images, targets), [tuple(images.shape), tuple(targets.shape)]
    if not isinstance(found, tuple) or [isinstance(part, Tensor) and tuple(part.shape) for part in found] != shapes:
        given = "images {} and targets {}".format(*shapes)
        raise DeclarationError(
            f"Recipe: `mixing` {short_name(own)} should return {given}, tensors of the shapes that it is given."
        )
    mixed, shares = found
    return mixed.float(), shares.float()
