"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(metavar="NAME", help="A competition, as `comp list` names it.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run: its folder, competition/run, or a competition for its newest.")
]
RunNames = Annotated[list[str], typer.Argument(metavar="RUN", help="Runs: their folders, or competition/run.")]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="quick, standard, or another the competition has; with --like, that run's.")
]
Backbone = Annotated[str | None, typer.Option(help="A timm model, or local-dir:PATH; instead of the recipe's.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe.")]
Seed = Annotated[int, typer.Option(min=0, help="What split, order and augmentations are drawn from.")]
# Of what is trained several times: each recipe with each seed.
Recipes = Annotated[list[str], typer.Option("--recipe", help="As for train; may be given several times.")]
Seeds = Annotated[list[int], typer.Option("--seed", min=0, help="As for train; may be given several times.")]
AllData = Annotated[bool, typer.Option("--all-data", help="Train on every labelled image; none validates.")]
Folds = Annotated[int | None, typer.Option(metavar="K", help="Deal the rows to K folds and train as often.")]
Fold = Annotated[int | None, typer.Option(metavar="I", help="Train only the I-th of the folds.")]
Like = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="Take this run's recipe, rates found and post-processing (for --all-data)."),
]
Processes = Annotated[int, typer.Option(min=1, metavar="N", help="Share every batch among so many processes or GPUs.")]
DeleteArchives = Annotated[
    bool, typer.Option("--delete-archives", help="Delete what was downloaded once it is unpacked.")
]
