"""Losses, the weights of rare classes in them, and mixup and CutMix, which change inputs and targets before them."""

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torchvision.transforms.v2 import CutMix, MixUp

from comp.declare.metrics import Target

MOST_WEIGHT = 100.0


def classification_loss(
    logits: Tensor,
    targets: Tensor,
    target: Target,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy for one class per image, binary cross-entropy for tags, averaged over the batch; a scalar.

    logits: (B, C). targets: classes (B,) or shares of classes (B, C) for one class per image, 0 to 1 (B, C) for tags.
    label_smoothing: the share of a target spread over the classes (arXiv:1512.00567), or over a tag's yes and no.
    class_weights: (C,), above 0; what a row of the class counts (one class per image), or a row with the tag beside
        one without. A whole number counts as so many copies of the row would, whatever the smoothing: torch's own
        weights would weigh what smoothing gives to a rare class, too, and make it the best answer to every row.
    """
    if target == "single":
        if class_weights is None:
            return cross_entropy(logits, targets, label_smoothing=label_smoothing)
        weighted = _shares(targets, logits.shape[1]) * class_weights
        row_weights = weighted.sum(dim=1)
        losses = cross_entropy(
            logits, weighted / row_weights[:, None], label_smoothing=label_smoothing, reduction="none"
        )
        return (losses * row_weights).sum() / row_weights.sum()
    shares, weights = targets.float(), None
    if class_weights is not None:
        weights = shares * class_weights + (1 - shares)
        shares = shares * class_weights / weights
    smoothed = shares * (1 - label_smoothing) + 0.5 * label_smoothing
    return binary_cross_entropy_with_logits(logits, smoothed, weight=weights)


def samples_count(targets: Tensor, target: Target, class_weights: Tensor | None) -> Tensor:
    """How much these rows count in the mean over a batch that they are a part of; a scalar.

    So that the losses of a batch's parts, each times its part of the batch's count, add up to the batch's loss.
    """
    if target == "multi" or class_weights is None:
        return torch.tensor(float(len(targets)))
    return (_shares(targets, len(class_weights)) * class_weights).sum()


def class_weights(targets: npt.NDArray[np.int64], classes: int, target: Target) -> Tensor:
    """What each class weighs in the loss (C,), so that the rare ones count as much as the frequent.

    targets: of the training rows, (N,) places of classes or (N, C) of 0 and 1.
    One class per image: scikit-learn's ``balanced``, ``N / (C * rows of the class)`` over the classes that occur. Tags:
    rows without the tag per row with it, no more than MOST_WEIGHT, lest a handful of rows be all that is learned.
    A class or tag in no row, or a tag in every row, has nothing to be balanced with and weighs 1.
    """
    weights = np.ones(classes)
    if target == "single":
        present = np.unique(targets)
        weights[present] = compute_class_weight("balanced", classes=present, y=targets)
    else:
        positives = targets.sum(axis=0)
        negatives = len(targets) - positives
        mixed = (positives > 0) & (negatives > 0)
        weights[mixed] = np.clip(negatives[mixed] / positives[mixed], 1 / MOST_WEIGHT, MOST_WEIGHT)
    return torch.as_tensor(weights, dtype=torch.float32)


def _shares(targets: Tensor, classes: int) -> Tensor:
    """Of classes (B,) or shares of them (B, C), the shares."""
    return targets if targets.ndim == 2 else one_hot(targets, classes)


class Mixing:
    """Each batch blended (mixup, arXiv:1710.09412) or pasted into each other (CutMix, arXiv:1905.04899).

    mixup, cutmix: alpha of the Beta(alpha, alpha) distribution that an image's own share is drawn from; 0 is without.
        Where both are above 0 a batch gets one of the two, with even odds.
    classes: C.

    Every row is paired with the one before it, which is chance enough in a shuffled batch. All is drawn from torch's
    random state; timm's Mixup draws from numpy's, changes the batch it is given and takes even ones only.
    """

    def __init__(self, mixup: float, cutmix: float, classes: int, target: Target) -> None:
        self.mixup = MixUp(alpha=mixup) if mixup > 0 else None
        self.cutmix = CutMix(alpha=cutmix) if cutmix > 0 else None
        self.classes, self.target = classes, target

    def __call__(self, inputs: Tensor, targets: Tensor, *columns: Tensor) -> tuple[Tensor, ...]:
        """A batch of images (B, size, size, 3) or of pooled features (B, F), and its targets, mixed.

        targets: (B,) places of classes, or (B, C) of 0 and 1 for tags; given back as shares (B, C). Images come back
        as floats from 0 to 255 where they were blended, else as the bytes they were. Features are blended or left as
        they are: they have no area to paste. Blending them is Manifold Mixup (arXiv:1806.05236) at the last layer.
        columns: (B, K) each, mixed as the shares are and given back after them.
        """
        shares = (one_hot(targets, self.classes) if self.target == "single" else targets).float()
        # Whatever stands beside the shares is mixed as they are.
        shares, widths = torch.cat([shares, *columns], dim=1), [shares.shape[1], *(one.shape[1] for one in columns)]
        if inputs.ndim == 2:
            if self.mixup is not None:
                # torchvision's takes images only: each feature is a channel of one pixel.
                pixels, shares = self.mixup(inputs[:, :, None, None], shares)
                inputs = pixels[:, :, 0, 0]
            return inputs, *torch.split(shares, widths, dim=1)
        # torchvision's images are (B, 3, size, size); as a view only, they stay channels last in memory.
        images = inputs.permute(0, 3, 1, 2)
        if self.cutmix is not None and (self.mixup is None or torch.rand(()) < 0.5):
            images, shares = self.cutmix(images, shares)
        elif self.mixup is not None:
            images, shares = self.mixup(images.float(), shares)
        return images.permute(0, 2, 3, 1), *torch.split(shares, widths, dim=1)
