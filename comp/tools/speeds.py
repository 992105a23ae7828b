"""Measure a backbone's speed on this machine: images predicted and trained per second, seconds to solve its head."""

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
from comp.training.images import forward_batch, workers
from comp.training.inference import WORTH
from comp.training.prepared import Prepared
from comp.training.solving import MOST_ROWS

# Full gradients that L-BFGS takes to solve a head: 300 to 380 for ten classes of 120 images each.
GRADIENTS = 350
# At most this many seconds and images for measuring one speed.
MEASURED, IMAGES = 1.0, 1024


@dataclass(frozen=True)
class Speeds:
    """A backbone's images per second on this machine, by image size.

    predicted: through the whole backbone. halfway: through its early half, whose feature maps are cached; None where
    they can't be. trained: also by the number of trained layer groups, whether on such maps, and the stage's own batch
    size. solved: seconds to solve the head, by the number of cached views.
    """

    predicted: dict[Size, float] = field(default_factory=dict)
    halfway: dict[Size, float | None] = field(default_factory=dict)
    trained: dict[tuple[Size, int, bool, int | None], float] = field(default_factory=dict)
    solved: dict[int, float] = field(default_factory=dict)

    def on_maps(self, stage: Stage) -> bool:
        """Whether the stage trains on the early half's feature maps."""
        return stage.cached and not stage.on_features and self.halfway.get(stage.pixels) is not None

    def computed(self, size: Size, *, halfway: bool) -> float:
        """Images per second for computing features, or the early half's feature maps."""
        return (self.halfway.get(size) if halfway else None) or self.predicted[size]

    def finished(self, stage: Stage) -> float:
        """Images per second for predicting validation images from the stage's inputs, images or maps."""
        whole = self.predicted[stage.pixels]
        if not self.on_maps(stage):
            return whole
        # On a noisy machine, half of the backbone may seem to take longer than the whole.
        return 1 / max(1 / whole - 1 / self.computed(stage.pixels, halfway=True), 0.1 / whole)

    def epoch(self, stage: Stage, training: float, validating: float) -> float:
        """Seconds for an epoch's passes over these numbers of images; 0 for a head on cached features."""
        if stage.on_features:
            return 0.0
        return training / self.trained[self._trains(stage)] + validating / self.finished(stage)

    def _trains(self, stage: Stage) -> tuple[Size, int, bool, int | None]:
        return stage.pixels, stage.groups, self.on_maps(stage), stage.batch_size

    def lacking(self, recipe: Recipe) -> list[Stage]:
        """The stages of a recipe whose speeds aren't measured yet."""
        return [
            stage
            for stage in recipe.stages
            if stage.pixels not in self.predicted
            or (stage.cached and not stage.on_features and stage.pixels not in self.halfway)
            or not (stage.on_features or self._trains(stage) in self.trained)
            or (stage.schedule == "lbfgs" and stage.views not in self.solved)
        ]

    def measure(self, prepared: Prepared, stages: Sequence[Stage], advance: Callable[[int], None]) -> None:
        """Measure the speeds that these stages need; the model is unusable afterwards."""
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
    """The stage with more epochs than a measurement takes."""
    return replace(stage, schedule="one_cycle", cycles=1, cycle_length=10_000, cycle_multiplier=1)


def _per_second(done: Iterator[int]) -> float:
    """Images per second, by the number of images of each step; the first step, which is slower, is left out."""
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
        views = prepared.images.views(np.resize(np.roll(rows, -number * block), block), stage.pixels, (View(),))
        return sum(map(len, prepared.learner.features(views, cut, WORTH)))

    return _per_second(map(predict, count()))


def _solved(prepared: Prepared, views: int) -> float:
    """Seconds to solve a head on ``views`` views of the training images."""
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
    """Images, or maps, read, augmented and trained on per second; the model is unusable afterwards."""
    batch_size = min(prepared.learner.recipe.batch_size_of(stage), forward_batch())
    targets = torch.from_numpy(prepared.outputs.compared(prepared.tables.targets))
    images, rows, given = prepared.images, prepared.training, prepared.learner.given(stage)
    if isinstance(given, Cut):
        # The maps' values don't matter for the speed.
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
