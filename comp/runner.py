"""The steps of a run, in order: download, read and check, train, predict, report, submit.

Nothing is computed here. Each step imports the packages it needs, so steps without torch start at once. Torch is
imported after the tables are read, so that it reuses the memory that reading them took and freed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from comp.console import Console
from comp.declare.competition import Competition, load_competition
from comp.errors import OverrideError
from comp.runs import Goal, Run, Workspace
from comp.runs.choices import Choices, trainings_of
from comp.runs.pretraining import refuse_sizes
from comp.runs.resolve import Experiment, chose_metric, with_names_of
from comp.training.launching import is_main, main_first

if TYPE_CHECKING:  # a start that trains nothing imports neither pandas nor torch
    from comp.data.tables import Tables
    from comp.kaggle.client import SubmissionRow
    from comp.tools.several import Trainings
    from comp.training.prepared import Prepared
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
    """Do all steps from the download to the CSV; with ``submitting`` also upload it and wait for its score.

    The same run, where it was stopped before, is resumed. on: where folds are trained side by side, see `each`.
    """
    from comp.kaggle.submitting import has_score

    trainings = _trainings(competition, choices, workspace, on)  # refused before gigabytes are downloaded
    if on is not None and not trainings.several:
        raise OverrideError(
            "--on ray trains side by side, but there is one training; give --folds, or several --seed, --recipe or "
            "--backbone."
        )
    with main_first():
        download(competition, workspace, console, delete_archives=delete_archives)
    return _run(
        trainings, console, has_score(competition, workspace) if submitting else attrgetter("reported"), submitting
    )


def run_each(
    competition: Competition,
    several: Sequence[Choices],
    workspace: Workspace,
    console: Console,
    *,
    delete_archives: bool = False,
    on: str | None = None,
) -> list[Run]:
    """Make the runs of several recipes or seeds, from the download to the CSV; finished ones are not trained again.

    on: where the runs, or the folds of each, are trained side by side, see `each`.
    """
    from comp.data.data_check import checked_tables
    from comp.tools.side_by_side import Job, each

    every = [_trainings(competition, choices, workspace, on) for choices in several]
    with main_first():
        data = download(competition, workspace, console, delete_archives=delete_archives)
    if any(trainings.several for trainings in every):
        on = None  # each run trains its own folds there
    if on is not None:
        checked_tables(competition, workspace, console)  # once, not in every training
    jobs = [Job(f"{one.choices.recipe}, seed {one.choices.seed}", partial(_run_from_now, one)) for one in every]
    return each(jobs, on, len(jobs), data, console)


def _trainings(competition: Competition, choices: Choices, workspace: Workspace, on: str | None = None) -> Trainings:
    """The trainings to do, checked without data; raises OverrideError or BackboneError."""
    from comp.tools.several import Trainings
    from comp.tools.side_by_side import refuse_other_places

    if on is not None:
        refuse_other_places(on, "kaggle")
        if choices.time is not None:
            raise OverrideError("--time works on this machine only; leave out --on or --time.")
    experiments = [Experiment.of(competition, one, workspace) for one in trainings_of(competition, choices)]
    for experiment in experiments if is_main() else ():
        refuse_sizes(experiment.recipe, workspace.cache)
    return Trainings(experiments, choices, on, _train_one)


def _run(trainings: Trainings, console: Console, goal: Goal, submitting: bool = False) -> Run:
    """Train and predict what hasn't reached ``goal``, write its page, and submit it."""
    if trainings.several:
        trained = trainings.in_one(goal, console)
        _report_and_submit(trainings.first, trained, console, submitting)
        return trained
    with _training(trainings.first, console, goal) as training:
        _train_and_predict(training)
        _report_and_submit(trainings.first, training.run, console, submitting, training.prepared.tables)
    return training.run


def _run_from_now(trainings: Trainings, console: Console) -> Run:
    """Run one of several; its time budget starts now."""
    return _run(replace(trainings, began=monotonic()), console, lambda _: False)


def _train_one(experiment: Experiment, console: Console, goal: Goal, tables: Tables | None = None) -> Run:
    """Train and predict, as far as that is not done yet."""
    with _training(experiment, console, goal, tables) as training:
        return _train_and_predict(training)


def _training(
    experiment: Experiment, console: Console, goal: Goal, tables: Tables | None = None
) -> AbstractContextManager[Training]:
    """The training of this experiment that hasn't reached ``goal``, or a new one."""
    prepared = _prepared(experiment, console, tables)
    from comp.training.resuming import under_way

    return under_way(prepared, console, goal)


def _prepared(experiment: Experiment, console: Console, tables: Tables | None = None) -> Prepared:
    from comp.data.data_check import checked_tables

    with main_first():
        tables = tables or checked_tables(experiment.competition, experiment.workspace, console)
    from comp.training.prepared import prepare

    return prepare(experiment, console, tables)


def _train_and_predict(training: Training) -> Run:
    from comp.training.predicting import predict_after

    if not _train(training).predicted:
        predict_after(training)
    return training.run


def _train(training: Training) -> Run:
    """Train the remaining stages and say what the losses show."""
    if not training.run.trained:
        training.train_stages()
        diagnose(training.run, training.console)
    return training.run


def _report_and_submit(
    experiment: Experiment, trained: Run, console: Console, submitting: bool, tables: Tables | None = None
) -> None:
    if not is_main():
        return
    competition, workspace = experiment.competition, experiment.workspace
    if not trained.reported:
        report(competition, trained, workspace, console, tables)
    if submitting:
        submit(competition, trained, workspace, console)
        report(competition, trained, workspace, console, tables, again=True)  # with its score


def run_at_kaggle(
    declaration: Path,
    choices: Choices,
    workspace: Workspace,
    console: Console,
    *,
    submitting: bool = False,
    delete_archives: bool = False,
) -> Run:
    """Do all steps in a notebook at Kaggle and bring the run folder here; with ``submitting`` submit it from here.

    Where this command was interrupted before, the notebook that it had started is followed.
    """
    from comp.tools.notebooks.training import trained_at_kaggle

    with trained_at_kaggle(declaration, choices, workspace, console) as trained:
        if submitting:
            competition = load_competition(declaration)
            # The submission is checked against the sample submission once more.
            download(competition, workspace, console, delete_archives=delete_archives)
            submit(competition, trained, workspace, console)
            report(competition, trained, workspace, console)
    return trained


def rehearse(competition: Competition, choices: Choices, workspace: Workspace, console: Console, share: float) -> Run:
    """Do all steps up to the CSV with a share of the labelled images hidden, and say what score to expect."""
    from comp.tools.rehearsal import rehearsed

    def run_inside(competition: Competition, workspace: Workspace) -> Run:
        return _run(_trainings(competition, choices, workspace), console, attrgetter("reported"))

    _trainings(competition, choices, workspace)  # wrong choices are refused before images are hidden
    if choices.teacher is not None and workspace.rehearsals.resolve() not in choices.teacher.folder.resolve().parents:
        raise OverrideError(
            f"{choices.teacher.name} may have learned from the images that are hidden here; name the folder of a run "
            "in a rehearsal."
        )
    return rehearsed(competition, workspace, share, choices.seed, console, run_inside)


def download(
    competition: Competition, workspace: Workspace, console: Console, *, delete_archives: bool = False
) -> Path:
    """Download the files of a competition and its data sets, unless they are there; return their folder."""
    from comp.kaggle import fetch

    return fetch.download(competition, workspace, console, delete_archives=delete_archives)


def train(
    competition: Competition, choices: Choices, workspace: Workspace, console: Console, on: str | None = None
) -> Run:
    """Train a recipe stage by stage on downloaded data, in a new run folder or that of the same, stopped training.

    With ``folds`` and no ``fold``, all folds are trained, predicted and joined; several recipes or backbones are
    blended. on: where these are trained side by side, see `each`.
    """
    trainings = _trainings(competition, choices, workspace, on)
    if trainings.several:
        return trainings.in_one(attrgetter("finished"), console)
    with _training(trainings.first, console, attrgetter("trained")) as training:
        return _train(training)


def resume(competition: Competition, stopped: Run, workspace: Workspace, console: Console) -> Run:
    """Resume this run and train it to its end."""
    prepared = _prepared(Experiment.of_run(competition, stopped, workspace), console)
    from comp.training.resuming import resumed

    with resumed(prepared, stopped, console) as training:
        return _train(training)


def diagnose(trained: Run, console: Console) -> None:
    """Print what the losses of a run show and which one change to try; the run may have ended early."""
    from comp.report.diagnosis import diagnosis_of

    for line in diagnosis_of(trained):
        console.detail(line)


def predict(competition: Competition, trained: Run, workspace: Workspace, console: Console) -> Path:
    """Predict validation and test images with test-time augmentation, tune post-processing, write the submission."""
    from comp.data.data_check import checked_tables

    declared, competition = competition.scoring.name, with_names_of(competition, trained.record("config"))
    if competition.scoring.name != declared and not chose_metric(trained):
        console.say(
            f"{trained.name} is scored by {competition.scoring.name}, as it was trained; competition.py declares "
            f"{declared} now, so train again to go by that"
        )
    tables = checked_tables(competition, workspace, console)
    from comp.training import predicting

    return predicting.predict(competition, trained, tables, workspace, console)


def report(
    competition: Competition,
    trained: Run,
    workspace: Workspace,
    console: Console,
    tables: Tables | None = None,
    *,
    again: bool = False,
) -> None:
    """Write the run's page, without activation maps, which take minutes; a page that fails does not fail the run."""
    from comp.report.report import explain

    try:
        page = explain(competition, trained, workspace, console, with_maps=False, tables=tables)
    except Exception as error:  # whatever it is, the run is worth more than its page
        console.say(f"no report was written: {error}")
        with suppress(OSError):
            trained.write_record("no-report", {"error": str(error)})
    else:
        if not again:  # it was announced before
            console.say(f"wrote {page}")


def submit(
    competition: Competition, trained: Run, workspace: Workspace, console: Console, message: str | None = None
) -> SubmissionRow:
    """Check the run's submission once more, upload it, wait for its score and say its place on the leaderboard.

    An interrupted upload is resumed; a file that Kaggle already has is not sent again.
    """
    from comp.kaggle.submitting import send

    console.log = trained.log
    return send(competition, trained, workspace, console, message)
