import shutil

import pytest

from tests.cli.spoiling import nothing_half_written


@pytest.fixture
def sentence(comp):
    """Calls a command that must fail, and gives the one sentence that says why."""

    def call(*arguments):
        ended = comp(*arguments)
        assert ended.status == 1
        lines = ended.err.splitlines()
        assert len(lines) == 1, ended.err
        assert lines[0].startswith("Error: ")
        assert lines[0].endswith(".")
        assert "unexpected" not in lines[0]
        assert "Traceback" not in ended.out
        return lines[0].removeprefix("Error: ")

    return call


@pytest.fixture
def on_shades(shades, comp):
    """Calls a command that knows `shades`."""
    return lambda *arguments: comp("--competitions", shades.plugins, *arguments)


@pytest.fixture
def refused(shades, sentence):
    """Calls a command that knows `shades` and must fail; gives its sentence."""
    return lambda *arguments: sentence("--competitions", shades.plugins, *arguments)


@pytest.fixture
def run_shades(shades, serving, refused, workspace):
    """Runs the whole of `shades`, after a test has spoilt something of it, and gives its sentence."""

    def call(*arguments):
        with serving(shades):
            said = refused("run", "shades", *arguments)
        nothing_half_written(workspace.folder)
        return said

    return call


@pytest.fixture
def downloaded(shades, workspace):
    shutil.copytree(shades.files, workspace.data("shades"))
    return shades
