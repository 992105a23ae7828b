"""What is sent to Kaggle: a notebook's text, and the package it unpacks, which is a data set with comp's own wheel.

Kaggle's command line leaves folders of a data set out, and Kaggle unpacks archives in ways of its own. So a file's path
in the workspace is its name in the package, with ``--`` for ``/``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comp
from comp.declare.competition import Competition
from comp.declare.source import files_in
from comp.errors import DataError, RunError
from comp.runs import Run, Workspace, list_runs

if TYPE_CHECKING:
    from comp.kaggle.notebooks import Notebook

# What a training leaves in the working folder: its runs, and among them the name of the one that was asked for.
ARCHIVE = "runs.zip"
FINAL = "final.txt"
BACKBONE = "backbone"
LOCAL = "local-dir:"
MARK = "--"
LONGEST_NAME = 50  # of a data set or a notebook at Kaggle
CHECKOUT = Path(comp.__file__).resolve().parents[1]


def name_at_kaggle(*words: str) -> str:
    """A slug of these words that Kaggle takes, and no other has."""
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(("comp", *words)).lower()).strip("-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9].strip('-')}-{sha256(name.encode()).hexdigest()[:8]}"


def notebook_of(
    kind: str, name: str, competition: Competition, owner: str, *, internet: bool, **values: Any
) -> Notebook:
    """A notebook of a kind, ``predict`` or ``train``, from ``templates/``: what it is, the installation, its work.

    name: its own and its package's. values: what else the templates name; they are written as Python writes them.
    """
    # Kaggle's machines, which unpack by this file, write no notebooks.
    import nbformat
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from comp.kaggle.notebooks import Notebook

    pages = Environment(loader=PackageLoader("comp.tools.notebooks"), undefined=StrictUndefined)
    pages.filters["python"] = repr
    values |= {"title": name.replace("-", " "), "competition": competition.kaggle, "owner": owner, "package": name}
    values["internet"] = internet
    cells = [nbformat.v4.new_markdown_cell(pages.get_template(f"{kind}.md.jinja").render(values))]  # type: ignore[no-untyped-call]
    for part in ("install", kind):
        source = pages.get_template(f"{part}.py.jinja").render(values)
        cells.append(nbformat.v4.new_code_cell(source))  # type: ignore[no-untyped-call]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # else drawn at random
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    source = str(nbformat.writes(notebook))  # type: ignore[no-untyped-call]
    datasets = [f"{owner}/{name}", *(dataset.handle for dataset in competition.extra_data)]
    return Notebook(name, source, [competition.kaggle], datasets, internet)


def pack(files: Mapping[str, Path], folder: Path) -> list[Path]:
    """Copy files to ``folder`` under the names of their paths in the workspace, which are the keys; add comp's wheel.

    Raises RunError for a path that can't be such a name, and where comp runs from no checkout.
    """
    copies = []
    for path, file in files.items():
        if MARK in path:
            raise RunError(f"{path} can't be packed for Kaggle, because its name has {MARK!r} in it; rename it.")
        copies.append(folder / path.replace("/", MARK))
        shutil.copyfile(file, copies[-1])
    if not (CHECKOUT / "pyproject.toml").is_file():
        raise RunError(f"comp runs from {CHECKOUT}, which is no checkout that a wheel could be built of; use a clone.")
    from hatchling.builders.wheel import WheelBuilder

    return [*copies, *map(Path, WheelBuilder(str(CHECKOUT)).build(directory=str(folder), versions=["standard"]))]


def unpack(package: Path, workspace: Path) -> None:
    """Lay the files of a package out in a workspace, which is empty; weights are linked, not copied.

    Raises DataError where the folder holds none.
    """
    packed = [path for path in sorted(package.iterdir()) if MARK in path.name]
    if not packed:
        raise DataError(f"{package} holds no package of comp's; attach the data set that `comp` made, and run again.")
    for path in packed:
        target = workspace / path.name.replace(MARK, "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            target.symlink_to(path.absolute())
        else:
            shutil.copyfile(path, target)
    for run in list_runs(Workspace(workspace)):
        config = run.record("config")
        if config.get("recipe", {}).get("backbone", "").startswith(LOCAL):
            config["recipe"]["backbone"] = f"{LOCAL}{workspace / BACKBONE}"
            run.write_record("config", config)


def plugin_files(declaration: Path) -> Iterator[tuple[str, Path]]:
    """A competition's plugin folder."""
    for name, path in files_in(declaration.parent):
        if path.is_file():
            yield f"competitions/{name}", path


def backbone_files(backbone: str, *, weights: bool) -> Iterator[tuple[str, Path]]:
    """What a backbone's own folder holds; nothing where it is timm's. Without ``weights`` its description only."""
    if backbone.startswith(LOCAL):
        for path in sorted(Path(backbone.removeprefix(LOCAL)).expanduser().iterdir()):
            if path.is_file() and (weights or path.name == "config.json"):
                yield f"{BACKBONE}/{path.name}", path


def records_of(run: Run) -> Iterator[tuple[str, Path]]:
    """How a run was trained, and what its post-processing is."""
    for name in ("config", "trained", "scores"):
        if run.has(name):
            yield f"runs/{run.name}/{name}.json", run.folder / f"{name}.json"
