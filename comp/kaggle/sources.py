"""Which Kaggle a competition is fetched from: the real one, one named by COMP_KAGGLE_URL, or one started for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from comp.declare.competition import find_competitions, load_competition
from comp.errors import CompError
from comp.kaggle.client import Kaggle, connect
from comp.kaggle.endpoint import endpoint_at, endpoint_from_environment
from comp.local_kaggle.bundled import BUNDLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from comp.declare.competition import Competition
    from comp.kaggle.progress import Say
    from comp.local_kaggle.grading import Grader
    from comp.runs import Workspace


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


class DeclaredGraders(Mapping[str, "Grader"]):
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
    from comp.local_kaggle import grading
    from comp.submission.submission import grader

    return {
        competition.kaggle: grading.Grader(
            competition.metric,
            competition.scoring.higher_is_better,
            grader(competition.submission, competition.scoring, competition.target),
        )
        for competition in competitions
    }
