"""The workspace folder and its runs: a new run, a run by name, all runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comp.errors import RunError
from comp.files import home, numbered_folder
from comp.runs.folder import Run, latest_order, order_of


@dataclass(frozen=True)
class Workspace:
    """The folder of data, caches and runs: ``COMP_HOME``, or the working folder."""

    folder: Path

    @classmethod
    def from_environment(cls) -> Workspace:
        return cls(home())

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def rehearsals(self) -> Path:
        return self.folder / "rehearsals"

    @property
    def notebooks(self) -> Path:
        """The records of notebooks under way at Kaggle, and the logs of failed ones."""
        return self.cache / "notebooks"

    def data(self, competition: str) -> Path:
        """The folder of a competition's files and of its extra data sets'."""
        return self.folder / "data" / competition


def create_run(workspace: Workspace, competition: str, name: str) -> Run:
    """Make a run folder, called ``name`` with the next free number behind it."""
    return Run(numbered_folder(workspace.runs / competition, f"{name}-"))


def take_in(workspace: Workspace, made: Path, competition: str, name: str) -> Run:
    """Move the run folder ``made``, on the same disk, into the workspace as its latest run, whole or not at all.

    Its new name is ``name`` with the next free number behind it.
    """
    run = create_run(workspace, competition, name)
    arrived = Run(made)
    arrived.write_record("config", {**arrived.record("config"), "order": latest_order(workspace.runs) + 1})
    made.rename(run.folder)  # over the empty folder
    return run


def find_run(workspace: Workspace, text: str) -> Run:
    """Find a run by its folder or ``competition/name``; raises RunError.

    A competition's name finds its newest finished run, or its newest run where none is finished.
    """
    for folder in (Path(text), workspace.runs / text):
        if (folder / "config.json").is_file():
            return Run(folder.resolve())
    for broken in broken_runs(workspace):
        if broken.name == text:
            raise RunError(broken.problem)
    if text.endswith(".csv"):
        raise RunError(
            f"{text} is no run; to submit this file, put it into a run's folder as submission.csv and name that run, "
            f"or upload it with `kaggle competitions submit -c COMPETITION -f {text} -m MESSAGE`."
        )
    runs = list_runs(workspace, text)
    if runs:
        return next((run for run in reversed(runs) if run.finished), runs[-1])
    every = list_runs(workspace)
    # Runs of this name in any competition, or other runs of the same competition.
    near = [run for run in every if text in (run.folder.name, run.name) or run.folder.parent.name == text.split("/")[0]]
    latest = [run.name for run in (near or every)][-5:]
    which = f"; the latest: {', '.join(latest)}." if latest else "."
    raise RunError(f"There is no run {text!r} in {workspace.runs}{which}")


def list_runs(workspace: Workspace, competition: str | None = None) -> list[Run]:
    """The runs with a readable config, oldest first."""
    configs = sorted(
        workspace.runs.glob("*/*/config.json"), key=lambda path: (order_of(path), path.stat().st_mtime_ns, path)
    )
    runs = [Run(config.parent) for config in configs]
    return [run for run in runs if competition in (None, run.folder.parent.name) and run.problem is None]


def broken_runs(workspace: Workspace, competition: str | None = None) -> list[Run]:
    """The runs whose config is missing or can't be read, by name.

    Empty folders, and those that a process works in, are left out: their config is not written yet.
    """
    runs = [Run(folder) for folder in sorted(workspace.runs.glob("*/*-[0-9]*")) if folder.is_dir()]
    return [
        run
        for run in runs
        if competition in (None, run.folder.parent.name)
        and run.problem is not None
        and any(run.folder.iterdir())
        and not run.is_held
    ]
