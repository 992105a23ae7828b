"""Write a notebook that predicts with a run at Kaggle, and its data set: for competitions that take notebooks only."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from comp.console import Console
from comp.declare.competition import load_competition
from comp.errors import RunError
from comp.kaggle.client import connect
from comp.kaggle.notebooks import LICENSE
from comp.runs import Run
from comp.tools.notebooks.package import backbone_files, name_at_kaggle, notebook_of, pack, plugin_files, records_of

FOLDER = "kaggle"
SOURCE = "predict.ipynb"


def write_predicting(declaration: Path, run: Run, console: Console) -> Path:
    """Write ``kaggle/`` in the run's folder: the notebook, its metadata, and the data set in ``data/``; all or nothing.

    Raises RunError where the run is not predicted yet, or is made of other runs and so has no weights.
    """
    run.must_have_weights("name one of {members}")
    if "shares" not in run.record("scores"):
        raise RunError(f"{run.name} was predicted by an older comp; run `comp predict {run.name}` once more.")
    competition = load_competition(declaration)
    owner, name = connect(say=console.say).user, name_at_kaggle(*run.name.split("/"))
    notebook = notebook_of("predict", name, competition, owner, run=run.name, internet=False)
    described = {"id": f"{owner}/{name}", "title": notebook.title, "licenses": [{"name": LICENSE}]}
    folder = run.folder / FOLDER
    with tempfile.TemporaryDirectory(dir=run.folder, prefix=".packing-") as beside:
        unfinished = Path(beside) / FOLDER
        (unfinished / "data").mkdir(parents=True)
        pack(dict(_files(declaration, run)), unfinished / "data")
        (unfinished / "data" / "dataset-metadata.json").write_text(json.dumps(described, indent=2) + "\n")
        (unfinished / "kernel-metadata.json").write_text(json.dumps(notebook.metadata(owner, SOURCE), indent=2) + "\n")
        (unfinished / SOURCE).write_text(notebook.source, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    console.say(f"{notebook.title}: a notebook without internet, and a private data set with the weights and comp")
    data, whole = quote(str(folder / "data")), quote(str(folder))
    console.say(f"next: kaggle datasets create -p {data}   (later: kaggle datasets version -m again -p ...)")
    console.say(f"then: kaggle kernels push -p {whole}")
    return folder


def _files(declaration: Path, run: Run) -> Iterator[tuple[str, Path]]:
    yield from plugin_files(declaration)
    yield from records_of(run)
    for name in ("model", *run.record("trained")["snapshots"]):
        yield f"runs/{run.name}/checkpoints/{name}.safetensors", run.checkpoint(name)
    yield from backbone_files(run.record("config")["recipe"]["backbone"], weights=False)
