import shutil

import pytest

from benchmarks.starting import start
from comp.errors import CompError

pytestmark = pytest.mark.full


def test_a_training_is_timed_until_its_first_step_and_leaves_no_run(shades, workspace):
    shutil.copytree(shades.files, workspace.data("shades"))
    workspace.cache.mkdir()
    found = start("--competitions", str(shades.plugins), "train", "shades", "--set", "stages.cycle_length=5000")
    assert found.processor > 0
    assert found.seconds > 0
    assert not workspace.runs.exists()
    assert list(workspace.cache.glob("data-check/*"))


def test_a_command_that_does_not_train_is_timed_until_it_ends_and_one_that_fails_is_not_timed(workspace):
    assert start("--help").seconds > 0
    with pytest.raises(CompError, match="ended without a step: Error: There is no competition 'nothing'"):
        start("train", "nothing")
