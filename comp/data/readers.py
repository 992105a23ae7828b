"""Decoders: ordinary images by Pillow, others as arrays, by a named reader or a custom function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from comp.declare.reading import Channels, Read
from comp.errors import DeclarationError

Array = npt.NDArray[Any]

# Not all of Pillow's formats: it would run a PostScript file that is named .jpg through Ghostscript.
# Older versions of Pillow, as in a notebook at Kaggle, lack AVIF.
AVIF = ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "DIB", "JPEG2000", "PPM", *AVIF)
# Cached, as reading a package's metadata takes milliseconds, and every cache key needs versions.
version = cache(metadata.version)
# The packages that decode files.
DECODERS = ("pillow", "opencv-python-headless", "pydicom")
# The TIFF tag for the meaning of components besides the colours: 1 and 2 are transparency.
EXTRA_SAMPLES = 338
# An array with fewer rows than this and more channels has its channels first.
FEWEST_ROWS = 16


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those of these packages that are installed, for cache keys."""
    versions = {}
    for name in packages:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = version(name)
    return versions


def opened(file: Path | IO[bytes]) -> Image.Image:
    """Open the image in a file without decoding its pixels; raises what Pillow raises."""
    return Image.open(file, formats=FORMATS)


def turned_upright(image: Image.Image) -> Image.Image:
    """Decode the image and turn it by its EXIF orientation; unreadable EXIF is ignored."""
    image.load()
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def is_deep(image: Image.Image) -> bool:
    """Whether an image that isn't decoded yet has more than eight bits a component."""
    return image.mode.startswith(("I", "F")) or has_16_bits(image)


def has_16_bits(image: Image.Image) -> bool:
    """Whether an image that isn't decoded yet has sixteen bits a component; Pillow keeps eight in colour images."""
    return ";16" in image.mode or any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))


def deep_values(image: Image.Image, path: Path) -> Array:
    """The values of a deep image of this file, upright: (H, W) for grey, (H, W, 3) for colours.

    A TIFF with four components, none of them transparency, gives all four: (H, W, 4).
    """
    if image.mode.startswith(("I", "F")):
        return np.asarray(turned_upright(image))
    bands = image.format == "TIFF" and not {1, 2} & set(image.tag_v2.get(EXTRA_SAMPLES, ()))  # type: ignore[attr-defined]
    return _by_opencv(path, every_band=bands)


def bands_of(path: Path) -> Array:
    """The values of a TIFF that Pillow can't open, like floats in several bands; UnidentifiedImageError for no TIFF."""
    with path.open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*"):
            raise UnidentifiedImageError("it is no image")
    return _by_opencv(path, every_band=True)


def _by_opencv(path: Path, *, every_band: bool) -> Array:
    import cv2

    # Else OpenCV writes warnings about files to the terminal.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    # IMREAD_UNCHANGED ignores the EXIF orientation.
    how = cv2.IMREAD_UNCHANGED if every_band else cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    found = cv2.imdecode(np.fromfile(path, np.uint8), how)
    if found is None:
        raise UnidentifiedImageError("OpenCV can't decode it")
    # OpenCV has blue first.
    return found if found.ndim == 2 else found[:, :, [2, 1, 0, *range(3, found.shape[2])]]


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in mode RGB; transparency is dropped.

    For images deeper than the training images: 16-bit grey keeps its upper eight bits, where ``convert`` would clip.
    Grey of unknown full scale (32-bit, floats) counts as 0–1, 0–255 or 0–65,535, the first range that holds its values,
    and becomes 0–255; where none does, its own range is stretched to 0–255. NaN is black.
    """
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image) // 256)
    if image.mode in ("I", "F"):
        return _grey(_to_bytes(np.asarray(image, dtype=np.float64)))
    if image.mode == "P" and "transparency" in image.info:
        # Converting straight to RGB, Pillow would warn and, for some palettes, mix up colours.
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


def files_of(path: Path, read: Read | Channels) -> list[Path]:
    """All files that make up the image of this path. Raises DeclarationError for a path that is no channel's."""
    if not isinstance(read, Channels):
        return [path]
    for suffix in read.suffixes:
        if path.name.endswith(suffix):
            return [path.with_name(path.name.removesuffix(suffix) + other) for other in read.suffixes]
    raise DeclarationError(
        f"Competition: `read` has the channels {', '.join(read.suffixes)}, but {path} ends in none of them; let "
        "`labels` and `test` name the file of one channel, by its suffix."
    )


def array_of(path: Path, read: Read | Channels) -> Array:
    """The numbers in a file: (H, W) for grey, or (H, W, C).

    Raises what the reader raises, and DeclarationError for any other array or for a reader that isn't installed.
    """
    if isinstance(read, Channels):
        found = np.dstack([_one_channel(file, read.read) for file in files_of(path, read)])
    else:
        found = np.asarray(NAMED[read](path) if isinstance(read, str) else read(path))
    shape = found.shape
    channels_first = len(shape) == 3 and shape[0] < FEWEST_ROWS < shape[2]
    if len(shape) not in (2, 3) or 0 in shape or found.dtype.kind not in "buif" or channels_first:
        raise DeclarationError(
            f"Competition: `read` gave an array of {found.dtype} of shape {shape} for {path}, but it should be numbers "
            f"of shape (height, width) or (height, width, channels)."
        )
    return found


def _one_channel(file: Path, read: Read) -> Array:
    found = array_of(file, read)
    if found.ndim == 3 and found.dtype == np.uint8 and read == "images":
        return np.asarray(Image.fromarray(found).convert("L"))
    return found if found.ndim == 2 else found.mean(axis=2)


def _image(path: Path) -> Array:
    with suppress(UnidentifiedImageError), opened(path) as image:
        return deep_values(image, path) if is_deep(image) else np.asarray(to_rgb(turned_upright(image)))
    return bands_of(path)


def _dicom(path: Path) -> Array:
    """The bytes that a viewer shows, where the file says how; else its values, rescaled by the modality LUT."""
    try:
        import pydicom
        from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
    except ImportError:
        raise DeclarationError(
            "Competition: `read` is 'dicom', but pydicom isn't installed; run pip install 'comp-starter[dicom]'."
        ) from None
    file = pydicom.dcmread(path)
    stored = file.pixel_array
    colours = file.get("SamplesPerPixel", 1) > 1
    if int(file.get("NumberOfFrames", 1) or 1) > 1:
        stored = stored[0]
    if colours:
        return stored  # pydicom converts all colour spaces to RGB
    inverted = file.PhotometricInterpretation == "MONOCHROME1"
    if file.get("VOILUTSequence"):
        ends = np.array([0, 2 ** file.VOILUTSequence[0].LUTDescriptor[2] - 1])
    elif file.get("WindowCenter") not in (None, ""):
        # Values far outside of every window give its ends.
        ends = apply_voi_lut(np.array([-1e9, 1e9]), file)
    else:
        least = -(2 ** (file.BitsStored - 1)) if file.PixelRepresentation else 0
        return apply_modality_lut(2 * least + 2**file.BitsStored - 1 - stored if inverted else stored, file)
    shown: Array = (apply_voi_lut(apply_modality_lut(stored, file), file) - ends[0]) * (255 / (ends[1] - ends[0]))
    shown = shown.clip(0, 255).round().astype(np.uint8)
    return 255 - shown if inverted else shown


NAMED: dict[str, Callable[[Path], Array]] = {
    "images": _image,
    "npy": lambda path: np.load(path, allow_pickle=False),
    "dicom": _dicom,
}
