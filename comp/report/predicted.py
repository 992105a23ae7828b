"""A run's predictions of labelled images, put beside their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.errors import RunError
from comp.report.outcomes import Outcomes, judge
from comp.submission.postprocessing import PostProcessing, Thresholds, from_record
from comp.submission.predictions import Member, read_members

if TYPE_CHECKING:
    import numpy.typing as npt

    from comp.data.tables import Tables

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Predicted:
    """A run, its scores, and its outcomes on the rows (R,) of ``tables.train`` that validated, which may be none."""

    member: Member
    scores: dict[str, Any]
    postprocessing: PostProcessing
    rows: Array
    outcomes: Outcomes


def read_predicted(member: Member, tables: Tables) -> Predicted:
    """Raises RunError where the run is of other classes, or predicted images that are no longer labelled."""
    if member.config.get("classes") != list(tables.classes):
        raise RunError(f"{member.name} was trained on other classes than the data now has; train again.")
    gone = member.valid.index.difference(list(tables.train["id"]))
    if len(gone):
        raise RunError(
            f"{member.name} validated on {len(gone)} images that are not labelled now, the first {gone[0]!r}; "
            "train again on the data as they are now."
        )
    rows = np.flatnonzero(tables.train["id"].isin(member.valid.index))
    ids = list(tables.train["id"].iloc[rows])
    scores = member.run.record("scores")
    postprocessing = from_record(scores["postprocessing"])
    outcomes = judge(
        ids,
        [member.parts.get(id_, "valid") for id_ in ids],
        tables.targets[rows],
        member.valid.loc[ids].to_numpy(float),
        tables.classes,
        postprocessing.thresholds if isinstance(postprocessing, Thresholds) else None,
    )
    return Predicted(member, scores, postprocessing, rows, outcomes)


__all__ = ["Predicted", "read_members", "read_predicted"]
