"""What each image file is, found by opening it once."""

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
from comp.declare.brought import key_of, short_name
from comp.declare.reading import Channels, Read
from comp.errors import DeclarationError
from comp.files import source_digest

# The side of a thumbnail in pixels, and one in which nothing is to be seen, nor compared.
THUMBNAIL = 16
BLANK = bytes(THUMBNAIL**2)
# Grey levels between the darkest and the lightest part of an image in which nothing is to be seen, as in a blank page.
FLAT = 2


class FileFacts(NamedTuple):
    """What was found of one file.

    problem: why it can't be read as an image, in a word or two; empty where it can.
    detail: what the decoder said of it.
    format, mode: as Pillow names them, before anything is converted; of other files the reader and the kind of numbers.
    width, height: in pixels, upright. channels, low, high: as in `comp.data.reading.Depth`, of this file.
    sixteen_bit: whether its components have sixteen bits. alpha: whether it has transparency.
    orientation: EXIF's, 1 where there is none. animated: whether it has more frames than the first.
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


# What is odd about images that are read all the same, and what becomes of them.
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
# Files that a thread opens before it hands them over: with small images threads would wait for each other else.
TOGETHER = 8
EXTREME_ASPECT = 4
TINY = 16
HUGE = 89_478_485


def judged_by(read: Read | Channels, beside: str = "") -> bytes:
    """What the facts of a file follow from beside its bytes; another decoder may read what this one can't.

    beside: a digest of the other files that ``read`` may use.
    """
    source = source_digest("comp.data.file_facts", "comp.data.reading", "comp.data.readers")
    return f"{source}, {json.dumps(key_of(read))}, {versions_of(DECODERS)}, {beside}".encode()


def oddities(found: pd.DataFrame) -> npt.NDArray[np.object_]:
    """The names of its `ODDITIES`, a tuple (N,), for each file: a row each with the columns of `FileFacts`.

    An aspect is extreme where one side is more than EXTREME_ASPECT times the other, an image tiny with a side of fewer
    than TINY pixels, and huge with more than HUGE: Pillow warns of a decompression bomb then, and with twice as many it
    decodes nothing. A file that can't be read has none. Files with the same oddities share one tuple.
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
    """What each of these files is, in their order; several are opened at once."""
    remaining = iter(paths)
    groups = iter(lambda: tuple(islice(remaining, TOGETHER)), ())
    for found in in_threads(lambda group: [facts_of(path, read) for path in group], groups):
        yield from found


def facts_of(path: Path, read: Read | Channels = "images") -> FileFacts:
    """What a file is; nothing that is wrong with it is raised, but DeclarationError for a reader that is wrong.

    All of it is decoded, as the end may be missing, but a JPEG at its smallest scale, which spares most of the work.
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
        # Pillow turns a TIFF upright as it decodes it; of other formats some tell their EXIF only then.
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
    """THUMBNAIL x THUMBNAIL greys from 0, the darkest, to 255, the lightest; BLANK where they hardly differ."""
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
        # A photograph with its preview behind it has a second picture, but no second moment.
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:
        return True
