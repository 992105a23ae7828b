import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.declare.competition import REPOSITORY_COMPETITIONS, Competition, competition_named
from comp.local_kaggle.grading import graders
from comp.local_kaggle.server import running
from comp.runs import Run, Workspace
from comp.runs.choices import Choices

SHARED = Path(__file__).parents[2].parent / "shared"
BACKBONE = f"local-dir:{SHARED / 'weights' / 'mobilenetv2_100.tf2_in1k'}"
# Settings that make a quick recipe still quicker.
QUICKER = {
    "dogs-vs-cats": ("stages.size=96", "tta=none"),
    "dog-breeds": ("stages.size=128",),
    "planet": ("stages.size=64", "stages.1.cycle_length=12", "stages.2.views=2", "stages.2.cycle_length=4", "tta=none"),
}


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook, too
def pytest_collection_modifyitems(items):
    """Keep each competition's tests in one process, so that they share one trained run."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.callspec.params["name"]))


@dataclass(frozen=True)
class Finished:
    """A trained and submitted run of a competition, and its workspace."""

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

    def predictions(self, part) -> pd.DataFrame:
        return pd.read_parquet(self.run.predictions(part)).set_index("id")


@pytest.fixture(scope="session")
def finish(tmp_path_factory):
    """Runs a competition's quick recipe once, with `QUICKER` settings, and submits it."""
    for place in (SHARED / "data", SHARED / "weights"):
        if not place.is_dir():
            pytest.skip(f"the real images and weights are not here ({place})")
    competitions = {name: competition_named(name, REPOSITORY_COMPETITIONS) for name in QUICKER}
    with running(SHARED / "data", graders([*competitions.values()]), tmp_path_factory.mktemp("state")) as url:

        @cache
        def run(name):
            workspace = Workspace(tmp_path_factory.mktemp(name))
            choices = Choices("quick", BACKBONE, QUICKER[name])
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("COMP_KAGGLE_URL", url)
                trained = runner.run(competitions[name], choices, workspace, Console(), submitting=True)
            return Finished(competitions[name], trained, workspace)

        yield run


@pytest.fixture
def finished(finish, name, request):
    """The run of the competition ``name``, by which tests are parametrized."""
    assert "PYTEST_XDIST_WORKER" not in os.environ or request.node.nodeid.endswith(f"@{name}"), "no groups"
    return finish(name)
