"""Write a new competition's folder from ``templates/``: the declaration's source and a README.

The source has only the fields that differ from their defaults, and is formatted by ruff.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from comp.declare.competition import REPOSITORY_COMPETITIONS, Competition, load_competition
from comp.declare.forms import TagNames
from comp.declare.own_images import KnownLabels
from comp.declare.recipe import Recipe
from comp.declare.viewpoint import Viewpoint, side_on, top_down, upright
from comp.new.inference import InferredDeclaration
from comp.new.recipes import WHAT_IT_DOES

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
# Characters that look like ASCII's, or have a meaning in a docstring.
PLAIN = str.maketrans({"–": "-", "—": "-", "‘": "'", "’": "'", "“": "'", "”": "'", '"': "'", "\\": "/", "\u00a0": " "})  # noqa: RUF001

WIDTH = 120
VIEWPOINTS = {"horizontal": side_on, "dihedral": top_down, "none": upright}
# Fields that are written even where they have their default.
ALWAYS = {Competition: {"augment", "layer_lr_ratio"}, Recipe: {"backbone"}, TagNames: {"separator"}}


def commands_of(name: str, competitions: Path) -> tuple[str, str, str]:
    """The commands that explore, run, and run and submit a competition in this folder of competitions."""
    if competitions.resolve() == REPOSITORY_COMPETITIONS:
        return f"comp explore {name}", f"make {name}", f"make {name}-submit"
    comp = f"comp --competitions {quote(str(competitions))}"
    return f"{comp} explore {name}", f"{comp} run {name}", f"{comp} run {name} --submit"


def write(inferred: InferredDeclaration, folder: Path) -> Path:
    """Write ``competition.py`` and ``README.md`` into a new folder, both or none; return the path of the former."""
    # Not HTML, so there is no autoescape.
    pages = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True)
    told = {
        "competition": inferred.competition,
        "title": _plain(inferred.title),
        "task": _plain(inferred.task),
        "run": commands_of(inferred.competition.name, folder.parent)[1:],
        "has_slug": all(finding.sure for finding in inferred.findings if finding.about == "kaggle"),
        "doubts": [replace(finding, text=_plain(finding.text)) for finding in inferred.findings if not finding.sure],
        **_parts(inferred),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as beside:
        unfinished = Path(beside) / folder.name
        unfinished.mkdir()
        for name in ("competition.py", "README.md"):
            text = pages.get_template(f"{name}.jinja").render(told)
            if name.endswith(".py"):
                text = formatted(text)
            if not told["has_slug"]:
                slug = f'kaggle="{inferred.competition.kaggle}",'
                text = text.replace(slug, f"{slug}  # a placeholder for the slug in its address at Kaggle")
            (unfinished / name).write_text(text, encoding="utf-8")
        load_competition(unfinished / "competition.py")
        shutil.rmtree(unfinished / "__pycache__", ignore_errors=True)
        unfinished.rename(folder)
    return folder / "competition.py"


def _parts(inferred: InferredDeclaration) -> dict[str, str]:
    competition = inferred.competition
    # Hidden images use the same label source, which is written once, under the name ``images``.
    images = {"images": competition.labels.labels} if isinstance(competition.labels, KnownLabels) else {}
    named: dict[str, Any] = {**images}
    for name, recipe in competition.recipes.items():
        # The recipe `on_cpu` is also a member of an ensemble, so it gets a name.
        named |= {"cycles": on_cpu} if (on_cpu := getattr(recipe, "on_cpu", None)) else {}
        named[name] = recipe
    # A recipe with other recipes as parts refers to them by name.
    stated = "\n".join(
        (f"# {WHAT_IT_DOES[name]}\n" if name in WHAT_IT_DOES else "")
        + assignment(name, value, {other: known for other, known in named.items() if known is not value})
        for name, value in named.items()
    )
    declaration = assignment("competition", competition, named)
    words = sorted(words_in(f"{stated}\n{declaration}"))
    return {
        "summary": textwrap.fill(f"{_plain(inferred.title)}: {_plain(inferred.task)}", WIDTH - 3),
        "imports": f"from comp import {', '.join(words)}",
        "parts": stated,
        "declaration": declaration,
    }


def words_in(source: str) -> set[str]:
    """The names that a declaration's source needs to import: those it calls."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {call.id for call in calls if isinstance(call, ast.Name)}


def _plain(text: str) -> str:
    """Text for a comment or a page: one line, without characters that have a meaning there."""
    printable = "".join(character if character.isprintable() else " " for character in text.translate(PLAIN))
    return re.sub(r"\s+", " ", printable).strip()


def formatted(source: str) -> str:
    """The source as ruff formats it."""
    command = [sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={WIDTH}", "-"]
    return subprocess.run(command, input=source, capture_output=True, check=True, encoding="utf-8").stdout


def assignment(name: str, value: Any, names: Mapping[str, Any]) -> str:
    """The statement ``name = value`` on one line; parts that are among ``names`` are referred to by name."""
    return f"{name} = {_source(value, names)}"


def _source(value: Any, names: Mapping[str, Any]) -> str:
    named = next((name for name, known in names.items() if known is value), None)
    if named is not None:
        return named
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_source(part, names) for part in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_source(part, names)}' for key, part in value.items())}}}"
    if isinstance(value, Viewpoint):
        function = VIEWPOINTS[value.flips]
        usual = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
        parts = [(f"{name}=", getattr(value, name)) for name in usual if getattr(value, name) != usual[name]]
        return _call(function.__name__, parts, names)
    if is_dataclass(value):
        # A trailing comma makes ruff write each field on its own line.
        behind = "," if isinstance(value, (Recipe, Competition)) else ""
        return _call(type(value).__name__, _arguments(value), names, behind)
    return _number(value) if isinstance(value, float) else repr(value)


def _call(function: str, arguments: list[tuple[str, Any]], names: Mapping[str, Any], behind: str = "") -> str:
    return f"{function}({', '.join(head + _source(part, names) for head, part in arguments)}{behind})"


def _number(value: float) -> str:
    """The shortest of 10, 1e1 and 10.0, or of 0.001 and 1e-3; the first of equally short ones."""
    mantissa, _, exponent = f"{value:e}".partition("e")
    ways = (f"{value:g}", f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}", repr(value))
    return min((way for way in ways if float(way) == value), key=len)


def _arguments(declaration: Any) -> list[tuple[str, Any]]:
    arguments = []
    for number, field in enumerate(sorted(fields(declaration), key=lambda field: bool(field.kw_only))):
        value = getattr(declaration, field.name)
        usual = field.default if field.default_factory is MISSING else field.default_factory()
        if field.compare and (value != usual or field.name in ALWAYS.get(type(declaration), ())):
            arguments.append(("" if number == 0 and not field.kw_only else f"{field.name}=", value))
    return arguments
