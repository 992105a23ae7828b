"""What a Kaggle notebook or Colab has of a competition or data set without a download."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The names are kagglehub's: each says that one is in such a notebook, and where its data sources are mounted.
NOTEBOOKS = {
    "KAGGLE_KERNEL_RUN_TYPE": "KAGGLE_CACHE_MOUNT_FOLDER",
    "COLAB_RELEASE_TAG": "COLAB_CACHE_MOUNT_FOLDER",
}
USUAL_ROOT = "/kaggle/input"


def mount_of(source: str) -> Path | None:
    """The folder of a competition, by its slug, or of a data set, ``owner/name``; None where there is none.

    Outside of such a notebook there is none, nor where ``COMP_KAGGLE_URL`` names the Kaggle to ask.
    """
    if os.environ.get("COMP_KAGGLE_URL"):
        return None
    return next((folder for folder in _candidates(source) if folder.is_dir() and any(folder.iterdir())), None)


def _candidates(source: str) -> Iterator[Path]:
    owner, _, name = source.rpartition("/")
    for inside, where in NOTEBOOKS.items():
        if inside in os.environ:
            root = Path(os.environ.get(where) or USUAL_ROOT)
            yield root / ("datasets" if owner else "competitions") / source
            yield root / name
    if "COLAB_RELEASE_TAG" in os.environ:
        yield from _downloaded_by_kagglehub(owner, name)


def _downloaded_by_kagglehub(owner: str, name: str) -> Iterator[Path]:
    """Where kagglehub keeps what it downloaded whole, the latest version first."""
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser()
    if not owner:
        if (cache / "competitions" / f"{name}.complete").is_file():
            yield cache / "competitions" / name
        return
    place = cache / "datasets" / owner / name
    marks = (re.fullmatch(r"(\d+)\.complete", path.name) for path in place.glob("*.complete"))
    for version in sorted((int(mark[1]) for mark in marks if mark), reverse=True):
        yield place / "versions" / str(version)
