"""The rules for every folder of competitions/."""

import ast
import os
import subprocess
from pathlib import Path

import pytest
import timm

from comp.declare.competition import find_competitions, load_competition
from comp.declare.recipe import Ensemble

REPOSITORY = Path(__file__).parents[1]
FOLDERS = sorted(path for path in (REPOSITORY / "competitions").iterdir() if path.is_dir() and path.name[0] not in "._")
MAKE_NAMES = [folder.name.replace("_", "-") for folder in FOLDERS]

every_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
every_name = pytest.mark.parametrize("name", MAKE_NAMES)


def make(*arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ended = subprocess.run(
        ["make", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return ended.stdout


def test_there_are_the_three_real_competitions_and_the_demo():
    assert {"dogs-vs-cats", "dog-breeds", "planet", "digits"} <= set(MAKE_NAMES)


@every_folder
def test_the_folder_declares_the_competition_of_its_name_with_a_quick_and_a_standard_recipe(folder):
    name = folder.name.replace("_", "-")
    assert find_competitions(REPOSITORY / "competitions")[name] == folder / "competition.py"
    competition = load_competition(folder / "competition.py")
    assert competition.name == name
    assert {"quick", "standard"} <= set(competition.recipes)


@every_folder
def test_every_backbone_is_known_to_timm_with_weights_where_it_starts_from_them(folder):
    tagged = timm.list_pretrained()
    known = {*tagged, *(model.partition(".")[0] for model in tagged)}
    for name, recipe in load_competition(folder / "competition.py").recipes.items():
        members = recipe.members if isinstance(recipe, Ensemble) else [recipe]
        named = [member.backbone for member in members if member.pretrained] + list(getattr(recipe, "backbones", ()))
        assert known.issuperset(named), name
        assert all(member.backbone.partition(".")[0] in timm.list_models() for member in members), name


@every_folder
def test_the_declaration_is_short_imports_nothing_but_comp_and_says_as_its_readme_does_how_it_is_run(folder):
    text = (folder / "competition.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    tree, imported = ast.parse(text), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
    assert imported == {"comp"}
    command = "make demo" if folder.name == "digits" else f"make {folder.name.replace('_', '-')}"
    assert command in (ast.get_docstring(tree) or "")
    assert command in (folder / "README.md").read_text(encoding="utf-8")


@every_name
def test_make_runs_and_submits_it(name):
    assert f"-m comp run {name} --recipe quick\n" in make("-n", name, "ARGS=--recipe quick")
    assert f"-m comp run {name} --submit --seed 3\n" in make("-n", f"{name}-submit", "ARGS=--seed 3")


def test_make_help_names_every_target():
    targets = {line.split()[0] for line in make("help").splitlines()[1:]}
    expected = {"setup", "demo", "test", "lint", *MAKE_NAMES, *(f"{name}-submit" for name in MAKE_NAMES)}
    assert expected <= targets
    assert make() == make("help")
