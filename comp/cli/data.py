"""The commands about competitions and their files: list, new, download, check, explore and serve."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

import comp
from comp.cli.options import DeleteArchives, Here, Name, Port, command, option
from comp.declare.competition import KaggleDataset, find_competitions, load_competition
from comp.declare.metrics import METRICS, TARGETS
from comp.declare.reading import READERS
from comp.declare.recipe import HEADS, LOSSES
from comp.errors import DeclarationError, OverrideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comp.runs.choices import Choices


What = Literal["metrics", "losses", "heads", "optimizers", "labels", "forms", "readers"]
KINDS = f"instead what a declaration can choose by name: {', '.join(get_args(What))}"


@command()
def list_competitions(here: Here, what: Annotated[What | None, option("KIND", f"List {KINDS}.")] = None) -> None:
    """List the competitions, each with its metric and its recipes."""
    if what is not None:
        print_rows(list(_parts(what).items()))
        return
    declared = find_competitions(*here.folders)
    rows, wrong = [], []
    for name, declaration in declared.items():
        try:
            competition = load_competition(declaration)
        except DeclarationError as error:
            wrong.append(str(error))
        else:
            rows.append((name, competition.scoring.name, ", ".join(competition.recipes)))
    print_rows(rows)
    if wrong:
        raise DeclarationError(" ".join(wrong))


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of as many cells each, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())


def _parts(what: What) -> dict[str, str]:
    """The names of a kind, each with a short description."""
    if what == "metrics":
        ends = {True: "higher is better", False: "lower is better"}
        return {name: f"{metric.takes}, {ends[metric.higher_is_better]}" for name, metric in METRICS.items()}
    if what == "losses":
        return {name: f"for {', '.join(TARGETS[one] for one in targets)}" for name, targets in LOSSES.items()}
    if what == "optimizers":
        from comp.training.optimizers import optimizer_names

        return dict.fromkeys(optimizer_names(), "")
    if what in ("labels", "forms"):
        has = ("target", "read") if what == "labels" else ("takes", "encode")
        words = {name: getattr(comp, name) for name in comp.__all__ if name != "Competition"}
        found = {name: word for name, word in words.items() if all(hasattr(word, field) for field in has)}
        return {name: (word.__doc__ or "").splitlines()[0] for name, word in found.items()}
    return READERS if what == "readers" else HEADS


@command()
def new(
    here: Here,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new competition here.")],
    kaggle: Annotated[str | None, option("SLUG", "The competition's slug or address at Kaggle.")] = None,
    data: Annotated[Path | None, option("DIR", "The folder or archive with the competition's files.")] = None,
    dataset: Annotated[list[str], option("OWNER/SLUG", "A Kaggle data set with more images; may be repeated.")] = [],  # noqa: B006
) -> None:
    """Infer a new competition's declaration from its files.

    It says which parts of the declaration are guesses.
    """
    from comp.new.start import start

    if not here.folders:
        raise OverrideError("There is no folder of competitions to make it in; name one with --competitions DIR.")
    datasets = [KaggleDataset(handle) for handle in dataset]
    print(start(name, here.folders[-1], here.workspace, here.console, kaggle=kaggle, data=data, datasets=datasets))


@command()
def download(here: Here, name: Name, delete_archives: DeleteArchives = False) -> None:
    """Download a competition's files from Kaggle and unpack them."""
    from comp import runner

    print(runner.download(here.competition(name), here.workspace, here.console, delete_archives=delete_archives))


@command()
def check(
    here: Here,
    name: Name,
    labels: Annotated[
        str | None, option("RUN", "Instead, list the labels that this run's predictions contradict.")
    ] = None,
) -> None:
    """Open every image once; list the broken, odd and duplicate ones."""
    competition = here.competition(name)
    if labels is not None:
        from comp.report.labels import check_labels

        print(check_labels(competition, here.run(labels), here.workspace, here.console))
        return
    from comp.data.data_check import check as check_images

    print(check_images(competition, here.workspace, here.console))


@command("recipe", "backbone", "settings", "seed", "split_seed", "folds")
def explore(here: Here, name: Name, choices: Choices) -> None:
    """Write a page about the data: classes, images, split, advice."""
    from comp.report.explore import explore as write_page

    print(write_page(here.competition(name), choices, here.workspace, here.console))


@command()
def serve(
    here: Here,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with a folder per competition or data set.")],
    port: Port = 8642,
    kernels: Annotated[
        bool, option(None, "Run pushed notebooks: their code runs here, with your rights.", "--kernels")
    ] = False,
) -> None:
    """Serve a local Kaggle: competition files, grades, a leaderboard.

    It serves until it is interrupted.
    """
    from comp.local_kaggle.grading import DeclaredGraders
    from comp.local_kaggle.server import running, without_answers

    state = here.workspace.cache / "local-kaggle" / "state"
    graders = DeclaredGraders(here.folders)
    with suppress(KeyboardInterrupt), running(folder, graders, state, kernels=kernels, port=port) as url:
        print(f"export COMP_KAGGLE_URL={url}", flush=True)
        if line := without_answers(folder):
            print(line, flush=True)
        threading.Event().wait()
