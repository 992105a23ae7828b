"""A notebook that predicts at Kaggle with a run, and the data set it reads: for competitions that take no files."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from comp.declare.competition import load_competition
from comp.errors import RunError
from comp.kaggle.client import connect
from comp.kaggle.notebooks import LICENSE, Notebook
from comp.tools.notebooks.packages import backbone_files, pack, plugin_files, records_of
from comp.tools.notebooks.wheels import build_wheel
from comp.tools.notebooks.writing import name_at_kaggle, notebook_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from comp.console import Console
    from comp.runs import Run, Workspace

FOLDER = "kaggle"
SOURCE = "predict.ipynb"


def write_predicting(declaration: Path, run: Run, workspace: Workspace, console: Console) -> Path:
    """``kaggle/`` in the run's folder: the notebook with its metadata, and in ``data/`` the data set; there whole.

    Raises RunError where the run is not predicted yet, or is made of other runs, and has no weights of its own.
    """
    if run.members:
        raise RunError(f"{run.name} is made of other runs and has no weights; name one of {', '.join(run.members)}.")
    if "shares" not in run.record("scores"):
        raise RunError(f"{run.name} was predicted by an older comp; run `comp predict {run.name}` once more.")
    competition = load_competition(declaration)
    owner = connect(workspace.kaggle, console.say).user
    name = name_at_kaggle(*run.name.split("/"))
    notebook = Notebook(
        name,
        notebook_text(
            "predict",
            title=name.replace("-", " "),
            competition=competition.kaggle,
            run=run.name,
            owner=owner,
            package=name,
            internet=False,
        ),
        competitions=[competition.kaggle],
        datasets=[f"{owner}/{name}", *(dataset.handle for dataset in competition.extra_data)],
        internet=False,
    )
    folder = run.folder / FOLDER
    with tempfile.TemporaryDirectory(dir=run.folder, prefix=".packing-") as beside:
        unfinished = Path(beside) / FOLDER
        (unfinished / "data").mkdir(parents=True)
        pack(dict(_files(declaration, run)), unfinished / "data")
        build_wheel(unfinished / "data")
        described = {"id": f"{owner}/{name}", "title": notebook.title, "licenses": [{"name": LICENSE}]}
        _write_json(unfinished / "data" / "dataset-metadata.json", described)
        _write_json(unfinished / "kernel-metadata.json", notebook.metadata(owner, SOURCE))
        (unfinished / SOURCE).write_text(notebook.source, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    console.say(f"{notebook.title}: a notebook without internet, and a private data set with the weights and comp")
    console.say(f"next: kaggle datasets create -p {folder / 'data'}   (later: kaggle datasets version -m again -p ...)")
    console.say(f"then: kaggle kernels push -p {folder}")
    return folder


def _files(declaration: Path, run: Run) -> Iterator[tuple[str, Path]]:
    yield from plugin_files(declaration)
    yield from records_of(run, "config", "trained", "scores")
    for name in ("model", *run.record("trained")["snapshots"]):
        yield f"runs/{run.name}/checkpoints/{name}.safetensors", run.checkpoint(name)
    yield from backbone_files(run.record("config")["recipe"]["backbone"], weights=False)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
