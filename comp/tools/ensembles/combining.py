"""The run that members become: joined folds, or an ensemble, with predictions, scores and a submission, no weights."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.console import Console
from comp.data.data_check import checked_tables
from comp.data.tables import Tables
from comp.declare.brought import recorded
from comp.declare.competition import Competition
from comp.declare.recipe import Ensemble
from comp.errors import RunError, counted
from comp.runs import Goal, Run, Workspace, create_run, list_runs
from comp.runs.resolve import Choices
from comp.submission.postprocessing import from_record
from comp.submission.predictions import Member, keep_predictions, postprocessed, read_members
from comp.submission.scoring import score_untuned, tune_on_predictions, with_error
from comp.submission.submission import build_submission, keep_submission
from comp.submission.uncertainty import doubt, standard_errors
from comp.tools.ensembles.members import all_folds, fold_of_rows, refuse_differences, refuse_other_data, same_parts
from comp.tools.ensembles.methods import (
    Combined,
    Method,
    as_table,
    best_method,
    by_every_method,
    compare,
    cross_fit_folds,
    describe,
)
from comp.tools.ensembles.weights import weighted_mean

# With this weight a run is the ensemble.
ALONE = 0.9995
OF_ENSEMBLES = ("competition", "classes", "data")


@dataclass(frozen=True)
class _Together:
    """Members on the data as they are now."""

    competition: Competition
    members: Sequence[Member]
    tables: Tables
    workspace: Workspace
    console: Console

    @property
    def test(self) -> npt.NDArray[Any]:
        """Their probabilities (M, T, C) of the test images, in the tables' order."""
        return np.stack([member.test.loc[self.tables.test["id"]].to_numpy() for member in self.members])

    def write(
        self,
        name: str,
        config: Mapping[str, Any],
        parts: npt.NDArray[Any],
        combined: Combined,
        scores: Mapping[str, Any],
        lines: Sequence[str],
        into: Run | None = None,
    ) -> Run:
        """A new run folder; one that can't be completed is removed.

        name: of the folder, before its number. config: what is special to this kind. lines: what is said of it.
        into: the run that this takes the place of, in its folder.
        parts: (N,) of every labelled image, in the tables' order: train, valid or the number of its fold.
        """
        competition, tables, first = self.competition, self.tables, self.members[0].config
        ids, classes = tables.test["id"].to_list(), tables.classes
        made = postprocessed(competition, ids, classes, combined.test)
        submission = build_submission(
            competition, classes, tables.sample_submission, ids, combined.postprocessing(made)
        )
        common = {
            "command": shlex.join(["comp", *sys.argv[1:]]),
            "members": [member.name for member in self.members],
            "competition": competition.name,
            "kaggle": competition.kaggle,
            "metric": competition.scoring.name,
            "scoring": recorded(competition.metric),
            "classes": first["classes"],
            "data": first["data"],
        }
        run = create_run(self.workspace, competition.name, name) if into is None else into
        try:
            self.console.log = run.log
            for line in lines:
                self.console.say(line)
            run.write_split(tables.train["id"], parts)
            validating = tables.train["id"][parts != "train"]
            keep_predictions(run, "valid", validating, classes, combined.made, combined.valid)
            keep_predictions(run, "test", ids, classes, made, combined.test)
            run.write_record("scores", scores)
            run.report.unlink(missing_ok=True)
            keep_submission(submission, run)
            self.console.say(f"wrote {run.submission} with {counted(len(submission), 'row')}")
            # Last, so that a folder with a config is whole.
            run.write_config({**common, **config})
        except BaseException:
            if into is None:
                shutil.rmtree(run.folder, ignore_errors=True)
            raise
        return run


def _together(
    competition: Competition,
    members: Sequence[Member],
    workspace: Workspace,
    console: Console,
    tables: Tables | None = None,
) -> _Together:
    tables = (tables or checked_tables(competition, workspace, console)).answers
    refuse_other_data(members, tables)
    return _Together(competition, members, tables, workspace, console)


def join(
    competition: Competition,
    runs: Sequence[Run],
    workspace: Workspace,
    console: Console,
    tables: Tables | None = None,
) -> Run:
    """The folds of one training, each predicted, as one run: out-of-fold scores, mean test predictions, a submission.

    tables: as read and checked; without them they are.
    Raises RunError unless every fold is there once, all of the same seed, recipe and data.
    """
    members = all_folds(read_members(runs, to_combine=True))
    together = _together(competition, members, workspace, console, tables)
    parts, labelled = fold_of_rows(members, together.tables), together.tables.targets
    rows = parts.nonzero()[0]
    ids, targets, folds = together.tables.train["id"].iloc[rows], labelled[rows], parts[rows]
    valid = pd.concat([member.valid for member in members]).loc[ids].to_numpy()
    even = np.full(len(members), 1 / len(members))
    classes = together.tables.classes
    made = postprocessed(competition, ids, classes, valid)
    tuned = tune_on_predictions(competition, classes, targets, made, valid, of_one_model=True, labelled=labelled)
    combined = Combined(valid, weighted_mean(together.test), made, even, *tuned)
    scores = _score_folds(competition, classes, members, folds, targets, combined)
    scores["standard_errors"] = standard_errors(competition, classes, targets, made, combined.postprocessing)
    first = members[0].config
    shared = {name: first[name] for name in ("recipe_name", "seed", "split_seed", "folds") if name in first}
    return together.write(
        f"{shared['recipe_name']}-{len(members)}folds",
        {"kind": "folds", **shared},
        np.where(parts, parts.astype(str), "train"),
        combined,
        scores,
        [*_describe_folds(competition, scores, len(parts)), *filter(None, [doubt(scores)])],
    )


def ensemble(
    competition: Competition, runs: Sequence[Run], workspace: Workspace, console: Console, how: Method | None = None
) -> Run:
    """The runs' predictions combined by the method ``how``, or else by the one that scores best, as a run of its own.

    Every method is scored, fitted weights on images that they were not fitted on. Where the weights leave one run
    alone, that run is given back, and no copy of it is made. Raises RunError unless all runs predict the same images,
    validating in the same folds, of the same data.
    """
    if len(runs) < 2:
        raise RunError("An ensemble is of two runs or more; name them all.")
    return _combined(competition, runs, workspace, console, how)


def blend(
    competition: Competition,
    choices: Choices,
    runs: Sequence[Run],
    workspace: Workspace,
    console: Console,
    tables: Tables,
    *,
    into: Run | None,
    complete: bool,
) -> Run:
    """The trainings of ``choices`` that have ended, combined by the method that scores best, in one run.

    into: that run, which is written again with each training that has ended. complete: no other is to follow.
    """
    names = {run.name for run in runs}
    if into is not None and into.record("config")["complete"] >= complete and set(into.members) >= names:
        return into
    own = {"recipe_name": choices.recipe, "options": choices.options(), "complete": complete}
    return _combined(competition, runs, workspace, console, tables=tables, into=into, own=own)


def blend_under_way(
    workspace: Workspace, competition: str, choices: Choices, done: Goal, holding: ExitStack
) -> Run | None:
    """The latest blend of these choices that lacks trainings, or didn't get as far as ``done``.

    It is held for as long as ``holding``; one that another process holds is left to it.
    """
    for run in reversed(list_runs(workspace, competition)):
        config = run.record("config")
        if config.get("options") == choices.options():
            if config["complete"] and done(run):
                return None
            if holding.enter_context(run.held()):
                return run
    return None


def _combined(
    competition: Competition,
    runs: Sequence[Run],
    workspace: Workspace,
    console: Console,
    how: Method | None = None,
    tables: Tables | None = None,
    into: Run | None = None,
    own: Mapping[str, Any] | None = None,
) -> Run:
    """own: what the config has of a blend in place of an ensemble's."""
    members = read_members(runs, to_combine=True)
    refuse_differences(members, OF_ENSEMBLES, "combine runs on the same data")
    together = _together(competition, members, workspace, console, tables)
    tables = together.tables
    parts = same_parts(members, tables)
    rows = (parts != "train").nonzero()[0]
    ids, targets = tables.train["id"].iloc[rows], tables.targets[rows]
    valid = np.stack([member.valid.loc[ids].to_numpy() for member in members])
    folds = cross_fit_folds(parts[rows], targets, None if tables.groups is None else tables.groups[rows])
    of_folds = bool({*parts[rows]} - {"valid"})
    methods = by_every_method(
        competition,
        tables.classes,
        valid,
        together.test,
        targets,
        folds,
        of_folds=of_folds,
        labelled=tables.targets,
        ids=ids.to_list(),
    )
    chosen = _chosen(methods, how, len(rows))
    alone_at = int(methods[chosen].weights.argmax())
    if own is None and methods[chosen].weights[alone_at] >= ALONE:
        only = members[alone_at].run
        console.say(f"{chosen} gives {only.name} all the weight, so the others add nothing to it and no run is made")
        return only
    if not len(rows):
        methods[chosen] = _postprocessed_alike(methods[chosen], members)
    alone = {
        member.name: tune_on_predictions(
            competition,
            tables.classes,
            targets,
            postprocessed(competition, ids, tables.classes, one),
            of_one_model=of_folds,
            labelled=tables.targets,
        )[1]
        for member, one in zip(members, valid, strict=True)
    }
    scores = compare(alone, methods, chosen)
    best = methods[chosen]
    scores["standard_errors"] = standard_errors(competition, tables.classes, targets, best.made, best.postprocessing)
    seeds = {member.config.get("seed") for member in members}
    whole = all(member.config.get("fold") is None for member in members)
    config = {
        "kind": "ensemble",
        "how": chosen,
        "recipe_name": "ensemble",
        "seed": seeds.pop() if len(seeds) == 1 else None,
        "folds": members[0].config.get("folds") if whole else None,
        **(own or {}),
    }
    lines = [*describe(competition, scores), *filter(None, [doubt(scores)])]
    if own and not own["complete"]:
        lines = describe(competition, scores)[-1:]
    whole_recipe = isinstance(competition.recipes.get(config["recipe_name"]), Ensemble)
    name = f"{config['recipe_name']}-blend" if own and not whole_recipe else config["recipe_name"]
    return together.write(name, config, parts, methods[chosen], scores, lines, into)


def _chosen(methods: Mapping[Method, Combined], how: Method | None, rows: int) -> Method:
    if not rows and how in (None, "ranks"):
        lacking = "methods can't be compared" if how is None else "no post-processing can be tuned for ranks"
        raise RunError(f"No image validates in these runs, so {lacking}; say --how mean.")
    if how in ("logits", "ranks") and how not in methods:
        raise RunError(
            f"These runs predict numbers, which can't be combined by {how}; say --how mean or --how weights."
        )
    if how is not None and how not in methods:
        raise RunError(f"{rows} images validate in these runs, too few to fit weights; say --how mean.")
    return how or best_method(methods)


def _postprocessed_alike(combined: Combined, members: Sequence[Member]) -> Combined:
    """With the post-processing that all members took over from runs like them; raises RunError where theirs differ."""
    first, *others = (member.config.get("postprocessing") for member in members)
    if any(other != first for other in others):
        raise RunError(
            f"{', '.join(member.name for member in members)} have post-processing of different runs and no image "
            "validates to tune another; train them on all data with the same --like."
        )
    if first is None:
        return combined
    return replace(combined, postprocessing=from_record(first), record={**combined.record, "postprocessing": first})


def _score_folds(
    competition: Competition,
    classes: Sequence[str],
    members: Sequence[Member],
    folds: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    combined: Combined,
) -> dict[str, Any]:
    """The record of the scores of all images, with each fold's, and their mean and standard deviation.

    ``tuned`` of a fold is after the post-processing tuned on all images. The standard deviation is that of these folds
    (divided by their number), as scikit-learn's users print it.
    """
    of_folds = []
    for fold, member in enumerate(members, start=1):
        rows = folds == fold
        valid, truth = combined.made[rows], targets[rows]
        untuned = score_untuned(competition, classes, truth, valid)
        tuned = competition.scoring(truth, combined.postprocessing(valid), classes)
        of_folds.append({"run": member.name, "rows": int(rows.sum()), "untuned": untuned, "tuned": tuned})
    table = pd.DataFrame(of_folds)[["untuned", "tuned"]]
    spread = {"mean": table.mean().to_dict(), "standard_deviation": table.std(ddof=0).to_dict()}
    return {**combined.record, **spread, "folds": of_folds}


def _describe_folds(competition: Competition, scores: Mapping[str, Any], labelled: int) -> list[str]:
    """The scores as a table. labelled: how many images are, with those that only train."""
    folds, mean, deviation = scores["folds"], scores["mean"], scores["standard_deviation"]
    spread = [f"{mean[name]:.5f} ± {deviation[name]:.5f}" for name in ("untuned", "tuned")]
    only_train = labelled - scores["rows"]
    but = f" but the {only_train} that only train" if only_train else ""
    return [
        f"{competition.name}: {len(folds)} folds joined, every labelled image{but} predicted by a model that did not "
        "see it",
        *as_table(
            ["fold", "images", competition.scoring.name, "post-processed"],
            *([fold, one["rows"], one["untuned"], one["tuned"]] for fold, one in enumerate(folds, start=1)),
            ["mean", "", *spread],
            ["all images", scores["rows"], scores["untuned"], with_error(scores)],
        ),
    ]
