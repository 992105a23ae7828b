"""Goals of a run that Kaggle or other runs know of, so that the same command knows what is left to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comp.kaggle.endpoint import endpoint_at
from comp.kaggle.sources import is_here
from comp.kaggle.uploads import tag_of
from comp.runs import Goal, Run

if TYPE_CHECKING:
    from comp.declare.competition import Competition
    from comp.runs import Workspace


def submitted(competition: Competition, workspace: Workspace) -> Goal:
    """Whether its submission, as it is now, has a score from the Kaggle that is meant: the real one, or one here.

    Of those on this machine each is as good as another: their addresses change from day to day.
    """
    here = is_here(competition, workspace)

    def goal(run: Run) -> bool:
        if not (run.predicted and run.has("submitted")):
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
