"""Find a competition's files: at Kaggle, at a local Kaggle (started if needed), or mounted in a notebook."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from comp.declare.competition import Competition
from comp.declare.own_images import ANSWERS as OF_HIDDEN
from comp.declare.own_images import PREPARED, HideShare
from comp.files import replacing
from comp.kaggle.client import Kaggle, connect
from comp.kaggle.connection import endpoint_at
from comp.kaggle.failures import Say
from comp.local_kaggle.bundled import BUNDLED
from comp.local_kaggle.catalog import ANSWERS
from comp.local_kaggle.grading import graders
from comp.runs import Workspace

# kagglehub's variables: the key is set in a notebook of Kaggle or Colab, the value's holds the folder of its data.
NOTEBOOKS = {
    "KAGGLE_KERNEL_RUN_TYPE": "KAGGLE_CACHE_MOUNT_FOLDER",
    "COLAB_RELEASE_TAG": "COLAB_CACHE_MOUNT_FOLDER",
}
USUAL_ROOT = "/kaggle/input"


@contextmanager
def kaggle_of(competition: Competition, workspace: Workspace, say: Say) -> Iterator[Callable[[], Kaggle]]:
    """A function that connects to the competition's Kaggle; valid inside the block.

    A local Kaggle is started for competitions that only it has: the demo, made from scikit-learn's digits, and those
    on the user's own images with a hidden part, for which it only grades.
    """
    build = _bundled(competition, workspace)
    if build is None:
        yield lambda: connect(say=say)
        return
    # Imported here: it is slow, and not needed for the real Kaggle.
    from comp.local_kaggle.server import running

    place = workspace.cache / "local-kaggle"
    build(place / "files", competition.kaggle)
    with running(place / "files", graders([competition]), place / "state") as url:
        yield lambda: connect(url, say)


def is_here(competition: Competition, workspace: Workspace) -> bool:
    """Whether the competition's Kaggle is one on this machine."""
    return _bundled(competition, workspace) is not None or endpoint_at().is_local


def _bundled(competition: Competition, workspace: Workspace) -> Callable[[Path, str], None] | None:
    """The function that writes the competition's files and answers for the local Kaggle; None if none is started."""
    if os.environ.get("COMP_KAGGLE_URL"):
        return None
    if not isinstance(competition.prepare, HideShare):
        return BUNDLED.get(competition.kaggle)
    answers = workspace.data(competition.name) / PREPARED / OF_HIDDEN

    def graded_only(folder: Path, slug: str) -> None:
        (folder / slug).mkdir(parents=True, exist_ok=True)
        (folder / ANSWERS).mkdir(exist_ok=True)
        if answers.is_file():
            with replacing(folder / ANSWERS / f"{slug}.csv") as unfinished:
                shutil.copyfile(answers, unfinished)

    return graded_only


def mount_of(source: str) -> Path | None:
    """The folder where a competition (slug) or data set (``owner/name``) is mounted; None where it isn't.

    Always None outside of a notebook of Kaggle or Colab, and where ``COMP_KAGGLE_URL`` is set.
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
        # kagglehub's complete downloads, the latest version first.
        place = Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser() / kind / source
        if not owner and place.with_name(f"{name}.complete").is_file():
            yield place
        whole = [path.stem for path in place.glob("*.complete") if path.stem.isdecimal()]
        yield from (place / "versions" / version for version in sorted(whole, key=int, reverse=True))
