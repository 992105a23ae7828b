"""Albumentations pipelines of a viewpoint, for training images and for the views of test-time augmentation."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from comp.data.reading import Pixels, Reading, centre, with_margin
from comp.declare.custom import ADDRESS, called
from comp.declare.reading import Size, sides
from comp.declare.recipe import TTA, Recipe
from comp.declare.viewpoint import View, Viewpoint
from comp.errors import DeclarationError

# OpenCV's own threads compete with the loader's workers and torch's threads.
cv2.setNumThreads(0)

# An albumentations `Compose`, imported where it is used: it takes a second, and cached features don't need it.
Pipeline = Any

# The names of custom pipelines in messages.
OWN, OWN_VIEWS = "Viewpoint: `pipeline`", "Recipe: `tta`"
CHANCE_OF_ROTATION = 0.75
CHANCE_OF_LIGHT = 0.75
# The erased rectangle's share of the image and its aspect ratio, from the paper's experiments. albumentations draws a
# share of at most 0.3, where every ratio fits; the paper draws again where the rectangle doesn't fit.
ERASED_SHARE = (0.02, 0.4)
ERASED_RATIO = (0.3, 1 / 0.3)


@dataclass(frozen=True)
class Preprocessing:
    """Everything between a file and the backbone: the size, how the file is read, the viewpoint.

    erasing: the chance that a rectangle of a random view is erased, in training. tta: the recipe's.
    """

    size: Size
    reading: Reading
    viewpoint: Viewpoint
    erasing: float = 0.0
    tta: TTA = "none"

    @property
    def covered(self) -> Size | None:
        """The size that the input of a random view covers; None for the whole image, the input of a custom pipeline."""
        return None if self.viewpoint.pipeline is not None else with_margin(self.size, self.viewpoint.max_zoom)

    def pipelines(self) -> list[Pipeline]:
        """New pipelines, for random views and for custom views; each holds the random state of its current image."""
        return [training_pipeline(self.viewpoint, self.size, self.erasing), *own_views(self.tta, self.size)]

    def seen(
        self, view: View, read: Callable[[Size | None], Pixels], pipelines: Sequence[Pipeline], seed: int, row: int
    ) -> Pixels:
        """An image in one view (size, size, C).

        read: gives the image so that it covers a size, or the whole image for None. A random view follows from the
        seed, its draw and the image's row alone, not from the worker that reads the image, or the time.
        """
        if view.own:
            return self._made_by(OWN_VIEWS, pipelines[view.own], read(None), row)
        if view.draw is not None:
            return self._made_by(OWN, pipelines[0], read(self.covered), seed, view.draw, row)
        return apply_symmetry(centre(read(self.size), self.size), view.symmetry)

    def _made_by(self, field: str, pipeline: Pipeline, image: Pixels, *numbers: int) -> Pixels:
        seed_pipeline(pipeline, *numbers)
        made = called(field, lambda: pipeline(image=image)["image"])
        kind = str(made.dtype) if isinstance(made, np.ndarray) else type(made).__name__
        if kind != "uint8":
            raise DeclarationError(
                f"{field} gave an array of {kind}, but it should be of uint8, like its input; leave out Normalize, "
                "ToFloat and ToTensorV2, as comp normalises with the backbone's own mean and standard deviation."
            )
        if made.shape != (wanted := (*sides(self.size), self.reading.depth.channels)):
            raise DeclarationError(
                f"{field} gave an array of shape {made.shape}, but it should be of {wanted}; end it with a crop or a "
                "resize to the size it is given."
            )
        return np.asarray(made)


def training_pipeline(viewpoint: Viewpoint, size: Size, erasing: float = 0.0) -> Pipeline:
    """Random augmentation of an array of bytes to (size, size, C).

    Without a custom pipeline the input must cover ``size * max_zoom``, and is augmented by rotation, a crop at a random
    place and zoom, flips and light: fast.ai lesson 2's ``tfms_from_model``.
    erasing: the chance that a rectangle of the result is overwritten with noise (arXiv:1708.04896).
    """
    import albumentations as A  # noqa: N812 - as its own documentation has it

    flips = {
        "none": [],
        "horizontal": [A.HorizontalFlip(p=0.5)],
        "both": [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)],
        "dihedral": [A.SquareSymmetry(p=1.0)],
    }
    erase = [A.Erasing(scale=ERASED_SHARE, ratio=ERASED_RATIO, fill="random", p=erasing)] if erasing > 0 else []
    if viewpoint.pipeline is not None:
        own = called(OWN, viewpoint.pipeline, size)
        if not isinstance(own, (A.BasicTransform, A.BaseCompose)):
            raise DeclarationError(f"{OWN} returned {own!r}, but it should return an albumentations pipeline.")
        return A.Compose([own, *erase])
    (height, width), light = sides(size), viewpoint.max_light
    heights = height, sides(with_margin(size, viewpoint.max_zoom))[0]
    steps = [
        A.Rotate(limit=viewpoint.max_rotation, border_mode=cv2.BORDER_REFLECT_101, p=CHANCE_OF_ROTATION),
        A.RandomSizedCrop(
            min_max_height=heights, size=(height, width), w2h_ratio=width / height, area_for_downscale="image"
        ),
        *flips[viewpoint.at(size).flips],
        A.RandomBrightnessContrast(brightness_limit=light, contrast_limit=light, p=CHANCE_OF_LIGHT),
        *erase,
    ]
    return A.Compose(steps)


def own_views(tta: TTA, size: Size) -> list[Pipeline]:
    """The pipelines of a recipe's custom views; none where its ``tta`` is a name."""
    if isinstance(tta, str):
        return []
    import albumentations as A  # noqa: N812 - as its own documentation has it

    own, kinds = called(OWN_VIEWS, tta, size), (A.BasicTransform, A.BaseCompose)
    if not isinstance(own, (list, tuple)) or not own or not all(isinstance(one, kinds) for one in own):
        raise DeclarationError(
            f"{OWN_VIEWS} returned {own!r}, but it should return a list of albumentations pipelines."
        )
    return [A.Compose([one]) for one in own]


def tta_views(recipe: Recipe, viewpoint: Viewpoint) -> tuple[View, ...]:
    """The views to average in prediction; the plain one is the first."""
    if recipe.tta == "none":
        return (View(),)
    if recipe.tta == "fixed":
        return viewpoint.at(recipe.stages[-1].pixels).fixed_views
    if recipe.tta == "random":
        return (View(), *(View(draw=draw) for draw in range(recipe.tta_views)))
    own = own_views(recipe.tta, recipe.stages[-1].pixels)
    return (View(), *(View(own=number) for number in range(1, len(own) + 1)))


def serialised(pipeline: Pipeline) -> str:
    """A pipeline as text: as albumentations serialises it, or else its repr."""
    try:
        written = json.dumps(pipeline.to_dict(), sort_keys=True, default=repr)
    except (NotImplementedError, TypeError, ValueError):
        written = repr(pipeline)  # a transform, like a lambda, can't be serialised
    return ADDRESS.sub("", written)


def seed_pipeline(pipeline: Pipeline, *numbers: int) -> None:
    """Seed the pipeline's next call by these numbers alone."""
    seed = np.random.SeedSequence(numbers)
    # One state for all steps: set_random_seed would start each step with the same draws, so that an image would be
    # rotated, flipped and lit together, or not at all.
    pipeline.set_random_state(np.random.default_rng(seed), random.Random(int(seed.generate_state(1)[0])))


def apply_symmetry(pixels: Pixels, symmetry: int) -> Pixels:
    """One of the eight symmetries of the square, by its number in `comp.declare.viewpoint.View`."""
    mirrored = pixels[:, ::-1] if symmetry >= 4 else pixels
    return np.rot90(mirrored, symmetry % 4)
