"""The command line: parses, calls, prints."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from comp.errors import CompError, OverrideError, RunError
from comp.interrupts import STATUSES, ending_on_sigterm
from comp.launching import help_out, helped, helps, leading
from comp.run import Home, broken_runs, find_run, list_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comp.competition import Competition
    from comp.console import Console

# How often a thread of torch looks for work before it sleeps. With the hundreds of thousands that are usual, one other
# busy process on the cores makes a training five times slower; with these few an idle machine loses about 5 %.
SPINS = "1000"
# How many objects are made between two looks for garbage. With the 700 that are usual, looking takes a fifth of the
# time until a training's first step: torch and what belongs to it are hundreds of thousands, and stay. A step of a
# training leaves some five objects, none of them with a tensor.
OBJECTS = 100_000

app = typer.Typer(
    name="comp",
    help="Start a Kaggle image competition: download, train, predict, submit.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

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
Seed = Annotated[int, typer.Option(min=0, help="What split, order and alterations are drawn from.")]
# Of what is trained several times: each recipe with each seed.
Recipes = Annotated[list[str], typer.Option("--recipe", help="As for train; may be given several times.")]
Seeds = Annotated[list[int], typer.Option("--seed", min=0, help="As for train; may be given several times.")]
AllData = Annotated[bool, typer.Option("--all-data", help="Train on every labelled image; none validates.")]
Folds = Annotated[int | None, typer.Option(metavar="K", help="Deal the rows to K folds and train as often.")]
Fold = Annotated[int | None, typer.Option(metavar="I", help="Train only the I-th of the folds.")]
Like = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="Take this run's recipe, rates found and decision (for --all-data)."),
]
Processes = Annotated[int, typer.Option(min=1, metavar="N", help="Share every batch among so many processes or GPUs.")]
DeleteArchives = Annotated[
    bool, typer.Option("--delete-archives", help="Delete what was downloaded once it is unpacked.")
]


@app.callback()
def common(
    context: typer.Context,
    competitions: Annotated[
        list[Path], typer.Option(metavar="DIR", help="A folder of more competitions, beside the repository's.")
    ] = [],  # noqa: B006
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001 - main reads it
) -> None:
    context.obj = competitions


@app.command("list")
def list_competitions(context: typer.Context) -> None:
    """The competitions there are."""
    from comp.competition import find_competitions, load_competition

    found = [load_competition(declaration) for declaration in find_competitions(*_folders(context)).values()]
    width = max((len(competition.name) for competition in found), default=0)
    for competition in found:
        print(f"{competition.name:<{width}}  {competition.metric:<10}  {', '.join(competition.recipes)}")


@app.command()
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
    from comp.competition import KaggleDataset
    from comp.steps.starting.start import Source, start

    folders = _folders(context)
    if not folders:
        raise OverrideError("There is no folder of competitions to make it in; name one with --competitions DIR.")
    source = Source(kaggle, data, [KaggleDataset(handle) for handle in dataset])
    print(start(name, source, folders[-1], Home.from_environment(), _console()))


@app.command()
def download(context: typer.Context, name: Name, delete_archives: DeleteArchives = False) -> None:
    """Bring a competition's files from Kaggle and unpack them."""
    from comp import runner

    home = Home.from_environment()
    print(runner.download(_competition(context, name), home, _console(), delete_archives=delete_archives))


@app.command()
def check(context: typer.Context, name: Name) -> None:
    """Open every image once; say what can't be read, what is odd and what is there twice."""
    from comp import runner

    print(runner.check(_competition(context, name), Home.from_environment(), _console()))


@app.command()
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
    from comp.steps.resolve import Choices

    home = Home.from_environment()
    found = find_run(home, like) if like else None
    choices = Choices(recipe, backbone, tuple(settings), seed, all_data, folds, fold, found)
    if resume is not None:
        if name is not None or choices != Choices():
            raise OverrideError("--resume goes on with a run as it was begun; leave NAME and other options out.")
        stopped = find_run(home, resume)
        competition = _competition(context, stopped.competition)
        with helped(processes):
            print(runner.resume(competition, stopped, home, _console()).folder)
        return
    if name is None:
        raise OverrideError("There is nothing to train; name a competition, as `comp list` does, or a run to --resume.")
    step = runner.cross_validate if folds and not fold else runner.train
    competition = _competition(context, name)
    with helped(processes):
        print(step(competition, choices, home, _console()).folder)


@app.command()
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
    from comp import runner
    from comp.steps.resolve import Choices

    choices = Choices(recipe, backbone, tuple(settings), seed)
    _refuse_two_places(on, processes)
    competition = _competition(context, name)
    with helped(processes):
        print(runner.sweep(competition, choices, space, trials, Home.from_environment(), _console(), on))


@app.command("lr-find")
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
    from comp import runner
    from comp.steps.resolve import Choices

    choices = Choices(recipe, backbone, tuple(settings), seed)
    print(runner.find_rate(_competition(context, name), choices, Home.from_environment(), _console(), stage))


@app.command()
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
    from comp import runner
    from comp.steps.resolve import Choices

    chosen = (*settings, *(() if batch_size is None else (f"batch_size={batch_size}",)))
    home = Home.from_environment()
    runner.bench(_competition(context, name), Choices(recipe, backbone, chosen), size, home, _console(), json)


@app.command()
def schedule(
    context: typer.Context,
    name: Name,
    recipe: RecipeName = "standard",
    settings: Settings = [],  # noqa: B006
) -> None:
    """Draw a recipe's learning rates before a step is trained."""
    from comp import runner
    from comp.steps.resolve import Choices

    choices = Choices(recipe, settings=tuple(settings))
    print(runner.plan(_competition(context, name), choices, Home.from_environment(), _console()))


@app.command()
def predict(context: typer.Context, run: RunName) -> None:
    """Predict with a trained run and write its submission."""
    from comp import runner

    home = Home.from_environment()
    trained = find_run(home, run)
    print(runner.predict(_competition(context, trained.competition), trained, home, _console()))


@app.command()
def notebook(context: typer.Context, run: RunName) -> None:
    """Write a notebook and a data set for Kaggle that predict with a run there, without internet."""
    from comp.steps.notebooks.predicting import write_predicting

    home = Home.from_environment()
    trained = find_run(home, run)
    print(write_predicting(_declaration(context, trained.competition), trained, home, _console()))


@app.command()
def explore(
    context: typer.Context,
    name: Name,
    recipe: RecipeName = "standard",
    backbone: Backbone = None,
    settings: Settings = [],  # noqa: B006
    seed: Seed = 0,
    folds: Annotated[int | None, typer.Option(metavar="K", help="Show how the rows are dealt to K folds.")] = None,
) -> None:
    """Write a page about the data: classes, samples, shapes, alterations, the split, advice."""
    from comp.steps.pages.exploring import explore as write_page
    from comp.steps.resolve import Choices

    choices = Choices(recipe, backbone, tuple(settings), seed, folds=folds)
    print(write_page(_competition(context, name), choices, Home.from_environment(), _console()))


@app.command()
def report(context: typer.Context, run: RunName) -> None:
    """Write a page about a run: scores, mistakes as pictures, calibration, how its training went."""
    from comp.steps.pages.explaining import explain

    home = Home.from_environment()
    trained = find_run(home, run)
    print(explain(_competition(context, trained.competition), trained, home, _console()))


@app.command()
def compare(context: typer.Context, names: RunNames) -> None:
    """Write a page that sets runs side by side: what differs, their curves, what each gains per class."""
    from comp.steps.pages.comparing import compare as write_page

    home = Home.from_environment()
    found = [find_run(home, name) for name in names]
    print(write_page(_competition(context, found[0].competition), found, home))


@app.command()
def board(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8643,
) -> None:
    """Serve a page of all runs, scores and leaderboards on this machine, which follows a training under way."""
    from comp.steps.pages.board import serve as serve_until_interrupted

    serve_until_interrupted(
        Home.from_environment(), _folders(context), port, announce=lambda url: print(url, flush=True)
    )


@app.command()
def diagnose(run: RunName) -> None:
    """Say what a run's losses show, and the one change to try."""
    from comp import runner

    runner.diagnose(find_run(Home.from_environment(), run), _console())


@app.command()
def submit(
    context: typer.Context,
    run: RunName,
    message: Annotated[str | None, typer.Option(help="What Kaggle shows beside the submission.")] = None,
) -> None:
    """Upload a run's submission to Kaggle and wait for its score."""
    from comp import runner

    home = Home.from_environment()
    trained = find_run(home, run)
    runner.submit(_competition(context, trained.competition), trained, home, _console(), message)
    print(trained.folder)


@app.command()
def join(context: typer.Context, names: RunNames) -> None:
    """Join the folds of one training into a run with one submission."""
    from comp.steps.blending.joining import join as join_folds

    home = Home.from_environment()
    members = [find_run(home, name) for name in names]
    competition = _competition(context, members[0].competition)
    print(join_folds(competition, members, home, _console()).folder)


@app.command()
def ensemble(
    context: typer.Context,
    names: RunNames,
    how: Annotated[
        Literal["mean", "ranks", "weights"] | None,
        typer.Option(help="How to blend; else the way that scores best on the rows that validate."),
    ] = None,
) -> None:
    """Blend the predictions of several runs into one submission."""
    from comp.steps.blending.ensembles import ensemble as blend

    home = Home.from_environment()
    members = [find_run(home, name) for name in names]
    competition = _competition(context, members[0].competition)
    print(blend(competition, members, home, _console(), how).folder)


@app.command("run")
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
    from comp.steps.resolve import Choices

    home = Home.from_environment()
    found = find_run(home, like) if like else None
    named = (
        Choices(name_of_recipe, backbone, tuple(settings), number, all_data, folds, fold, found)
        for name_of_recipe, number in product(recipe, seed)
    )
    choices, *others = several = list(dict.fromkeys(named))
    _refuse_two_places(on, processes)
    if others and (submit or on == "kaggle"):
        which = "--submit" if submit else "--on kaggle"
        raise OverrideError(f"{which} is for one training, but there are {len(several)}; name one recipe and one seed.")
    if on == "kaggle":
        declaration = _declaration(context, name)
        done = runner.run_at_kaggle(
            declaration, choices, home, _console(), submitting=submit, delete_archives=delete_archives
        )
        print(done.folder)
        return
    competition = _competition(context, name)
    if others:
        with helped(processes):
            for trained in runner.run_each(
                competition, several, home, _console(), delete_archives=delete_archives, on=on
            ):
                print(trained.folder)
        return
    with helped(processes):
        done = runner.run(
            competition, choices, home, _console(), submitting=submit, delete_archives=delete_archives, on=on
        )
    print(done.folder)


@app.command()
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
    from comp.steps.resolve import Choices

    home = Home.from_environment()
    found = find_run(home, like) if like else None
    choices = Choices(recipe, backbone, tuple(settings), seed, all_data, folds, fold, found)
    print(runner.rehearse(_competition(context, name), choices, home, _console(), share).folder)


@app.command()
def runs(name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this competition's.")] = None) -> None:
    """The runs there are, oldest first, with their validation score."""
    home = Home.from_environment()
    for run in (found := list_runs(home, name)):
        try:
            scores = run.record("scores") if run.has("scores") else {}
            submitted = run.record("submitted").get("score") if run.has("submitted") else None
        except RunError as error:
            print(f"{run.name:<32}  {error}")
            continue
        reached = "-" if run.finished else "training" if run.is_held else "stopped"
        score = f"{scores['metric']} {scores['decided']:.5f}" if "decided" in scores else reached
        leaderboard = "" if submitted is None else f"leaderboard {submitted:.5f}"
        print(f"{run.name:<32}  {score:<24}  {_blend(scores):<18}  {leaderboard}".rstrip())
    for run in (broken := broken_runs(home, name)):
        print(f"{run.name:<32}  {run.problem}")
    if not found and not broken:
        of_it = f" of {name}" if name else ""
        print(f"There is no run{of_it} in {home.runs}; `comp run {name or 'NAME'}` makes one.", file=sys.stderr)


@app.command()
def scores(context: typer.Context, name: Name) -> None:
    """A competition's runs with validation, public and private score, and their place on the leaderboard."""
    from comp.steps.scores import scores_of

    competition, console = _competition(context, name), _console()
    console.scores(scores_of(competition, Home.from_environment(), console), competition.metric)


@app.command()
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
    from comp.kaggle.local.faults import read_plan
    from comp.kaggle.local.server import serve as serve_until_interrupted
    from comp.steps.sources import DeclaredGraders

    state = Home.from_environment().cache / "local-kaggle" / "state"
    serve_until_interrupted(
        folder,
        DeclaredGraders(_folders(context)),
        state,
        port,
        announce=lambda url: print(f"export COMP_KAGGLE_URL={url}", flush=True),
        faults=read_plan(faults) if faults else (),
        kernels=kernels,
    )


def _refuse_two_places(on: str | None, processes: int) -> None:
    if on is not None and processes > 1:
        raise OverrideError("--processes is for this machine, and --on names another place; leave one of the two out.")


def _blend(scores: Mapping[str, Any]) -> str:
    """Of what a run with these scores is a blend; nothing for one that was trained."""
    if "how" in scores:
        return f"{scores['how']} of {len(scores['members'])} runs"
    return f"{len(scores['folds'])} folds joined" if "folds" in scores else ""


def _folders(context: typer.Context) -> list[Path]:
    from comp.competition import REPOSITORY_COMPETITIONS

    # A comp that was installed from a wheel has no repository.
    return [*([REPOSITORY_COMPETITIONS] if REPOSITORY_COMPETITIONS.is_dir() else []), *context.obj]


def _competition(context: typer.Context, name: str) -> Competition:
    from comp.competition import competition_named

    return competition_named(name, *_folders(context))


def _declaration(context: typer.Context, name: str) -> Path:
    from comp.competition import declaration_of

    return declaration_of(name, *_folders(context))


def _console() -> Console:
    from comp.console import Console

    return Console()


def main() -> None:
    """Run the command line; every error becomes one sentence and exit status 1, its traceback shown with --debug."""
    debug = "--debug" in sys.argv[1:]
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is imported
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
