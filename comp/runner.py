"""The steps of a run, in order: download, train, predict, submit, report.

Nothing is computed here: tables, arrays and files are carried from room to room. A step imports the rooms it needs, so
that one without torch starts at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from comp.console import Console
from comp.declare.competition import Competition
from comp.errors import CredentialsError, OverrideError, RunError
from comp.files import holds_files
from comp.kaggle.client import SubmissionRow
from comp.runs import Goal, Run, Workspace
from comp.runs.resolve import Choices

if TYPE_CHECKING:
    from comp.training.training import Training


def run(
    competition: Competition,
    choices: Choices,
    workspace: Workspace,
    console: Console,
    *,
    submitting: bool = False,
    delete_archives: bool = False,
    on: str | None = None,
) -> Run:
    """All steps, from Kaggle to the CSV; with ``submitting`` back to Kaggle and its score.

    Where the same was begun before and stopped, it goes on from there. on: where folds are trained side by side.
    """
    from comp.kaggle.submitting import has_score
    from comp.runs.resolve import resolve
    from comp.tools.side_by_side import refuse_other_places

    if on is not None:
        refuse_other_places(on, "kaggle")
        if choices.folds is None or choices.fold is not None:
            raise OverrideError(
                "--on ray trains side by side, but there is one training; give --folds, or several --seed or --recipe."
            )
    resolve(competition, choices)  # what can't be is said before gigabytes are downloaded
    download(competition, workspace, console, delete_archives=delete_archives)
    goal = has_score(competition, workspace) if submitting else attrgetter("reported")
    if choices.folds is not None and choices.fold is None:
        trained = cross_validate(competition, choices, workspace, console, goal, on)
        _report_and_submit(competition, trained, workspace, console, submitting)
        return trained
    return _run(competition, choices, workspace, console, goal, submitting)


def _run(
    competition: Competition,
    choices: Choices,
    workspace: Workspace,
    console: Console,
    goal: Goal,
    submitting: bool = False,
) -> Run:
    from comp.training.prepared import prepare

    prepared = prepare(competition, choices, workspace, console)
    # Here, as it imports torch: see comp.training.prepared.
    from comp.training.resuming import under_way

    with under_way(prepared, workspace, console, goal) as training:
        _train_and_predict(competition, training, workspace, console)
        _report_and_submit(competition, training.run, workspace, console, submitting)
    return training.run


def run_each(
    competition: Competition,
    several: Sequence[Choices],
    workspace: Workspace,
    console: Console,
    *,
    delete_archives: bool = False,
    on: str | None = None,
) -> list[Run]:
    """The runs of several recipes or seeds, from Kaggle to the CSV; those that are there are not trained again.

    on: where they are trained side by side, as `each` takes it; of each its folds where there are folds.
    """
    from comp.data.data_check import checked_tables
    from comp.runs.resolve import resolve
    from comp.tools.side_by_side import Job, each, refuse_other_places

    if on is not None:
        refuse_other_places(on, "kaggle")
    for choices in several:
        resolve(competition, choices)
    if any(choices.folds is not None and choices.fold is None for choices in several):
        return [
            run(competition, choices, workspace, console, delete_archives=delete_archives, on=on) for choices in several
        ]
    data = download(competition, workspace, console, delete_archives=delete_archives)
    if on is not None:
        checked_tables(competition, workspace, console)  # once, not in every training
    jobs = [
        Job(
            f"{choices.recipe}, seed {choices.seed}",
            partial(_run, competition, choices, workspace, goal=lambda _: False),
        )
        for choices in several
    ]
    return each(jobs, on, len(jobs), data, console)


def run_at_kaggle(
    declaration: Path,
    choices: Choices,
    workspace: Workspace,
    console: Console,
    *,
    submitting: bool = False,
    delete_archives: bool = False,
) -> Run:
    """All steps in a notebook at Kaggle, up to the run folder brought here; with ``submitting`` on from there.

    Where the same was begun before and interrupted, that notebook is followed.
    """
    from comp.declare.competition import load_competition
    from comp.tools.notebooks.training import trained_at_kaggle

    with trained_at_kaggle(declaration, choices, workspace, console) as trained:
        if submitting:
            competition = load_competition(declaration)
            # The submission is held against the sample once more.
            download(competition, workspace, console, delete_archives=delete_archives)
            submit(competition, trained, workspace, console)
            report(competition, trained, workspace, console)
    return trained


def download(
    competition: Competition, workspace: Workspace, console: Console, *, delete_archives: bool = False
) -> Path:
    """The competition's files and its data sets', unpacked in one folder; does nothing where they already are."""
    from comp.kaggle.downloads import amount
    from comp.kaggle.fetch import fetch, nowhere
    from comp.kaggle.sources import kaggle_of, mount_of

    handles, folder = [dataset.handle for dataset in competition.extra_data], workspace.data(competition.name)
    with (
        kaggle_of(competition, workspace, console.say) as connect,
        _or_linked(competition, folder),
        console.downloads() as progress,
    ):
        fetched = fetch(
            connect,
            competition.kaggle,
            handles,
            folder,
            progress,
            console.say,
            # A workspace that knows one Kaggle only has that one's data.
            mount_of=mount_of if workspace.kaggle is None else nowhere,
            delete_archives=delete_archives,
        )
    if not fetched.was_there:
        for mounted in (archive for archive in fetched.archives if archive.mount):
            console.say(f"{mounted.source} is mounted at {mounted.mount}; nothing is downloaded for it")
        if fetched.downloaded:
            console.say(f"downloaded {', '.join(archive.name for archive in fetched.downloaded)} to {folder}")
        if fetched.downloaded and not delete_archives:
            size = amount(sum(archive.size for archive in fetched.archives))
            console.say(f"the archives are kept, {size}; --delete-archives deletes them")
    return folder


@contextmanager
def _or_linked(competition: Competition, folder: Path) -> Iterator[None]:
    """Name the other way to its data where Kaggle doesn't know a competition whose slug may only stand for one."""
    from comp.kaggle.failures import MissingError

    try:
        yield
    except (CredentialsError, MissingError) as error:
        if competition.kaggle != competition.name or holds_files(folder):
            raise
        linking = f"where the files are on this machine, `comp new {competition.name} --data DIR` links them instead"
        error.args = (f"{str(error).removesuffix('.')}; {linking}.",)
        raise


def check(competition: Competition, workspace: Workspace, console: Console) -> Path:
    """Open every image once, say what is wrong or odd with any, and write the whole list as a CSV."""
    from comp.data.data_check import check_images, facts_file
    from comp.data.findings import lines_of_check
    from comp.data.tables import read_tables

    tables = read_tables(competition, workspace.data(competition.name))
    started = monotonic()
    check = check_images(tables, competition, workspace, console)
    console.say(
        f"{competition.name}: {len(tables.train)} images to train on and {len(tables.test)} to predict, "
        f"{check.opened} of them opened, in {monotonic() - started:.1f} s"
    )
    for line in (*tables.notes, *lines_of_check(check)):
        console.say(line)
    found = facts_file(competition, workspace).with_suffix(".csv")
    check.write_list(found, odd=True)
    return found


def train(competition: Competition, choices: Choices, workspace: Workspace, console: Console) -> Run:
    """Train a recipe stage by stage, in a new run folder or that of the same training that was stopped.

    The data must have been downloaded.
    """
    from comp.training.prepared import prepare

    prepared = prepare(competition, choices, workspace, console)
    from comp.training.resuming import under_way

    with under_way(prepared, workspace, console, attrgetter("trained")) as training:
        train_stages(training, console)
    return training.run


def resume(competition: Competition, stopped: Run, workspace: Workspace, console: Console) -> Run:
    """Train this run to its end."""
    from comp.training.resuming import resumed

    with resumed(competition, stopped, workspace, console) as training:
        train_stages(training, console)
    return training.run


def cross_validate(
    competition: Competition,
    choices: Choices,
    workspace: Workspace,
    console: Console,
    goal: Goal = lambda _: True,
    on: str | None = None,
) -> Run:
    """Train and predict every fold that isn't yet, each a run of its own, and join them.

    Folds whose joined run didn't get to ``goal`` are not trained again, nor joined twice.
    on: where folds are trained side by side, as `each` takes it; else one after the other, here.
    """
    from comp.data.data_check import checked_tables
    from comp.tools.ensembles import join
    from comp.tools.side_by_side import Job, each

    if on is not None:
        checked_tables(competition, workspace, console)  # once, not in every fold
    count = choices.folds or 0
    jobs = [
        Job(
            f"fold {fold} of {count}",
            partial(train_fold, competition, replace(choices, fold=fold), workspace, goal=goal),
        )
        for fold in range(1, count + 1)
    ]
    trained = each(jobs, on, count, workspace.data(competition.name), console)
    members = {run.name for run in trained}
    joined = next((run for run in trained[0].joined_in() if set(run.members) == members), None)
    return joined or join(competition, trained, workspace, console)


def train_fold(competition: Competition, choices: Choices, workspace: Workspace, console: Console, goal: Goal) -> Run:
    """Train and predict one fold, or what is left of it."""
    from comp.training.prepared import prepare

    prepared = prepare(competition, choices, workspace, console)
    from comp.training.resuming import under_way

    def got_there(run: Run) -> bool:
        """Whether the joined run that it is a fold of got to the goal."""
        return any(goal(joined) for joined in run.joined_in())

    with under_way(prepared, workspace, console, got_there) as training:
        _train_and_predict(competition, training, workspace, console)
    return training.run


def train_stages(training: Training, console: Console) -> None:
    """Train the stages that are left."""
    if not training.run.trained:
        training.train_stages()
        diagnose(training.run, console)


def _train_and_predict(competition: Competition, training: Training, workspace: Workspace, console: Console) -> None:
    train_stages(training, console)
    if not training.run.predicted:
        predict(competition, training.run, workspace, console)


def _report_and_submit(
    competition: Competition, trained: Run, workspace: Workspace, console: Console, submitting: bool
) -> None:
    if not trained.reported:
        report(competition, trained, workspace, console)
    if submitting:
        submit(competition, trained, workspace, console)
        report(competition, trained, workspace, console)  # with its score


def diagnose(trained: Run, console: Console) -> None:
    """Say in words what the losses of a run show, and the one change to try; the run may have ended early."""
    from comp.report.diagnosis import diagnosis_of

    for line in diagnosis_of(trained):
        console.say(line)


def predict(competition: Competition, trained: Run, workspace: Workspace, console: Console) -> Path:
    """Predict validation and test images with test-time augmentation, tune post-processing, write the submission."""
    from comp.data.data_check import checked_tables
    from comp.data.tables import class_counts
    from comp.runs.resolve import from_config
    from comp.submission.predictions import mean_over_views, write_predictions
    from comp.submission.scoring import describe, tune_on_logits
    from comp.training.predicting import predict_logits, readable_test_images, write_test_predictions

    if trained.members:
        raise RunError(
            f"{trained.name} is made of other runs and has no weights to predict with; predict "
            f"{', '.join(trained.members)} and combine them again."
        )
    config = trained.record("config")
    competition, recipe = from_config(competition, config, trained.record("trained"))
    tables = checked_tables(competition, workspace, console)
    if list(tables.classes) != config["classes"]:
        raise RunError(f"{trained.name} was trained on other classes than the data now has; train again.")
    console.log = trained.log

    validates = tables.train["id"].isin(trained.validating()).to_numpy()
    labelled = (tables.train["path"].array, validates.nonzero()[0])
    unlabelled = (readable_test_images(tables), None)
    valid, test = predict_logits(competition, recipe, trained, [labelled, unlabelled], workspace, console)
    postprocessing, scores = tune_on_logits(competition, tables.targets[validates], valid, config["postprocessing"])
    shares = class_counts(tables.targets[~validates], len(tables.classes)) / (~validates).sum()
    write_predictions(
        trained.predictions("valid"),
        tables.train["id"][validates],
        mean_over_views(valid, competition.target),
        tables.classes,
    )
    # With what predicts other images without the training images at hand.
    trained.write_record("scores", {**scores, "shares": shares.tolist()})
    console.say(describe(scores))
    write_test_predictions(competition, trained, tables, test, shares, postprocessing, console)
    return trained.submission


def report(competition: Competition, trained: Run, workspace: Workspace, console: Console) -> None:
    """Write the run's page as far as it costs seconds, without activation maps; what it lacks spoils no run."""
    from comp.report.report import explain

    try:
        page = explain(competition, trained, workspace, console, with_maps=False)
    except Exception as error:  # whatever it is, the run is worth more than its page
        console.say(f"no report was written: {error}")
        with suppress(OSError):
            trained.write_record("no-report", {"error": str(error)})
    else:
        console.say(f"wrote {page}")


def submit(
    competition: Competition, trained: Run, workspace: Workspace, console: Console, message: str | None = None
) -> SubmissionRow:
    """Check the run's submission once more, upload it, wait for its score and say where it stands.

    Of an upload that was interrupted the same call goes on; a file that Kaggle has is not sent again.
    """
    from comp.kaggle.submitting import send

    console.log = trained.log
    return send(competition, trained, workspace, console, message)


def rehearse(competition: Competition, choices: Choices, workspace: Workspace, console: Console, share: float) -> Run:
    """All steps on a Kaggle of this machine that hides a share of the labels, and what score that lets one expect."""
    from comp.runs.resolve import resolve
    from comp.tools.rehearsal import rehearsal

    resolve(competition, choices)
    with rehearsal(competition, workspace, share, choices.seed, console) as rehearsed:
        submitted = run(
            rehearsed.competition, choices, rehearsed.workspace, console, submitting=True, delete_archives=True
        )
        rehearsed.judge(submitted, choices.seed, console)
    return submitted
