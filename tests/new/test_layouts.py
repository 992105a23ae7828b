"""Well-known competitions, started by `comp new` and run with no edit to any file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from comp import runner
from comp.console import Console
from comp.declare.competition import load_competition
from comp.local_kaggle.grading import Grader, graders
from comp.local_kaggle.server import running
from comp.runs.choices import Choices
from tests.new.conftest import LAYOUTS

# Other kinds of submissions are run by the tests of classes, numbers and pixels.
RUN = ("planet-understanding-the-amazon-from-space",)
TINY = ("pretrained=False", "stages.size=32", "stages.cycle_length=1", "stages.views=1")


@pytest.mark.parametrize("slug", LAYOUTS)
def test_a_new_competition_is_run_to_a_graded_submission_without_an_edit(
    slug, lay_out, comp, tmp_path, workspace, monkeypatch
):
    served, metric = lay_out(slug).parent, LAYOUTS[slug].kind.metric
    (tmp_path / "plugins").mkdir()
    named = {slug: Grader(metric, higher_is_better=True, score=lambda *tables: 0.0)}
    with running(served, named, tmp_path / "state-of-new") as url, monkeypatch.context() as patch:
        patch.setenv("COMP_KAGGLE_URL", url)
        started = comp("--competitions", tmp_path / "plugins", "new", "mine", "--kaggle", slug)
    assert not started.status, started.err
    declaration = Path(started.last_line)
    assert declaration == tmp_path / "plugins" / "mine" / "competition.py"
    text = declaration.read_text()
    for part in LAYOUTS[slug].expects:
        assert part in text, text
    assert "? check" not in started.out
    if slug not in RUN:
        assert re.search("labels, images and sample submission fit together|are prepared from the tables", started.out)
        return
    for command in (("check",), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", Path(__file__).parents[2] / "pyproject.toml"]
        ended = subprocess.run([*ruff, declaration.parent], check=False, capture_output=True, text=True)
        assert not ended.returncode, ended.stdout + text
    competition = load_competition(declaration)
    with running(served, graders([competition]), tmp_path / "state") as url, monkeypatch.context() as patch:
        patch.setenv("COMP_KAGGLE_URL", url)
        run = runner.run(competition, Choices("quick", "test_resnet", TINY), workspace, Console(), submitting=True)
    assert run.record("submitted")["status"] == "complete"
    assert run.record("submitted")["score"] is not None
