"""A blend of runs as a run folder of its own: predictions, scores and a submission, but no weights."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.runs import create_run
from comp.submission.predictions import Member, write_predictions
from comp.submission.submission import build_submission, write_submission

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from comp.console import Console
    from comp.data.tables import Tables
    from comp.declare.competition import Competition
    from comp.runs import Run, Workspace
    from comp.submission.postprocessing import PostProcessing

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Blend:
    """What becomes a run folder.

    name: of the folder, before its number. config: what is special to this kind of blend.
    parts: the part of every labelled row, in the tables' order: train, valid or the number of its fold.
    valid: (R, C), of the rows whose part is not train. test: (T, C). lines: what is said of it.
    """

    name: str
    config: Mapping[str, Any]
    parts: Sequence[str]
    valid: Array
    test: Array
    postprocessing: PostProcessing
    scores: Mapping[str, Any]
    lines: Sequence[str]


def write_blend(
    competition: Competition,
    tables: Tables,
    members: Sequence[Member],
    blend: Blend,
    workspace: Workspace,
    console: Console,
) -> Run:
    """A new run folder with the blend; what can't be completed is removed."""
    submission = build_submission(
        list(tables.test["id"]),
        blend.postprocessing(blend.test),
        tables.classes,
        tables.sample_submission,
        competition.submission,
        competition.target,
    )
    validates = np.array(blend.parts) != "train"
    run = create_run(workspace, competition.name, blend.name)
    try:
        console.log = run.log
        for line in blend.lines:
            console.say(line)
        run.write_parts(tables.train["id"], blend.parts)
        write_predictions(run.predictions("valid"), tables.train["id"][validates], blend.valid, tables.classes)
        write_predictions(run.predictions("test"), tables.test["id"], blend.test, tables.classes)
        run.write_record("scores", blend.scores)
        write_submission(submission, run.submission)
        console.say(f"wrote {run.submission} with {len(submission)} rows")
        # Last, so that a folder with a config is whole.
        run.write_config({**_common(competition, members), **blend.config})
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return run


def _common(competition: Competition, members: Sequence[Member]) -> dict[str, Any]:
    config = members[0].config
    return {
        "command": shlex.join(["comp", *sys.argv[1:]]),
        "members": [member.name for member in members],
        "competition": competition.name,
        "kaggle": competition.kaggle,
        "metric": competition.metric,
        "classes": config["classes"],
        "data": config["data"],
    }
