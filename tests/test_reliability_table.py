"""The page of faults names tests that there are."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
CELLS = [row for row in ROWS if row[0] not in {"fault", "---"}]


def functions(file):
    return {
        node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("cell", CELLS, ids=[cell[-1].strip("`").rpartition("::")[2] for cell in CELLS])
def test_every_fault_has_a_test(cell):
    fault, happens, test = cell
    assert fault
    assert happens
    node = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", test)
    assert node, test
    assert node[2] in functions(ROOT / node[1])


def test_there_are_many_and_none_twice():
    assert len(CELLS) >= 40
    assert len({cell[-1] for cell in CELLS}) == len(CELLS)
