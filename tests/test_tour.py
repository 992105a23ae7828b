"""The functions, lines and tests that README and docs name are there, with the named content."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")))
# `name` in [path](path), [`text`](path#L12), and the targets of all links.
NAMED = re.compile(r"`([A-Za-z_][\w.]*)(?:\(\))?`\s+in\s+\[`?[\w/.]+`?\]\(([\w/.-]+\.py)\)")
LINES = re.compile(r"\[`([^`]+)`\]\(([\w/.-]+)#L(\d+)\)")
TESTS = re.compile(r"^\| .+ \| .+ \| `(tests/[\w/]+\.py)::(test_\w+)` \|$")
LINKS = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@cache
def definitions(path):
    """The names that a file defines, members with their class."""
    return {*defined(path)}


def defined(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
            if isinstance(node, ast.ClassDef):
                yield from (f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name))


def linked(page, target):
    return (ROOT / page).parent / target


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_that_are_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not [target for target in LINKS.findall(text) if not linked(page, target).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_functions_are_where_a_page_says(page):
    named = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    assert not [(name, target) for name, target in named if name not in definitions(linked(page, target))]


@pytest.mark.parametrize("page", PAGES)
def test_lines_hold_what_a_page_says_stands_there(page):
    for text, target, number in LINES.findall((ROOT / page).read_text(encoding="utf-8")):
        assert text in linked(page, target).read_text(encoding="utf-8").splitlines()[int(number) - 1], (text, target)


def test_a_test_image_stops_at_no_more_than_twelve_files():
    tour = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    image = tour.split("## The way of an image")[1].split("\nA training image")[0]
    passed = {target for _, target in NAMED.findall(image)}
    assert 0 < len(passed) <= 12


def test_every_fault_has_a_test_of_its_own():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [
        line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| fault |", "| --- |"))
    ]
    named = [(row, TESTS.match(row)) for row in rows]
    assert not [row for row, test in named if not test or test[2] not in definitions(ROOT / test[1])]
    assert len({test.groups() for _, test in named}) == len(rows) >= 40
