from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.declare.competition import REPOSITORY_COMPETITIONS, Competition, competition_named, find_competitions
from comp.local_kaggle.grading import graders
from comp.local_kaggle.server import running
from comp.runs import Run, Workspace
from comp.runs.resolve import Choices

SHARED = Path(__file__).parents[2].parent / "shared"
BACKBONE = SHARED / "weights" / "mobilenetv2_100.tf2_in1k"


COMPETITIONS = ("dogs-vs-cats", "dog-breeds", "planet")


def pytest_collection_modifyitems(items):
    """Of several processes each has whole competitions: what one has trained serves all tests of a competition."""
    for item in items:
        given = item.callspec.params.values() if hasattr(item, "callspec") else ()
        asked = {*given, *(name.replace("_", "-") for name in item.fixturenames)}
        item.add_marker(pytest.mark.xdist_group(next((name for name in COMPETITIONS if name in asked), "files")))


@dataclass(frozen=True)
class Finished:
    """A run of a competition that went the whole way, and its workspace."""

    competition: Competition
    run: Run
    workspace: Workspace

    @property
    def data(self) -> Path:
        return self.workspace.data(self.competition.name)

    @property
    def sample(self) -> pd.DataFrame:
        return pd.read_csv(self.data / self.competition.sample_submission, dtype=str)

    @property
    def submission(self) -> pd.DataFrame:
        return pd.read_csv(self.run.submission, dtype={0: str})

    @property
    def scores(self):
        return self.run.record("scores")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Runs a competition's quick recipe once, with settings that make it quicker still, and submits it."""
    for place in (SHARED / "data", BACKBONE):
        if not place.is_dir():
            pytest.skip(f"the real images and weights are not here ({place})")
    done = {}

    def run(name, *settings):
        if name not in done:
            workspace = Workspace(tmp_path_factory.mktemp(name))
            competition = competition_named(name, REPOSITORY_COMPETITIONS)
            choices = Choices("quick", f"local-dir:{BACKBONE}", settings)
            trained = runner.run(competition, choices, workspace, Console(), submitting=True)
            done[name] = Finished(competition, trained, workspace)
        return done[name]

    every = [competition_named(name, REPOSITORY_COMPETITIONS) for name in find_competitions(REPOSITORY_COMPETITIONS)]
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch, running(SHARED / "data", graders(every), state) as url:
        patch.setenv("HOME", str(state))
        patch.setenv("COMP_KAGGLE_URL", url)
        yield run
