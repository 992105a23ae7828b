import shutil
import subprocess
import sys

import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, load_competition
from comp.runs import source
from comp.runs.source import source_digest


@pytest.fixture
def code(tmp_path, monkeypatch):
    """The folder of a package's source that a test may edit."""
    folder = tmp_path / "comp" / "data"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "images.py").write_text("SIZE = 1\n")
    (folder / "tables.py").write_text("ROWS = 1\n")
    monkeypatch.setattr(source, "ROOT", tmp_path)
    source_digest.cache_clear()
    yield folder
    source_digest.cache_clear()


def digest(*modules):
    source_digest.cache_clear()
    return source_digest(*modules)


def test_a_digest_changes_with_the_source_of_what_it_names_alone(code):
    whole, module = digest("comp.data"), digest("comp.data.images")
    (code / "tables.py").write_text("ROWS = 2\n")
    assert digest("comp.data.images") == module
    assert digest("comp.data") != whole
    whole = digest("comp.data")
    (code / "images.py").rename(code / "pictures.py")
    assert digest("comp.data") != whole
    (code / "deeper").mkdir()
    whole = digest("comp.data")
    (code / "deeper" / "more.py").touch()
    assert digest("comp.data") != whole


def test_a_name_that_is_no_module_is_refused():
    with pytest.raises(ModuleNotFoundError, match="pictures"):
        source_digest("comp.data", "comp.data.pictures")


def test_nothing_is_imported_for_a_digest():
    code = "import sys; from comp.runs.source import source_digest; source_digest('comp.training'); print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "comp.training"} & set(imported)


def test_a_competition_knows_the_source_in_its_folder(tmp_path):
    folder = tmp_path / "digits"
    shutil.copytree(REPOSITORY_COMPETITIONS / "digits", folder)
    before = load_competition(folder / "competition.py").source
    (folder / "README.md").write_text("Other words.")
    assert load_competition(folder / "competition.py").source == before
    (folder / "losses.py").write_text("def focal(logits, targets): ...\n")
    assert load_competition(folder / "competition.py").source != before
