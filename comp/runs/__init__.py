"""Runs on disk: the home that they lie in, one run's folder, its history, and which runs there are."""

from comp.runs.folder import Run
from comp.runs.history import EPOCH_COLUMNS, STEP_COLUMNS, TABLES, History
from comp.runs.home import Home
from comp.runs.listing import broken_runs, create_run, find_run, list_runs, take_in

__all__ = [
    "EPOCH_COLUMNS",
    "STEP_COLUMNS",
    "TABLES",
    "History",
    "Home",
    "Run",
    "broken_runs",
    "create_run",
    "find_run",
    "list_runs",
    "take_in",
]
