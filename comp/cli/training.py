"""The commands that train, measure or search: schedule, lr-find, bench, train, run, rehearse and sweep."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comp.cli.options import CHOICES, DeleteArchives, Here, Name, Processes, command, option
from comp.errors import OverrideError
from comp.files import write_text
from comp.training.launching import only_main, start_processes

if TYPE_CHECKING:
    from comp.runs.choices import Choices


@command("recipe", "backbone", "settings")
def schedule(here: Here, name: Name, choices: Choices) -> None:
    """Draw a recipe's learning-rate schedule without training."""
    from comp.training.curves import draw_schedule

    if (picture := draw_schedule(here.competition(name), choices, here.workspace, here.console)) is not None:
        print(picture)


@command("recipe", "backbone", "settings", "seed")
def lr_find(
    here: Here,
    name: Name,
    choices: Choices,
    stage: Annotated[
        int | None,
        option("N", "Test this stage, from 1, with its frozen layers and image size; otherwise the first with a rate."),
    ] = None,
) -> None:
    """Run an LR range test and suggest a learning rate."""
    from comp.training.curves import find_rate

    print(find_rate(here.competition(name), choices, here.workspace, here.console, stage))


@command("recipe", "backbone", "settings")
def bench(
    here: Here,
    name: Name,
    choices: Choices,
    size: Annotated[int | None, option("N", "The image side in pixels, instead of the recipe's.", min=8)] = None,
    batch_size: Annotated[int | None, option("N", "The images per step, instead of the recipe's.", min=2)] = None,
    json: Annotated[Path | None, option("FILE", "Also write the numbers to this JSON file.")] = None,
) -> None:
    """Measure the speed of training and prediction here."""
    from comp.tools.benchmark import benchmark

    if batch_size is not None:
        choices = replace(choices, settings=(*choices.settings, f"batch_size={batch_size}"))
    measured = benchmark(here.competition(name), choices, size, here.workspace, here.console)
    for line in measured.lines():
        here.console.say(line)
    if json is not None:
        write_text(json, dumps(measured.as_record(), indent=2) + "\n")


@command(*CHOICES)
def train(
    here: Here,
    choices: Choices,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A competition, as `comp list` names it.")
    ] = None,
    resume: Annotated[str | None, option("RUN", "Resume this stopped run, with the options it had.")] = None,
    processes: Processes = 1,
) -> None:
    """Train a recipe on downloaded data.

    With --folds and no --fold, all folds are also predicted and joined.
    """
    from comp import runner

    if resume is not None:
        if name is not None or choices != type(choices)():
            raise OverrideError("--resume takes the options that the run had; leave NAME and other options out.")
        stopped = here.run(resume)
        work = partial(runner.resume, here.competition(stopped), stopped)
    elif name is not None:
        work = partial(runner.train, here.competition(name), choices)
    else:
        raise OverrideError("There is nothing to train; name a competition, as `comp list` does, or a run to --resume.")
    _refuse_time(processes, choices)
    if not start_processes(processes):
        print(work(here.workspace, here.console).folder)


@command(*CHOICES, several=True)
def run(
    here: Here,
    name: Name,
    several: list[Choices],
    submit: Annotated[bool, option(None, "Upload the submission and wait for its score.", "--submit")] = False,
    delete_archives: DeleteArchives = False,
    processes: Processes = 1,
    on: Annotated[
        str | None,
        option("WHERE", "kaggle: in a notebook there. ray or ray://HOST:PORT: folds, recipes and seeds side by side."),
    ] = None,
) -> None:
    """Do all steps: download, train, predict, write the submission."""
    from comp import runner

    _refuse_two_places(on, processes)
    _refuse_time(processes, *several)
    if len(several) > 1 and (submit or on == "kaggle"):
        which = "--submit" if submit else "--on kaggle"
        raise OverrideError(f"{which} is for one training, but there are {len(several)}; name one recipe and one seed.")
    work = here.workspace, here.console
    if on == "kaggle":
        declaration, (choices,) = here.declaration(name), several
        trained = runner.run_at_kaggle(declaration, choices, *work, submitting=submit, delete_archives=delete_archives)
        print(trained.folder)
        return
    competition = here.competition(name)
    if start_processes(processes):
        return
    if len(several) > 1:
        made = runner.run_each(competition, several, *work, delete_archives=delete_archives, on=on)
    else:
        one = several[0]
        made = [runner.run(competition, one, *work, submitting=submit, delete_archives=delete_archives, on=on)]
    for trained in made:
        print(trained.folder)


@command(*CHOICES)
def rehearse(
    here: Here,
    name: Name,
    choices: Choices,
    share: Annotated[float, option("S", "The share of the labelled images to hide.", min=0.01, max=0.5)] = 0.2,
) -> None:
    """Estimate the score: do all steps with some labels hidden.

    A share of the labelled images is treated as test images, and their predictions are scored by the hidden labels.
    """
    from comp import runner

    print(runner.rehearse(here.competition(name), choices, here.workspace, here.console, share).folder)


@command("recipe", "backbone", "settings", "seed")
def sweep(
    here: Here,
    name: Name,
    choices: Choices,
    space: Annotated[
        list[str], option("FIELD=VALUES", "Values like dropout=0..0.5, weight_decay=1e-4..1:log or batch_size=16,32.")
    ],
    trials: Annotated[int, option("N", "The number of runs, including those that this sweep has already.", min=1)] = 20,
    processes: Processes = 1,
    on: Annotated[str | None, option("WHERE", "Run trials side by side on Ray: ray or ray://HOST:PORT.")] = None,
) -> None:
    """Search for a recipe's best values; each trial is a run.

    A trial that is worse than most is stopped early.
    """
    from comp.tools.sweeps import sweep as search

    _refuse_two_places(on, processes)
    if on is not None:
        only_main()
    competition = here.competition(name)
    if start_processes(processes):
        return
    print(search(competition, choices, space, trials, here.workspace, here.console, on))


def _refuse_time(processes: int, *several: Choices) -> None:
    if processes > 1 and any(choices.time is not None for choices in several):
        raise OverrideError("--time works in one process only; leave out --processes or --time.")


def _refuse_two_places(on: str | None, processes: int) -> None:
    if on is not None and processes > 1:
        raise OverrideError("--processes is for this machine, and --on names another place; leave one of the two out.")
