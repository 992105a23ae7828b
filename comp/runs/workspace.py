"""The workspace, where everything lies, and its runs: a new one, one by its name, all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from comp.errors import RunError
from comp.files import home, numbered_folder
from comp.runs.folder import Run, latest_order, order_of


@dataclass(frozen=True)
class Workspace:
    """Where data, caches and runs are: the folder ``COMP_HOME``, or the working folder."""

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
        """What is known of the notebooks at Kaggle that are under way, and the logs of those that failed."""
        return self.cache / "notebooks"

    def data(self, competition: str) -> Path:
        """The folder of a competition's files and of its extra data sets'."""
        return self.folder / "data" / competition


def create_run(workspace: Workspace, competition: str, name: str) -> Run:
    """A new run folder; ``name`` gets the next free number behind it."""
    return Run(numbered_folder(workspace.runs / competition, f"{name}-"))


def take_in(workspace: Workspace, made: Path, competition: str, name: str) -> Run:
    """A run folder that was made elsewhere as a new run, there whole or not at all; ``name`` gets a number behind it.

    ``made`` is on the same disk, and is moved. Its place in the order of runs is the latest.
    """
    run = create_run(workspace, competition, name)
    arrived = Run(made)
    arrived.write_record("config", {**arrived.record("config"), "order": latest_order(workspace.runs) + 1})
    made.rename(run.folder)  # over the empty folder
    return run


def find_run(workspace: Workspace, text: str) -> Run:
    """A run by its folder, by ``competition/name``, or the newest finished of a competition by its name."""
    for folder in (Path(text), workspace.runs / text):
        if (folder / "config.json").is_file():
            return Run(folder.resolve())
    for broken in broken_runs(workspace):
        if broken.name == text:
            raise RunError(broken.problem)
    if text.endswith(".csv"):
        raise RunError(
            f"{text} is no run; to submit such a file, put it into a run's folder as submission.csv and name that run, "
            f"or upload it with `kaggle competitions submit -c COMPETITION -f {text} -m MESSAGE`."
        )
    runs = list_runs(workspace, text)
    if runs:
        return next((run for run in reversed(runs) if run.finished), runs[-1])
    every = list_runs(workspace)
    # Its own name without its competition's, or another number of the same competition's.
    near = [run for run in every if text in (run.folder.name, run.name) or run.folder.parent.name == text.split("/")[0]]
    latest = [run.name for run in (near or every)][-5:]
    which = f"; the latest: {', '.join(latest)}." if latest else "."
    raise RunError(f"There is no run {text!r} in {workspace.runs}{which}")


def list_runs(workspace: Workspace, competition: str | None = None) -> list[Run]:
    """The runs that got as far as a config, oldest first; without those whose config can't be read."""
    configs = sorted(
        workspace.runs.glob("*/*/config.json"), key=lambda path: (order_of(path), path.stat().st_mtime_ns, path)
    )
    runs = [Run(config.parent) for config in configs]
    return [run for run in runs if competition in (None, run.folder.parent.name) and run.problem is None]


def broken_runs(workspace: Workspace, competition: str | None = None) -> list[Run]:
    """The folders of runs whose config is gone or can't be read, in the order of their names.

    A folder that is empty, or that a process works in, is one whose config is not written yet.
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
