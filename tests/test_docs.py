"""docs/from-python.md, which walks through a session, is run as it stands."""

import ast
import re
import runpy
import shlex
import sys
from pathlib import Path

import nbformat
import pytest

from comp.runs import Run

PAGE = Path(__file__).parent.parent / "docs" / "from-python.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def execute(code, names):
    """Run code like a notebook's cell: the value of its last expression is printed."""
    cell = ast.parse(code)
    last = cell.body.pop() if isinstance(cell.body[-1], ast.Expr) else None
    exec(compile(cell, PAGE.name, "exec"), names)
    if last is not None:
        sys.displayhook(eval(compile(ast.Expression(last.value), PAGE.name, "eval"), names))


def without_numbers(text):
    return [re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", " ".join(line.split())) for line in text.splitlines()]


@pytest.fixture
def cells(digits_home, capsys):
    """The names after all python blocks of the page, and the output of each block; None for other blocks."""
    names, printed = {}, []
    for kind, code in BLOCKS:
        if kind == "python":
            execute(code, names)
            printed.append(capsys.readouterr().out)
        else:
            printed.append(None)
    return names, printed


@pytest.mark.long
def test_the_page_runs_and_prints_what_it_shows_but_for_the_numbers(cells, comp, workspace):
    names, printed = cells
    shown = 0
    for place, (kind, text) in enumerate(BLOCKS):
        if kind == "text":
            shown += 1
            assert not set(without_numbers(text)) - set(without_numbers(printed[place - 1])), text
    assert shown >= 6
    ((_, command),) = (block for block in BLOCKS if block[0] == "sh")
    ended = comp(*shlex.split(command)[1:])
    assert Path(ended.last_line).parent == workspace.runs / "digits"
    assert Run(Path(ended.last_line)).submission.read_bytes() == names["same"].submission.read_bytes()


ROOT = PAGE.parent.parent


@pytest.mark.parametrize("where", ["kaggle", "colab"])
def test_a_notebook_to_fork_has_the_cells_of_the_page_behind_one_that_sets_comp_up(where):
    written = (ROOT / "notebooks" / f"{where}.ipynb").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(ROOT / "notebooks" / "make.py"))["notebook"](where)
    made = nbformat.reads(written, as_version=4)
    nbformat.validate(made)
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    assert "git clone" in code[0]
    assert code[2:] == [block.rstrip() for kind, block in BLOCKS if kind == "python"]
    # Without its comment signs, the cell with the token is valid Python.
    token = "\n".join(line.removeprefix("# ") for line in code[1].splitlines()[1:])
    assert "KAGGLE_API_TOKEN" in token
    ast.parse(token)


def test_the_container_file_has_a_cpu_and_a_cuda_image_of_what_there_is():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("FROM")] == ["base", "cpu", "cuda"]
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {"comp", "competitions", "templates", "requirements.lock"} <= {*copied}
    assert lines.count('ENTRYPOINT ["comp"]') == 2
