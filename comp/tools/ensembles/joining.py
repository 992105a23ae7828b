"""Joining the folds of one training: out-of-fold predictions of every labelled row, and the mean of the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.data_check import checked_tables
from comp.errors import RunError
from comp.submission.predictions import Member, read_members
from comp.submission.scoring import score_untuned, tune_on_probabilities
from comp.tools.ensembles.blending import weighted_mean
from comp.tools.ensembles.blends import Blend, write_blend
from comp.tools.ensembles.members import refuse_differences, refuse_other_data, stack_test, stack_valid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from comp.console import Console
    from comp.data.tables import Tables
    from comp.declare.competition import Competition
    from comp.runs import Run, Workspace
    from comp.submission.postprocessing import PostProcessing

    Array = npt.NDArray[Any]

SAME = ("competition", "folds", "seed", "classes", "data", "recipe_name", "recipe", "augment", "layer_lr_ratio")
ROW = "{:<10}  {:>6}  {:>18}  {:>18}"


def join(competition: Competition, runs: Sequence[Run], workspace: Workspace, console: Console) -> Run:
    """The folds of one training, each predicted, as one run: out-of-fold scores, mean test predictions, a submission.

    Raises RunError unless every fold is there once, all of the same seed, recipe and data.
    """
    members = _in_order(read_members(runs))
    tables = checked_tables(competition, workspace, console)
    refuse_other_data(members, tables)
    folds = _fold_of_rows(members, tables)
    probabilities = np.empty((len(folds), len(tables.classes)))
    for fold, member in enumerate(members, start=1):
        rows = folds == fold
        probabilities[rows] = stack_valid([member], tables.train["id"][rows])[0]
    postprocessing, overall = tune_on_probabilities(competition, tables.targets, probabilities, of_one_model=True)
    scores = _score_folds(competition, members, tables, folds, probabilities, postprocessing, overall)
    config = members[0].config
    blend = Blend(
        name=f"{config['recipe_name']}-{len(members)}folds",
        config={"kind": "folds", "recipe_name": config["recipe_name"], "seed": config["seed"], "folds": len(members)},
        parts=[str(fold) for fold in folds],
        valid=probabilities,
        test=weighted_mean(stack_test(members, tables)),
        postprocessing=postprocessing,
        scores=scores,
        lines=_lines(competition, scores),
    )
    return write_blend(competition, tables, members, blend, workspace, console)


def _in_order(members: Sequence[Member]) -> list[Member]:
    """The members by their folds; raises RunError unless they are all the folds of one training."""
    if not members:
        raise RunError("There are no runs to join; name the runs of all folds.")
    for member in members:
        if member.config.get("fold") is None:
            raise RunError(
                f"{member.name} is not one fold of a training; train folds with "
                f"`comp train {member.run.competition} --folds 5 --fold 1` and so on."
            )
    refuse_differences(members, SAME, "join folds of one training: the same seed, recipe and data")
    count = members[0].config["folds"]
    by_fold: dict[int, Member] = {}
    for member in members:
        fold = member.config["fold"]
        if fold in by_fold:
            raise RunError(f"{by_fold[fold].name} and {member.name} are both fold {fold}; leave one of them out.")
        by_fold[fold] = member
    missing = [fold for fold in range(1, count + 1) if fold not in by_fold]
    if missing:
        raise RunError(
            f"Of {count} folds, {', '.join(map(str, missing))} {'is' if len(missing) == 1 else 'are'} missing; train "
            f"with --folds {count} --fold {missing[0]} and the same seed and recipe, or name the run if there is one."
        )
    return [by_fold[fold] for fold in sorted(by_fold)]


def _fold_of_rows(members: Sequence[Member], tables: Tables) -> Array:
    """The fold (N,), from 1, in which each labelled row validated; raises RunError unless each did so once."""
    times = np.zeros(len(tables.train), dtype=np.int64)
    folds = np.zeros(len(tables.train), dtype=np.int64)
    for fold, member in enumerate(members, start=1):
        rows = tables.train["id"].isin(member.valid.index).to_numpy()
        times += rows
        folds[rows] = fold
    wrong = (times != 1).nonzero()[0]
    if len(wrong):
        raise RunError(
            f"Each labelled image should have validated in one fold, but {tables.train['id'].iloc[wrong[0]]!r} did in "
            f"{times[wrong[0]]} of them; train all folds on the data as they are now."
        )
    return folds


def _score_folds(
    competition: Competition,
    members: Sequence[Member],
    tables: Tables,
    folds: Array,
    probabilities: Array,
    postprocessing: PostProcessing,
    overall: dict[str, Any],
) -> dict[str, Any]:
    """The record of the scores of all rows, with each fold's, and those's mean and standard deviation.

    ``tuned`` of a fold is after the post-processing tuned on all rows. The standard deviation is that of these folds
    (divided by their number), as scikit-learn's users print it.
    """
    of_folds = []
    for fold, member in enumerate(members, start=1):
        rows = folds == fold
        of_folds.append(
            {
                "run": member.name,
                "rows": int(rows.sum()),
                "untuned": score_untuned(competition, tables.targets[rows], probabilities[rows]),
                "tuned": competition.scoring(tables.targets[rows], postprocessing(probabilities[rows])),
            }
        )
    values = {name: np.array([scores[name] for scores in of_folds]) for name in ("untuned", "tuned")}
    return {
        **overall,
        "mean": {name: float(column.mean()) for name, column in values.items()},
        "standard_deviation": {name: float(column.std()) for name, column in values.items()},
        "folds": of_folds,
    }


def _lines(competition: Competition, scores: dict[str, Any]) -> list[str]:
    """The scores as a table."""
    count = len(scores["folds"])
    spread = (f"{scores['mean'][name]:.5f} ± {scores['standard_deviation'][name]:.5f}" for name in ("untuned", "tuned"))
    return [
        f"{competition.name}: {count} folds joined, every labelled image predicted by a model that did not see it",
        ROW.format("fold", "rows", competition.metric, "with post-processing"),
        *(
            ROW.format(fold, one["rows"], f"{one['untuned']:.5f}", f"{one['tuned']:.5f}")
            for fold, one in enumerate(scores["folds"], start=1)
        ),
        ROW.format("mean", "", *spread),
        ROW.format("all rows", scores["rows"], f"{scores['untuned']:.5f}", f"{scores['tuned']:.5f}"),
    ]
