"""Plan which of several trainings fit in a time budget, by speeds measured here, and keep to the plan."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from comp.console import Console, expected_to_end, in_minutes
from comp.data.augmenting import tta_views
from comp.data.tables import Tables
from comp.declare.reading import Size
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import View
from comp.errors import OverrideError, RunError
from comp.runs import Run
from comp.runs.resolve import Experiment
from comp.tools.side_by_side import Job, each
from comp.tools.speeds import Speeds
from comp.training.prepared import Prepared, prepare

# Seconds to prepare, record and predict one training, and per epoch of a head; corrected by finished trainings.
OF_A_TRAINING, OF_AN_EPOCH = 2.0, 0.05
# Seconds for the blend, its submission and its page at the end.
OF_THE_END = 15.0
# Labelled and test images per further second at the end.
BLENDED = 1000
# Trainings are stopped if they exceed the time left for them by this share of the budget; all may take a tenth longer.
LATE = 0.05
# The largest share of the time budget for features that tell whether the stages after a solved head are needed.
TELLING = 0.2
# Limits of the factor by which finished trainings correct the estimates of the next ones.
LEAST, MOST = 0.5, 3.0

# A computation of features: backbone, size, views, "labelled" or "test" images, and whether by the early half alone.
Computed = tuple[str, Size, tuple[View, ...], str, bool]


class TimeUp(BaseException):
    """The time budget is used up; a BaseException, like KeyboardInterrupt."""


@dataclass
class Plan:
    """Trainings, most valuable first, of which those are taken that fit in the time.

    seconds: the time budget; None for no limit. began: its start, by `time.monotonic`.
    unexplained: the share of the loss of guessing that a head on frozen features leaves; None where it isn't known.
    """

    experiments: list[Experiment]
    tables: Tables
    console: Console
    seconds: float | None
    began: float
    speeds: dict[str, Speeds] = field(default_factory=dict)
    computed: set[Computed] = field(default_factory=set)
    spent: list[float] = field(default_factory=list)
    estimated: list[float] = field(default_factory=list)
    over: bool = False
    unexplained: float | None = None

    def __iter__(self) -> Iterator[Experiment]:
        """Yield the next training that fits in the time left, with estimates updated after each, until none fits."""
        if self.seconds is not None:
            self._measure()
            self.experiments = self._in_folds_or_not()
            self._say_plan()
        waiting = list(self.experiments)
        while (chosen := next((one for one in waiting if self._fits(one)), None)) is not None:
            waiting.remove(chosen)
            began, cost = time.monotonic(), self._cost(chosen)
            yield chosen
            if self.over:
                break
            self.spent.append(time.monotonic() - began)
            self.estimated.append(cost)
            self.computed |= self._features(chosen).keys()
            if waiting:
                self._say_end(waiting)
        for one in waiting:
            self.console.say(f"left out, as it would take {in_minutes(self._cost(one))} more: {one.name}")

    @property
    def end(self) -> float:
        """Seconds for the blend, its submission and its page."""
        return OF_THE_END + (len(self.tables.train) + len(self.tables.test)) / BLENDED

    @property
    def left(self) -> float:
        """Seconds left for trainings."""
        return np.inf if self.seconds is None else self.seconds - (time.monotonic() - self.began) - self.end

    def work(self, jobs: Sequence[Job]) -> list[Run]:
        """The runs of all jobs, one after the other; where the time ends before, the first one's alone, or none.

        Raises RunError where the time ends before any training has.
        """
        runs: list[Run] = []
        try:
            with self._stopping():
                for job in jobs:
                    runs.append(job.work(self.console))  # noqa: PERF401 - the runs so far are used
        except TimeUp:
            self.over = True
            if not runs and not self.spent:
                raise RunError(
                    "The time is over and no training has ended; the same command resumes where this one was stopped."
                ) from None
            self.console.say("the time is over: the current training is stopped; the same command would resume it")
            return [] if self.spent else runs[:1]
        return runs

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Raise TimeUp inside the block if it exceeds the time left by the share `LATE` of the budget."""
        alarm = getattr(signal, "SIGALRM", None)
        if self.seconds is None or alarm is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(*_: object) -> None:
            raise TimeUp

        before = signal.signal(alarm, stop)
        signal.setitimer(signal.ITIMER_REAL, max(self.left + LATE * self.seconds, 0.01))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(alarm, before)

    def _fits(self, experiment: Experiment) -> bool:
        return self._cost(experiment) <= self.left

    def _cost(self, experiment: Experiment, computed: set[Computed] | None = None) -> float:
        """Seconds for a training without features already ``computed``, corrected by what finished trainings took."""
        if self.seconds is None:
            return 0.0
        ratio = sum(self.spent) / sum(self.estimated) if self.spent else 1.0
        own, speeds = self._features(experiment), self.speeds[experiment.recipe.backbone]
        missing = own.keys() - (self.computed if computed is None else computed)
        reading = sum(own[one] / speeds.computed(one[1], halfway=one[-1]) for one in missing)
        return min(max(ratio, LEAST), MOST) * (self._training(experiment) + reading)

    def _recipe(self, experiment: Experiment) -> Recipe:
        """The recipe with only the stages that are expected to train."""
        recipe = experiment.recipe
        return recipe if self.unexplained is None else recipe.where_head_leaves(self.unexplained)

    def _rows(self, experiment: Experiment) -> tuple[int, float, float]:
        """The number of trainings (one per fold), and the images that train and that validate in each."""
        folds, labelled = experiment.choices.folds, len(self.tables.train)
        validating = labelled / folds if folds else labelled * experiment.recipe.validation
        taught = len(self.tables.test) if experiment.choices.teacher else 0
        return folds or 1, labelled - validating + taught, validating

    def _features(self, experiment: Experiment) -> dict[Computed, float]:
        """The features that are computed once for all folds, with the number of views of images in each."""
        recipe, viewpoint = self._recipe(experiment), experiment.competition.augment
        labelled, test = len(self.tables.train), len(self.tables.test)
        on_maps, last = self.speeds.get(recipe.backbone, Speeds()).on_maps, recipe.stages[-1]
        found: dict[Computed, float] = {}
        seen = {"labelled": labelled, **({"test": test} if experiment.choices.teacher else {})}
        for stage in recipe.stages:
            if on_maps(stage) or stage.on_features:
                views = viewpoint.at(stage.pixels).views(stage.views)
                for part, images in seen.items():
                    found[recipe.backbone, stage.pixels, views, part, on_maps(stage)] = images * len(views)
        if on_maps(last) or all(stage.groups == 1 for stage in recipe.stages):
            views, size = tta_views(recipe, viewpoint), last.pixels
            times, _, validating = self._rows(experiment)
            of_stages = [one[2] for one in found if one[1] == size and one[-1] == on_maps(last)]
            if not any(cached[: len(views)] == views for cached in of_stages):
                found[recipe.backbone, size, views, "labelled", on_maps(last)] = times * validating * len(views)
            found[recipe.backbone, size, views, "test", on_maps(last)] = test * len(views)
        return found

    def _training(self, experiment: Experiment) -> float:
        """Seconds for an experiment's trainings, without the features that are computed once."""
        recipe, speeds = self._recipe(experiment), self.speeds[experiment.recipe.backbone]
        times, training, validating = self._rows(experiment)
        seconds = OF_A_TRAINING
        for stage in recipe.stages:
            epoch = OF_AN_EPOCH + speeds.epoch(stage, training, validating)
            seconds += stage.epochs * epoch + (speeds.solved[stage.views] if stage.schedule == "lbfgs" else 0.0)
        if any(stage.groups > 1 for stage in recipe.stages):
            views = len(tta_views(recipe, experiment.competition.augment))
            seconds += (validating + len(self.tables.test)) * views / speeds.finished(recipe.stages[-1])
        return times * seconds

    def _measure(self) -> None:
        with self.console.bar("measuring what trainings cost here", None, "speeds") as bar:
            for experiment in self.experiments:
                speeds = self.speeds.setdefault(experiment.recipe.backbone, Speeds())
                if lacking := speeds.lacking(experiment.recipe):
                    speeds.measure(self._prepared(experiment), lacking, bar.advance)
        for experiment in self.experiments:
            head, *others = experiment.recipe.stages
            if head.schedule == "lbfgs" and any(stage.needed_above for stage in others):
                self._tell(experiment, head)
                break

    def _prepared(self, experiment: Experiment) -> Prepared:
        one = experiment.choosing(fold=1) if experiment.choices.folds else experiment
        return prepare(one, self.console, self.tables)

    def _tell(self, experiment: Experiment, head: Stage) -> None:
        """Solve the first head, on features that stay in the cache, to tell which further stages are needed."""
        backbone = experiment.recipe.backbone
        views = experiment.competition.augment.at(head.pixels).views(head.views)
        seconds = len(self.tables.train) * len(views) / self.speeds[backbone].predicted[head.pixels]
        if self.seconds is None or seconds > TELLING * self.seconds:
            return
        prepared = self._prepared(experiment)
        learner, (epochs, _) = prepared.learner, prepared.inputs(head, 1)
        list(learner.fit(head, 1.0, epochs, None, prepared.seed_of(1)))
        self.computed.add((backbone, head.pixels, views, "labelled", False))
        self.unexplained = None if learner.solved is None else learner.solved.unexplained

    def _in_folds_or_not(self) -> list[Experiment]:
        """The trainings in their folds, or with one split each.

        The latter if the first recipe that fits with one split fits in folds with no backbone. Raises OverrideError
        where nothing fits.
        """
        split = [one.choosing(folds=None, fold=None) for one in self.experiments]
        first = next((place for place, one in enumerate(split) if self._fits(one)), None)
        if first is None:
            costs = [self._cost(one) for one in split]
            least = int(np.argmin(costs))
            assert self.seconds is not None
            needed = in_minutes(time.monotonic() - self.began + costs[least] + self.end)
            raise OverrideError(
                f"--time is {in_minutes(self.seconds)}, but {split[least].name} alone, which takes the least, needs "
                f"about {needed} here; give it that, or name smaller sizes."
            )
        recipe = self.experiments[first].choices.recipe
        if any(self._fits(one) for one in self.experiments if one.choices.recipe == recipe):
            return self.experiments
        if folds := self.experiments[first].choices.folds:
            cost = in_minutes(self._cost(self.experiments[first]))
            self.console.say(f"{folds} folds of {split[first].name} would take {cost}, so one split is used")
        return split

    def _say_plan(self) -> None:
        """Print the measured speeds, what will be trained, and the expected end."""
        assert self.seconds is not None
        if self.unexplained is not None:
            said = f"a head on frozen features leaves {self.unexplained:.2%} of the loss of guessing"
            self.console.say(f"measured here: {said}")
        for backbone, speeds in self.speeds.items():
            known = [f"{speed:.0f} images/s predicted at {size} px" for size, speed in speeds.predicted.items()]
            known += [
                f"{speed:.0f} trained at {size} px, {groups} of 3 layer groups{' on maps' if on_maps else ''}"
                f"{f' in batches of {batch}' if batch else ''}"
                for (size, groups, on_maps, batch), speed in speeds.trained.items()
            ]
            self.console.say(f"measured here: {backbone.rpartition('/')[2]}: {', '.join(known)}")
        planned = self._planned(self.experiments)
        end = sum(cost for _, cost, fits in planned if fits) + self.end
        self.console.say(f"plan for {in_minutes(self.seconds)}, {expected_to_end(end)}:")
        for one, cost, fits in planned:
            how = f"about {in_minutes(cost)}" if fits else f"not planned, as it takes about {in_minutes(cost)}"
            in_folds = f" in {one.choices.folds} folds" if one.choices.folds else ""
            self.console.say(f"  {one.name}{in_folds}: {how}")

    def _planned(self, experiments: Sequence[Experiment]) -> list[tuple[Experiment, float, bool]]:
        """Each training with its seconds after the previous ones, and whether it fits after them."""
        computed, total, planned = set(self.computed), 0.0, []
        for one in experiments:
            cost = self._cost(one, computed)
            fits = total + cost <= self.left
            if fits:
                total, computed = total + cost, computed | self._features(one).keys()
            planned.append((one, cost, fits))
        return planned

    def _say_end(self, waiting: Sequence[Experiment]) -> None:
        if self.seconds is None:
            left = len(waiting) * sum(self.spent) / len(self.spent)
        else:
            left = sum(cost for _, cost, fits in self._planned(waiting) if fits) + self.end
        done = len(self.experiments) - len(waiting)
        self.console.say(f"{done} of {len(self.experiments)} trainings are done; {expected_to_end(left)}")


def all_on(on: str, jobs: Sequence[Sequence[Job]], data: Path, console: Console) -> Iterator[list[Run]]:
    """Train all jobs side by side; return, in order, a list of runs for each training."""
    every = [job for some in jobs for job in some]
    runs = iter(each(every, on, len(every), data, console))
    return iter([list(islice(runs, len(some))) for some in jobs])
