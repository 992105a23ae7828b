"""A new competition's folder, made from ``templates/``."""

from __future__ import annotations

import re
import shutil
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from comp.declare.competition import load_competition
from comp.errors import DeclarationError
from comp.new.source import WIDTH, assignment, words_of

if TYPE_CHECKING:
    from comp.new.inference import InferredDeclaration

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
# Like ASCII's, and mistaken for them.
PLAIN = str.maketrans({"–": "-", "—": "-", "‘": "'", "’": "'", "“": "'", "”": "'", '"': "'", "\\": "/", "\u00a0": " "})  # noqa: RUF001


def write(inferred: InferredDeclaration, folder: Path) -> Path:
    """``competition.py`` and ``README.md`` in a new folder, which is there whole or not at all; the declaration's path.

    Raises DeclarationError where the folder is there already.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    if folder.exists():
        raise DeclarationError(f"{folder} is there already; remove it, or give the competition another name.")
    # Not HTML: nothing is escaped.
    pages = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True)
    told = {
        "competition": inferred.competition,
        "title": _plain(inferred.title),
        "task": _plain(inferred.task),
        "has_slug": all(finding.sure for finding in inferred.findings if finding.about == "kaggle"),
        "doubts": [replace(finding, text=_plain(finding.text)) for finding in inferred.findings if not finding.sure],
        **_source(inferred),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as beside:
        unfinished = Path(beside) / folder.name
        unfinished.mkdir()
        for name in ("competition.py", "README.md"):
            text = pages.get_template(f"{name}.jinja").render(told)
            (unfinished / name).write_text(text, encoding="utf-8")
        load_competition(unfinished / "competition.py")
        shutil.rmtree(unfinished / "__pycache__", ignore_errors=True)
        unfinished.rename(folder)
    return folder / "competition.py"


def _source(inferred: InferredDeclaration) -> dict[str, str]:
    recipes = dict(inferred.competition.recipes)
    words = sorted(words_of(inferred.competition))
    imports = f"from comp import {', '.join(words)}"
    if len(imports) > WIDTH:
        imports = "from comp import (\n" + "".join(f"    {word},\n" for word in words) + ")"
    return {
        "summary": textwrap.fill(f"{_plain(inferred.title)}: {_plain(inferred.task)}", WIDTH - 3),
        "imports": imports,
        "recipes": "\n".join(assignment(name, recipe, {}) for name, recipe in recipes.items()),
        "declaration": assignment("competition", inferred.competition, recipes),
    }


def _plain(text: str) -> str:
    """Text for a comment or a page: one line, without what means something there."""
    printable = "".join(character if character.isprintable() else " " for character in text.translate(PLAIN))
    return re.sub(r"\s+", " ", printable).strip()
