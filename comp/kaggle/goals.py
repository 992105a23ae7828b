"""How far a run can get, so that the same command knows what is left to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from comp.kaggle.endpoint import endpoint_at
from comp.kaggle.sources import is_here
from comp.kaggle.uploads import tag_of
from comp.runs import Run

if TYPE_CHECKING:
    from comp.declare.competition import Competition
    from comp.runs import Workspace

Goal = Callable[[Run], bool]


def trained(run: Run) -> bool:
    """Whether it has weights."""
    return run.weights.is_file()


def predicted(run: Run) -> bool:
    """Whether it has a submission."""
    return run.submission.is_file()


def reported(run: Run) -> bool:
    """Whether it has a page, or a reason for none."""
    return run.report.is_file() or run.has("no-report")


def submitted(competition: Competition, workspace: Workspace) -> Goal:
    """Whether its submission, as it is now, has a score from the Kaggle that is meant: the real one, or one here.

    Of those on this machine each is as good as another: their addresses change from day to day.
    """
    here = is_here(competition, workspace)

    def goal(run: Run) -> bool:
        if not (predicted(run) and run.has("submitted")):
            return False
        record = run.record("submitted")
        return (
            record["status"] == "complete"
            and record["file"] == tag_of(run.submission)
            and endpoint_at(record["kaggle"]).is_local == here
        )

    return goal


def joined(goal: Goal = lambda _: True) -> Goal:
    """Whether it is one of folds that were joined, and what they were joined in got there."""
    return lambda run: any(goal(other) for other in run.joined_in())
