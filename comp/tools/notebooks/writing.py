"""The text of notebooks, from ``templates/``."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import nbformat
from jinja2 import Environment, PackageLoader, StrictUndefined

LONGEST_NAME = 50  # of a data set or a notebook at Kaggle


def notebook_text(kind: str, **values: Any) -> str:
    """The .ipynb of a kind, ``predict`` or ``train``: what it is, the installation, and its work.

    values: what the templates name. A value is written into the code as Python writes it.
    """
    pages = Environment(
        loader=PackageLoader("comp.tools.notebooks"), undefined=StrictUndefined, keep_trailing_newline=False
    )
    pages.filters["python"] = repr
    cells = [nbformat.v4.new_markdown_cell(pages.get_template(f"{kind}.md.jinja").render(values))]  # type: ignore[no-untyped-call]
    for name in ("install", kind):
        source = pages.get_template(f"{name}.py.jinja").render(values)
        cells.append(nbformat.v4.new_code_cell(source))  # type: ignore[no-untyped-call]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # else drawn at random
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook))  # type: ignore[no-untyped-call]


def name_at_kaggle(*words: str) -> str:
    """A slug of these words that Kaggle takes, and no other has."""
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(("comp", *words)).lower()).strip("-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9].strip('-')}-{sha256(name.encode()).hexdigest()[:8]}"
