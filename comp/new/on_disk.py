"""A look at files that are here."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from PIL import Image

from comp.declare.labels import read_csv
from comp.new.look import Look, is_image, is_table

if TYPE_CHECKING:
    from comp.kaggle.client import CompetitionFacts

LARGEST_TABLE = 64 << 20  # bytes; labels are far smaller
MOST_OPENED = 20  # images, of which one that isn't broken tells the size


def look_at_folder(folder: Path, facts: CompetitionFacts | None = None) -> Look:
    """What there is on disk, unpacked."""
    files, folders = [], []
    for base, inside, names in os.walk(folder, followlinks=True):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        place = Path(base).relative_to(folder)
        folders += [(place / name).as_posix() for name in inside]
        files += [(place / name).as_posix() for name in sorted(names) if not name.startswith(".")]
    tables = {}
    for file in files:
        if is_table(PurePosixPath(file)) and (folder / file).stat().st_size <= LARGEST_TABLE:
            tables[file] = read_csv(folder / file)
    images = [folder / file for file in files if is_image(PurePosixPath(file))][:MOST_OPENED]
    pixels = next((size for image in images if (size := pixels_of(image))), None)
    return Look(files, tables, folders, True, pixels, **({} if facts is None else asdict(facts)))


def pixels_of(image: Path) -> tuple[int, int] | None:
    """Width and height, if it is an image that can be opened."""
    try:
        with Image.open(image) as opened:
            return opened.size
    except (OSError, Image.DecompressionBombError):
        return None
