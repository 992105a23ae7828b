"""The structure of the package: imports run downwards and not in circles, and files are short."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

HOUSE = Path(__file__).parents[1] / "comp"
FILES = {
    ".".join(["comp", *path.relative_to(HOUSE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in HOUSE.rglob("*.py")
}
# From the top; packages on one line don't import each other.
FLOORS = (
    {"cli", "notebook", "at_kaggle"},
    {"runner"},
    {"tools"},
    {"new"},
    {"report"},
    {"training"},
    {"data"},
    {"kaggle"},
    {"local_kaggle"},
    {"submission"},
    {"runs"},
    {"declare"},
    {"console", "errors", "files", "interrupts"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# The package itself, and `python -m comp`.
OUTSIDE = {"comp", "comp.__main__"}
MOST_LINES = 400


def imported(path):
    """The modules of comp that a file imports, at its top or in functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [
                inner if (inner := f"{node.module}.{alias.name}") in FILES else node.module for alias in node.names
            ]
        else:
            continue
        yield from (name for name in names if name in FILES)


IMPORTS = {name: set(imported(path)) - {name} for name, path in FILES.items()}


def room(name):
    return name.split(".")[1]


def upwards(name):
    """The imports of a file from its own floor or above; files on the lowest floor may import each other."""
    highest = FLOOR[room(name)] + (FLOOR[room(name)] < len(FLOORS) - 1)
    others = {other for other in IMPORTS[name] - OUTSIDE if room(other) != room(name)}
    return {other for other in others if FLOOR[room(other)] < highest}


def test_a_file_imports_only_its_own_room_and_rooms_below():
    assert not {name: found for name in FILES.keys() - OUTSIDE if (found := upwards(name))}


def test_no_imports_go_in_a_circle():
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the files


def test_every_room_says_in_a_sentence_what_it_is_for():
    silent = [
        str(door) for door in HOUSE.glob("*/__init__.py") if not ast.get_docstring(ast.parse(door.read_text("utf-8")))
    ]
    assert not silent


def test_no_file_is_longer_than_a_subject():
    long = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in FILES.items()}
    assert not {name: lines for name, lines in long.items() if lines > MOST_LINES}
