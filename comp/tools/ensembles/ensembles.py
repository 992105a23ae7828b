"""Ensembles: the predictions of several runs on the same rows, blended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.data_check import checked_tables
from comp.errors import RunError
from comp.submission.postprocessing import from_record
from comp.submission.predictions import Member, read_members
from comp.submission.scoring import tune_on_probabilities
from comp.tools.ensembles.blends import Blend, write_blend
from comp.tools.ensembles.members import (
    refuse_differences,
    refuse_other_data,
    refuse_other_parts,
    refuse_other_rows,
    stack_test,
    stack_valid,
)
from comp.tools.ensembles.ways import best_way, compare, cross_fit_folds, describe, score_ways

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comp.console import Console
    from comp.data.tables import Tables
    from comp.declare.competition import Competition
    from comp.runs import Run, Workspace
    from comp.tools.ensembles.blending import Way
    from comp.tools.ensembles.ways import Scored

SAME = ("competition", "classes", "data")


def ensemble(
    competition: Competition, runs: Sequence[Run], workspace: Workspace, console: Console, how: Way | None = None
) -> Run:
    """The runs' predictions blended ``how`` is said, or else in the way that scores best, as a run of its own.

    Every way is scored, fitted weights on rows that they were not fitted on. Raises RunError unless all runs predict
    the same rows, validating in the same folds, of the same data.
    """
    members = _of_one_kind(read_members(runs))
    tables = checked_tables(competition, workspace, console)
    refuse_other_data(members, tables)
    parts = np.array(_parts(members[0], tables))
    rows = (parts != "train").nonzero()[0]
    ids, targets = list(tables.train["id"].iloc[rows]), tables.targets[rows]
    refuse_other_rows(members, set(ids))

    valid, test = stack_valid(members, ids), stack_test(members, tables)
    folds = cross_fit_folds(parts[rows], targets, None if tables.groups is None else tables.groups[rows])
    of_folds = bool({*parts[rows]} - {"valid"})
    ways = score_ways(competition, valid, test, targets, folds, of_folds=of_folds)
    chosen = _chosen(ways, how, len(rows))
    if not len(rows):
        ways[chosen] = _tuned_as(ways[chosen], members)
    alone = [tune_on_probabilities(competition, targets, one, of_one_model=of_folds)[1] for one in valid]
    scores = compare([member.name for member in members], alone, ways, chosen)
    blend = Blend(
        name="ensemble",
        config=_config(members, chosen),
        parts=list(parts),
        valid=ways[chosen].valid,
        test=ways[chosen].test,
        postprocessing=ways[chosen].postprocessing,
        scores=scores,
        lines=describe(competition, scores),
    )
    return write_blend(competition, tables, members, blend, workspace, console)


def _of_one_kind(members: Sequence[Member]) -> Sequence[Member]:
    if len(members) < 2:
        raise RunError("An ensemble is of two runs or more; name them all.")
    refuse_differences(members, SAME, "blend runs on the same data")
    refuse_other_parts(members)
    return members


def _parts(member: Member, tables: Tables) -> list[str]:
    """The part of each labelled row, in the tables' order."""
    missing = [id_ for id_ in tables.train["id"] if id_ not in member.parts]
    if missing:
        raise RunError(
            f"{len(missing)} labelled images are not in the split of {member.name}, the first {missing[0]!r}; "
            "train again on the data as they are now."
        )
    return [member.parts[id_] for id_ in tables.train["id"]]


def _chosen(ways: Mapping[Way, Scored], how: Way | None, rows: int) -> Way:
    if how is None and not rows:
        raise RunError("No row validates in these runs, so ways can't be compared; say --how mean.")
    if how == "ranks" and not rows:
        raise RunError("No row validates in these runs, so no post-processing can be tuned for ranks; say --how mean.")
    if how is not None and how not in ways:
        raise RunError(f"Of these runs {rows} rows validate, too few to fit weights; say --how mean.")
    return how or best_way(ways)


def _tuned_as(blended: Scored, members: Sequence[Member]) -> Scored:
    """With the post-processing that all members took over from runs like them; raises RunError where theirs differ."""
    postprocessings = [member.config.get("postprocessing") for member in members]
    if any(postprocessing != postprocessings[0] for postprocessing in postprocessings):
        raise RunError(
            f"{', '.join(member.name for member in members)} have post-processing of different runs and no row "
            "validates to tune another; train them on all data with the same --like."
        )
    if postprocessings[0] is None:
        return blended
    return replace(
        blended,
        postprocessing=from_record(postprocessings[0]),
        record={**blended.record, "postprocessing": postprocessings[0]},
    )


def _config(members: Sequence[Member], how: Way) -> dict[str, Any]:
    """What the config of an ensemble has of its own; a seed only where all members share it."""
    seeds = {member.config.get("seed") for member in members}
    of_folds = all(member.config.get("fold") is None for member in members)
    return {
        "kind": "ensemble",
        "how": how,
        "recipe_name": "ensemble",
        "seed": seeds.pop() if len(seeds) == 1 else None,
        "folds": members[0].config.get("folds") if of_folds else None,
    }
