"""From a viewpoint to albumentations: what a training image goes through, and the fixed views of prediction."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import cv2
import numpy as np

from comp.data.reading import Pixels, with_margin

if TYPE_CHECKING:
    import albumentations as A  # noqa: N812 - as its own documentation has it

    from comp.declare.viewpoint import Viewpoint

# OpenCV's own threads fight with the loader's processes and torch's.
cv2.setNumThreads(0)

CHANCE_OF_ROTATION = 0.75
CHANCE_OF_LIGHT = 0.75
# Of the paper's experiments: the rectangle's share of the image, and its width to its height. albumentations draws a
# share of at most 0.3, which has room for every ratio; the paper draws again what has none.
ERASED_SHARE = (0.02, 0.4)
ERASED_RATIO = (0.3, 1 / 0.3)


def training_pipeline(viewpoint: Viewpoint, size: int, erasing: float = 0.0) -> A.Compose:
    """Random augmentations of an RGB array whose shorter side is ``size * max_zoom`` or more; gives (size, size, 3).

    Rotation, a square cut out at a random place and zoom, flips, light: fast.ai lesson 2's ``tfms_from_model``.
    erasing: the chance that a rectangle of what these, or a pipeline of one's own, gave is overwritten with noise
        (arXiv:1708.04896).
    """
    import albumentations as A  # noqa: N812 - a head on cached features needs none of it

    flips = {"none": [], "horizontal": [A.HorizontalFlip(p=0.5)], "dihedral": [A.SquareSymmetry(p=1.0)]}
    erase = [A.Erasing(scale=ERASED_SHARE, ratio=ERASED_RATIO, fill="random", p=erasing)] if erasing > 0 else []
    if viewpoint.pipeline is not None:
        return A.Compose([viewpoint.pipeline(size), *erase])
    light, cut = viewpoint.max_light, (size, with_margin(size, viewpoint.max_zoom))
    steps = [
        A.Rotate(limit=viewpoint.max_rotation, border_mode=cv2.BORDER_REFLECT_101, p=CHANCE_OF_ROTATION),
        A.RandomSizedCrop(min_max_height=cut, size=(size, size), area_for_downscale="image"),
        *flips[viewpoint.flips],
        A.RandomBrightnessContrast(brightness_limit=light, contrast_limit=light, p=CHANCE_OF_LIGHT),
        *erase,
    ]
    return A.Compose(steps)


def seed_pipeline(pipeline: A.Compose, *numbers: int) -> None:
    """Let what the pipeline does next follow from these numbers alone."""
    seed = np.random.SeedSequence(numbers)
    # Of one state for all steps: set_random_seed starts each step with the same draws, so that an image would be
    # turned, mirrored and lit together, or not at all.
    pipeline.set_random_state(np.random.default_rng(seed), random.Random(int(seed.generate_state(1)[0])))


def apply_symmetry(pixels: Pixels, symmetry: int) -> Pixels:
    """One of the eight symmetries of the square, by its number in `comp.declare.viewpoint.View`."""
    mirrored = pixels[:, ::-1] if symmetry >= 4 else pixels
    return np.rot90(mirrored, symmetry % 4)
