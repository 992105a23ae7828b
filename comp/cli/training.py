"""Training, and all steps from the download to the submission."""

from __future__ import annotations

from itertools import product
from typing import Annotated

import typer

from comp.cli.context import competition_by, declaration_by, new_console, refuse_two_places
from comp.cli.options import (
    AllData,
    Backbone,
    DeleteArchives,
    Fold,
    Folds,
    Like,
    Name,
    Processes,
    RecipeName,
    Recipes,
    Seed,
    Seeds,
    Settings,
)
from comp.errors import OverrideError
from comp.runs import Workspace, find_run
from comp.training.launching import helped


def train(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A competition, as `comp list` names it.")
    ] = None,
    recipe: RecipeName = "standard",
    backbone: Backbone = None,
    settings: Settings = [],  # noqa: B006
    seed: Seed = 0,
    all_data: AllData = False,
    folds: Folds = None,
    fold: Fold = None,
    like: Like = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped, as it was begun.")
    ] = None,
    processes: Processes = 1,
) -> None:
    """Train a recipe on data that was downloaded; of --folds all, predicted and joined."""
    from comp import runner
    from comp.runs.resolve import Choices

    workspace = Workspace.from_environment()
    found = find_run(workspace, like) if like else None
    choices = Choices(recipe, backbone, tuple(settings), seed, all_data, folds, fold, found)
    if resume is not None:
        if name is not None or choices != Choices():
            raise OverrideError("--resume goes on with a run as it was begun; leave NAME and other options out.")
        stopped = find_run(workspace, resume)
        competition = competition_by(context, stopped.competition)
        with helped(processes):
            print(runner.resume(competition, stopped, workspace, new_console()).folder)
        return
    if name is None:
        raise OverrideError("There is nothing to train; name a competition, as `comp list` does, or a run to --resume.")
    step = runner.cross_validate if folds and not fold else runner.train
    competition = competition_by(context, name)
    with helped(processes):
        print(step(competition, choices, workspace, new_console()).folder)


def run_all(
    context: typer.Context,
    name: Name,
    recipe: Recipes = ["standard"],  # noqa: B006
    backbone: Backbone = None,
    settings: Settings = [],  # noqa: B006
    seed: Seeds = [0],  # noqa: B006
    all_data: AllData = False,
    folds: Folds = None,
    fold: Fold = None,
    like: Like = None,
    submit: Annotated[bool, typer.Option("--submit", help="Upload the submission and wait for its score.")] = False,
    delete_archives: DeleteArchives = False,
    processes: Processes = 1,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="kaggle: a notebook with a GPU; the run is brought here. ray, ray://HOST:PORT: what is trained "
            "several times, side by side.",
        ),
    ] = None,
) -> None:
    """All steps: download, train, predict, write the submission."""
    from comp import runner
    from comp.runs.resolve import Choices

    workspace = Workspace.from_environment()
    found = find_run(workspace, like) if like else None
    named = (
        Choices(name_of_recipe, backbone, tuple(settings), number, all_data, folds, fold, found)
        for name_of_recipe, number in product(recipe, seed)
    )
    choices, *others = several = list(dict.fromkeys(named))
    refuse_two_places(on, processes)
    if others and (submit or on == "kaggle"):
        which = "--submit" if submit else "--on kaggle"
        raise OverrideError(f"{which} is for one training, but there are {len(several)}; name one recipe and one seed.")
    if on == "kaggle":
        declaration = declaration_by(context, name)
        done = runner.run_at_kaggle(
            declaration, choices, workspace, new_console(), submitting=submit, delete_archives=delete_archives
        )
        print(done.folder)
        return
    competition = competition_by(context, name)
    if others:
        with helped(processes):
            for trained in runner.run_each(
                competition, several, workspace, new_console(), delete_archives=delete_archives, on=on
            ):
                print(trained.folder)
        return
    with helped(processes):
        done = runner.run(
            competition, choices, workspace, new_console(), submitting=submit, delete_archives=delete_archives, on=on
        )
    print(done.folder)


def rehearse(
    context: typer.Context,
    name: Name,
    recipe: RecipeName = "standard",
    backbone: Backbone = None,
    settings: Settings = [],  # noqa: B006
    seed: Seed = 0,
    all_data: AllData = False,
    folds: Folds = None,
    fold: Fold = None,
    like: Like = None,
    share: Annotated[float, typer.Option(min=0.01, max=0.5, help="Of the labelled images, how many to hide.")] = 0.2,
) -> None:
    """Run everything on a Kaggle of this machine that hides part of the labels, and say what score to expect."""
    from comp import runner
    from comp.runs.resolve import Choices

    workspace = Workspace.from_environment()
    found = find_run(workspace, like) if like else None
    choices = Choices(recipe, backbone, tuple(settings), seed, all_data, folds, fold, found)
    print(runner.rehearse(competition_by(context, name), choices, workspace, new_console(), share).folder)
