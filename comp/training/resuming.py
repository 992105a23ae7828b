"""The run that a training is recorded in: a stopped one that is resumed, or a new one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from comp.console import Console
from comp.data.tables import first_rows
from comp.declare.custom import recorded
from comp.declare.metrics import outputs_in_words
from comp.errors import CompError, RunError, counted
from comp.files import sweep
from comp.runs import Goal, Run, create_run, list_runs
from comp.runs.pretraining import lines_of_origin
from comp.runs.resolve import difference, lines_of_recipe, recipe_of
from comp.training.config import config_of
from comp.training.launching import from_main, is_main, wait_for_all
from comp.training.prepared import Prepared, augments
from comp.training.state import load_state
from comp.training.training import Training

# Fields of a config that say nothing about the results; `predicted_data` is a part of `data`.
NOT_COMPARED = ("command", "order", "predicted_data")
CHOSEN = ("recipe_name", "settings", "seed", "split_seed", "all_data", "folds", "fold", "like")
# Fields that change results in their last digits only.
OF_THE_MACHINE = ("versions", "device", "precision")
# The number of latest finished runs that are compared; a sweep has hundreds.
FINISHED = 10
ONLY_SAID = (*OF_THE_MACHINE, "source")


def start(prepared: Prepared, console: Console, *, by_hand: bool = False) -> Training:
    """A new run folder with the resolved config and the split."""
    return _begin(prepared, _new_run(prepared), console, config_of(prepared, by_hand=by_hand))


@contextmanager
def under_way(prepared: Prepared, console: Console, done: Goal) -> Iterator[Training]:
    """The latest run of the same config that isn't ``done`` and that no process trains, resumed; or a new run.

    Says so where the latest run of the same choices is not resumed, as its declaration, data or source changed or as it
    is finished. The run is locked for as long as the block lasts. A new run that ends with an error before its first
    epoch leaves no folder.
    """
    if not is_main():
        with _following(prepared, console) as training:
            yield training
        return
    resolved = config_of(prepared)
    config = _as_recorded(resolved)
    notes: list[str] = []
    looked_at = 0
    for run in reversed(list_runs(prepared.experiment.workspace, prepared.experiment.competition.name)):
        finished = done(run)
        looked_at += finished
        if finished and (notes or looked_at > FINISHED):
            continue
        before = _with_new_fields(run, prepared)
        how = "" if run.trained else f"; `comp train --resume {run.name}` resumes that one"
        other = difference(*(_without(one, "source") for one in (before, config)))
        if other is not None:
            # Nothing is said about the user's other choices, or about finished runs made elsewhere or by hand.
            named = other.field == "recipe.backbone" and prepared.experiment.choices.backbone is not None
            elsewhere = finished and other.field.partition(".")[0] in (*OF_THE_MACHINE, "by_hand")
            if _chosen(before) == _chosen(config) and not (named or elsewhere):
                edited = f"{other.field} was {other.one} in {run.name} and is {other.other}"
                if other.field.startswith("data."):  # other data can't resume that run
                    edited, how = f"images or labels changed since {run.name}", ""
                    declared, now = ((one.get("columns") or {}).get("declared") for one in (before, config))
                    if declared != now:  # columns are data as well
                        edited = f"`columns` changed since {run.name}"
                notes.append(f"{edited}, so this is a new run{how}")
        elif changed := _changed_source(before, config):
            notes.append(f"{changed} changed since {run.name}, so this is a new run{how}")
        elif finished:
            notes.append(f"{run.name} is the same training, finished; this is a new run of it")
        elif _splits_as(run, prepared):
            with run.held() as alone:
                # The process that held it may just have finished it.
                if alone and not done(run):
                    yield _followed(_resume(prepared, run, console))
                    return
    run = _new_run(prepared)
    with run.held():
        try:
            training = _begin(prepared, run, console, resolved)
            for line in notes[:1]:
                console.say(line)
            yield _followed(training)
        except CompError:
            if not run.history.began and not run.last.is_file():
                shutil.rmtree(run.folder, ignore_errors=True)
            raise


@contextmanager
def resumed(prepared: Prepared, run: Run, console: Console) -> Iterator[Training]:
    """Resume a training that was stopped on this machine or another; ``prepared`` is by `Experiment.of_run`.

    Raises RunError where it is still under way, or where recipe or data have changed.
    """
    if not is_main():
        with _following(prepared, console) as training:
            yield training
        return
    before, config = _with_new_fields(run, prepared), _as_recorded(config_of(prepared))
    anew = f"train anew with `comp train {prepared.experiment.competition.name}`"
    other = difference(_without(before, *ONLY_SAID), _without(config, *ONLY_SAID))
    if other is not None:
        raise RunError(
            f"{run.name} was begun with another {other.field} ({other.one}, and now {other.other}), so it can't be "
            f"resumed; put its data, declaration or version of comp back, or {anew}."
        )
    if not _splits_as(run, prepared):
        raise RunError(
            f"{run.name} was begun with other validation images than are drawn now, by another version of comp or for "
            f"other groups or duplicates, so it can't be resumed; {anew}."
        )
    with run.held() as alone:
        if not alone:
            raise RunError(f"{run.name} is being trained by another process; let it end, or stop it.")
        training = _resume(prepared, run, console)
        other = difference(*({field: known.get(field) for field in OF_THE_MACHINE} for known in (before, config)))
        if other is not None:
            console.say(f"{run.name} was begun with another {other.field}: {other.one}, and now {other.other}")
        if changed := _changed_source(before, config):
            console.say(f"{changed} changed since {run.name} was begun: it is resumed with the code as it is now")
        yield _followed(training)


def _followed(training: Training) -> Training:
    """The training, once the workers have copied its folder."""
    from_main(training.run.folder)
    wait_for_all()
    return training


@contextmanager
def _following(prepared: Prepared, console: Console) -> Iterator[Training]:
    """A worker's training: that of rank 0, in a temporary copy of its folder."""
    with TemporaryDirectory() as scratch:
        folder = from_main(Path())
        run = Run(Path(scratch) / prepared.experiment.competition.name / folder.name)
        shutil.copytree(folder, run.folder)
        wait_for_all()
        training = _resume(prepared, run, console)
        training.by_hand = True
        try:
            yield training
        finally:
            console.log = None  # its file is gone


def _new_run(prepared: Prepared) -> Run:
    experiment = prepared.experiment
    return create_run(experiment.workspace, experiment.competition.name, experiment.choices.recipe)


def _begin(prepared: Prepared, run: Run, console: Console, config: Mapping[str, Any]) -> Training:
    """Write everything that is known before the first step to the run's folder."""
    tables = prepared.tables
    try:
        run.write_split(*_split_of(prepared))
        if tables.data_check is not None and tables.data_check.found.any():
            tables.data_check.write_list(run.folder / "data-check.csv", odd=False)
        # Last: with a config the folder is a run, which another process may resume.
        run.write_config(config)
    except OSError:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    console.log = run.log
    for line in _introduction(prepared, run):
        console.once(line)
    return Training(prepared, run, console, bool(config["by_hand"]))


def _introduction(prepared: Prepared, run: Run) -> Iterator[str]:
    experiment, tables = prepared.experiment, prepared.tables
    competition, recipe, choices = experiment.competition, experiment.recipe, experiment.choices
    fold = f", fold {choices.fold} of {choices.folds}" if choices.fold else ""
    yield (
        f"{competition.name}: {len(np.unique(prepared.training))} images train and "
        f"{len(prepared.validating)} validate, {len(tables.test)} to predict, "
        f"{outputs_in_words(tables.classes, competition.target)}; "
        f"{recipe.backbone} on {prepared.learner.device}, run {run.name}{fold}"
    )
    yield from lines_of_recipe(competition, choices)
    yield from lines_of_origin(recipe.backbone, competition.name, run.validating())
    yield from _never_shown(prepared)
    if prepared.pseudo_labels is not None:
        yield from prepared.pseudo_labels.lines
    if (answers := tables.answers) is not tables:
        yield f"these images make {len(answers.train)} labelled answers, and {len(answers.test)} to predict"
    if (encoding := prepared.encoding) is not None:
        yield f"{encoding.width} inputs of the table's columns are joined to the features of each image"
        for table, what in ((tables.train, "labelled images"), (tables.test, "test images")):
            yield from encoding.lines(table, what)
    viewpoint = competition.augment
    if viewpoint.pipeline is not None and not any(augments(viewpoint, stage) for stage in recipe.stages):
        yield (
            "`augment` has a custom `pipeline`, but no training image goes through it: all stages are cached in "
            "fixed views; raise their `views`, or leave out `cached`"
        )
    yield from tables.notes
    if tables.not_asked_for:
        yield f"left out, as the sample submission lacks them: {counted(tables.not_asked_for, 'test image')}"


def _never_shown(prepared: Prepared) -> Iterator[str]:
    """The number of training images that a custom `balance` leaves out, and the classes or tags that only they have."""
    targets, shown = prepared.tables.targets, prepared.training
    trains = np.setdiff1d(np.arange(len(targets)), prepared.validating)
    if not (count := len(np.setdiff1d(trains, shown))):
        return
    gone: Any = ()
    if targets.dtype.kind == "i":
        before, now = targets[trains], targets[shown]
        gone = np.setdiff1d(before, now) if targets.ndim == 1 else np.flatnonzero(before.any(axis=0) & ~now.any(axis=0))
    named = ", ".join(prepared.tables.classes[place] for place in gone[:3]) + (", …" if len(gone) > 3 else "")
    among = f", among them all of {named}" if named else ""
    yield f"`balance` never shows {count} of {counted(len(trains), 'training image')}{among}"


def _resume(prepared: Prepared, run: Run, console: Console) -> Training:
    """The training as it was last saved; from its beginning where it wasn't saved."""
    sweep(run.folder)
    console.log = run.log
    training = Training(prepared, run, console)
    if run.trained:
        run.last.unlink(missing_ok=True)
        done = "predicted" if run.predicted else "trained"
        console.say(f"resuming {run.name}, the same training, already {done}")
        return training
    state = load_state(run.last)
    if state is None:
        run.history.cut({})
    else:
        training.load(state)
    console.say(f"resuming {run.name}, which was stopped: {training.where()}")
    return training


def _splits_as(run: Run, prepared: Prepared) -> bool:
    """Whether the same rows validate as in the run."""
    try:
        # Row by row, in the written order: a dict of a million rows would take too much memory.
        return all(one == other for one, other in zip_longest(run.split(), zip(*_split_of(prepared), strict=True)))
    except RunError:
        return False


def _split_of(prepared: Prepared) -> tuple[list[str], list[str]]:
    """The id of each labelled answer, and its part: train or valid."""
    train, answers = prepared.tables.train, prepared.tables.answers.train["id"]
    validates = train.index.isin(prepared.validating)[first_rows(train)]
    return answers.to_list(), np.where(validates, "valid", "train").tolist()


def _with_new_fields(run: Run, prepared: Prepared) -> dict[str, Any]:
    """The run's config, with recipe fields that are newer than the run at their defaults."""
    config = run.record("config")
    with suppress(RunError):
        config["recipe"] = recorded(recipe_of(config, None, prepared.experiment.competition))
    return _as_recorded(config)


def _chosen(config: Mapping[str, Any]) -> list[Any]:
    """The user's choices in a config."""
    return [*map(config.get, CHOSEN), config.get("teacher", {}).get("run")]


def _changed_source(recorded: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The packages, and the declaration, whose source changed since the run was begun, in words; "" for none."""
    before = recorded.get("source", {})
    return ", ".join(name for name, digest in config["source"].items() if before.get(name) != digest)


def _as_recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as it would be read back, without the fields that aren't compared."""
    return dict(json.loads(json.dumps(_without(config, *NOT_COMPARED))))


def _without(config: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in fields}
