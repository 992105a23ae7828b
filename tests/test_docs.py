"""The page that walks through a session, run as it stands."""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest

from comp.runs import Run

PAGE = Path(__file__).parent.parent / "docs" / "from-python.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def execute(code, names):
    """As a notebook's cell: what it ends with is printed."""
    cell = ast.parse(code)
    last = cell.body.pop() if isinstance(cell.body[-1], ast.Expr) else None
    exec(compile(cell, PAGE.name, "exec"), names)
    if last is not None:
        sys.displayhook(eval(compile(ast.Expression(last.value), PAGE.name, "eval"), names))


def without_numbers(text):
    return [re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", " ".join(line.split())) for line in text.splitlines()]


@pytest.fixture
def cells(digits_home, capsys):
    """Each python block of the page with what it printed, and the names it left."""
    names, printed = {}, []
    for kind, code in BLOCKS:
        if kind == "python":
            execute(code, names)
            printed.append(capsys.readouterr().out)
        else:
            printed.append(None)
    return names, printed


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
