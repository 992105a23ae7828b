"""Where a competition's files are: at Kaggle, at one on this machine or started for it, or mounted in a notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from comp.declare.competition import Competition
from comp.kaggle.client import Kaggle, connect
from comp.kaggle.connection import endpoint_at
from comp.kaggle.failures import Say
from comp.local_kaggle.bundled import BUNDLED
from comp.local_kaggle.grading import graders
from comp.runs import Workspace

# The names are kagglehub's: each says that one is in such a notebook, and where its data sources are mounted.
NOTEBOOKS = {
    "KAGGLE_KERNEL_RUN_TYPE": "KAGGLE_CACHE_MOUNT_FOLDER",
    "COLAB_RELEASE_TAG": "COLAB_CACHE_MOUNT_FOLDER",
}
USUAL_ROOT = "/kaggle/input"


@contextmanager
def kaggle_of(competition: Competition, workspace: Workspace, say: Say) -> Iterator[Callable[[], Kaggle]]:
    """A function that connects to the competition's Kaggle, which is there for as long as the block lasts.

    What is waited for is said to ``say``.

    A competition that only the local Kaggle has (the demo's) is made from what is installed and served meanwhile.
    """
    if workspace.kaggle is not None:
        only = workspace.kaggle
        yield lambda: connect(only, say)
        return
    build = _bundled(competition)
    if build is None:
        yield lambda: connect(say=say)
        return
    # Only the local Kaggle computes; a download from elsewhere starts at once.
    from comp.local_kaggle.server import running

    place = workspace.cache / "local-kaggle"
    build(place / "files", competition.kaggle)
    with running(place / "files", graders([competition]), place / "state") as url:
        yield lambda: connect(url, say)


def is_here(competition: Competition, workspace: Workspace) -> bool:
    """Whether the competition's Kaggle is one on this machine."""
    if workspace.kaggle is not None:
        return endpoint_at(workspace.kaggle).is_local
    return _bundled(competition) is not None or endpoint_at().is_local


def _bundled(competition: Competition) -> Callable[[Path, str], None] | None:
    return None if os.environ.get("COMP_KAGGLE_URL") else BUNDLED.get(competition.kaggle)


def mount_of(source: str) -> Path | None:
    """The folder of a competition, by its slug, or of a data set, ``owner/name``; None where there is none.

    Outside of such a notebook there is none, nor where ``COMP_KAGGLE_URL`` names the Kaggle to ask.
    """
    if os.environ.get("COMP_KAGGLE_URL"):
        return None
    return next((folder for folder in _candidates(source) if folder.is_dir() and any(folder.iterdir())), None)


def _candidates(source: str) -> Iterator[Path]:
    owner, _, name = source.rpartition("/")
    kind = "datasets" if owner else "competitions"
    for inside, where in NOTEBOOKS.items():
        if inside in os.environ:
            root = Path(os.environ.get(where) or USUAL_ROOT)
            yield root / kind / source
            yield root / name
    if "COLAB_RELEASE_TAG" in os.environ:
        # Where kagglehub keeps what it downloaded whole, the latest version first.
        place = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser() / kind / source
        if not owner and place.with_name(f"{name}.complete").is_file():
            yield place
        whole = [path.stem for path in place.glob("*.complete") if path.stem.isdecimal()]
        yield from (place / "versions" / version for version in sorted(whole, key=int, reverse=True))
