"""Runs on disk: the home that they lie in, one run's folder, its history, and which runs there are."""

from comp.run.folder import Run
from comp.run.history import EPOCH_COLUMNS, STEP_COLUMNS, TABLES, History
from comp.run.home import Home
from comp.run.listing import broken_runs, create_run, find_run, list_runs, take_in

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
