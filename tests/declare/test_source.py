import subprocess
import sys
from functools import partial

import pytest

from comp import Recipe
from comp.declare.competition import load_competition
from comp.declare.source import source_of

# Each module's file, below the folder that modules are imported from.
MODULES = {
    "common/__init__.py": "",
    "common/crops.py": "from . import sides\n",
    "common/sides.py": "import common.deep.more\n",
    "common/deep/__init__.py": "",
    "common/deep/more.py": "from ..numbers import SIDE\n",
    "common/numbers.py": "SIDE = 3\n",
    "late.py": "import plain\nfrom space.deeper.net import Net\n",
    "space/deeper/net.py": "Net = None\n",
    "plain.py": "import os, numpy, comp\n",
    "unread.py": "",
    "site-packages/installed.py": "import unread\n",
}


def own(): ...


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder that modules are imported from, which is not the competition's."""
    folder = tmp_path / "elsewhere"
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for place in (folder / "site-packages", folder):
        monkeypatch.syspath_prepend(place)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] in ("common", "installed", "unread")]:
        del sys.modules[name]


@pytest.fixture
def declared(shades, elsewhere):
    """Where a declaration lies that imports such modules, one of them in a function that nothing calls."""
    imports = "import installed\nfrom common.crops import sides\n\n\ndef read(path):\n    import late\n\n\n"
    source = shades.declaration.read_text().replace("metric=", "read=read, metric=")
    shades.declaration.write_text(imports + source)
    return shades.declaration


def digests(declaration):
    competition = load_competition(declaration)
    assert source_of(competition.read) == competition.source
    return competition.source


@pytest.mark.parametrize(
    ("name", "counts"), [(name, name not in ("unread.py", "site-packages/installed.py")) for name in MODULES]
)
def test_the_modules_that_a_declaration_imports_are_of_its_source_and_what_these_import(
    declared, elsewhere, name, counts
):
    before = digests(declared)
    with (elsewhere / name).open("a") as file:
        file.write("edited = True\n")
    assert (digests(declared) != before) is counts


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("boxes.csv", True),
        ("more/weights.safetensors", True),
        ("broken.py", True),
        ("README.md", False),
        ("explore.ipynb", False),
        (".notes/a.py", False),
        ("__pycache__/a.pyc", False),
    ],
)
def test_all_files_in_a_competition_s_folder_are_of_its_source_but_those_that_nothing_reads(declared, name, counts):
    before = digests(declared)
    file = declared.parent / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("def (")
    assert (digests(declared) != before) is counts


def test_a_workspace_in_a_competition_s_folder_is_not_of_its_source(declared, monkeypatch):
    monkeypatch.setenv("COMP_HOME", str(declared.parent))
    before = digests(declared)
    (declared.parent / "runs").mkdir()
    (declared.parent / "runs" / "config.json").write_text("{}")
    assert digests(declared) == before


def test_what_another_competition_s_folder_brings_counts_as_a_whole(declared, elsewhere):
    (elsewhere / "common" / "competition.py").write_text("")
    before = digests(declared)
    (elsewhere / "common" / "table.csv").write_text("1")
    assert digests(declared) != before


def test_what_is_built_in_has_no_source_and_what_stands_in_one_file_has_the_same():
    assert source_of(own) == source_of(digests) != source_of(Recipe) != source_of(partial(subprocess.run)) != ""
    assert source_of(len) == ""
