"""The steps of a run, in order: download, read and check, train, predict, report, submit.

Nothing is computed here. A step imports the rooms it needs: one without torch starts at once, and torch is imported
after the tables are read, as what reading them takes for a while is then given back and used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from comp.console import Console
from comp.declare.competition import Competition, load_competition
from comp.errors import OverrideError
from comp.runs import Goal, Run, Workspace
from comp.runs.pretraining import refuse_sizes
from comp.runs.resolve import Choices, Experiment, is_blend, trainings_of, with_names_of
from comp.training.launching import is_main, main_first

if TYPE_CHECKING:  # a start that trains nothing imports neither pandas nor torch
    from comp.data.tables import Tables
    from comp.kaggle.client import SubmissionRow
    from comp.tools.side_by_side import Job
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

    The same that was begun before and stopped is resumed. on: where folds are trained side by side.
    """
    from comp.kaggle.submitting import has_score
    from comp.tools.side_by_side import refuse_other_places

    began = monotonic()
    if on is not None:
        refuse_other_places(on, "kaggle")
        if choices.time is not None:
            raise OverrideError("--time is kept on this machine; leave --on out, or give --on without --time.")
        if not (choices.every_fold or is_blend(competition, choices)):
            raise OverrideError(
                "--on ray trains side by side, but there is one training; give --folds, or several --seed, --recipe or "
                "--backbone."
            )
    experiments = _experiments(competition, choices, workspace)  # refused before gigabytes are downloaded
    with main_first():
        download(competition, workspace, console, delete_archives=delete_archives)
    goal = has_score(competition, workspace) if submitting else attrgetter("reported")
    if not is_blend(competition, choices) and not choices.every_fold:
        return _run(experiments[0], console, goal, submitting)
    trained = _several(experiments, choices, console, goal, on, began)
    _report_and_submit(experiments[0], trained, console, submitting)
    return trained


def _experiments(competition: Competition, choices: Choices, workspace: Workspace) -> list[Experiment]:
    """What is to be trained, one or several; raises OverrideError or BackboneError for what can't be, without data."""
    several = trainings_of(competition, choices) if is_blend(competition, choices) else [choices]
    experiments = [Experiment.of(competition, one, workspace) for one in several]
    for experiment in experiments if is_main() else ():
        refuse_sizes(experiment.recipe, workspace.cache)
    return experiments


def _run(experiment: Experiment, console: Console, goal: Goal, submitting: bool = False) -> Run:
    with _training(experiment, console, goal) as training:
        _train_and_predict(training)
        _report_and_submit(experiment, training.run, console, submitting, training.prepared.tables)
    return training.run


@contextmanager
def _training(
    experiment: Experiment,
    console: Console,
    goal: Goal = lambda _: False,
    stopped: Run | None = None,
    tables: Tables | None = None,
) -> Iterator[Training]:
    """The training of ``stopped``; else the one of this experiment that didn't get to ``goal``, or a new one."""
    from comp.data.data_check import checked_tables

    with main_first():
        tables = tables or checked_tables(experiment.competition, experiment.workspace, console)
    from comp.training.prepared import prepare
    from comp.training.resuming import resumed, under_way

    prepared = prepare(experiment, console, tables)
    with under_way(prepared, console, goal) if stopped is None else resumed(prepared, stopped, console) as training:
        yield training


def _train(training: Training) -> Run:
    """Train the stages that are left, and say what their losses show."""
    if not training.run.trained:
        training.train_stages()
        diagnose(training.run, training.console)
    return training.run


def _train_and_predict(training: Training) -> Run:
    from comp.training.predicting import predict_after

    if not _train(training).predicted:
        predict_after(training)
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
    from comp.tools.side_by_side import Job, each, refuse_other_places

    if on is not None:
        refuse_other_places(on, "kaggle")
    each_of_one = [_experiments(competition, choices, workspace) for choices in several]
    if any(choices.every_fold or is_blend(competition, choices) for choices in several):
        return [
            run(competition, choices, workspace, console, delete_archives=delete_archives, on=on) for choices in several
        ]
    with main_first():
        data = download(competition, workspace, console, delete_archives=delete_archives)
    if on is not None:
        checked_tables(competition, workspace, console)  # once, not in every training
    jobs = [
        Job(f"{one.choices.recipe}, seed {one.choices.seed}", partial(_run, one, goal=lambda _: False))
        for (one,) in each_of_one
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
    from comp.tools.notebooks.training import trained_at_kaggle

    with trained_at_kaggle(declaration, choices, workspace, console) as trained:
        if submitting:
            competition = load_competition(declaration)
            # The submission is held against the sample submission once more.
            download(competition, workspace, console, delete_archives=delete_archives)
            submit(competition, trained, workspace, console)
            report(competition, trained, workspace, console)
    return trained


def rehearse(competition: Competition, choices: Choices, workspace: Workspace, console: Console, share: float) -> Run:
    """All steps on a Kaggle of this machine that hides a share of the labels, and what score that lets one expect."""
    from comp.tools.rehearsal import rehearsal

    _experiments(competition, choices, workspace)  # refused, if at all, before the data are laid out
    with rehearsal(competition, workspace, share, choices.seed, console) as rehearsed:
        submitted = run(
            rehearsed.competition, choices, rehearsed.workspace, console, submitting=True, delete_archives=True
        )
        rehearsed.judge(submitted, choices.seed, console)
    return submitted


def download(
    competition: Competition, workspace: Workspace, console: Console, *, delete_archives: bool = False
) -> Path:
    """The folder of the competition's files and its data sets'; does nothing where they already are."""
    from comp.kaggle import fetch

    return fetch.download(competition, workspace, console, delete_archives=delete_archives)


def train(
    competition: Competition, choices: Choices, workspace: Workspace, console: Console, on: str | None = None
) -> Run:
    """Train a recipe stage by stage, in a new run folder or that of the same training that was stopped.

    Where folds are chosen, and none of them, all are trained, predicted and joined; several recipes or backbones are
    blended. on: where, as `each` takes it.
    The data must have been downloaded.
    """
    began, experiments = monotonic(), _experiments(competition, choices, workspace)
    if is_blend(competition, choices) or choices.every_fold:
        return _several(experiments, choices, console, lambda _: True, on, began)
    with _training(experiments[0], console, attrgetter("trained")) as training:
        return _train(training)


def resume(competition: Competition, stopped: Run, workspace: Workspace, console: Console) -> Run:
    """Train this run to its end."""
    with _training(Experiment.of_run(competition, stopped, workspace), console, stopped=stopped) as training:
        return _train(training)


def _several(
    experiments: Sequence[Experiment], choices: Choices, console: Console, goal: Goal, on: str | None, began: float
) -> Run:
    """The folds of one training, joined; or the blend of several, in the time since ``began``."""
    with console.of_several(), ExitStack() as holding:
        if is_blend(experiments[0].competition, choices):
            return _blended(experiments, choices, console, goal, on, began, holding)
        return _every_fold(experiments[0], console, goal, on)


def _every_fold(experiment: Experiment, console: Console, goal: Goal, on: str | None) -> Run:
    """Train and predict every fold that isn't yet, each a run of its own, and join them.

    Folds whose joined run didn't get to ``goal`` are not trained again, nor joined twice.
    """
    from comp.data.data_check import checked_tables
    from comp.tools.side_by_side import each

    competition, workspace = experiment.competition, experiment.workspace
    if on is not None:
        checked_tables(competition, workspace, console)  # once, not in every fold
    jobs = _jobs(experiment, lambda fold: any(goal(run) for run in fold.joined_in()))
    trained = each(jobs, on, len(jobs), workspace.data(competition.name), console)
    _say_common_findings(trained, console)
    return _joined(experiment, trained, console)


def _blended(
    experiments: Sequence[Experiment],
    choices: Choices,
    console: Console,
    goal: Goal,
    on: str | None,
    began: float,
    holding: ExitStack,
) -> Run:
    """Train what fits in the time, each in its folds, and keep the blend of those that have ended in one run.

    What was trained before is found again, whatever it was trained for. holding: keeps others from that run.
    """
    from comp.data.data_check import checked_tables
    from comp.tools.ensembles import blend, blend_under_way

    competition, workspace = experiments[0].competition, experiments[0].workspace
    with main_first():
        tables = checked_tables(competition, workspace, console)
    from comp.tools.planning import Plan, all_on

    members = list[Run]()
    blended = blend_under_way(workspace, competition.name, choices, goal, holding) if is_main() else None
    plan = Plan(list(experiments), tables, console, choices.time, began)
    ended = all_on(on, [_jobs(one) for one in experiments], workspace.data(competition.name), console) if on else None
    for experiment in plan:
        if members and is_main() and on is None:
            begun = blended is None
            blended = blend(competition, choices, members, workspace, console, tables, into=blended, complete=False)
            if begun and not holding.enter_context(blended.held()):  # another process found it first
                blended = None
        trained = plan.work(_jobs(experiment, tables=tables)) if ended is None else next(ended)
        if trained:
            _say_common_findings(trained, console)
            members.append(_joined(experiment, trained, console, tables) if len(trained) > 1 else trained[0])
    if not is_main():
        return members[0]
    return blend(competition, choices, members, workspace, console, tables, into=blended, complete=True)


def _jobs(experiment: Experiment, goal: Goal = lambda _: False, tables: Tables | None = None) -> list[Job]:
    """The trainings of an experiment: one for each fold, where it has folds."""
    from comp.tools.side_by_side import Job

    count = experiment.choices.folds
    if not experiment.choices.every_fold or count is None:
        return [Job(experiment.name, partial(_train_one, experiment, goal=goal, tables=tables))]
    return [
        Job(f"fold {fold} of {count}", partial(_train_one, experiment.choosing(fold=fold), goal=goal, tables=tables))
        for fold in range(1, count + 1)
    ]


def _joined(experiment: Experiment, trained: Sequence[Run], console: Console, tables: Tables | None = None) -> Run:
    """The folds as one run; the one that they were joined in before, if any."""
    from comp.tools.ensembles import join

    if not is_main():
        return trained[0]
    members = {run.name for run in trained}
    joined = next((run for run in trained[0].joined_in() if set(run.members) == members), None)
    return joined or join(experiment.competition, trained, experiment.workspace, console, tables)


def _train_one(experiment: Experiment, console: Console, goal: Goal, tables: Tables | None = None) -> Run:
    """Train and predict, or what is left of it."""
    with _training(experiment, console, goal, tables=tables) as training:
        return _train_and_predict(training)


def diagnose(trained: Run, console: Console) -> None:
    """Say in words what the losses of a run show, and the one change to try; the run may have ended early."""
    from comp.report.diagnosis import diagnosis_of

    for line in diagnosis_of(trained):
        console.detail(line)


def _say_common_findings(trained: Sequence[Run], console: Console) -> None:
    """What the losses of several trainings show, once for all."""
    from comp.report.diagnosis import common_findings

    console.log = None  # it was that of the last of them
    for line in common_findings(trained) if is_main() else ():
        console.say(line)


def predict(competition: Competition, trained: Run, workspace: Workspace, console: Console) -> Path:
    """Predict validation and test images with test-time augmentation, tune post-processing, write the submission."""
    from comp.data.data_check import checked_tables

    competition = with_names_of(competition, trained.record("config"))
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
    """Write the run's page, without activation maps, which cost minutes; what it lacks spoils no run."""
    from comp.report.report import explain

    try:
        page = explain(competition, trained, workspace, console, with_maps=False, tables=tables)
    except Exception as error:  # whatever it is, the run is worth more than its page
        console.say(f"no report was written: {error}")
        with suppress(OSError):
            trained.write_record("no-report", {"error": str(error)})
    else:
        if not again:  # which was announced
            console.say(f"wrote {page}")


def submit(
    competition: Competition, trained: Run, workspace: Workspace, console: Console, message: str | None = None
) -> SubmissionRow:
    """Check the run's submission once more, upload it, wait for its score and say where it stands.

    An upload that was interrupted goes on; a file that Kaggle has is not sent again.
    """
    from comp.kaggle.submitting import send

    console.log = trained.log
    return send(competition, trained, workspace, console, message)
