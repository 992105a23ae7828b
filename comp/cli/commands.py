"""All commands, in the groups that `comp --help` lists, and how errors and signals end them."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from comp.cli import data, results, training
from comp.cli.options import Here
from comp.errors import CompError
from comp.files import home
from comp.interrupts import STATUSES, ending_on_sigterm
from comp.runs import Workspace
from comp.training.launching import LOST, begin_process, lost, only_main, report_error, spin_little

# Objects allocated between two garbage collections. At Python's default of 700, collecting takes a fifth of the time
# until a training's first step: torch's hundreds of thousands of objects stay alive. A training step leaves some five
# objects behind, none with a tensor.
OBJECTS = 100_000
# In the order of work.
GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "Start": {"list": data.list_competitions, "new": data.new, "download": data.download},
    "Look before training": {
        "check": data.check,
        "explore": data.explore,
        "schedule": training.schedule,
        "lr-find": training.lr_find,
        "bench": training.bench,
    },
    "Train and submit": {
        "run": training.run,
        "train": training.train,
        "predict": results.predict,
        "submit": results.submit,
    },
    "After a run": {
        "runs": results.runs,
        "scores": results.scores,
        "report": results.report,
        "diagnose": results.diagnose,
        "compare": results.compare,
        "board": results.board,
    },
    "Combine and search": {
        "join": results.join,
        "ensemble": results.ensemble,
        "import": results.import_,
        "export": results.export,
        "sweep": training.sweep,
    },
    "Local Kaggle, and notebooks at Kaggle": {
        "rehearse": training.rehearse,
        "serve": data.serve,
        "notebook": results.notebook,
    },
}

# Commands that several processes share; any other command runs in rank 0 only.
SHARED = ("run", "sweep", "train")


class Grouped(TyperGroup):
    """Lists the commands by group; a first sentence of at most 64 characters is not cut at 80 columns."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as typer calls it
        longest = max(map(len, self.commands))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                helps = [(name, self.commands[name].get_short_help_str(72 - longest)) for name in commands]
                formatter.write_dl([(name.ljust(longest), text) for name, text in helps])


app = typer.Typer(
    name="comp",
    cls=Grouped,
    help="Start a Kaggle image competition: download, train, predict, submit.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for commands in GROUPS.values():
    for name, command in commands.items():
        app.command(name)(command)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"comp {version('comp-starter')}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    competitions: Annotated[
        list[Path], typer.Option(metavar="DIR", help="Also use the competitions in this folder; may be repeated.")
    ] = [],  # noqa: B006
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001 - main reads it
    version: Annotated[  # noqa: ARG001 - its callback ends the command
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand not in SHARED:
        only_main()
    context.obj = Here(competitions, Workspace.from_environment())


def main() -> None:
    """Run the command line; every error becomes one sentence and exit status 1, its traceback shown with --debug."""
    debug = "--debug" in sys.argv[1:]
    spin_little()
    gc.set_threshold(OBJECTS)
    begin_process()
    try:
        with ending_on_sigterm():
            app(_shared_first(sys.argv[1:]))
    except CompError as error:
        _fail(str(error), debug)
    except SystemExit as end:
        # typer turns an interrupt into one of these statuses and prints nothing.
        if end.code not in STATUSES:
            raise
        _fail("Stopped; the same command again starts from what is already done.", debug, int(end.code))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        remedy = "make room or set COMP_HOME to a folder that can be written; the same command again resumes."
        if error.filename and not Path(str(error.filename)).absolute().is_relative_to(home()):
            remedy = "check that it exists, can be written and has room, or name another place."
        _fail(f"{where}{error.strerror or error}; {remedy}", debug)
    except Exception as error:
        if lost(error):
            _fail(LOST, debug)
        _fail(f"unexpected {type(error).__name__}: {error}; run again with --debug to see where.", debug)


def _shared_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options of all commands first, as typer wants them; they may follow the command."""
    shared, own = list[str](), list[str]()
    for argument in arguments:
        is_folder = shared[-1:] == ["--competitions"]
        if argument != "--debug":
            (shared if is_folder or argument.partition("=")[0] == "--competitions" else own).append(argument)
    # Without its DIR at the end, the option alone: typer says what it lacks.
    return shared if shared[-1:] == ["--competitions"] else shared + own


def _fail(sentence: str, debug: bool, status: int = 1) -> None:
    if debug:
        traceback.print_exc()
    sentence = " ".join(sentence.split())
    if not report_error(sentence):
        print(sentence if status in STATUSES else f"Error: {sentence}", file=sys.stderr)
    sys.exit(status)
