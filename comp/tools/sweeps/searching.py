"""A hyperparameter search: an Optuna study in which every trial is a run.

It is repeatable: a trial's values follow from the seed and the trials drawn and finished before it. The study is a
journal file beside the runs, which several machines may write to, and from which a stopped sweep resumes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from comp.console import Console
from comp.data.data_check import checked_tables
from comp.declare.competition import Competition
from comp.declare.custom import recorded
from comp.errors import DivergedError, OverrideError, RunError
from comp.files import held, lock_at
from comp.report.diagnosis import diagnosis_of
from comp.runs import Run, Workspace
from comp.runs.choices import Choices
from comp.runs.history import kept
from comp.runs.resolve import Experiment, resolve
from comp.tools.side_by_side import Job, each, refuse_other_places
from comp.tools.sweeps.space import Dimension, read_space
from comp.training.config import fingerprint
from comp.training.launching import from_main, is_main
from comp.training.prepared import prepare
from comp.training.resuming import under_way

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
# Trials at random before any is drawn near the best ones, or pruned for being worse than the median.
AT_RANDOM = 5


def sweep(
    competition: Competition,
    choices: Choices,
    space: Sequence[str],
    trials: int,
    workspace: Workspace,
    console: Console,
    on: str | None = None,
) -> str:
    """Search a space of the recipe's fields: train ``trials`` trials, each a run, and print them, best first.

    Returns the command that trains with the best values. A stopped sweep is resumed; more trials can be added to a
    finished one. The data must have been downloaded.
    on: where trials are trained side by side, as in `each`; None for one after the other in this process.
    """
    if on is not None:
        refuse_other_places(on)
    if not is_main():
        nothing: Choices | None = None
        while (drawn := from_main(nothing)) is not None:
            _follow(competition, drawn, workspace, console)
        return ""
    with search(competition, choices, space, workspace, console) as found:
        if on is not None:
            checked_tables(competition, workspace, console)  # once, not in every trial
        # Without GPUs, at most as many at once as are drawn at random, without knowledge of the others.
        share = max(1, min(AT_RANDOM, trials - found.drawn))
        each(_trials(found, trials, console), on, share, workspace.data(competition.name), console)
        from_main(None)
        console.log = None
        for line in found.lines():
            console.say(line)
        return found.best


def _trials(found: Search, trials: int, console: Console) -> Iterator[Job]:
    """Yield the trials that are left, each drawn when it is taken."""
    while found.drawn < trials:
        trial, drawn = found.draw()
        console.log = None
        console.say(f"trial {found.drawn} of {trials}: {' '.join(drawn.settings)}")
        try:
            resolve(found.competition, drawn)
        except OverrideError as error:  # each value is possible, but not beside the others
            found.study.tell(trial, state=TrialState.PRUNED)
            console.say(f"left out: {error}")
            continue
        yield Job(f"trial {found.drawn} of {trials}", partial(found.train, trial, drawn))


def _follow(competition: Competition, drawn: Choices, workspace: Workspace, console: Console) -> None:
    """Train a trial in a worker, while rank 0 draws it, prunes it and updates the study."""

    def look() -> None:
        if from_main(False):  # rank 0 says
            raise _PrunedError

    prepared = prepare(Experiment.of(competition, drawn, workspace), console)
    with under_way(prepared, console, attrgetter("predicted")) as training:
        training.after_epoch = look
        if not training.run.trained:
            with suppress(_PrunedError, DivergedError):
                training.train_stages()


@contextmanager
def search(
    competition: Competition, choices: Choices, texts: Sequence[str], workspace: Workspace, console: Console
) -> Iterator[Search]:
    """The study of this space, new or resumed, locked for the block; an edited declaration begins another.

    Raises OverrideError for an invalid space, and RunError where another process searches it.
    """
    declared, recipe = resolve(competition, choices)
    space = read_space(texts, declared, recipe)
    name = shlex.join(["comp", "sweep", competition.name, *choices.options(), *(f"--space={text}" for text in texts)])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    declares = json.dumps([recorded(recipe), recorded(declared.metric), competition.source])
    command, edition = (hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in (name, declares))
    journal = workspace.runs / competition.name / "sweeps" / f"{command}-{edition}.log"
    journal.parent.mkdir(parents=True, exist_ok=True)
    if not journal.exists() and any(journal.parent.glob(f"{command}-*.log")):
        console.say("competition.py was edited since this sweep's last trial, so another sweep begins")
    with held(journal) as alone:
        if not alone:
            raise RunError("Another process runs this sweep; let it end, or stop it.")
        study = optuna.create_study(
            storage=study_at(journal),
            study_name=name,
            direction="maximize" if competition.scoring.higher_is_better else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=AT_RANDOM),
            load_if_exists=True,
        )
        for stopped in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(stopped.number, state=TrialState.FAIL)
            study.enqueue_trial(stopped.params)
        first = {dimension.field: dimension.declared for dimension in space}
        if not study.trials and None not in first.values():
            study.enqueue_trial(first)
        yield Search(competition, choices, workspace, space, study)


def study_at(journal: Path) -> JournalStorage:
    """The journal's storage, new if there is no file; the caller must hold the sweep's lock."""
    written = journal.read_bytes() if journal.is_file() else b""
    whole = written.rfind(b"\n") + 1
    if whole < len(written):
        # A full disk or a crash left half a line, behind which Optuna couldn't read further lines.
        os.truncate(journal, whole)
    return JournalStorage(JournalFileBackend(str(journal), _Lock(journal)))


class _Lock(JournalFileOpenLock):
    """A lock that the kernel releases when its process dies; Optuna's own would block all others for half a minute."""

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_suffix(".lock")

    def acquire(self) -> bool:
        self.lock = lock_at(self.path)
        self.lock.acquire(poll_interval=0.005)
        return True

    def release(self) -> None:
        self.lock.release()
        del self.lock  # it can't be pickled when the study is sent to another machine


class _PrunedError(Exception):
    """The trial is worse than most others at this epoch."""


@dataclass(frozen=True)
class Search:
    """A study under way."""

    competition: Competition
    choices: Choices
    workspace: Workspace
    space: Sequence[Dimension]
    study: optuna.Study

    @property
    def drawn(self) -> int:
        """The number of trials so far, with those under way."""
        return len(self.study.get_trials(deepcopy=False, states=(*ENDED, TrialState.RUNNING)))

    def draw(self) -> tuple[optuna.Trial, Choices]:
        """The next trial, and the choices to train it with."""
        seed = np.random.SeedSequence([self.choices.seed, self.drawn]).generate_state(1)
        self.study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]), n_startup_trials=AT_RANDOM)
        trial = self.study.ask({dimension.field: dimension.drawn_from for dimension in self.space})
        settings = [dimension.setting(trial.params[dimension.field]) for dimension in self.space]
        trial.set_user_attr("settings", settings)
        return trial, replace(self.choices, settings=(*self.choices.settings, *settings))

    def train(self, trial: optuna.Trial, drawn: Choices, console: Console) -> Run:
        """Train a trial, or the rest of it, until it ends, is pruned or diverges; raises RunError for changed data."""
        known = self.study.get_trials(deepcopy=False)[trial.number]
        if known.state in ENDED:  # its worker was lost after the trial's end
            return Run(self.workspace.runs / known.user_attrs["run"])
        from_main(drawn)
        prepared = prepare(Experiment.of(self.competition, drawn, self.workspace), console)
        now = fingerprint(prepared.tables)
        if self.study.user_attrs.get("data", now) != now:
            raise RunError(
                f"The data of {self.competition.name} have changed since this sweep began, so its trials can't be "
                "compared; begin another with --seed."
            )
        self.study.set_user_attr("data", now)

        def look() -> None:
            if from_main(self._report(trial, run) and trial.should_prune()):
                raise _PrunedError

        # A run that was trained before, by this sweep or by itself, isn't trained again.
        with under_way(prepared, console, attrgetter("predicted")) as training:
            run = training.run
            trial.set_user_attr("run", run.name)
            training.after_epoch = look
            try:
                if not run.trained:
                    training.train_stages()
                    for line in diagnosis_of(run):
                        console.say(line)
            except (_PrunedError, DivergedError) as error:
                diverged = isinstance(error, DivergedError)
                console.say("the loss is NaN or infinite" if diverged else "worse than most at this epoch")
                run.last.unlink(missing_ok=True)
                self.study.tell(trial, state=TrialState.PRUNED)
                return run
            self._report(trial, run)
            # Not simply the last epoch's score: an undone stage's epochs don't belong to the weights.
            score = float(kept(run.history.epochs(), run.lost)["score"].iloc[-1])
            if math.isnan(score):
                # The last stage broke off, and the weights from before it have no score.
                self.study.tell(trial, state=TrialState.PRUNED)
            else:
                self.study.tell(trial, score)
        return run

    def _report(self, trial: optuna.Trial, run: Run) -> bool:
        """Report the run's new epochs to the study; whether there are any."""
        known = self.study.trials[trial.number].intermediate_values
        scores = run.history.epochs()["score"]
        for epoch in range(len(known), len(scores)):
            trial.report(float(scores.iloc[epoch]), epoch)
        return len(scores) > len(known)

    def lines(self) -> list[str]:
        """The trials as a table, the best first."""
        sign = -1 if self.competition.scoring.higher_is_better else 1
        row = "{:>5}  {:<32}  {:>10}  {}"
        ranked = []
        for number, trial in enumerate(self.study.get_trials(states=ENDED), start=1):
            whole = trial.state == TrialState.COMPLETE and trial.value is not None
            run = trial.user_attrs.get("run", "-")
            score = f"{trial.value:.5f}" if whole else "impossible" if run == "-" else "stopped"
            order = (not whole, sign * (math.inf if trial.value is None else trial.value), number)
            settings = " ".join(trial.user_attrs["settings"])
            ranked.append((order, row.format(number, run, score, settings)))
        return [
            row.format("trial", "run", self.competition.scoring.name, "settings"),
            *(line for _, line in sorted(ranked)),
        ]

    @property
    def best(self) -> str:
        """The command that uses the best trial's run; raises RunError where all trials were stopped early."""
        if not self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            raise RunError("No trial went to its end; begin another sweep with a smaller --space.")
        settings: list[str] = self.study.best_trial.user_attrs["settings"]
        choices = replace(self.choices, settings=(*self.choices.settings, *settings))
        return shlex.join(["comp", "run", self.competition.name, *choices.options()])
