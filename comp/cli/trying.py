"""A recipe tried before one relies on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comp.cli.context import competition_by, new_console, refuse_two_places
from comp.cli.options import Backbone, Name, Processes, RecipeName, Seed, Settings
from comp.runs import Workspace
from comp.training.launching import helped


def schedule(
    context: typer.Context,
    name: Name,
    recipe: RecipeName = "standard",
    settings: Settings = [],  # noqa: B006
) -> None:
    """Draw a recipe's learning rates before a step is trained."""
    from comp.runs.resolve import Choices
    from comp.tools import trying

    choices = Choices(recipe, settings=tuple(settings))
    print(trying.plan(competition_by(context, name), choices, Workspace.from_environment(), new_console()))


def lr_find(
    context: typer.Context,
    name: Name,
    recipe: RecipeName = "standard",
    backbone: Backbone = None,
    settings: Settings = [],  # noqa: B006
    seed: Seed = 0,
    stage: Annotated[int, typer.Option(help="Whose layer groups, image size and inputs to sweep with.")] = 1,
) -> None:
    """Sweep over learning rates and suggest one."""
    from comp.runs.resolve import Choices
    from comp.tools import trying

    choices = Choices(recipe, backbone, tuple(settings), seed)
    print(trying.find_rate(competition_by(context, name), choices, Workspace.from_environment(), new_console(), stage))


def bench(
    context: typer.Context,
    name: Name,
    recipe: RecipeName = "standard",
    backbone: Backbone = None,
    settings: Settings = [],  # noqa: B006
    size: Annotated[int, typer.Option(min=8, help="Of the images, in pixels.")] = 224,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Images per step, not the recipe's.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write the numbers as JSON.")] = None,
) -> None:
    """Measure how fast images train and are predicted here, beside the model alone."""
    from comp.runs.resolve import Choices
    from comp.tools import trying

    chosen = (*settings, *(() if batch_size is None else (f"batch_size={batch_size}",)))
    workspace = Workspace.from_environment()
    trying.bench(competition_by(context, name), Choices(recipe, backbone, chosen), size, workspace, new_console(), json)


def sweep(
    context: typer.Context,
    name: Name,
    space: Annotated[
        list[str],
        typer.Option(metavar="FIELD=VALUES", help="dropout=0..0.5, weight_decay=1e-4..1:log, batch_size=16,32."),
    ],
    trials: Annotated[int, typer.Option(min=1, metavar="N", help="How many runs, with those before.")] = 20,
    recipe: RecipeName = "standard",
    backbone: Backbone = None,
    settings: Settings = [],  # noqa: B006
    seed: Seed = 0,
    processes: Processes = 1,
    on: Annotated[str | None, typer.Option(metavar="WHERE", help="ray, ray://HOST:PORT: trials side by side.")] = None,
) -> None:
    """Search for a recipe's best values: runs that are stopped early where they are worse than most."""
    from comp.runs.resolve import Choices
    from comp.tools import trying

    choices = Choices(recipe, backbone, tuple(settings), seed)
    refuse_two_places(on, processes)
    competition = competition_by(context, name)
    with helped(processes):
        print(trying.sweep(competition, choices, space, trials, Workspace.from_environment(), new_console(), on))
