"""Pictures inside a page: small WebP files as data URIs."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

# Pixels of a side, about twice what it is shown at on a small screen with two of its pixels to one of the page.
SIDE = 176
QUALITY = 72
# How much of the picture the hottest place of a map covers.
OPAQUE = 0.72
MAP_SIDE = 48


def thumbnail(pixels: Pixels, side: int = SIDE) -> str:
    """RGB (H, W, 3) as a data URI, its longer side ``side`` pixels at most."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _webp(picture, quality=QUALITY, method=4)


def heat(activation: npt.NDArray[Any]) -> str:
    """An activation map (H, W) of 0 to 1 as a picture to lay over another: hotter is brighter and less transparent."""
    coloured = colormaps["inferno"](0.25 + 0.75 * activation)
    coloured[..., 3] = OPAQUE * activation
    whole = Image.fromarray((255 * coloured).round().astype(np.uint8))
    small = whole.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BILINEAR)
    return _webp(small, quality=75, method=4)


def _webp(picture: Image.Image, **options: Any) -> str:
    file = BytesIO()
    picture.save(file, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
