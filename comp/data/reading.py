"""Reading images: every file becomes RGB in the same way, in training and in prediction."""

import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, ImageOps

from comp.errors import DataError

Pixels = npt.NDArray[np.uint8]
# The paths of many files are a table's column: processes share its memory, where a list of a million paths would be
# copied into each of them, as Python writes to every object that it looks at.
Paths = pd.api.extensions.ExtensionArray
Item = TypeVar("Item")
Result = TypeVar("Result")

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Not all that Pillow knows: it would run a PostScript file that is named .jpg through Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "DIB", "JPEG2000", "PPM")
# A side this many times the other is cut to its middle: of one pixel by a million, enlarged, nothing else would fit.
LONGEST_SIDE = 16
# Items that wait for a thread, per thread: enough to keep it busy, few enough to end soon after an interrupt.
AHEAD = 16
# comp.data.file_facts names images that are huge; the rest is said of metadata, which nothing follows from.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def read_image(path: Path, short_side: int, interpolation: str = "bilinear") -> Pixels:
    """The image as RGB (H, W, 3), upright by its EXIF orientation, its shorter side resized to ``short_side`` pixels.

    Four-component, grey, palette and 16-bit images become RGB, see `to_rgb`; of an animation the first frame is taken,
    of an image longer than LONGEST_SIDE times its shorter side the middle. A large JPEG is decoded at one of its own
    reduced scales, never below ``short_side``.
    Raises DataError for a file that is no readable image.
    """
    try:
        with opened(path) as image:
            if image.mode in ("RGB", "L"):
                image.draft(image.mode, (short_side, short_side))
            upright = to_rgb(turned_upright(image))
    except Exception as error:  # a damaged file makes Pillow's decoders raise nearly anything
        raise DataError(f"{path} can't be read as an image ({error}); replace it or remove it and its label.") from None
    upright = _middle(upright)
    scale = short_side / min(upright.size)
    width, height = (max(short_side, round(side * scale)) for side in upright.size)
    if (width, height) != upright.size:
        upright = upright.resize((width, height), INTERPOLATIONS[interpolation], reducing_gap=3.0)
    return np.asarray(upright)


@contextmanager
def opened(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    """The image in a file, its pixels not decoded yet; what Pillow raises is passed on."""
    with Image.open(file, formats=FORMATS) as image:
        yield image


def turned_upright(image: Image.Image) -> Image.Image:
    """The image, decoded and turned as its EXIF orientation asks; EXIF that can't be read says nothing."""
    image.load()
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB; transparency is dropped.

    16-bit grey keeps its upper eight bits, which ``convert`` would clip. Of grey numbers whose full scale the file
    doesn't say (32-bit, floats), 0 to 1, 0 to 255 and 0 to 65,535 become 0 to 255, and any other range is stretched to
    that: NaN is black.
    """
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image) // 256)
    if image.mode in ("I", "F"):
        return _grey(_to_bytes(np.asarray(image, dtype=np.float64)))
    if image.mode == "P" and "transparency" in image.info:
        # Straight to RGB, Pillow would warn and, for some palettes, mix up colours.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _grey(values: npt.NDArray[Any]) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _to_bytes(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if low < 0 or high > 65535:
        return (values - low) * (255 / (high - low))
    return values * (255 if high <= 1 else 1 if high <= 255 else 1 / 256)


def _middle(image: Image.Image) -> Image.Image:
    longest = LONGEST_SIDE * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def centre(pixels: Pixels, size: int) -> Pixels:
    """The middle square of (H, W, 3), ``size`` pixels a side."""
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


def with_margin(size: int, max_zoom: float) -> int:
    """The shorter side, in pixels, that leaves room to cut a square of ``size`` out at every zoom."""
    return math.ceil(size * max_zoom)


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = os.cpu_count() or 1
) -> Iterator[Result]:
    """What the function gives for each, in order; as many at once as there are threads, and few of them waiting."""
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[Result]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(function, item))
                if len(under_way) > threads * AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
