"""Several trainings that become one run: the folds of a training, joined, or different trainings, blended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from comp.console import Console
from comp.runs import Goal, Run
from comp.runs.choices import Choices, is_blend
from comp.runs.resolve import Experiment
from comp.tools.side_by_side import Job, each
from comp.training.launching import is_main, main_first

if TYPE_CHECKING:  # as in `comp.runner`
    from comp.data.tables import Tables


@dataclass(frozen=True)
class Trainings:
    """The trainings that the user's choices ask for: one, every fold of one, or several that are blended.

    experiments: most valuable first; one alone for folds. on: where they are trained side by side, as in `each`.
    train: trains and predicts one; called with an experiment, a console, the goal (an earlier run that hasn't reached
    it is resumed) and the tables, if they are read already. began: the start, by `time.monotonic`.
    """

    experiments: Sequence[Experiment]
    choices: Choices
    on: str | None
    train: Callable[..., Run]
    began: float = field(default_factory=monotonic)

    @property
    def first(self) -> Experiment:
        return self.experiments[0]

    @property
    def several(self) -> bool:
        """Whether these are several trainings that become one run."""
        return self.choices.every_fold or is_blend(self.first.competition, self.choices)

    def in_one(self, goal: Goal, console: Console) -> Run:
        """Train and predict all; return the one run of them, joined folds or a blend, that should reach ``goal``."""
        with console.of_several():
            if is_blend(self.first.competition, self.choices):
                return self._blended(goal, console)
            return self._every_fold(goal, console)

    def _every_fold(self, goal: Goal, console: Console) -> Run:
        """Train and join all folds; a fold is trained anew only where a run that it is joined in reached ``goal``."""
        from comp.data.data_check import checked_tables

        experiment = self.first
        data = experiment.workspace.data(experiment.competition.name)
        if self.on is not None:
            checked_tables(experiment.competition, experiment.workspace, console)  # once, not in every fold
        jobs = self._jobs(experiment, lambda fold: any(goal(run) for run in fold.joined_in()))
        return _joined(experiment, each(jobs, self.on, len(jobs), data, console), console)

    def _blended(self, goal: Goal, console: Console) -> Run:
        """Train what fits in the time, or find its earlier runs, and keep one run that blends those that ended."""
        from comp.data.data_check import checked_tables
        from comp.tools.ensembles import blending

        competition, workspace = self.first.competition, self.first.workspace
        with main_first():
            tables = checked_tables(competition, workspace, console)
        from comp.tools.planning import Plan, all_on  # imports torch, so after the tables are read

        members = list[Run]()
        plan = Plan(list(self.experiments), tables, console, self.choices.time, self.began)
        if self.on is not None:
            jobs = [self._jobs(experiment) for experiment in self.experiments]
            ended = all_on(self.on, jobs, workspace.data(competition.name), console)
        with blending(competition, self.choices, workspace, console, goal) as blend:
            for experiment in plan:
                if members and self.on is None:
                    blend(members, tables)
                trained = plan.work(self._jobs(experiment, tables=tables)) if self.on is None else next(ended)
                if trained:
                    members.append(_joined(experiment, trained, console, tables))
            return blend(members, tables, complete=True)

    def _jobs(self, experiment: Experiment, goal: Goal = lambda _: False, tables: Tables | None = None) -> list[Job]:
        """The trainings of an experiment: one, or one for each fold."""
        count = experiment.choices.folds
        if not experiment.choices.every_fold or count is None:
            return [Job(experiment.name, partial(self.train, experiment, goal=goal, tables=tables))]
        return [
            Job(
                f"fold {fold} of {count}", partial(self.train, experiment.choosing(fold=fold), goal=goal, tables=tables)
            )
            for fold in range(1, count + 1)
        ]


def _joined(experiment: Experiment, trained: Sequence[Run], console: Console, tables: Tables | None = None) -> Run:
    """The one run of an experiment's trainings: folds are joined, once only. Print the findings common to all."""
    from comp.report.diagnosis import common_findings
    from comp.tools.ensembles import join

    console.log = None  # it was the log of the last fold
    if not is_main():
        return trained[0]
    for line in common_findings(trained):
        console.say(line)
    if len(trained) == 1:
        return trained[0]
    members = {run.name for run in trained}
    joined = next((run for run in trained[0].joined_in() if set(run.members) == members), None)
    return joined or join(experiment.competition, trained, experiment.workspace, console, tables)
