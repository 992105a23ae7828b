"""Mixup and CutMix: what is trained on are pairs of a batch's images, and shares of both their labels."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchvision.transforms.v2 import CutMix, MixUp

from comp.declare.metrics import Target


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

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """A batch of images (B, size, size, 3) or of pooled features (B, F), and its targets, mixed.

        targets: (B,) places of classes, or (B, C) of 0 and 1 for tags; given back as shares (B, C). Images come back
        as floats from 0 to 255 where they were blended, else as the bytes they were. Features are blended or left as
        they are: they have no area to paste. Blending them is Manifold Mixup (arXiv:1806.05236) at the last layer.
        """
        shares = (one_hot(targets, self.classes) if self.target == "single" else targets).float()
        if inputs.ndim == 2:
            if self.mixup is not None:
                # torchvision's takes images only: each feature is a channel of one pixel.
                pixels, shares = self.mixup(inputs[:, :, None, None], shares)
                inputs = pixels[:, :, 0, 0]
            return inputs, shares
        # torchvision's images are (B, 3, size, size); as a view only, they stay channels last in memory.
        images = inputs.permute(0, 3, 1, 2)
        if self.cutmix is not None and (self.mixup is None or torch.rand(()) < 0.5):
            images, shares = self.cutmix(images, shares)
        elif self.mixup is not None:
            images, shares = self.mixup(images.float(), shares)
        return images.permute(0, 2, 3, 1), shares
