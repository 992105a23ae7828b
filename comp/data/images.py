"""Reading images: every file becomes RGB in the same way, in training and in prediction."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from comp.errors import DataError

Pixels = npt.NDArray[np.uint8]

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read_image(path: Path, short_side: int, interpolation: str = "bilinear") -> Pixels:
    """The image as RGB (H, W, 3), upright by its EXIF orientation, its shorter side resized to ``short_side`` pixels.

    Four-component, grey, palette and 16-bit images become RGB; transparency is dropped. A large JPEG is decoded at one
    of its own reduced scales, never below ``short_side``.
    Raises DataError for a file that is no readable image.
    """
    try:
        with Image.open(path) as image:
            if image.mode in ("RGB", "L"):
                image.draft(image.mode, (short_side, short_side))
            ImageOps.exif_transpose(image, in_place=True)
            upright = to_rgb(image)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} can't be read as an image ({error}); replace it or remove it and its label.") from None
    scale = short_side / min(upright.size)
    width, height = (max(short_side, round(side * scale)) for side in upright.size)
    if (width, height) != upright.size:
        upright = upright.resize((width, height), INTERPOLATIONS[interpolation], reducing_gap=3.0)
    return np.asarray(upright)


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB; 16-bit grey keeps its upper eight bits, which ``convert`` would clip."""
    if image.mode.startswith("I"):
        grey: npt.NDArray[Any] = np.asarray(image)
        return Image.fromarray((grey // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def centre(pixels: Pixels, size: int) -> Pixels:
    """The middle square of (H, W, 3), ``size`` pixels a side."""
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


def with_margin(size: int, max_zoom: float) -> int:
    """The shorter side, in pixels, that leaves room to cut a square of ``size`` out at every zoom."""
    return math.ceil(size * max_zoom)
