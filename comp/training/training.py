"""A training under way: a prepared learner, the run folder it is recorded in, and the stages it went through."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

from torch import Tensor

from comp.console import Console
from comp.declare.recipe import Stage
from comp.errors import DivergedError, RunError
from comp.interrupts import deferred
from comp.runs import Run
from comp.submission.scoring import score_logits
from comp.training.backbone import set_size
from comp.training.curves import draw_range_test
from comp.training.learner import Epoch, Epochs, Step
from comp.training.memory import peak_memory
from comp.training.prepared import Prepared
from comp.training.reporting import say_epoch, say_range_test, say_stage
from comp.training.state import save_state, save_weights

# What a training that is killed may lose, unless saving takes longer than a fiftieth of it.
SAVE_SECONDS = 10.0
MOST_COST = 1 / 50


@dataclass(frozen=True)
class Good:
    """Weights whose losses were numbers: of the end of so many cycles of the stage under way, or of what was before."""

    weights: Mapping[str, Tensor]
    cycles: int


@dataclass
class Training:
    """The live state of a training.

    by_hand: its stages are not the recipe's; what it trains is not saved on the way.
    found: the learning rate that a sweep found, by how many layer groups trained, and whether on cached features.
    fitted: the stages that made the weights what they are, with the rates they were trained at.
    broken: the stages whose loss became no number, as trained.json has them.
    snapshots: the weights kept at the ends of the last stage's cycles, the latest first, without the very last.
    good: what is gone back to when the loss is no longer a number.
    size: of the images that the model was made for last, in pixels.
    touched: whether the backbone may be another than it was built.
    resumed: where a stage that was stopped goes on.
    began: the time, in seconds, at which the stage under way would have begun, had it not been stopped.
    after_epoch: called when an epoch is recorded; what it raises ends the training.
    """

    prepared: Prepared
    run: Run
    console: Console
    by_hand: bool = False
    found: dict[tuple[int, bool], float] = field(default_factory=dict)
    fitted: list[Stage] = field(default_factory=list)
    broken: list[dict[str, Any]] = field(default_factory=list)
    snapshots: list[Path] = field(default_factory=list)
    good: Good | None = None
    size: int = 0
    touched: bool = False
    resumed: dict[str, Any] | None = None
    began: float = 0.0
    after_epoch: Callable[[], None] = lambda: None
    saved: float = field(default_factory=time.monotonic)
    cost: float = 0.0

    @property
    def number(self) -> int:
        """Of the stage that is next, from 1."""
        lost = [stage for stage in self.broken if not stage["cycles_kept"]]
        return len(self.fitted) + len(lost) + 1

    @property
    def remaining(self) -> Sequence[Stage]:
        """The recipe's stages that are still to be trained; the first may have been begun."""
        return () if self.run.trained else self.prepared.recipe.stages[self.number - 1 :]

    def train_stages(self) -> None:
        """Train the recipe's stages that are left, and keep the weights."""
        for stage in self.remaining:
            self.fit_or_go_back(stage)
        self.finish()

    def fit_or_go_back(self, stage: Stage) -> None:
        """Train one stage; where its loss becomes no number, go on from the last cycle that ended with one.

        Raises DivergedError where there is none.
        """
        try:
            self.fit(stage)
        except DivergedError as error:
            if self.good is None:
                raise
            self._go_back(stage, error, self.good)
        if self.remaining:
            self.save()

    def fit(self, stage: Stage) -> None:
        """Train one stage, or what is left of it, and record it; its rate is found first where none is declared.

        SIGINT and SIGTERM wait for the end of a step, and for the state to be saved. Raises DivergedError.
        """
        self.began = time.perf_counter()
        prepared, learner, number, resumed = self.prepared, self.prepared.learner, self.number, self.resumed
        epochs, validation = prepared.inputs(stage, number)
        if resumed is None:
            rate = self.rate_of(stage, number, epochs)
            self._begin(stage)
        else:
            rate, self.resumed = resumed["rate"], None
            self.began -= resumed.get("seconds", 0.0)
        count = max(number, len(prepared.recipe.stages))
        say_stage(self.console, number, count, stage, rate, prepared.competition.metric)
        steps = stage.epochs * ceil(len(epochs) / prepared.recipe.accumulation)
        saved = None if resumed is None else resumed["state"]
        with self.console.bar("training", steps, "steps") as bar, deferred() as interrupt:
            bar.advance(0 if saved is None else saved["taken"])
            for event in learner.fit(stage, rate, epochs, validation, prepared.seed_of(number), saved):
                if isinstance(event, Step):
                    bar.advance(1)
                else:
                    self._record(stage, number, event)
                    if event.broken:
                        continue
                    self.after_epoch()
                # Looked at once: a signal between two looks would end the loop without anything saved.
                asked = interrupt.asked
                if asked or time.monotonic() - self.saved > max(SAVE_SECONDS, self.cost / MOST_COST):
                    self.save(rate)
                if asked:
                    self._say_how_to_go_on(number)
                    break
        self.fitted.append(replace(stage, learning_rate=rate))
        self.run.history.append_stage(number, time.perf_counter() - self.began, peak_memory())

    def rate_of(self, stage: Stage, number: int, epochs: Epochs) -> float:
        """The stage's own rate, or the one found for what it trains, earlier in this run or now."""
        if not isinstance(stage.learning_rate, str):
            return stage.learning_rate
        # Cached features come in larger batches, and unaltered.
        trains = stage.groups, stage.cached
        if trains in self.found:
            self.console.say(f"learning rate {self.found[trains]:.2g}, as found before")
        else:
            sweep = self.prepared.range_test(stage, number, epochs)
            self.found[trains] = sweep.suggestion
            picture = self.run.folder / f"learning-rate-{number}.png"
            draw_range_test(sweep, picture)
            self.run.history.write_range_test(number, sweep.rates, sweep.losses, sweep.smoothed)
            say_range_test(self.console, sweep)
        return self.found[trains]

    def finish(self) -> None:
        """Keep the weights, and what they were trained by: the run can be predicted with."""
        passes = self.prepared.learner.passes
        record = {
            "stages": [asdict(fitted) for fitted in self.fitted],
            "broken": self.broken,
            "snapshots": [path.stem for path in self.snapshots],
            "at_once": {"training": passes.training, "forward": passes.forward},
        }
        self.run.write_record("trained", record)
        save_weights(self.prepared.learner.model, self.run.weights)
        self.run.last.unlink(missing_ok=True)

    def save(self, rate: float | None = None) -> None:
        """Write what a training that is stopped from now on goes on from; ``rate``: of the stage under way.

        Raises OSError; what was saved before is still there then.
        """
        if self.by_hand:
            return
        began, learner = time.monotonic(), self.prepared.learner
        stage = None
        if learner.under_way is not None:
            of_stage = learner.under_way.state_dict()
            if of_stage["average"] is not None:
                of_stage["average"] = self._changing(of_stage["average"])
            stage = {"rate": rate, "seconds": time.perf_counter() - self.began, "state": of_stage}
        state = {
            "found": [[*trains, found] for trains, found in self.found.items()],
            "fitted": [asdict(fitted) for fitted in self.fitted],
            "broken": self.broken,
            "snapshots": [path.stem for path in self.snapshots],
            "good": None if self.good is None else [dict(self.good.weights), self.good.cycles],
            "size": self.size,
            "touched": self.touched,
            "weights": self._changing(learner.model.state_dict()),
            "passes": [learner.passes.training, learner.passes.forward],
            "tables": self.run.history.sizes(),
            "stage": stage,
        }
        save_state(state, self.run.last)
        self.saved = time.monotonic()
        self.cost = self.saved - began

    def load(self, state: dict[str, Any]) -> None:
        """Be as it was when that was saved, in the tables as well. Raises RunError where it is no state of this run."""
        learner = self.prepared.learner
        try:
            self.found = {(groups, cached): found for groups, cached, found in state["found"]}
            self.fitted = [Stage(**fitted) for fitted in state["fitted"]]
            self.broken, self.size, self.touched = state["broken"], state["size"], state["touched"]
            self.snapshots = [self.run.checkpoint(name) for name in state["snapshots"]]
            self.good = None if state["good"] is None else Good(*state["good"])
            self.resumed = state["stage"]
            learner.passes.training, learner.passes.forward = state["passes"]
            set_size(learner.model, self.size)
            self._give(state["weights"])
            tables = state["tables"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(
                f"{self.run.last} is of another version of comp or of another model ({reason}); remove it, and the "
                "run starts from its beginning."
            ) from None
        self.run.history.cut(tables)

    def where(self) -> str:
        """Where it goes on, in words."""
        if self.resumed is None:
            return f"stage {self.number} of {len(self.prepared.recipe.stages)}"
        state = self.resumed["state"]
        return f"stage {self.number}, epoch {state['epoch'] + 1}, step {len(state['losses']) + 1}"

    def _begin(self, stage: Stage) -> None:
        self.touched |= stage.groups > 1 or self.size not in (0, stage.size)
        self.size, self.snapshots = stage.size, []
        self._keep_good(self.prepared.learner.model.state_dict() if self.fitted else None, cycles=0)

    def _record(self, stage: Stage, number: int, epoch: Epoch) -> None:
        """In the tables, on the terminal, and its weights where they are kept."""
        prepared = self.prepared
        score = score_logits(prepared.competition, prepared.tables.targets[prepared.validating], epoch.logits)
        row = {
            "stage": number,
            "cycle": epoch.cycle + 1,
            "epoch": epoch.number + 1,
            "train_loss": epoch.train_loss,
            "valid_loss": epoch.valid_loss,
            "metric": prepared.competition.metric,
            "score": score,
            "seconds": epoch.seconds,
            "images_per_second": epoch.images_per_second,
        }
        self.run.history.append_epoch(row, epoch.steps)
        say_epoch(self.console, epoch, score)
        if epoch.broken or not epoch.ends_cycle or epoch.cycle + 1 == stage.cycles:
            return
        self._keep_good(prepared.learner.evaluated.state_dict(), epoch.cycle + 1)
        # Of an earlier stage none is averaged; the last cycle's weights are the run's own.
        kept = prepared.recipe.snapshots if number >= len(prepared.recipe.stages) else 1
        if stage.cycles - epoch.cycle <= kept:
            self.snapshots.insert(0, self.run.checkpoint(f"stage-{number}-cycle-{epoch.cycle + 1}"))
            save_weights(prepared.learner.evaluated, self.snapshots[0])

    def _keep_good(self, weights: Mapping[str, Tensor] | None, cycles: int) -> None:
        if weights is None:
            self.good = None
            return
        copied = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self._changing(weights).items()}
        self.good = Good(copied, cycles)

    def _go_back(self, stage: Stage, error: DivergedError, good: Good) -> None:
        number, trained = self.number, replace(stage, learning_rate=error.learning_rate)
        if good.cycles:
            self.fitted.append(replace(trained, cycles=good.cycles))
        # The last cycle that is kept is the run's own weights now.
        kept = [path for path in self.snapshots if good.cycles and path.stem != f"stage-{number}-cycle-{good.cycles}"]
        for path in set(self.snapshots) - set(kept):
            path.unlink(missing_ok=True)
        self.snapshots, self.size = kept, self.fitted[-1].size
        learner = self.prepared.learner
        learner.under_way, learner.evaluated = None, learner.model
        set_size(learner.model, self.size)
        self._give(good.weights)
        self.broken.append(
            {"number": number, "stage": asdict(trained), "epoch": error.epoch, "cycles_kept": good.cycles}
        )
        # What broke this stage would break the next one that trains as much.
        self.found.pop((stage.groups, stage.cached), None)
        whose = f"of the end of cycle {good.cycles}" if good.cycles else "from before the stage"
        self.console.say(
            f"stage {number}: the loss is no longer a number in epoch {error.epoch}, so the weights are those {whose} "
            f"again; try --set stages.{number}.learning_rate={error.learning_rate / 10:.2g}"
        )

    def _changing(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those that are not as the model was built."""
        return {name: tensor for name, tensor in weights.items() if self.touched or name.startswith("head.")}

    def _give(self, weights: Mapping[str, Tensor]) -> None:
        model = self.prepared.learner.model
        model.load_state_dict({**model.state_dict(), **weights})

    def _say_how_to_go_on(self, number: int) -> None:
        if not self.by_hand:
            self.console.say(f"stopped in stage {number}; `comp train --resume {self.run.name}` goes on from there")
