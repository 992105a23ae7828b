"""Well-known competitions, started by `comp new` and run with no edit to any file."""

import subprocess
import sys
from pathlib import Path

import pytest

from comp import runner
from comp.console import Console
from comp.declare.competition import load_competition
from comp.local_kaggle.grading import Grader, graders
from comp.local_kaggle.server import running
from comp.runs.resolve import Choices

# What others write is run by tests of what they have: classes, tags or numbers.
RUN = ("dogs-vs-cats", "planet-understanding-the-amazon-from-space", "petfinder-pawpularity-score", "digit-recognizer")
TINY = ("pretrained=False", "stages.size=32", "stages.cycle_length=3", "stages.views=1")


@pytest.fixture
def started(layout, comp, tmp_path, monkeypatch):
    """What `comp new` said and wrote."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    named = {layout.slug: Grader(layout.metric, higher_is_better=True, score=lambda *tables: 0.0)}
    with running(layout.folder.parent, named, tmp_path / "state-of-new") as url, monkeypatch.context() as patch:
        patch.setenv("COMP_KAGGLE_URL", url)
        ended = comp("--competitions", plugins, "new", "mine", "--kaggle", layout.slug)
    assert not ended.status, ended.err
    return ended


def test_a_new_competition_is_run_to_a_graded_submission_without_an_edit(
    layout, started, tmp_path, workspace, monkeypatch
):
    declaration = Path(started.last_line)
    assert declaration == tmp_path / "plugins" / "mine" / "competition.py"
    text = declaration.read_text()
    for part in layout.expects:
        assert part in text, text
    assert "? check" not in started.out
    for command in (("check",), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", Path(__file__).parents[2] / "pyproject.toml"]
        ended = subprocess.run([*ruff, declaration.parent], check=False, capture_output=True, text=True)
        assert not ended.returncode, ended.stdout + text
    competition = load_competition(declaration)
    if layout.slug not in RUN:
        assert "labels, images and sample submission fit together" in started.out
        return
    served = layout.folder.parent
    with running(served, graders([competition]), tmp_path / "state") as url, monkeypatch.context() as patch:
        patch.setenv("COMP_KAGGLE_URL", url)
        run = runner.run(competition, Choices("quick", "test_resnet", TINY), workspace, Console(), submitting=True)
    assert run.record("submitted")["status"] == "complete"
    assert run.record("submitted")["score"] is not None
