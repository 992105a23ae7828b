"""The functions that notebooks written by `comp notebook` and `comp run --on kaggle` call on Kaggle's machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from comp import runner
from comp.console import Console
from comp.declare.competition import Competition, find_competitions, load_competition
from comp.errors import DataError, RunError
from comp.files import replacing
from comp.kaggle.sources import mount_of
from comp.runs import Workspace, list_runs
from comp.tools.notebooks.package import ARCHIVE, FINAL, unpack


def predict(package: Path) -> None:
    """Predict the mounted competition's test images by the package's run; submission.csv goes to the working folder."""
    workspace, console = _unpacked(package), Console()
    (run,) = list_runs(workspace)
    competition = _competition(workspace)
    _must_be_mounted(competition)
    runner.download(competition, workspace, console)
    from comp.training.predicting import predict_test_images

    predict_test_images(competition, run, workspace, console)
    _show(run.submission)


def train(package: Path, arguments: Sequence[str]) -> None:
    """Run `comp run` with these arguments; the runs that it makes go to the working folder, as one archive.

    Raises RunError where it fails, DataError where the competition's data are not mounted.
    """
    workspace = _unpacked(package)
    known = {run.name for run in list_runs(workspace)}
    _must_be_mounted(_competition(workspace))
    more = f"--competitions={workspace.folder / 'competitions'}"
    command = [sys.executable, "-m", "comp", more, "run", *arguments]
    last = ""
    with subprocess.Popen(
        command,
        cwd=workspace.folder,
        env={**os.environ, "COMP_HOME": str(workspace.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            # A notebook shows only what its own process prints.
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line.strip() or last
    if process.returncode:
        raise RunError(f"The training ended with status {process.returncode}: {last}")
    *_, final = made = [run for run in list_runs(workspace) if run.name not in known]
    with replacing(Path(ARCHIVE)) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        archive.writestr(FINAL, final.name)
        for run in made:
            for path in sorted(run.folder.rglob("*")):
                if path.is_file():
                    archive.write(path, f"{run.name}/{path.relative_to(run.folder).as_posix()}")
    for path in (final.submission, final.report):
        with suppress(FileNotFoundError):
            _show(path)


def _unpacked(package: Path) -> Workspace:
    """A workspace outside the working folder: Kaggle keeps every file in that folder."""
    workspace = Workspace(Path(tempfile.mkdtemp(prefix="comp-")).resolve())
    unpack(package, workspace.folder)
    return workspace


def _competition(workspace: Workspace) -> Competition:
    (declaration,) = find_competitions(workspace.folder / "competitions").values()
    return load_competition(declaration)


def _must_be_mounted(competition: Competition) -> None:
    for source in (competition.kaggle, *(dataset.handle for dataset in competition.extra_data)):
        if mount_of(source) is None:
            raise DataError(f"{source} is not mounted; add it to the notebook's inputs, and run the notebook again.")


def _show(path: Path) -> None:
    with replacing(Path.cwd() / path.name) as unfinished:
        shutil.copyfile(path, unfinished)
