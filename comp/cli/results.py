"""The commands for what follows a training: predictions, submissions, ensembles, pages, lists."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from comp.cli.data import print_rows
from comp.cli.options import Here, Name, Port, RunName, RunNames, command, option
from comp.errors import RunError, counted
from comp.runs import Run, broken_runs, list_runs

# The columns of `comp runs`.
HEADER = ("run", "validation", "state", "leaderboard", "backbone, fold, seed and settings")


@command()
def predict(here: Here, run: RunName) -> None:
    """Predict with a trained run and write its submission."""
    from comp import runner

    trained = here.run(run)
    print(runner.predict(here.competition(trained.competition), trained, here.workspace, here.console))


@command()
def submit(
    here: Here,
    run: RunName,
    message: Annotated[str | None, option("TEXT", "The message that Kaggle shows beside the submission.")] = None,
) -> None:
    """Upload a run's submission to Kaggle and wait for its score."""
    from comp import runner

    trained = here.run(run)
    runner.submit(here.competition(trained), trained, here.workspace, here.console, message)
    print(trained.folder)


@command()
def join(here: Here, names: RunNames) -> None:
    """Join the folds of one training into a run with one submission."""
    from comp.tools.ensembles import join as join_folds

    _report(here, join_folds(*here.runs(names), here.workspace, here.console))


@command()
def ensemble(
    here: Here,
    names: RunNames,
    how: Annotated[
        str | None,
        option(
            "HOW",
            "How to combine: mean, logits, ranks, weights, greedy, nnls, or one weight per run, like 2,1; by default "
            "the way that scores best on the validation images.",
            "--how",
        ),
    ] = None,
) -> None:
    """Combine the predictions of several runs into one submission."""
    from comp.tools.ensembles import ensemble as combine

    _report(here, combine(*here.runs(names), here.workspace, here.console, how))


@command()
def import_(
    here: Here,
    run: RunName,
    valid: Annotated[Path, option("FILE", "Predictions of the validation images: ids, classes; CSV or Parquet.")],
    test: Annotated[Path, option("FILE", "Predictions of the test images, in the same form.")],
) -> None:
    """Make a run from the predictions of another program.

    It has the split of RUN, and is scored on the validation images of RUN.
    """
    from comp.tools.ensembles import import_predictions

    like = here.run(run)
    _report(here, import_predictions(here.competition(like), like, valid, test, here.workspace, here.console))


def _report(here: Here, made: Run) -> None:
    """Write the page of a run that no training made, and print its folder."""
    from comp import runner

    if made.without_weights:  # else it is a member that has all the weight in an ensemble
        runner.report(here.competition(made), made, here.workspace, here.console)
    print(made.folder)


@command()
def export(
    here: Here,
    run: RunName,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder; its backbone is local-dir:FOLDER.")],
) -> None:
    """Write a run's backbone to a folder, for other trainings."""
    from comp.training.exporting import export_backbone

    trained = here.run(run)
    export_backbone(here.competition(trained), trained, folder, here.console)
    print(folder)


@command()
def notebook(here: Here, run: RunName) -> None:
    """Write a notebook that predicts with a run at Kaggle.

    It needs no internet access; the data set that it reads is written beside it.
    """
    from comp.tools.notebooks.predicting import write_predicting

    trained = here.run(run)
    print(write_predicting(here.declaration(trained), trained, here.console))


@command()
def diagnose(here: Here, run: RunName) -> None:
    """Say what a run's losses show, and the one change to try."""
    from comp import runner

    runner.diagnose(here.run(run), here.console)


@command()
def report(here: Here, run: RunName) -> None:
    """Write a page about a run: scores, mistakes, calibration."""
    from comp.report.report import explain

    trained = here.run(run)
    print(explain(here.competition(trained), trained, here.workspace, here.console))


@command()
def compare(here: Here, names: RunNames) -> None:
    """Write a page that compares runs side by side.

    It shows their differences, their curves, and what each gains per class.
    """
    from comp.report.compare import compare as write_page

    print(write_page(*here.runs(names), here.workspace))


@command()
def board(here: Here, port: Port = 8643) -> None:
    """Serve a page of all runs, scores and leaderboards.

    It follows the training under way, and is served on this machine until it is interrupted.
    """
    from comp.report.board import serve as serve_until_interrupted

    serve_until_interrupted(here.workspace, here.folders, port, announce=_announce)


def _announce(url: str) -> None:
    print(url, flush=True)
    print("Ctrl+C stops it.", file=sys.stderr, flush=True)


@command()
def runs(
    here: Here, name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only for this competition.")] = None
) -> None:
    """List the runs, oldest first, with their validation scores."""
    workspace = here.workspace
    found, broken = list_runs(workspace, name), broken_runs(workspace, name)
    rows: list[tuple[str, ...]] = [HEADER]
    problems = [(run.name, run.problem) for run in broken]
    for run in found:
        try:
            rows.append(_row(run))
        except RunError as error:
            problems.append((run.name, str(error)))
    if len(rows) > 1:
        print_rows(rows)
    for of_run, problem in problems:
        print(f"{of_run}  {problem}")
    if not found and not broken:
        of_it = f" of {name}" if name else ""
        print(f"There is no run{of_it} in {workspace.runs}; `comp run {name or 'NAME'}` makes one.", file=sys.stderr)


def _row(run: Run) -> tuple[str, ...]:
    """A run's name, score, state or members, score at Kaggle, and how it differs from others of its recipe."""
    scores = run.known("scores")
    trained = run.history.last_score(run.lost)
    if "tuned" in scores:
        score = f"{scores['metric']} {scores['tuned']:.5f}"
    else:
        score = f"{trained[0]} {trained[1]:.5f}" if trained else ""
    if "how" in scores:
        state = f"{scores['how']} of {counted(len(scores['members']), 'run')}"
    elif "folds" in scores:
        state = f"{len(scores['folds'])} folds joined"
    elif scores:
        state = ""
    else:
        state = "not predicted" if run.finished else "training" if run.is_held else "stopped"
    leaderboard = "" if run.leaderboard_score is None else f"{run.leaderboard_score:.5f}"
    return run.name, score, state, leaderboard, _what_is_special(run)


def _what_is_special(run: Run) -> str:
    """The backbone, the fold, the seed and the settings of a run."""
    config = run.record("config")
    backbone = config.get("recipe", {}).get("backbone", "").rpartition("/")[2]
    fold = f"fold {config['fold']} of {config['folds']}" if config.get("fold") else ""
    seed = f"seed {config['seed']}" if config.get("seed") else ""
    return ", ".join(filter(None, [backbone, fold, seed, *config.get("settings", ())]))


@command()
def scores(here: Here, name: Name) -> None:
    """List a competition's runs with validation and Kaggle scores.

    Their places on the leaderboard are listed as well.
    """
    from comp.kaggle.scores import scores_of, show

    competition = here.competition(name)
    show(scores_of(competition, here.workspace, here.console), competition.scoring.name, here.console)
