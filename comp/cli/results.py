"""What comes of runs that are there: predictions, submissions, blends, pages, lists."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from comp.cli.context import competition_by, declaration_by, new_console
from comp.cli.options import Name, RunName, RunNames
from comp.errors import RunError
from comp.runs import Workspace, broken_runs, find_run, list_runs

if TYPE_CHECKING:
    from collections.abc import Mapping


def predict(context: typer.Context, run: RunName) -> None:
    """Predict with a trained run and write its submission."""
    from comp import runner

    workspace = Workspace.from_environment()
    trained = find_run(workspace, run)
    print(runner.predict(competition_by(context, trained.competition), trained, workspace, new_console()))


def submit(
    context: typer.Context,
    run: RunName,
    message: Annotated[str | None, typer.Option(help="What Kaggle shows beside the submission.")] = None,
) -> None:
    """Upload a run's submission to Kaggle and wait for its score."""
    from comp import runner

    workspace = Workspace.from_environment()
    trained = find_run(workspace, run)
    runner.submit(competition_by(context, trained.competition), trained, workspace, new_console(), message)
    print(trained.folder)


def join(context: typer.Context, names: RunNames) -> None:
    """Join the folds of one training into a run with one submission."""
    from comp.tools.ensembles.joining import join as join_folds

    workspace = Workspace.from_environment()
    members = [find_run(workspace, name) for name in names]
    competition = competition_by(context, members[0].competition)
    print(join_folds(competition, members, workspace, new_console()).folder)


def ensemble(
    context: typer.Context,
    names: RunNames,
    how: Annotated[
        Literal["mean", "ranks", "weights"] | None,
        typer.Option(help="How to blend; else the way that scores best on the rows that validate."),
    ] = None,
) -> None:
    """Blend the predictions of several runs into one submission."""
    from comp.tools.ensembles.ensembles import ensemble as blend

    workspace = Workspace.from_environment()
    members = [find_run(workspace, name) for name in names]
    competition = competition_by(context, members[0].competition)
    print(blend(competition, members, workspace, new_console(), how).folder)


def notebook(context: typer.Context, run: RunName) -> None:
    """Write a notebook and a data set for Kaggle that predict with a run there, without internet."""
    from comp.tools.notebooks.predicting import write_predicting

    workspace = Workspace.from_environment()
    trained = find_run(workspace, run)
    print(write_predicting(declaration_by(context, trained.competition), trained, workspace, new_console()))


def diagnose(run: RunName) -> None:
    """Say what a run's losses show, and the one change to try."""
    from comp import runner

    runner.diagnose(find_run(Workspace.from_environment(), run), new_console())


def report(context: typer.Context, run: RunName) -> None:
    """Write a page about a run: scores, mistakes as pictures, calibration, how its training went."""
    from comp.report.explaining import explain

    workspace = Workspace.from_environment()
    trained = find_run(workspace, run)
    print(explain(competition_by(context, trained.competition), trained, workspace, new_console()))


def compare(context: typer.Context, names: RunNames) -> None:
    """Write a page that sets runs side by side: what differs, their curves, what each gains per class."""
    from comp.report.comparing import compare as write_page

    workspace = Workspace.from_environment()
    found = [find_run(workspace, name) for name in names]
    print(write_page(competition_by(context, found[0].competition), found, workspace))


def runs(name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this competition's.")] = None) -> None:
    """The runs there are, oldest first, with their validation score."""
    workspace = Workspace.from_environment()
    for run in (found := list_runs(workspace, name)):
        try:
            scores = run.record("scores") if run.has("scores") else {}
            submitted = run.record("submitted").get("score") if run.has("submitted") else None
        except RunError as error:
            print(f"{run.name:<32}  {error}")
            continue
        reached = "-" if run.finished else "training" if run.is_held else "stopped"
        score = f"{scores['metric']} {scores['tuned']:.5f}" if "tuned" in scores else reached
        leaderboard = "" if submitted is None else f"leaderboard {submitted:.5f}"
        print(f"{run.name:<32}  {score:<24}  {_blend(scores):<18}  {leaderboard}".rstrip())
    for run in (broken := broken_runs(workspace, name)):
        print(f"{run.name:<32}  {run.problem}")
    if not found and not broken:
        of_it = f" of {name}" if name else ""
        print(f"There is no run{of_it} in {workspace.runs}; `comp run {name or 'NAME'}` makes one.", file=sys.stderr)


def _blend(scores: Mapping[str, Any]) -> str:
    """Of what a run with these scores is a blend; nothing for one that was trained."""
    if "how" in scores:
        return f"{scores['how']} of {len(scores['members'])} runs"
    return f"{len(scores['folds'])} folds joined" if "folds" in scores else ""


def scores(context: typer.Context, name: Name) -> None:
    """A competition's runs with validation, public and private score, and their place on the leaderboard."""
    from comp.kaggle.scores import scores_of, show

    competition, console = competition_by(context, name), new_console()
    show(scores_of(competition, Workspace.from_environment(), console), competition.metric, console)
