"""How fast a backbone is here: images predicted and trained per second, and heads solved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
import torch
from torch import nn

from comp.data.loading import ImageEpochs
from comp.declare.reading import Size
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import View
from comp.training.backbone import set_size
from comp.training.epochs import Epochs, Step
from comp.training.features import FeatureEpochs
from comp.training.halves import Cut
from comp.training.inputs import forward_batch, workers
from comp.training.prepared import Prepared
from comp.training.solving import MOST_ROWS

# Gradients over all training samples that a head solved by L-BFGS takes: 300 to 380 for ten classes of 120 each.
GRADIENTS = 350
# Seconds that one speed is measured for, and images of it at most.
MEASURED, IMAGES = 1.0, 1024


@dataclass(frozen=True)
class Speeds:
    """Images per second of a backbone here, by their size.

    predicted: through all of it. halfway: through its early half, where maps of that are cached; None where they can't
    be. trained: by how many layer groups train, whether on such maps, and the stage's own batch size.
    solved: seconds that the optimum of its head takes, by the number of cached views.
    """

    predicted: dict[Size, float] = field(default_factory=dict)
    halfway: dict[Size, float | None] = field(default_factory=dict)
    trained: dict[tuple[Size, int, bool, int | None], float] = field(default_factory=dict)
    solved: dict[int, float] = field(default_factory=dict)

    def on_maps(self, stage: Stage) -> bool:
        """Whether it trains on what the early half makes of the images."""
        return stage.cached and not stage.on_features and self.halfway.get(stage.pixels) is not None

    def computed(self, size: Size, *, halfway: bool) -> float:
        """Images per second that features are computed of, or what the early half makes of them."""
        return (self.halfway.get(size) if halfway else None) or self.predicted[size]

    def finished(self, stage: Stage) -> float:
        """Images per second that validate, from what the stage is given."""
        whole = self.predicted[stage.pixels]
        if not self.on_maps(stage):
            return whole
        # Measured one after the other on a noisy machine, a half may seem to take longer than the whole.
        return 1 / max(1 / whole - 1 / self.computed(stage.pixels, halfway=True), 0.1 / whole)

    def epoch(self, stage: Stage, training: float, validating: float) -> float:
        """Seconds of the passes that an epoch on so many images takes; none where a head trains on cached features."""
        if stage.on_features:
            return 0.0
        return training / self.trained[self._trains(stage)] + validating / self.finished(stage)

    def _trains(self, stage: Stage) -> tuple[Size, int, bool, int | None]:
        return stage.pixels, stage.groups, self.on_maps(stage), stage.batch_size

    def lacking(self, recipe: Recipe) -> list[Stage]:
        """The stages of a recipe whose speeds are not known."""
        return [
            stage
            for stage in recipe.stages
            if stage.pixels not in self.predicted
            or (stage.cached and not stage.on_features and stage.pixels not in self.halfway)
            or not (stage.on_features or self._trains(stage) in self.trained)
            or (stage.schedule == "lbfgs" and stage.views not in self.solved)
        ]

    def measure(self, prepared: Prepared, stages: Sequence[Stage], advance: Callable[[int], None]) -> None:
        """Learn what these stages need; the model is of no use afterwards."""
        for declared in stages:
            set_size(prepared.learner.model, declared.pixels)
            stage = prepared.possible(declared)
            if stage.pixels not in self.predicted:
                self.predicted[stage.pixels] = _predicted(prepared, stage)
            given = prepared.learner.given(stage)
            if declared.cached and given != "features":
                cut = given if isinstance(given, Cut) else None
                self.halfway[stage.pixels] = None if cut is None else _predicted(prepared, stage, cut)
            if given != "features":
                self.trained[self._trains(stage)] = _trained(prepared, stage)
            if stage.schedule == "lbfgs":
                self.solved[stage.views] = _solved(prepared, stage.views)
            advance(1)


def endless(stage: Stage) -> Stage:
    """The stage with more epochs than are measured."""
    return replace(stage, schedule="one_cycle", cycles=1, cycle_length=10_000, cycle_multiplier=1)


def _per_second(done: Iterator[int]) -> float:
    """Images per second of what gives how many it did each time; the first time, which is slower, is left out."""
    next(done, 0)
    images, began = 0, time.perf_counter()
    for some in done:
        images += some
        if time.perf_counter() - began > MEASURED or images >= IMAGES:
            break
    return images / (time.perf_counter() - began)


def _predicted(prepared: Prepared, stage: Stage, cut: Cut | None = None) -> float:
    """Images per second, read and sent through the network, or through its early half."""
    rows = np.random.default_rng(0).permutation(prepared.training)
    block = forward_batch() if torch.cuda.is_available() else 2 * forward_batch()

    def predict(number: int) -> int:
        some = np.resize(np.roll(rows, -number * block), block)
        return sum(map(len, prepared.learner.features(prepared.images.views(some, stage.pixels, (View(),)), cut)))

    return _per_second(map(predict, count()))


def _solved(prepared: Prepared, views: int) -> float:
    """Seconds that a head takes to be solved on so many views of the training samples."""
    model, device = prepared.learner.model, prepared.learner.accelerator.device
    assert isinstance(model.head, nn.Sequential)
    linear = model.head[-1]
    assert isinstance(linear, nn.Linear)
    assert prepared.learner.objective is not None
    rows = prepared.training[:MOST_ROWS]
    targets = torch.from_numpy(prepared.outputs.compared(prepared.tables.targets)[rows]).to(device)
    inputs = torch.rand(len(rows) * views, linear.in_features, device=device)
    for _ in range(2):  # the first is slower
        began = time.perf_counter()
        loss = prepared.learner.objective(linear(inputs), targets.repeat_interleave(views, dim=0))
        (slope,) = torch.autograd.grad(loss, linear.weight)
        float(slope.sum())
    return GRADIENTS * (time.perf_counter() - began)


def _trained(prepared: Prepared, stage: Stage) -> float:
    """Images per second, read, augmented and trained on, or maps; the model is of no use afterwards."""
    batch_size = min(prepared.learner.recipe.batch_size_of(stage), forward_batch())
    targets = torch.from_numpy(prepared.outputs.compared(prepared.tables.targets))
    images, rows, given = prepared.images, prepared.training, prepared.learner.given(stage)
    if isinstance(given, Cut):
        # Which ones makes no difference.
        maps = np.broadcast_to(np.float32(1), (len(images.paths), 1, *given.shape))
        epochs: Epochs = FeatureEpochs(maps, rows, targets, batch_size, 0, images.columns)
    else:
        dataset = images.dataset(stage.pixels, 0)
        epochs = ImageEpochs(dataset, rows, targets, batch_size, workers=workers(), columns=images.columns)
    events = prepared.learner.fit(endless(stage), 1e-6, epochs, None, seed=0)
    try:
        return _per_second(event.images for event in events if isinstance(event, Step))
    finally:
        prepared.learner.under_way = None
