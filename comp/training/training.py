"""A training in progress: its prepared learner, its run folder, and the stages trained so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from comp.console import Console
from comp.declare.custom import recorded
from comp.declare.reading import Size
from comp.declare.recipe import Recipe, Stage
from comp.errors import DivergedError, RunError, first_line
from comp.interrupts import deferred
from comp.runs import Run
from comp.runs.history import seconds_left, time_in_words
from comp.runs.resolve import stage_of
from comp.submission.scoring import score_logits
from comp.training.backbone import Classifier, set_size
from comp.training.curves import show_range_test
from comp.training.epochs import Epoch, Epochs, Finite, Reached, Step, Validation, made_worse, say_epoch, say_stage
from comp.training.launching import from_main
from comp.training.memory import peak_memory
from comp.training.prepared import Prepared
from comp.training.state import save_state, save_weights
from comp.training.tracking import Tracker

# Seconds between two saves of the state; more where saving would take a larger share of the time than MOST_COST.
SAVE_SECONDS = 10.0
MOST_COST = 1 / 50
# The fields of a training that are saved unchanged.
KEPT = ("found", "diverged", "size", "touched", "baseline", "unexplained", "latest")


@dataclass
class Training:
    """The live state of a training.

    by_hand: the stages are not the recipe's, and no state to resume from is saved.
    found: the learning rates found by LR range tests, by the stage's `rate_key`.
    fitted: the stages that produced the current weights, with the learning rates they were trained at.
    diverged: the stages whose loss became NaN or infinite, or that ended far worse than they began, as in trained.json.
    snapshots: the weights kept at the ends of the last stage's cycles, latest first, without the final weights.
    last_finite: the weights to restore when the loss diverges. before: the weights from before the current stage.
    latest: the validation loss and score of the current weights, by the latest epoch.
    size: the image size that the model was last set to.
    touched: whether the backbone may differ from how it was built.
    resumed: the saved state of the stage that is resumed.
    baseline: the validation loss and score of a linear model on the first stage's features, where those are cached.
    unexplained: `Solved.unexplained` of the head solved last.
    began: the time, in seconds, at which the current stage would have begun, had it not been stopped.
    after_epoch: called when an epoch has been recorded; an exception that it raises ends the training.
    """

    prepared: Prepared
    run: Run
    console: Console
    by_hand: bool = False
    found: dict[tuple[int, ...], float] = field(default_factory=dict)
    fitted: list[Stage] = field(default_factory=list)
    diverged: list[dict[str, Any]] = field(default_factory=list)
    snapshots: list[Path] = field(default_factory=list)
    last_finite: Finite | None = None
    before: Finite | None = None
    latest: Reached = None
    size: Size = 0
    touched: bool = False
    resumed: dict[str, Any] | None = None
    baseline: dict[str, float] | None = None
    unexplained: float | None = None
    began: float = 0.0
    after_epoch: Callable[[], None] = lambda: None
    saved: float = field(default_factory=time.monotonic)
    cost: float = 0.0

    @cached_property
    def tracker(self) -> Tracker:
        return Tracker(self.prepared.experiment.competition.log_with, self.run)

    @property
    def number(self) -> int:
        """The number of the next stage, from 1."""
        lost = [stage for stage in self.diverged if not stage["cycles_kept"]]
        return len(self.fitted) + len(lost) + 1

    @property
    def remaining(self) -> Sequence[Stage]:
        """The recipe's stages still to be trained; the first may have begun already."""
        return () if self.run.trained else self._recipe.stages[self.number - 1 :]

    def train_stages(self) -> None:
        """Train the recipe's remaining stages, up to the first that isn't needed, and save the weights."""
        try:
            for stage in self.remaining:
                if not stage.is_needed(self.unexplained):
                    self.console.say(
                        f"the training ends before stage {self.number}: the head leaves {self.unexplained:.2%} of the "
                        f"loss of guessing by cross-validation, no more than {stage.needed_above:.2%}"
                    )
                    break
                self.fit_or_restore(stage)
            self.finish()
        finally:
            # A sweep may start another run in this process.
            self.tracker.finish()

    def fit_or_restore(self, stage: Stage) -> None:
        """Train one stage; where its loss diverges, restore the last weights with a finite loss.

        Where the stage ends far worse on the validation images than it began, restore the weights from before it.
        Raises DivergedError where there are no weights to restore.
        """
        if self.resumed is None:
            stage = self.prepared.possible(stage)
        elif self.resumed.get("on_images"):
            stage = replace(stage, cached=False, views=1)
        try:
            self.fit(stage)
        except DivergedError as error:
            if self.last_finite is None:
                raise
            why = f"the loss diverged in epoch {error.epoch}"
            # Weights from the end of a cycle that are far worse than those from before the stage are not restored.
            kept = self.before if from_main(self.made_worse(self.last_finite.reached)) else self.last_finite
            assert kept is not None
            self._restore(replace(stage, learning_rate=error.learning_rate), error.epoch, kept, why)
        else:
            # Rank 0 decides for all processes.
            if (why := from_main(self.made_worse(self.latest))) and self.before is not None:
                self._restore(self.fitted.pop(), stage.epochs, self.before, why)
        if self.remaining:
            self.save()

    def fit(self, stage: Stage) -> None:
        """Train one stage, or the rest of it, and record it; find its learning rate first where none is declared.

        SIGINT and SIGTERM take effect at the end of a step, after the state is saved. Raises DivergedError.
        """
        self.began = time.perf_counter()
        prepared, learner, number, resumed = self.prepared, self.prepared.learner, self.number, self.resumed
        epochs, validation = prepared.inputs(stage, number)
        if number == 1 and self.baseline is None and stage.schedule != "lbfgs":
            self._fit_baseline(epochs, validation)
        if resumed is None:
            rate = self.rate_of(stage, number, epochs)
            self._begin(stage)
        else:
            rate, self.resumed = resumed["rate"], None
            self.began -= resumed.get("seconds", 0.0)
        as_trained, count = replace(stage, learning_rate=rate), max(number, len(self._recipe.stages))
        say_stage(self.console, number, count, stage, rate, prepared.experiment.competition.scoring.name)
        steps = stage.epochs * ceil(len(epochs) / self._recipe.accumulation)
        saved = None if resumed is None else resumed["state"]
        with self.console.bar("training", steps, "steps") as bar, deferred() as interrupt:
            bar.advance(0 if saved is None else saved["taken"])
            for event in learner.fit(stage, rate, epochs, validation, prepared.seed_of(number), saved):
                if isinstance(event, Step):
                    bar.advance(1)
                else:
                    self._record(stage, number, event)
                    if event.diverged:
                        continue
                    stages = () if self.by_hand else self._recipe.stages
                    if stages and (left := seconds_left(stages, number, event.number + 1, event.seconds)):
                        bar.say(f"training, {time_in_words(left)} left of all stages")
                    self.after_epoch()
                # Read once: a signal between two reads would end the loop without saving the state.
                asked = interrupt.asked
                due = asked or time.monotonic() - self.saved > max(SAVE_SECONDS, self.cost / MOST_COST)
                # A head solved by L-BFGS has no state to resume from: it is solved again.
                if due and learner.under_way is not None:
                    self.save(as_trained)
                if asked:
                    if not self.by_hand:
                        self.console.say(f"stopped in stage {number} of {self.run.name}")
                    break
        if stage.schedule == "lbfgs" and learner.solved is not None:
            # Rank 0 decides for all processes.
            self.unexplained = from_main(learner.solved.unexplained)
            share = "" if self.unexplained is None else f", which leaves {self.unexplained:.2%} of the loss of guessing"
            strength = learner.solved.strength
            self.console.detail(f"cross-validation chose a regularisation of {strength:.2g} for the head{share}")
        self.fitted.append(as_trained)
        self.run.history.append_stage(number, time.perf_counter() - self.began, peak_memory())

    def rate_of(self, stage: Stage, number: int, epochs: Epochs) -> float:
        """The stage's own learning rate, or the one found for its `rate_key`, earlier in this run or now."""
        if stage.schedule == "lbfgs":
            return 1.0
        if not isinstance(stage.learning_rate, str):
            return stage.learning_rate
        if (alike := stage.rate_key) in self.found:
            self.console.detail(f"learning rate {self.found[alike]:.2g}, as found before")
        else:
            sweep = self.prepared.range_test(stage, number, epochs)
            self.found[alike] = sweep.suggestion
            self.run.history.write_range_test(number, sweep.rates, sweep.losses, sweep.smoothed)
            show_range_test(self.console, sweep, self.run.folder / f"learning-rate-{number}.png")
        return self.found[alike]

    def finish(self) -> None:
        """Save the weights and the record of their training: from now on the run can predict."""
        self.tracker.finish()
        passes = self.prepared.learner.micro_batches
        record = {
            "stages": [recorded(fitted) for fitted in self.fitted],
            "diverged": self.diverged,
            "snapshots": [path.stem for path in self.snapshots],
            # For comparison with the validation loss.
            "guessing": self.prepared.guessing(),
            "baseline": self.baseline,
            "unexplained": self.unexplained,
            "at_once": {"training": passes.training, "forward": passes.forward},
        }
        self.run.write_record("trained", record)
        save_weights(self.prepared.learner.model, self.run.weights)
        self.run.last.unlink(missing_ok=True)

    def save(self, under_way: Stage | None = None) -> None:
        """Save the state that this training resumes from if it is stopped.

        under_way: the current stage as it trains: with its learning rate, and uncached where its maps can't be cached.
        Raises OSError; the previously saved state is still there then.
        """
        if self.by_hand:
            return
        began, learner, finite = time.monotonic(), self.prepared.learner, self.last_finite
        stage = None
        if learner.under_way is not None and under_way is not None:
            of_stage = learner.under_way.state_dict()
            if of_stage["average"] is not None:
                of_stage["average"] = self._changing(of_stage["average"])
            seconds = time.perf_counter() - self.began
            how = {"rate": under_way.learning_rate, "on_images": not under_way.cached}
            stage = {**how, "seconds": seconds, "state": of_stage}
        state = {
            **{name: getattr(self, name) for name in KEPT},
            "fitted": [recorded(fitted) for fitted in self.fitted],
            "snapshots": [path.stem for path in self.snapshots],
            "last_finite": finite and list(finite),
            "before": self.before and list(self.before),
            "weights": self._changing(learner.model.state_dict()),
            "passes": [learner.micro_batches.training, learner.micro_batches.forward],
            "tables": self.run.history.sizes(),
            "stage": stage,
        }
        save_state(state, self.run.last)
        self.saved = time.monotonic()
        self.cost = self.saved - began

    def load(self, state: dict[str, Any]) -> None:
        """Restore a saved state, also in the tables. Raises RunError for another version's or another model's state."""
        learner, recipes = self.prepared.learner, (self._recipe, self.prepared.experiment.competition.recipes)
        try:
            for name in KEPT:
                setattr(self, name, state[name])
            self.fitted = [stage_of(fitted, *recipes) for fitted in state["fitted"]]
            self.resumed, tables = state["stage"], state["tables"]
            self.snapshots = [self.run.checkpoint(name) for name in state["snapshots"]]
            for name in ("last_finite", "before"):
                setattr(self, name, None if state[name] is None else Finite(*state[name]))
            learner.micro_batches.training, learner.micro_batches.forward = state["passes"]
            set_size(learner.model, self.size)
            self._give(state["weights"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunError(
                f"{self.run.last} is of another version of comp or of another model ({first_line(error)}); remove it, "
                "and the run starts from its beginning."
            ) from None
        self.run.history.cut(tables)

    def where(self) -> str:
        """The place at which the training resumes, in words."""
        if self.resumed is None:
            return f"stage {self.number} of {len(self._recipe.stages)}"
        state = self.resumed["state"]
        return f"stage {self.number}, epoch {state['epoch'] + 1}, step {len(state['losses']) + 1}"

    def _begin(self, stage: Stage) -> None:
        self.touched |= stage.groups > 1 or self.size not in (0, stage.pixels)
        self.size, self.snapshots = stage.pixels, []
        self.before = Finite(self._copied(self.prepared.learner.model), 0, self.latest) if self.fitted else None
        self.last_finite = self.before

    def _fit_baseline(self, epochs: Epochs, validation: Validation | None) -> None:
        logits, loss = self.prepared.learner.baseline(epochs, validation)
        score = self._score(logits)
        if score is not None and loss is not None:
            self.baseline = {"score": score, "loss": loss}
            found = f"{self.prepared.experiment.competition.scoring.name} {score:.5f}, loss {loss:.4g}"
            self.console.detail(f"baseline, a linear model on the frozen features: {found}")

    def _score(self, logits: npt.NDArray[np.float32] | None) -> float | None:
        """The metric of the validation samples' logits (N, C)."""
        competition, tables = self.prepared.experiment.competition, self.prepared.tables
        targets, answers = tables.answered(self.prepared.validating)
        return score_logits(competition, self.prepared.outputs, tables.classes, targets, logits, answers)

    def _record(self, stage: Stage, number: int, epoch: Epoch) -> None:
        """Record an epoch in the tables and on the terminal, and save its weights where they are kept."""
        score = self._score(epoch.logits)
        if number == 1 and stage.schedule == "lbfgs" and score is not None and epoch.valid_loss is not None:
            # The head itself is the linear model.
            self.baseline = {"score": score, "loss": epoch.valid_loss}
        row = {
            "stage": number,
            "cycle": epoch.cycle + 1,
            "epoch": epoch.number + 1,
            "train_loss": epoch.train_loss,
            "valid_loss": epoch.valid_loss,
            "metric": self.prepared.experiment.competition.scoring.name,
            "score": score,
            "seconds": epoch.seconds,
            "images_per_second": epoch.images_per_second,
        }
        if score is not None and epoch.valid_loss is not None:
            self.latest = epoch.valid_loss, score
        self.run.history.append_epoch(row, epoch.steps)
        self.tracker.epoch(row, epoch.steps)
        say_epoch(self.console, epoch, score)
        if epoch.diverged or not epoch.ends_cycle or epoch.cycle + 1 == stage.cycles:
            return
        model = self.prepared.learner.evaluated
        self.last_finite = Finite(self._copied(model), epoch.cycle + 1, self.latest)
        # Earlier stages' snapshots are not averaged; the last cycle's weights are saved as the run's own.
        kept = self._recipe.snapshots if number >= len(self._recipe.stages) else 1
        if stage.cycles - epoch.cycle <= kept:
            self.snapshots.insert(0, self.run.checkpoint(f"stage-{number}-cycle-{epoch.cycle + 1}"))
            save_weights(model, self.snapshots[0])

    def made_worse(self, reached: Reached) -> str:
        """In words, why the stage that ended with this loss and score should be undone; empty if it shouldn't."""
        if self.before is None:
            return ""
        return made_worse(self.prepared.experiment.competition.scoring, self.before.reached, reached)

    def _restore(self, trained: Stage, epoch: int, finite: Finite, why: str) -> None:
        """Restore earlier weights; record and say why, and in which epoch of the stage."""
        number = self.number
        if finite.cycles:
            self.fitted.append(replace(trained, cycles=finite.cycles))
        # The last kept cycle's weights are the run's own now, no longer a snapshot.
        own = f"stage-{number}-cycle-{finite.cycles}"
        kept = [path for path in self.snapshots if finite.cycles and path.stem != own]
        for path in set(self.snapshots) - set(kept):
            path.unlink(missing_ok=True)
        self.snapshots, self.size = kept, self.fitted[-1].pixels
        learner = self.prepared.learner
        learner.undo_stage()
        set_size(learner.model, self.size)
        self._give(finite.weights)
        self.latest = finite.reached
        self.diverged.append(
            {"number": number, "stage": recorded(trained), "epoch": epoch, "cycles_kept": finite.cycles}
        )
        # A later stage with the same `rate_key` would diverge at this learning rate, too.
        self.found.pop(trained.rate_key, None)
        whose = f"from the end of cycle {finite.cycles}" if finite.cycles else "from before the stage"
        self.console.say(f"stage {number}: {why}, so the weights {whose} are restored")

    @property
    def _recipe(self) -> Recipe:
        return self.prepared.experiment.recipe

    def _copied(self, model: Classifier) -> dict[str, Tensor]:
        weights = self._changing(model.state_dict())
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}

    def _changing(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights that may differ from the model as it was built."""
        return {name: tensor for name, tensor in weights.items() if self.touched or name.startswith("head.")}

    def _give(self, weights: Mapping[str, Tensor]) -> None:
        model = self.prepared.learner.model
        model.load_state_dict({**model.state_dict(), **weights})
