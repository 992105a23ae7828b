"""A competition and its files: what there is, a new one, its download, what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comp.cli.context import competition_by, folders_of, new_console
from comp.cli.options import Backbone, DeleteArchives, Name, RecipeName, Seed, Settings
from comp.errors import DeclarationError, OverrideError
from comp.runs import Workspace


def list_competitions(context: typer.Context) -> None:
    """The competitions there are."""
    from comp.declare.competition import find_competitions, load_competition

    declared = find_competitions(*folders_of(context))
    width, wrong = max(map(len, declared), default=0), []
    for name, declaration in declared.items():
        try:
            competition = load_competition(declaration)
        except DeclarationError as error:
            wrong.append(str(error))
        else:
            print(f"{name:<{width}}  {competition.metric:<10}  {', '.join(competition.recipes)}")
    if wrong:
        raise DeclarationError(" ".join(wrong))


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the new competition shall be called here.")],
    kaggle: Annotated[str | None, typer.Option(metavar="SLUG", help="Its slug at Kaggle, or its address.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder, or archive, that its files are in.")
    ] = None,
    dataset: Annotated[
        list[str], typer.Option(metavar="OWNER/SLUG", help="A data set at Kaggle with images that it lacks.")
    ] = [],  # noqa: B006
) -> None:
    """Make a competition's folder: look at its files, infer what to declare, say what is a guess."""
    from comp.declare.competition import KaggleDataset
    from comp.new.start import Source, start

    folders = folders_of(context)
    if not folders:
        raise OverrideError("There is no folder of competitions to make it in; name one with --competitions DIR.")
    source = Source(kaggle, data, [KaggleDataset(handle) for handle in dataset])
    print(start(name, source, folders[-1], Workspace.from_environment(), new_console()))


def download(context: typer.Context, name: Name, delete_archives: DeleteArchives = False) -> None:
    """Bring a competition's files from Kaggle and unpack them."""
    from comp import runner

    workspace = Workspace.from_environment()
    print(runner.download(competition_by(context, name), workspace, new_console(), delete_archives=delete_archives))


def check(context: typer.Context, name: Name) -> None:
    """Open every image once; say what can't be read, what is odd and what is there twice."""
    from comp import runner

    print(runner.check(competition_by(context, name), Workspace.from_environment(), new_console()))


def explore(
    context: typer.Context,
    name: Name,
    recipe: RecipeName = "standard",
    backbone: Backbone = None,
    settings: Settings = [],  # noqa: B006
    seed: Seed = 0,
    folds: Annotated[int | None, typer.Option(metavar="K", help="Show how the rows are dealt to K folds.")] = None,
) -> None:
    """Write a page about the data: classes, samples, shapes, augmentations, the split, advice."""
    from comp.report.exploring import explore as write_page
    from comp.runs.resolve import Choices

    choices = Choices(recipe, backbone, tuple(settings), seed, folds=folds)
    print(write_page(competition_by(context, name), choices, Workspace.from_environment(), new_console()))
