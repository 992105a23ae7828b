"""Tiny competitions, each for one choice or custom part of a declaration: from files to a graded submission."""

import shutil
from dataclasses import dataclass
from functools import partial

import pytest

from comp import runner
from comp.console import Console
from comp.runs import Run, Workspace
from comp.runs.choices import Choices
from tests.conftest import declaring
from tests.processes import killed_after, left_over, results


def each(kinds, often):
    """Parameters of all kinds; `make test` runs those in `often`, `make test-reliability` the others."""
    each = ((kind, kind if isinstance(kind, tuple) else (kind,)) for kind in kinds)
    return [pytest.param(*values, marks=[] if kind in often else pytest.mark.full) for kind, values in each]


@dataclass(frozen=True)
class Opened:
    """A made competition that was run from its files to the local Kaggle's score."""

    made: object
    workspace: Workspace
    choices: Choices
    run: Run

    @property
    def score(self):
        """The local Kaggle's score, against the hidden answers."""
        return self.run.record("submitted")["score"]

    @property
    def page(self):
        """The text of the report."""
        assert not self.run.has("no-report"), self.run.record("no-report")
        return self.run.report.read_text(encoding="utf-8")

    def resumes(self):
        """Kill the run with SIGKILL halfway and resume it; it must end with the same bytes."""
        again = Workspace(self.workspace.folder.parent / "again")
        shutil.copytree(self.workspace.folder / "data", again.folder / "data")
        halfway = max(1, len((self.run.folder / "history.csv").read_text().splitlines()) // 2)
        work = partial(runner.run, self.made.competition, self.choices, again, Console())
        killed_after(halfway, again.folder.parent / "killed", work)
        resumed = work()
        assert resumed.name == self.run.name
        assert results(resumed) == results(self.run)
        assert left_over(resumed) == []


@pytest.fixture
def opened(serving, workspace):
    """Run a made competition by the real runner, from the local Kaggle's files to its score: `opened(made)`.

    settings: as ``--set`` takes them.
    """

    def start(made, *settings):
        choices = Choices(settings=settings)
        with serving(made):
            run = runner.run(made.competition, choices, workspace, Console(), submitting=True)
        return Opened(made, workspace, choices, run)

    return start


@pytest.fixture
def tiny(make):
    """Start a competition called ``shades`` with these fields and recipe fields: `tiny(FIELDS, RECIPE)`.

    before: the beginning of its declaration. The result writes its files: ``image``, ``text``, and ``answers``, which
    can't be downloaded.
    """
    return lambda fields, recipe, before="": make(declaring(fields, f'tta="none", {recipe}', before=before))
