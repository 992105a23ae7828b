"""Images for tests."""

from io import BytesIO

import numpy as np
from PIL import Image


def noise(height=30, width=40, channels=3):
    return np.random.default_rng(0).integers(0, 255, (height, width, channels), dtype=np.uint8)


def picture(seed, size=(96, 72)):
    """A smooth picture of colours, different for each seed."""
    blobs = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(blobs).resize(size, Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    """The bytes of the image's file."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation):
    """EXIF with this orientation, as a camera writes it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
