"""What the commands have in common: the folders of competitions, a competition by its name, what is said meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from comp.errors import OverrideError

if TYPE_CHECKING:
    from comp.console import Console
    from comp.declare.competition import Competition


def folders_of(context: typer.Context) -> list[Path]:
    """Where competitions are looked for: the repository's, and those that --competitions names."""
    from comp.declare.competition import REPOSITORY_COMPETITIONS

    # A comp that was installed from a wheel has no repository.
    return [*([REPOSITORY_COMPETITIONS] if REPOSITORY_COMPETITIONS.is_dir() else []), *context.obj]


def competition_by(context: typer.Context, name: str) -> Competition:
    from comp.declare.competition import competition_named

    return competition_named(name, *folders_of(context))


def declaration_by(context: typer.Context, name: str) -> Path:
    from comp.declare.competition import declaration_of

    return declaration_of(name, *folders_of(context))


def new_console() -> Console:
    from comp.console import Console

    return Console()


def refuse_two_places(on: str | None, processes: int) -> None:
    if on is not None and processes > 1:
        raise OverrideError("--processes is for this machine, and --on names another place; leave one of the two out.")
