"""The facts about each image file, found by opening it once."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import ExifTags, Image, UnidentifiedImageError

from comp.data.readers import (
    DECODERS,
    Array,
    array_of,
    bands_of,
    deep_values,
    files_of,
    has_16_bits,
    is_deep,
    opened,
    to_rgb,
    turned_upright,
    versions_of,
)
from comp.data.reading import Depth, as_bytes, channels_in, in_threads, range_of
from comp.declare.custom import key_of, short_name
from comp.declare.reading import Channels, Read
from comp.errors import DeclarationError
from comp.files import source_digest

# The side of a thumbnail in pixels, and the thumbnail of an image without contrast, which is compared with no other.
THUMBNAIL = 16
BLANK = bytes(THUMBNAIL**2)
# An image is blank if its darkest and its lightest part differ by fewer grey levels.
FLAT = 2


class FileFacts(NamedTuple):
    """The facts about one file.

    problem: why it can't be read as an image, in a word or two; empty where it can.
    detail: the decoder's message about the problem.
    format, mode: Pillow's names, before any conversion; for other files, the reader and the type of numbers.
    width, height: in pixels, upright. channels, low, high: as in `comp.data.reading.Depth`, of this file.
    sixteen_bit: whether its components have sixteen bits. alpha: whether it has transparency.
    orientation: EXIF's, 1 where there is none. animated: whether it has several frames.
    content: a digest of the file's bytes, in hexadecimal; empty where they could not be read.
    thumbnail: THUMBNAIL rows of THUMBNAIL grey bytes; BLANK where there is a problem.
    """

    problem: str = ""
    detail: str = ""
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    sixteen_bit: bool = False
    alpha: bool = False
    orientation: int = 1
    animated: bool = False
    content: str = ""
    thumbnail: bytes = BLANK
    channels: int = 3
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


# Oddities of images that are read all the same, and what is done with them.
ODDITIES = {
    "four components": "converted to RGB",
    "grey": "given three equal components",
    "palette": "converted to RGB",
    "alpha": "transparency left out",
    "16 bits": "scaled by what the training images hold",
    "EXIF-rotated": "turned upright",
    "animated": "the first frame taken",
    "extreme aspect": "seen in the middle only, where one view is taken",
    "tiny": "enlarged",
    "huge": "decoded all the same",
}
# Files that a thread opens before it hands over: with single small images, threads would wait for each other.
TOGETHER = 8
EXTREME_ASPECT = 4
TINY = 16
HUGE = 89_478_485


def judged_by(read: Read | Channels, beside: str = "") -> bytes:
    """Everything that a file's facts depend on besides its bytes, such as the version of the decoder.

    beside: a digest of the other files that ``read`` may use.
    """
    source = source_digest("comp.data.file_facts", "comp.data.reading", "comp.data.readers")
    return f"{source}, {json.dumps(key_of(read))}, {versions_of(DECODERS)}, {beside}".encode()


def oddities(found: pd.DataFrame) -> npt.NDArray[np.object_]:
    """The names of each file's `ODDITIES`, an array (N,) of tuples.

    found: a row per file with the columns of `FileFacts`. An aspect is extreme where one side is more than
    EXTREME_ASPECT times the other. An image is tiny with a side of fewer than TINY pixels, and huge with more than HUGE
    pixels: Pillow then warns of a decompression bomb, and decodes no image with twice as many. A file that can't be
    read has no oddities. Files with the same oddities share one tuple.
    """
    shorter, longer = np.sort(found[["width", "height"]].to_numpy(), axis=1).T
    holds = (
        found["mode"] == "CMYK",
        found["mode"].str.match("[1LIF](?!AB)"),
        found["mode"].isin(("P", "PA")),
        found["alpha"],
        found["sixteen_bit"],
        found["orientation"] > 1,
        found["animated"],
        longer > EXTREME_ASPECT * shorter,
        shorter < TINY,
        shorter * longer > HUGE,
    )
    bits = sum(np.asarray(is_so, np.int64) << bit for bit, is_so in enumerate(holds))
    codes = np.where(found["problem"] == "", bits, 0)
    names = {code: tuple(name for bit, name in enumerate(ODDITIES) if code >> bit & 1) for code in set(codes.tolist())}
    return pd.Series(codes).map(names).to_numpy(object)


def facts_of_each(paths: Iterable[Path], read: Read | Channels = "images") -> Iterator[FileFacts]:
    """The facts about each of these files, in their order; several are opened at once."""
    remaining = iter(paths)
    groups = iter(lambda: tuple(islice(remaining, TOGETHER)), ())
    for found in in_threads(lambda group: [facts_of(path, read) for path in group], groups):
        yield from found


def facts_of(path: Path, read: Read | Channels = "images") -> FileFacts:
    """The facts about a file; a problem with it is a fact, but a wrong reader raises DeclarationError.

    The whole file is decoded, as its end may be missing; a JPEG at its smallest scale, which saves most of the work.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in files_of(path, read):
        try:
            mode = part.stat().st_mode
            if not S_ISREG(mode):
                return FileFacts("a folder" if S_ISDIR(mode) else "not a file")
            with part.open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
                if not file.tell():
                    return FileFacts("empty", content=digest.hexdigest())
        except FileNotFoundError:
            return FileFacts("a broken link" if part.is_symlink() else "missing", str(part) if part != path else "")
        except OSError as error:
            return FileFacts("can't be opened", error.strerror or str(error))
    content = digest.hexdigest()
    try:
        return (
            _decoded(path, content) if read == "images" else _of_array(array_of(path, read), short_name(read), content)
        )
    except DeclarationError:
        raise
    except UnidentifiedImageError:
        return FileFacts("not an image", content=content)
    except Image.DecompressionBombError as error:
        return FileFacts("too large", str(error), content=content)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes Pillow's decoders raise nearly anything
        return FileFacts("truncated" if "truncat" in str(error).lower() else "damaged", str(error), content=content)


def _decoded(path: Path, content: str) -> FileFacts:
    with suppress(UnidentifiedImageError), opened(path) as image:
        width, height = image.size
        format_, mode = image.format or "", image.mode
        deep, sixteen_bit = is_deep(image), has_16_bits(image)
        # Pillow turns a TIFF upright when it decodes it; some other formats have their EXIF only after decoding.
        orientation = _orientation(image) if format_ == "TIFF" else 1
        image.draft("L", (2 * THUMBNAIL, 2 * THUMBNAIL))
        image.load()
        if format_ != "TIFF":
            orientation = _orientation(image)
            width, height = (height, width) if orientation >= 5 else (width, height)
        values = deep_values(image, path) if deep else None
        of_values = FileFacts() if values is None else _of_array(values, format_, content)
        return of_values._replace(
            format=format_,
            mode=mode,
            width=width,
            height=height,
            sixteen_bit=sixteen_bit,
            alpha=mode.endswith(("A", "a")) or "transparency" in image.info,
            orientation=orientation,
            animated=_is_animated(image),
            content=content,
            thumbnail=thumbnail(to_rgb(turned_upright(image))) if values is None else of_values.thumbnail,
        )
    return _of_array(bands_of(path), "TIFF", content)


def _of_array(array: Array, format_: str, content: str) -> FileFacts:
    depth = Depth(channels_in(array), *range_of(array))
    grey = as_bytes(array, depth).reshape(*array.shape[:2], -1).mean(axis=2).round().astype(np.uint8)
    return FileFacts(
        format=format_,
        mode=f"{array.dtype}",
        width=array.shape[1],
        height=array.shape[0],
        content=content,
        thumbnail=thumbnail(Image.fromarray(grey)),
        channels=depth.channels,
        low=depth.low,
        high=depth.high,
    )


def thumbnail(image: Image.Image) -> bytes:
    """THUMBNAIL x THUMBNAIL greys, stretched from 0 to 255; BLANK where they hardly differ."""
    grey = np.asarray(image.convert("L").convert("F").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    contrast = grey.max() - grey.min()
    if contrast < FLAT:
        return BLANK
    return ((grey - grey.min()) * (255 / contrast)).round().astype(np.uint8).tobytes()


def _orientation(image: Image.Image) -> int:
    with suppress(Exception):
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(found) if found in range(2, 9) else 1
    return 1


def _is_animated(image: Image.Image) -> bool:
    try:
        # A photograph with an embedded preview (MPO) has two pictures, but is no animation.
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:
        return True
