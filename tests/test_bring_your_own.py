"""Each example of docs/bring-your-own.md, set in a declaration and run from the files to a graded submission.

An example is for the competition `shades`, whose images have a colour, unless a comment before it names another:
`<!-- of: numbers -->` names the competition that the fixture `numbers` makes.
"""

import ast
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comp import Competition, Recipe, Stage
from comp.runs import Run
from tests.data.test_readers import dicom

PAGE = Path(__file__).parent.parent / "docs" / "bring-your-own.md"
EXAMPLE = re.compile(r"^#+ ([^\n]+)\n(?:(?!^#+ ).)*?(?:<!-- of: (\w+) -->\s+)?^```python\n(.*?)^```$", re.M | re.S)
EXAMPLES = {title: (of or "shades", code) for title, of, code in EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))}
COUNTED = re.compile(r"^\| \[.+\]\(#([\w-]+)\) \| (\d+) \|$", re.M)
# Settings of examples that the competition's own recipe would not use.
SETTINGS = {"An augmentation": ("--set", "stages.views=4")}
OWNERS = {field.name: owner for owner in (Competition, Recipe, Stage) for field in fields(owner)}


@pytest.fixture
def patients(shades):
    """`shades` with two images per id, in a folder for each id."""
    for place, folder in (("train", "scans"), ("test", "others")):
        for image in sorted((shades.files / place).iterdir()):
            for number in range(2):
                copy = shades.files / folder / image.stem / f"{number}.png"
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(image.read_bytes())
    return shades


@pytest.fixture
def people(shades):
    """`shades` with ages and sexes in its CSVs."""
    head, *rows = (shades.files / "train.csv").read_text().splitlines()
    shades.text("train.csv", [f"{head},age,sex", *(f"{row},{number + 20},f" for number, row in enumerate(rows))])
    shades.text("test.csv", ["id,age,sex", *(f"q{number:02},{number + 30},m" for number in range(12))])
    return shades


def renamed(made, column, names):
    """Rename the colours of `shades` and their column."""
    answers = made.served / ".answers" / f"{made.name}.csv"
    for path in (made.files / "train.csv", made.files / "sample_submission.csv", answers):
        text = path.read_text().replace("id,colour", f"id,{column}")
        for colour, name in names.items():
            text = text.replace(f",{colour}", f",{name}")
        path.write_text(text)
    made.declaration.write_text(made.declaration.read_text().replace('label="colour"', f'label="{column}"'))
    return made


@pytest.fixture
def ages(shades):
    return renamed(shades, "age", {"red": 3, "green": 40, "blue": 97})


@pytest.fixture
def grades(shades):
    return renamed(shades, "grade", {"red": 0, "green": 1, "blue": 4})


@pytest.fixture
def rows(shades):
    """`shades` with a row of the submission per image and colour."""
    answers = shades.served / ".answers" / "shades.csv"
    for path in (shades.files / "sample_submission.csv", answers):
        given = [line.split(",") for line in path.read_text().splitlines()[1:]]
        lines = [f"{name}:{id_},{int(name == colour)}" for id_, colour in given for name in ("red", "green", "blue")]
        path.write_text("\n".join(["id,probability", *lines]) + "\n")
    return shades


@pytest.fixture
def questions(shades):
    """`shades` with two questions about each image, and a row of the submission for each question."""
    answers = shades.served / ".answers" / "shades.csv"
    for path in (shades.files / "train.csv", shades.files / "sample_submission.csv", answers):
        given = [line.split(",") for line in path.read_text().splitlines()[1:]]
        toned = [(name, colour, ("dark", "light")[number % 2]) for number, (name, colour) in enumerate(given)]
        if path.name == "train.csv":
            lines = ["id,colour,tone", *map(",".join, toned)]
        else:
            lines = [
                "row,answer",
                *(f"{name}_{q},{a}" for name, *both in toned for q, a in zip(("colour", "tone"), both, strict=True)),
            ]
        path.write_text("\n".join(lines) + "\n")
    return shades


def declared(source, example):
    """The source of a declaration with the example before it, using the fields that the example defines."""
    names = [
        target.id
        for node in ast.parse(example).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert names, "the example sets no field"
    tree = ast.parse(source)
    for call in [node for node in ast.walk(tree) if isinstance(node, ast.Call)]:
        owner = getattr(call.func, "id", None)
        own = [name for name in names if name in OWNERS and OWNERS[name].__name__ == owner]
        call.keywords = [keyword for keyword in call.keywords if keyword.arg not in own]
        call.keywords += [ast.keyword(name, ast.Name(name)) for name in own]
    return f"{example}\n\n{ast.unparse(tree)}\n"


@pytest.fixture
def scans(shades):
    """`shades` with DICOM images."""
    for path in shades.files.glob("t*/*.png"):
        dicom(path.with_suffix(".dcm"), np.asarray(Image.open(path)))
        path.unlink()
    source = shades.declaration.read_text(encoding="utf-8")
    shades.declaration.write_text(source.replace('".png"', '".dcm"'), encoding="utf-8")
    return shades


def test_the_page_has_every_block_as_an_example():
    assert len(EXAMPLES) == PAGE.read_text(encoding="utf-8").count("```python")


def test_the_changes_that_are_counted_have_so_many_lines_and_twelve_at_most():
    lines = {
        title.lower().replace(" ", "-"): sum(bool(line.strip()) for line in code.splitlines())
        for title, (_, code) in EXAMPLES.items()
    }
    counted = {title: int(count) for title, count in COUNTED.findall(PAGE.read_text(encoding="utf-8"))}
    assert len(counted) == 11
    assert counted == {title: lines[title] for title in counted}
    assert max(counted.values()) <= 12


@pytest.mark.long
@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_trains_predicts_and_is_graded(title, request, comp, serving, workspace):
    of, example = EXAMPLES[title]
    made = request.getfixturevalue(of)
    made.declaration.write_text(declared(made.declaration.read_text(encoding="utf-8"), example), encoding="utf-8")
    with serving(made):
        ended = comp("--competitions", made.plugins, "run", made.name, "--submit", *SETTINGS.get(title, ()))
    assert ended.status == 0, ended.err
    (run,) = (Run(path) for path in sorted((workspace.runs / made.name).iterdir()) if path.is_dir())
    assert run.submission.is_file()
