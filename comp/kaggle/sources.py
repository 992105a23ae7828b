"""Where a competition's files are: at Kaggle, at one on this machine or started for it, or mounted in a notebook."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from comp.declare.competition import Competition, find_competitions, load_competition
from comp.errors import CompError
from comp.kaggle.client import Kaggle, connect
from comp.kaggle.connection import endpoint_at, endpoint_from_environment
from comp.kaggle.failures import Say
from comp.local_kaggle.bundled import BUNDLED
from comp.local_kaggle.grading import Grader
from comp.runs import Workspace
from comp.submission.submission import grader

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
    return _bundled(competition) is not None or endpoint_from_environment().is_local


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


class DeclaredGraders(Mapping[str, Grader]):
    """How the local Kaggle grades, by slug: of all that is declared in some folders whenever it is asked for.

    A declaration that can't be loaded, because it is just being written, is left out.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders

    def __getitem__(self, slug: str) -> Grader:
        return self._found()[slug]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def _found(self) -> Mapping[str, Grader]:
        declared = []
        for declaration in find_competitions(*self.folders).values():
            with suppress(CompError):
                declared.append(load_competition(declaration))
        return graders(declared)


def graders(competitions: Iterable[Competition]) -> Mapping[str, Grader]:
    """How the local Kaggle grades each competition, by slug."""
    return {
        competition.kaggle: Grader(
            competition.scoring.name,
            competition.scoring.higher_is_better,
            grader(competition),
        )
        for competition in competitions
    }
