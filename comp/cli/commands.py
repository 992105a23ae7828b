"""The command line: every command, and how each ends."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from comp.cli import data, results, serving, training, trying
from comp.errors import CompError
from comp.interrupts import STATUSES, ending_on_sigterm
from comp.training.launching import help_out, helps, leading
from comp.training.spinning import spin_little

# How many objects are made between two looks for garbage. With the 700 that are usual, looking takes a fifth of the
# time until a training's first step: torch and what belongs to it are hundreds of thousands, and stay. A step of a
# training leaves some five objects, none of them with a tensor.
OBJECTS = 100_000
# By their names, in the order that help lists them in.
COMMANDS: dict[str, Callable[..., None]] = {
    "list": data.list_competitions,
    "new": data.new,
    "download": data.download,
    "check": data.check,
    "train": training.train,
    "sweep": trying.sweep,
    "lr-find": trying.lr_find,
    "bench": trying.bench,
    "schedule": trying.schedule,
    "predict": results.predict,
    "notebook": results.notebook,
    "explore": data.explore,
    "report": results.report,
    "compare": results.compare,
    "board": serving.board,
    "diagnose": results.diagnose,
    "submit": results.submit,
    "join": results.join,
    "ensemble": results.ensemble,
    "run": training.run_all,
    "rehearse": training.rehearse,
    "runs": results.runs,
    "scores": results.scores,
    "serve": serving.serve,
}

app = typer.Typer(
    name="comp",
    help="Start a Kaggle image competition: download, train, predict, submit.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for name, command in COMMANDS.items():
    app.command(name)(command)


@app.callback()
def common(
    context: typer.Context,
    competitions: Annotated[
        list[Path], typer.Option(metavar="DIR", help="A folder of more competitions, beside the repository's.")
    ] = [],  # noqa: B006
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001 - main reads it
) -> None:
    context.obj = competitions


def main() -> None:
    """Run the command line; every error becomes one sentence and exit status 1, its traceback shown with --debug."""
    debug = "--debug" in sys.argv[1:]
    spin_little()
    gc.set_threshold(OBJECTS)
    if helps():
        help_out()
        return
    try:
        with ending_on_sigterm(), leading():
            # So that --debug may stand behind the command as well.
            app([argument for argument in sys.argv[1:] if argument != "--debug"])
    except CompError as error:
        _fail(str(error), debug)
    except SystemExit as end:
        # typer turns an interrupt into such a status and says nothing.
        if end.code not in STATUSES:
            raise
        _fail("stopped; the same command again goes on from here.", debug, int(end.code))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        remedy = "make room or set COMP_HOME to a folder that can be written; the same command again goes on."
        _fail(f"{where}{error.strerror or error}; {remedy}", debug)
    except Exception as error:
        _fail(f"unexpected {type(error).__name__}: {error}; run again with --debug to see where.", debug)


def _fail(sentence: str, debug: bool, status: int = 1) -> None:
    if debug:
        traceback.print_exc()
    print("Error:", " ".join(sentence.split()), file=sys.stderr)
    sys.exit(status)
