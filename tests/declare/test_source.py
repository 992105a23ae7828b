import subprocess
import sys
from functools import partial

import pytest

from comp import Recipe
from comp.declare.competition import load_competition
from comp.declare.source import source_of

# The modules' files, below the import folder.
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
    """An import folder that isn't the competition's."""
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
    """The path of a declaration that imports these modules, one of them in a function that nothing calls."""
    imports = "import installed\nfrom common.crops import sides\n\n\ndef read(path):\n    import late\n\n\n"
    source = shades.declaration.read_text().replace("metric=", "read=read, metric=")
    shades.declaration.write_text(imports + source)
    return shades.declaration


def digests(declaration):
    competition = load_competition(declaration)
    assert source_of(competition.read) == competition.source
    return competition.source


def counting(declared, folder, names):
    """The files whose edits change the declaration's source."""
    counted, before = [], digests(declared)
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        with (folder / name).open("a") as file:
            file.write("edited = True\n")
        before, last = digests(declared), before
        counted += [name] if before != last else []
    return counted


def test_the_modules_that_a_declaration_imports_are_of_its_source_and_what_these_import(declared, elsewhere):
    unread = ("unread.py", "site-packages/installed.py")
    assert counting(declared, elsewhere, MODULES) == [name for name in MODULES if name not in unread]


def test_all_files_in_a_competition_s_folder_are_of_its_source_but_those_that_nothing_reads(declared, monkeypatch):
    monkeypatch.setenv("COMP_HOME", str(declared.parent))
    (declared.parent / "broken.py").write_text("def (")
    read = ["boxes.csv", "more/weights.safetensors", "broken.py"]
    unread = ["README.md", "explore.ipynb", ".notes/a.py", "__pycache__/a.pyc", "runs/config.json"]
    assert counting(declared, declared.parent, [*read, *unread]) == read


def test_what_another_competition_s_folder_brings_counts_as_a_whole(declared, elsewhere):
    (elsewhere / "common" / "competition.py").write_text("")
    before = digests(declared)
    (elsewhere / "common" / "table.csv").write_text("1")
    assert digests(declared) != before


def test_what_is_built_in_has_no_source_and_what_stands_in_one_file_has_the_same():
    assert source_of(own) == source_of(digests) != source_of(Recipe) != source_of(partial(subprocess.run)) != ""
    assert source_of(len) == ""
