import subprocess
import sys
from pathlib import Path

import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.errors import OverrideError
from comp.runs.resolve import Choices, resolve


def named(name):
    return competition_named(name, REPOSITORY_COMPETITIONS)


def test_an_unknown_recipe_is_told_which_there_are():
    with pytest.raises(OverrideError) as raised:
        resolve(named("planet"), Choices("fast"))
    assert str(raised.value).startswith("planet has no recipe 'fast'; it has quick, standard")


def test_a_local_backbone_is_recorded_with_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, recipe = resolve(named("planet"), Choices(backbone="local-dir:weights/../mine", settings=("stages.size=64",)))
    assert recipe.backbone == f"local-dir:{tmp_path.resolve() / 'mine'}"
    _, recipe = resolve(named("planet"), Choices(settings=("backbone=local-dir:~/mine", "stages.size=64")))
    assert recipe.backbone == f"local-dir:{Path.home().resolve() / 'mine'}"


def test_a_recipe_for_a_machine_without_a_gpu_is_chosen_without_torch_where_there_is_no_device():
    code = (
        "import sys; from comp.runs import resolve; resolve.DEVICES = ();"
        "print(resolve.has_gpu(), 'torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = "False False" if sys.platform == "linux" else "False True"
    assert ended.stdout.split() == expected.split()
