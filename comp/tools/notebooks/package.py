"""Build a notebook for Kaggle, and its package: a data set with comp's wheel and files of the workspace.

Kaggle's command line skips folders in a data set, and Kaggle unpacks archives by itself. So a file's name in the
package is its path in the workspace, with ``--`` for ``/``.
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

# A training's output in the working folder: an archive of its runs, and in it the name of the requested run.
ARCHIVE = "runs.zip"
FINAL = "final.txt"
BACKBONE = "backbone"
LOCAL = "local-dir:"
MARK = "--"
LONGEST_NAME = 50  # characters, for a data set or a notebook at Kaggle
CHECKOUT = Path(comp.__file__).resolve().parents[1]


def name_at_kaggle(*words: str) -> str:
    """A slug of these words, valid at Kaggle and unique to them."""
    name = re.sub(r"[^a-z0-9]+", "-", "-".join(("comp", *words)).lower()).strip("-")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9].strip('-')}-{sha256(name.encode()).hexdigest()[:8]}"


def notebook_of(
    kind: str, name: str, competition: Competition, owner: str, *, internet: bool, **values: Any
) -> Notebook:
    """A notebook of a kind, ``predict`` or ``train``, from ``templates/``: a description, the installation, the work.

    name: of the notebook and its package. values: further variables of the templates.
    """
    # Imported here: Kaggle's machines use this module to unpack, and may lack these packages.
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
        cell["id"] = f"cell-{number}"  # random by default
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    source = str(nbformat.writes(notebook))  # type: ignore[no-untyped-call]
    datasets = [f"{owner}/{name}", *(dataset.handle for dataset in competition.extra_data)]
    return Notebook(name, source, [competition.kaggle], datasets, internet)


def pack(files: Mapping[str, Path], folder: Path) -> list[Path]:
    """Copy ``files``, by their paths in the workspace, to ``folder`` under packed names; add comp's wheel; return all.

    Raises RunError for a path with ``--`` in it, and if comp doesn't run from a checkout.
    """
    copies = []
    for path, file in files.items():
        if MARK in path:
            raise RunError(f"{path} can't be packed for Kaggle, because its name contains {MARK!r}; rename it.")
        copies.append(folder / path.replace("/", MARK))
        shutil.copyfile(file, copies[-1])
    if not (CHECKOUT / "pyproject.toml").is_file():
        raise RunError(f"comp runs from {CHECKOUT}, which is no checkout to build a wheel from; use a clone.")
    from hatchling.builders.wheel import WheelBuilder

    return [*copies, *map(Path, WheelBuilder(str(CHECKOUT)).build(directory=str(folder), versions=["standard"]))]


def unpack(package: Path, workspace: Path) -> None:
    """Copy the files of a package to their places in an empty workspace; weights are linked, not copied.

    Raises DataError where the folder holds no packed files.
    """
    packed = [path for path in sorted(package.iterdir()) if MARK in path.name]
    if not packed:
        raise DataError(
            f"{package} holds no files packed by comp; attach the data set that `comp` made, and run again."
        )
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
    """The files of a competition's plugin folder."""
    for name, path in files_in(declaration.parent):
        if path.is_file():
            yield f"competitions/{name}", path


def backbone_files(backbone: str, *, weights: bool) -> Iterator[tuple[str, Path]]:
    """The files of a backbone's local folder, only its config.json without ``weights``; none for a timm backbone."""
    if backbone.startswith(LOCAL):
        for path in sorted(Path(backbone.removeprefix(LOCAL)).expanduser().iterdir()):
            if path.is_file() and (weights or path.name == "config.json"):
                yield f"{BACKBONE}/{path.name}", path


def records_of(run: Run) -> Iterator[tuple[str, Path]]:
    """The records of a run that say how it was trained and post-processed."""
    for name in ("config", "trained", "scores"):
        if run.has(name):
            yield f"runs/{run.name}/{name}.json", run.folder / f"{name}.json"
