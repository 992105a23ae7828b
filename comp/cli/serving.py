"""What goes on until it is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comp.cli.context import folders_of
from comp.runs import Workspace


def serve(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds a folder per competition or data set.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8642,
    faults: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A plan of what goes wrong, to rehearse bad days.")
    ] = None,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Execute notebooks that are pushed: code, with your rights, here.")
    ] = False,
) -> None:
    """Be a Kaggle on this machine: serve files, grade submissions, keep a leaderboard."""
    from comp.kaggle.sources import DeclaredGraders
    from comp.local_kaggle.faults import read_plan
    from comp.local_kaggle.server import serve as serve_until_interrupted

    state = Workspace.from_environment().cache / "local-kaggle" / "state"
    serve_until_interrupted(
        folder,
        DeclaredGraders(folders_of(context)),
        state,
        port,
        announce=lambda url: print(f"export COMP_KAGGLE_URL={url}", flush=True),
        faults=read_plan(faults) if faults else (),
        kernels=kernels,
        say=lambda line: print(line, flush=True),
    )


def board(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8643,
) -> None:
    """Serve a page of all runs, scores and leaderboards on this machine, which follows a training under way."""
    from comp.report.board import serve as serve_until_interrupted

    serve_until_interrupted(
        Workspace.from_environment(), folders_of(context), port, announce=lambda url: print(url, flush=True)
    )
