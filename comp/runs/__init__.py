"""Runs on disk: the workspace, a run's folder, its history, and the list of runs."""

from comp.runs.folder import Goal, Run, tag_of
from comp.runs.history import EPOCH_COLUMNS, STEP_COLUMNS, TABLES, History
from comp.runs.workspace import Workspace, broken_runs, create_run, find_run, list_runs, take_in

__all__ = [
    "EPOCH_COLUMNS",
    "STEP_COLUMNS",
    "TABLES",
    "Goal",
    "History",
    "Run",
    "Workspace",
    "broken_runs",
    "create_run",
    "find_run",
    "list_runs",
    "tag_of",
    "take_in",
]
