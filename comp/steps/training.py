"""A training under way: a prepared learner, the run folder it is recorded in, and the stages it went through."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING

from comp.report.curves import draw_sweep
from comp.run import Run, create_run
from comp.steps.resolve import has_gpu, to_config
from comp.steps.scoring import score_logits
from comp.training.checkpoints import save_weights
from comp.training.learner import Step
from comp.training.memory import peak_memory

if TYPE_CHECKING:
    from pathlib import Path

    from comp.console import Console
    from comp.recipe import Stage
    from comp.run import Home
    from comp.steps.prepared import Prepared
    from comp.training.learner import Epochs


@dataclass
class Training:
    """The live state of a training.

    found: the learning rate that a sweep found, by how many layer groups trained, and whether on cached features.
    fitted: the stages so far, with the rates they were trained at.
    snapshots: the weights kept at the ends of the last stage's cycles, the latest first, without the very last.
    """

    prepared: Prepared
    run: Run
    console: Console
    found: dict[tuple[int, bool], float] = field(default_factory=dict)
    fitted: list[Stage] = field(default_factory=list)
    snapshots: list[Path] = field(default_factory=list)

    def fit(self, stage: Stage) -> None:
        """Train one stage and record it; its rate is found first where none is declared."""
        prepared, number, began = self.prepared, len(self.fitted) + 1, time.perf_counter()
        epochs, validation = prepared.inputs(stage, number)
        rate = self.rate_of(stage, number, epochs)
        targets = prepared.tables.targets[prepared.validating]
        metric = prepared.competition.metric
        self.snapshots = []
        # Of an earlier stage none is averaged; the last cycle's weights are the run's own.
        kept = prepared.recipe.snapshots if number >= len(prepared.recipe.stages) else 1
        self.console.stage(number, max(number, len(prepared.recipe.stages)), stage, rate, metric)
        steps = stage.epochs * ceil(len(epochs) / prepared.recipe.accumulation)
        with self.console.bar("training", steps, "steps") as bar:
            for event in prepared.learner.fit(stage, rate, epochs, validation, prepared.seed_of(number)):
                if isinstance(event, Step):
                    bar.advance(1)
                    continue
                score = score_logits(prepared.competition, targets, event.logits)
                self.run.append_epoch(number, event, metric, score)
                self.console.epoch(event, score)
                if event.ends_cycle and 1 < stage.cycles - event.cycle <= kept:
                    self.snapshots.insert(0, self.run.checkpoint(f"stage-{number}-cycle-{event.cycle + 1}"))
                    save_weights(prepared.learner.evaluated, self.snapshots[0])
        self.fitted.append(replace(stage, learning_rate=rate))
        self.run.append_stage(number, time.perf_counter() - began, peak_memory())

    def rate_of(self, stage: Stage, number: int, epochs: Epochs) -> float:
        """The stage's own rate, or the one found for what it trains, earlier in this run or now."""
        if not isinstance(stage.learning_rate, str):
            return stage.learning_rate
        # Cached features come in larger batches, and unaltered.
        trains = stage.groups, stage.cached
        if trains in self.found:
            self.console.say(f"learning rate {self.found[trains]:.2g}, as found before")
        else:
            sweep = self.prepared.sweep(stage, number, epochs)
            self.found[trains] = sweep.suggestion
            picture = self.run.folder / f"learning-rate-{number}.png"
            draw_sweep(sweep, picture)
            self.run.write_sweep(number, sweep)
            self.console.sweep(sweep)
        return self.found[trains]

    def finish(self) -> None:
        """Keep the weights, and what they were trained by: the run can be predicted with."""
        stages = [asdict(fitted) for fitted in self.fitted]
        self.run.write_record("trained", {"stages": stages, "snapshots": [path.stem for path in self.snapshots]})
        save_weights(self.prepared.learner.model, self.run.weights)


def start(prepared: Prepared, home: Home, console: Console) -> Training:
    """A new run folder with the resolved config and the split."""
    competition, recipe, choices, tables = prepared.competition, prepared.recipe, prepared.choices, prepared.tables
    accelerator = prepared.learner.accelerator
    config = to_config(competition, recipe, choices, tables, str(accelerator.device), accelerator.mixed_precision)
    run = create_run(home, competition.name, choices.recipe)
    try:
        run.write_record("config", config)
        validates = tables.train.index.isin(prepared.validating)
        run.write_split(tables.train["id"], validates)
        if tables.screening is not None and len(tables.screening.listed(odd=False)):
            tables.screening.write_list(run.folder / "screening.csv", odd=False)
    except OSError:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    console.log = run.log
    fold = f", fold {choices.fold} of {choices.folds}" if choices.fold else ""
    console.say(
        f"{competition.name}: {len(tables.train) - len(prepared.validating)} images train and "
        f"{len(prepared.validating)} validate, {len(tables.test)} to predict, {len(tables.classes)} classes; "
        f"{recipe.backbone} on {accelerator.device}, run {run.name}{fold}"
    )
    declared = competition.recipes.get(choices.recipe)
    if choices.like is None and declared is not None and declared.on_cpu is not None and not has_gpu():
        console.say(f"there is no GPU here, so {choices.recipe!r} is trained as it is declared for a CPU")
    for note in tables.notes:
        console.say(note)
    if tables.ignored:
        console.say(f"{tables.ignored} test images are not in the sample submission and are left out")
    return Training(prepared, run, console)
