"""Combine members into one run, joined folds or an ensemble: with predictions, scores and a submission, no weights."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from comp.console import Console
from comp.data.data_check import checked_tables
from comp.data.tables import Tables
from comp.declare.competition import Competition
from comp.declare.custom import recorded
from comp.declare.recipe import Ensemble
from comp.errors import RunError, counted
from comp.runs import Goal, Run, Workspace, create_run, list_runs
from comp.runs.choices import Choices
from comp.submission.postprocessing import from_record
from comp.submission.predictions import Member, keep_predictions, postprocessed, read_members
from comp.submission.scoring import score_untuned, with_error
from comp.submission.submission import build_submission, keep_submission
from comp.submission.uncertainty import doubt
from comp.tools.ensembles.members import (
    Combined,
    Together,
    all_folds,
    fold_of_rows,
    refuse_differences,
    refuse_other_data,
    same_parts,
)
from comp.tools.ensembles.methods import METHODS, Method, as_table, by_every_method, compare, describe, given_weights
from comp.tools.ensembles.weights import weighted_mean
from comp.training.launching import is_main

# From this weight on, a run counts as the whole ensemble.
ALONE = 0.9995


def join(
    competition: Competition,
    runs: Sequence[Run],
    workspace: Workspace,
    console: Console,
    tables: Tables | None = None,
) -> Run:
    """Join a training's predicted folds in one run: out-of-fold scores, mean test predictions, a submission.

    tables: read and checked; if None, they are read here.
    Raises RunError unless every fold is there once, all of the same seed, recipe and data.
    """
    members = all_folds(read_members(runs, to_combine=True))
    tables = as_they_are_now(competition, members, workspace, console, tables)
    together = Together(competition, members, tables, fold_of_rows(members, tables))
    valid = pd.concat([member.valid for member in members]).loc[together.ids].to_numpy()
    combined = together.combined(valid, weighted_mean(together.test), np.full(len(members), 1 / len(members)))
    scores, first = _score_folds(together, combined), members[0].config
    shared = {name: first[name] for name in ("recipe_name", "seed", "split_seed", "folds") if name in first}
    return write(
        together,
        workspace,
        console,
        f"{shared['recipe_name']}-{len(members)}folds",
        {"kind": "folds", "members": [member.name for member in members], **shared},
        combined,
        scores,
        [*_describe_folds(competition, scores, len(together.parts)), *filter(None, [doubt(scores)])],
    )


def ensemble(
    competition: Competition, runs: Sequence[Run], workspace: Workspace, console: Console, how: Method | None = None
) -> Run:
    """Combine the runs' predictions by the method ``how``, or the one that scores best, in a new run.

    Every method is scored, fitted weights on images that they were not fitted on. If one run gets all the weight, that
    run is returned, and none is made. Raises RunError unless all runs predict the same images, in the same validation
    folds, of the same data.
    """
    if len(runs) < 2:
        raise RunError("An ensemble needs two runs or more; name them all.")
    if how is not None and how not in METHODS:
        given_weights(how, len(runs))  # raises for invalid weights before tables are read
    return _combined(competition, runs, workspace, console, how)


@contextmanager
def blending(
    competition: Competition, choices: Choices, workspace: Workspace, console: Console, done: Goal
) -> Iterator[Callable[..., Run]]:
    """A function that combines the finished trainings of ``choices`` by the method that scores best.

    It writes them in one run, locked for the block: the latest of the same choices that lacks trainings or isn't
    ``done``, unless another process holds it, or else a new one. It is called with the runs, the tables, and whether
    the runs are ``complete``, so that none follows.
    """
    into: Run | None = None
    with ExitStack() as holding:
        for run in reversed(list_runs(workspace, competition.name)) if is_main() else ():
            config = run.record("config")
            if config.get("options") == choices.options():
                if config["complete"] and done(run):
                    break
                if holding.enter_context(run.held()):
                    into = run
                    break

        def blend(runs: Sequence[Run], tables: Tables, *, complete: bool = False) -> Run:
            nonlocal into
            names = {run.name for run in runs}
            if not is_main():
                return runs[0]
            if into is not None and into.record("config")["complete"] >= complete and set(into.members) >= names:
                return into
            own = {"recipe_name": choices.recipe, "options": choices.options(), "complete": complete}
            blended = _combined(competition, runs, workspace, console, tables=tables, into=into, own=own)
            if into is None and holding.enter_context(blended.held()):  # unless another process found it first
                into = blended
            return blended

        yield blend


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
    """own: the entries of a blend's config that replace an ensemble's."""
    members = read_members(runs, to_combine=True)
    # Runs of earlier versions only have a fingerprint of all data.
    data = "predicted_data" if all("predicted_data" in member.config for member in members) else "data"
    advice = "combine runs that predict the same images, with the same labels"
    refuse_differences(members, ("competition", "classes", data), advice)
    tables = as_they_are_now(competition, members, workspace, console, tables)
    together = Together(competition, members, tables, same_parts(members, tables))
    valid = np.stack([member.valid.loc[together.ids].to_numpy() for member in members])
    with console.waiting("tuning post-processing"):
        methods = by_every_method(together, valid, how)
    chosen = _chosen(methods, how, len(together.rows))
    best = methods[chosen]
    if own is None and best.weights.max() >= ALONE:
        only = members[best.weights.argmax()].run
        console.say(f"{chosen} gives {only.name} all the weight, so the others add nothing to it and no run is made")
        return only
    shared = None if len(together.rows) else _taken_over(members)
    if shared is not None:
        record = {**best.record, "postprocessing": shared}
        best = methods[chosen] = replace(best, postprocessing=from_record(shared), record=record)
    of_members = zip(members, valid, together.test, np.eye(len(members)), strict=True)
    alone = {member.name: together.combined(*predictions) for member, *predictions in of_members}
    scores = compare(together, alone, methods, chosen) | {"standard_errors": together.errors_of(best)}
    seeds = {member.config.get("seed") for member in members}
    whole = all(member.config.get("fold") is None for member in members)
    config = {
        "kind": "ensemble",
        "members": [member.name for member in members],
        "how": chosen,
        "recipe_name": "ensemble",
        "seed": seeds.pop() if len(seeds) == 1 else None,
        "folds": members[0].config.get("folds") if whole else None,
        "postprocessing": shared,
        **(own or {}),
    }
    lines = [*describe(competition, scores), *filter(None, [doubt(scores)])]
    if own and not own["complete"]:
        lines = describe(competition, scores)[-1:]
    whole_recipe = isinstance(competition.recipes.get(config["recipe_name"]), Ensemble)
    name = f"{config['recipe_name']}-blend" if own and not whole_recipe else config["recipe_name"]
    return write(together, workspace, console, name, config, best, scores, lines, into)


def as_they_are_now(
    competition: Competition, members: Sequence[Member], workspace: Workspace, console: Console, tables: Tables | None
) -> Tables:
    """The tables with a row per answer; raises RunError for a member with other data."""
    tables = (tables or checked_tables(competition, workspace, console)).answers
    refuse_other_data(members, tables)
    return tables


def write(
    together: Together,
    workspace: Workspace,
    console: Console,
    name: str,
    config: Mapping[str, Any],
    combined: Combined,
    scores: Mapping[str, Any],
    lines: Sequence[str],
    into: Run | None = None,
) -> Run:
    """Write a new run folder; an incomplete one is removed after an error.

    name: of the folder, without its number. config: this kind's own entries. lines: printed and logged.
    into: the run to overwrite instead.
    """
    competition, tables, first = together.competition, together.tables, together.members[0].config
    ids, classes = tables.test["id"].to_list(), tables.classes
    made = postprocessed(competition, ids, classes, combined.test)
    submission = build_submission(competition, classes, tables.sample_submission, ids, combined.postprocessing(made))
    common = {
        "command": shlex.join(["comp", *sys.argv[1:]]),
        "competition": competition.name,
        "kaggle": competition.kaggle,
        "metric": competition.scoring.name,
        "scoring": recorded(competition.metric),
        "classes": first["classes"],
        **{name: first[name] for name in ("data", "predicted_data") if name in first},
    }
    run = create_run(workspace, competition.name, name) if into is None else into
    try:
        console.log = run.log
        for line in lines:
            console.say(line)
        run.write_split(tables.train["id"], together.parts)
        keep_predictions(run, "valid", together.ids, classes, combined.made, combined.valid)
        keep_predictions(run, "test", ids, classes, made, combined.test)
        run.write_record("scores", scores)
        run.report.unlink(missing_ok=True)
        keep_submission(submission, run)
        console.say(f"wrote {run.submission} with {counted(len(submission), 'row')}")
        # Last, so that a folder with a config is complete.
        run.write_config({**common, **config})
    except BaseException:
        if into is None:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return run


def _chosen(methods: Mapping[Method, Combined], how: Method | None, rows: int) -> Method:
    if how is None and rows:
        return max(methods, key=lambda method: methods[method].goodness)
    # Other runs' post-processing doesn't apply to ranks.
    if how is not None and how in methods and (rows or how != "ranks"):
        return how
    too_few = f"only {counted(rows, 'validation image')}" if rows else "no validation image"
    why = "their predictions are numbers" if how in ("logits", "ranks") and how not in methods else too_few
    raise RunError(f"These runs can't be combined by {how or 'the best method'}: {why}; say --how mean.")


def _taken_over(members: Sequence[Member]) -> dict[str, Any] | None:
    """The record of the post-processing that all members took over from a run; raises RunError where theirs differ."""
    first, *others = (member.config.get("postprocessing") for member in members)
    if any(other != first for other in others):
        raise RunError(
            f"{', '.join(member.name for member in members)} have post-processing of different runs and no image "
            "validates to tune another; train them on all data with the same --like."
        )
    return first


def _score_folds(together: Together, combined: Combined) -> dict[str, Any]:
    """The record of the scores: on all images, on each fold, and the folds' mean and standard deviation.

    A fold's ``tuned`` score is after the post-processing tuned on all images. The standard deviation is NumPy's default
    (``ddof=0``), as scikit-learn's users print it.
    """
    competition, classes, of_folds = together.competition, together.tables.classes, []
    for fold, member in enumerate(together.members, start=1):
        rows = together.parts[together.rows] == str(fold)
        valid, truth = combined.made[rows], together.targets[rows]
        untuned = score_untuned(competition, classes, truth, valid)
        tuned = competition.scoring(truth, combined.postprocessing(valid), classes)
        of_folds.append({"run": member.name, "rows": int(rows.sum()), "untuned": untuned, "tuned": tuned})
    table = pd.DataFrame(of_folds)[["untuned", "tuned"]]
    return {
        **combined.record,
        "mean": table.mean().to_dict(),
        "standard_deviation": table.std(ddof=0).to_dict(),
        "folds": of_folds,
        "standard_errors": together.errors_of(combined),
    }


def _describe_folds(competition: Competition, scores: Mapping[str, Any], labelled: int) -> list[str]:
    """The scores as a table. labelled: the number of labelled images, with those that only train."""
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
