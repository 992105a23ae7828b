"""The task done by comp: the steps of `comp train` and `comp predict`, without the run folder."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from sklearn.metrics import log_loss

from benchmarks.task import Measured, Task, answer
from comp.console import Console
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.recipe import Recipe, Stage
from comp.runs import Workspace
from comp.runs.choices import Choices
from comp.runs.resolve import Experiment
from comp.training.epochs import Epoch
from comp.training.inputs import to_predict
from comp.training.prepared import Prepared, prepare


def measure(task: Task) -> Measured:
    workspace = Workspace.from_environment()
    choices = Choices(task.recipe, task.backbone, (f"batch_size={task.batch_size}",))
    competition = competition_named(task.competition, REPOSITORY_COMPETITIONS)
    prepared = prepare(Experiment.of(competition, choices, workspace), Console())
    learner = prepared.learner
    learner.recipe = recipe = _recipe(task, prepared.experiment.recipe)
    training, validating = map(np.array, task.rows)
    targets = prepared.tables.targets[validating]
    predicting, losses = {}, {}
    # An empty cache: fastai has to compute everything as well.
    with TemporaryDirectory(dir=workspace.cache) as cache:
        images = replace(prepared.images, cache=Path(cache))
        prepared = replace(prepared, training=training, validating=validating, images=images)
        began = perf_counter()
        epochs = [
            epoch.seconds for number, stage in enumerate(recipe.stages, 1) for epoch in _fit(prepared, stage, number)
        ]
        trained = perf_counter() - began
        for views in task.views:
            learner.recipe = replace(recipe, tta="random" if views > 1 else "none", tta_views=max(1, views - 1))
            began = perf_counter()
            probabilities = prepared.outputs.predictions(learner.logits(to_predict(images, learner, validating)))
            predicting[views] = perf_counter() - began
            losses[views] = float(log_loss(targets, probabilities, labels=range(len(prepared.tables.classes))))
    setting = {"torch": torch.__version__, "threads": str(torch.get_num_threads())}
    return Measured(setting, epochs, trained, predicting, losses)


def _recipe(task: Task, recipe: Recipe) -> Recipe:
    if task.epochs is None:
        return recipe
    stage = Stage(
        size=task.size,
        train="all",
        schedule="one_cycle",
        cycle_length=task.epochs,
        learning_rate=task.learning_rate,
    )
    return replace(recipe, stages=[stage])


def _fit(prepared: Prepared, stage: Stage, number: int) -> Iterator[Epoch]:
    epochs, validation = prepared.inputs(stage, number)
    if isinstance(stage.learning_rate, str):
        stage = replace(stage, learning_rate=prepared.range_test(stage, number, epochs).suggestion)
    for event in prepared.learner.fit(stage, float(stage.learning_rate), epochs, validation, prepared.seed_of(number)):
        if isinstance(event, Epoch):
            yield event


if __name__ == "__main__":
    answer(measure, sys.argv[1:])
