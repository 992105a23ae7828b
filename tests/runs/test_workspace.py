import pytest

from comp.runs import Workspace


def test_the_home_is_the_folder_that_comp_home_names(monkeypatch, tmp_path):
    monkeypatch.setenv("COMP_HOME", "~/contests")
    assert Workspace.from_environment().folder == (tmp_path.home() / "contests").resolve()


@pytest.mark.parametrize("value", [None, ""])
def test_without_comp_home_the_home_is_the_working_folder(monkeypatch, tmp_path, value):
    monkeypatch.delenv("COMP_HOME")
    if value is not None:
        monkeypatch.setenv("COMP_HOME", value)
    monkeypatch.chdir(tmp_path)
    assert Workspace.from_environment().folder == tmp_path.resolve()
