"""A run that is killed with SIGKILL at any moment and restarted gives the same bytes as an undisturbed run."""

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.recipe import Stage
from comp.runs.choices import Choices
from tests.reliability.kills import Workload, kill_at_random

SEED = 4
RUNS = 100


@pytest.fixture
def serving(forked, monkeypatch, tmp_path):
    """Starts a local Kaggle in another process, and sets its address for the run."""

    def start(folder, *options):
        server = forked(*options, "serve", folder, "--port", 0, COMP_HOME=str(tmp_path / "kaggle"))
        monkeypatch.setenv("COMP_KAGGLE_URL", server.says("export COMP_KAGGLE_URL="))

    return start


@pytest.fixture
def colours(shades, serving, monkeypatch):
    """All steps on a few small images: a head on cached features, then the whole network.

    Charts are not drawn: they would take more than half of the time, and most of the kills.
    """

    def undrawn(figure, file, **options):
        file.write('<svg viewBox="0 0 1 1"></svg>' if options["format"] == "svg" else b"")

    monkeypatch.setattr(Figure, "savefig", undrawn)
    competition = shades.competition
    stages = [
        Stage(size=16, train="head", cached=True, cycle_length=2),
        Stage(size=16, train="all", cycles=2, learning_rate=1e-3),
    ]
    recipe = replace(competition.recipes["standard"], stages=stages, dropout=0.3, ema=0.9, mixup=0.2, snapshots=2)
    serving(shades.served, "--competitions", shades.plugins)
    return Workload(replace(competition, recipes={"standard": recipe}), Choices())


@pytest.fixture
def digits():
    """All steps, with a Kaggle that the run itself starts: two stages, a network from scratch, on images."""
    settings = ("stages.cycles=1", "stages.cycle_length=1", "stages.size=8", "backbone=test_resnet", "tta_views=1")
    return Workload(competition_named("digits", REPOSITORY_COMPETITIONS), Choices("quick", settings=settings))


def report(counts):
    print(counts, flush=True)  # noqa: T201 - it takes an hour


@pytest.mark.long
def test_a_run_that_is_killed_ends_with_the_same_bytes(colours, tmp_path):
    counts = kill_at_random(colours, tmp_path / "runs", runs=2, seed=SEED)
    assert counts.identical == counts.runs == 2, counts
    assert counts.kills >= 2


@pytest.mark.full
@pytest.mark.timeout(0)
@pytest.mark.parametrize("workload", ["digits", "colours"])
def test_a_hundred_runs_that_are_killed_end_with_the_same_bytes(workload, request, tmp_path):
    counts = kill_at_random(request.getfixturevalue(workload), tmp_path / "runs", RUNS, SEED, report)
    assert counts.identical == counts.runs == RUNS, counts
