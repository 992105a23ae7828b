"""A package: the files that a notebook at Kaggle needs of a workspace, as a data set without folders.

Kaggle's command line leaves folders of a data set out, and Kaggle unpacks archives in ways of its own. So a file's path
in the workspace is its name, with ``--`` for ``/``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from comp.errors import DataError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from comp.runs import Run

# What a training leaves in the working folder: its runs, and among them the name of the one that was asked for.
ARCHIVE = "runs.zip"
FINAL = "final.txt"
BACKBONE = "backbone"
LOCAL = "local-dir:"
LEFT_OUT = ("README.md", "__pycache__")
MARK = "--"


def pack(files: Mapping[str, Path], folder: Path) -> list[Path]:
    """Copy files to ``folder`` under the names of their paths in the workspace, which are the keys; the copies.

    Raises RunError for a path that can't be such a name.
    """
    copies = []
    for path, file in files.items():
        if MARK in path:
            raise RunError(f"{path} can't be packed for Kaggle, because its name has {MARK!r} in it; rename it.")
        copies.append(folder / path.replace("/", MARK))
        shutil.copyfile(file, copies[-1])
    return copies


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
    backbone = workspace / BACKBONE
    for config in workspace.glob("runs/*/*/config.json"):
        record = json.loads(config.read_text(encoding="utf-8"))
        if record.get("recipe", {}).get("backbone", "").startswith(LOCAL):
            record["recipe"]["backbone"] = f"{LOCAL}{backbone}"
            config.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def plugin_files(declaration: Path) -> Iterator[tuple[str, Path]]:
    """A competition's plugin folder."""
    for path in sorted(declaration.parent.rglob("*")):
        inside = path.relative_to(declaration.parent)
        if path.is_file() and not any(part in LEFT_OUT or part.startswith(".") for part in inside.parts):
            yield f"competitions/{declaration.parent.name}/{inside.as_posix()}", path


def backbone_files(backbone: str, *, weights: bool) -> Iterator[tuple[str, Path]]:
    """What a backbone's own folder holds; nothing where it is timm's. Without ``weights`` its description only."""
    if backbone.startswith(LOCAL):
        for path in sorted(Path(backbone.removeprefix(LOCAL)).expanduser().iterdir()):
            if path.is_file() and (weights or path.name == "config.json"):
                yield f"{BACKBONE}/{path.name}", path


def records_of(run: Run, *names: str) -> Iterator[tuple[str, Path]]:
    """JSON files of a run."""
    for name in names:
        if run.has(name):
            yield f"runs/{run.name}/{name}.json", run.folder / f"{name}.json"
