"""Reading images: files become pixels in the same way in training and in prediction."""

import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, UnidentifiedImageError

from comp.data.readers import (
    DECODERS,
    Array,
    array_of,
    bands_of,
    deep_values,
    is_deep,
    opened,
    to_rgb,
    turned_upright,
    versions_of,
)
from comp.declare.custom import key_of
from comp.declare.reading import Channels, Fit, Read, Size, sides
from comp.errors import DataError, DeclarationError

Pixels = npt.NDArray[np.uint8]
# Paths stay in a table's column, whose memory forked processes share: a list of a million paths would be copied into
# each of them, as Python's reference counts write to every object that is looked at.
Paths = pd.api.extensions.ExtensionArray
Item = TypeVar("Item")
Result = TypeVar("Result")

# A side of more than this many times the other is cut to its middle: one pixel by a million could not be enlarged.
LONGEST_SIDE = 16
# Items that wait per thread: enough to keep it busy, few enough to end soon after an interrupt.
AHEAD = 16
# comp.data.file_facts reports huge images; Pillow's other warnings are about metadata that comp doesn't use.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class Depth:
    """The number of channels and the range of values of the training images.

    channels: C. low, high: the least and the greatest value of each channel (C,), which become 0 and 255; empty for
    images that are bytes already.
    """

    channels: int = 3
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> "Depth":
        """The depth in a run's config; None stands for ordinary images."""
        return RGB if record is None else cls(record["channels"], tuple(record["low"]), tuple(record["high"]))


# The depth of ordinary images.
RGB = Depth()


@dataclass(frozen=True)
class Reading:
    """How a file becomes pixels of some size.

    interpolation: as timm names it. fit: as in `Viewpoint`. read: as in `Competition`. depth: that of the training
    images. beside: a digest of the other files that ``read`` may use.
    """

    interpolation: str = "bilinear"
    fit: Fit = "crop"
    read: Read | Channels = "images"
    depth: Depth = RGB
    beside: str = ""

    @property
    def key(self) -> list[Any]:
        """Everything that pixels depend on besides the file and their size, for JSON."""
        read = [*key_of(self.read), self.beside]
        return [self.interpolation, self.fit, read, asdict(self.depth), versions_of(DECODERS)]


ORDINARY = Reading()


def read_image(path: Path, size: Size | None, reading: Reading = ORDINARY) -> Pixels:
    """Read an image as bytes (H, W, C) that cover the size, from which a square or rectangle is then cut.

    With ``fit="crop"`` the image is resized until it just covers the size; with ``pad`` until it fits in, and its
    reflection fills the rest. Without a size it is neither resized nor cut. An ordinary image becomes RGB, upright by
    its EXIF orientation: see `to_rgb` for four-component, grey and palette images. A deeper one becomes bytes by the
    training images' depth, where these are deep. An animation gives its first frame, an image longer than LONGEST_SIDE
    times its shorter side its middle. A large JPEG is decoded at one of its own reduced scales, never below the size.
    Raises DataError for a file that is no readable image, DeclarationError for what `array_of` refuses.
    """
    box, read, depth = None if size is None else sides(size), reading.read, reading.depth
    try:
        planes = _ordinary(path, box and max(box), depth) if read == "images" else _planes(array_of(path, read), depth)
    except DeclarationError:
        raise
    except Exception as error:  # a damaged file makes Pillow's decoders raise nearly anything
        raise DataError(f"{path} can't be read as an image ({error}); replace it or remove it and its label.") from None
    fitted = [np.asarray(plane) if box is None else _fitted(_middle(plane), box, reading) for plane in planes]
    return fitted[0] if len(fitted) == 1 and fitted[0].ndim == 3 else np.dstack(fitted)


def _fitted(image: Image.Image, box: tuple[int, int], reading: Reading) -> Pixels:
    """The image resized to cover the box, or to fit in it with the rest filled."""
    pads = reading.fit == "pad"
    scale = (min if pads else max)(box[0] / image.height, box[1] / image.width)
    height, width = (max(1, round(side * scale)) for side in (image.height, image.width))
    height, width = map(min if pads else max, (height, width), box)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling[reading.interpolation.upper()], reducing_gap=3.0)
    pixels = np.asarray(image)
    if not pads:
        return pixels
    gaps = box[0] - height, box[1] - width
    return np.pad(pixels, [*((gap // 2, gap - gap // 2) for gap in gaps), (0, 0)][: pixels.ndim], mode="reflect")


def _ordinary(path: Path, least: int | None, depth: Depth) -> list[Image.Image]:
    """An ordinary image in RGB, at a reduced scale with sides of at least ``least``; a deep one as by `_planes`."""
    with suppress(UnidentifiedImageError), opened(path) as image:
        if depth.low and is_deep(image):
            return _planes(deep_values(image, path), depth)
        _must_have(3, depth)
        if least is not None and image.mode in ("RGB", "L"):
            image.draft(image.mode, (least, least))
        return [to_rgb(turned_upright(image))]
    return _planes(bands_of(path), depth)


def _planes(array: Array, depth: Depth) -> list[Image.Image]:
    """An array as bytes: an RGB image for grey or three channels, else an image per channel."""
    _must_have(channels_in(array), depth)
    pixels = as_bytes(array, depth)
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return [Image.fromarray(pixels).convert("RGB")]
    return [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(pixels, 2, 0)]


def _must_have(channels: int, depth: Depth) -> None:
    """Raise ValueError unless the training images have this number of channels."""
    if channels != depth.channels:
        raise ValueError(f"it has {channels} channels, but the training images have {depth.channels}")


def channels_in(array: npt.NDArray[Any]) -> int:
    """The number of channels of an array (H, W) or (H, W, C) as an image: grey has three equal ones."""
    return 3 if array.ndim == 2 else int(array.shape[2])


def as_bytes(array: npt.NDArray[Any], depth: Depth) -> Pixels:
    """An array as bytes: unchanged if it is of bytes, else scaled from the depth's lowest and highest values.

    Where these are unknown, the array's own are used. Values outside are clipped; NaN becomes 0.
    """
    if array.dtype == np.uint8:
        return array
    values = array.astype(np.float64)
    low, high = (np.array(ends) if ends else None for ends in (depth.low, depth.high))
    if low is None or high is None:
        ends = range_of(array)
        low, high = (np.array(found or [0.0]) for found in ends)
    if array.ndim == 2:
        low, high = low[0], high[0]
    with np.errstate(invalid="ignore"):
        scaled = (values - low) * 255 / np.where(high > low, high - low, np.inf)
    return np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0).clip(0, 255).round().astype(np.uint8)


def range_of(array: npt.NDArray[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The least and the greatest finite value of each channel; empty for bytes, and where a channel has none."""
    if array.dtype == np.uint8:
        return (), ()
    values = array.astype(np.float64).reshape(*array.shape[:2], -1)
    finite = np.isfinite(values)
    if not finite.any(axis=(0, 1)).all():
        return (), ()
    low = values.min(axis=(0, 1), where=finite, initial=np.inf)
    high = values.max(axis=(0, 1), where=finite, initial=-np.inf)
    times = channels_in(array) // len(low)
    return tuple(low.tolist()) * times, tuple(high.tolist()) * times


def _middle(image: Image.Image) -> Image.Image:
    longest = LONGEST_SIDE * min(image.size)
    if max(image.size) <= longest:
        return image
    width, height = (min(side, longest) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def centre(pixels: Pixels, size: Size) -> Pixels:
    """The centre crop of (H, W, C) at this size."""
    height, width = sides(size)
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def with_margin(size: Size, max_zoom: float) -> Size:
    """The size that leaves room to cut ``size`` out at every zoom."""
    if isinstance(size, int):
        return math.ceil(size * max_zoom)
    height = math.ceil(size[0] * max_zoom)
    return height, math.ceil(height * size[1] / size[0])


def in_rgb(pixels: Pixels) -> Pixels:
    """Pixels (H, W, C) as RGB to look at: the first three channels, or two as red and green, or one as grey."""
    if pixels.shape[2] == 2:
        return np.dstack([pixels, np.zeros_like(pixels[:, :, 0])])
    return pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels.repeat(3, axis=2)


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = os.cpu_count() or 1
) -> Iterator[Result]:
    """The function's results in the items' order, by threads; only a few items wait for a thread."""
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
