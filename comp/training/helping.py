"""A process that helps another one's training: it does what it is asked for, and writes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console as Terminal
from torch import distributed

from comp.console import Console
from comp.data.loading import ImageEpochs
from comp.declare.competition import load_competition
from comp.errors import RunError
from comp.training.backbone import build_classifier, set_size
from comp.training.inputs import Images, workers
from comp.training.learner import Learner, choose_device
from comp.training.processes import LostError, Processes, processes
from comp.training.sharing import own_features

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt
    from torch import Tensor
    from torch.optim import Optimizer

    from comp.data.image_cache import ImageCache
    from comp.data.reading import Paths
    from comp.declare.metrics import Target
    from comp.declare.recipe import Recipe, Stage
    from comp.declare.viewpoint import View, Viewpoint
    from comp.training.backbone import Expectations
    from comp.training.features import Features
    from comp.training.learner import Batch

    Rows = npt.NDArray[np.int64]


def help_until_the_end() -> None:
    """Do what the process that leads asks for, until it ends. Raises LostError where it ends without saying so."""
    joined = processes(choose_device())
    assert joined is not None
    helper = Helper(joined)
    while True:
        what, arguments = joined.asked()
        if what is None:
            distributed.destroy_process_group()
            return
        getattr(helper, what)(*arguments)


class Helper:
    """The methods are what can be asked for, in the order of a stage's life.

    Weights come from the process that leads, as do the learning rates; gradients are exchanged with all.
    """

    learner: Learner
    images: Images
    stage: Stage
    epochs: ImageEpochs
    optimizer: Optimizer

    def __init__(self, joined: Processes) -> None:
        self.processes = joined
        self.seed, self.steps = 0, 0
        self.under_way: Iterator[Batch] = iter(())
        self.batches: list[Batch] = []
        self.looked: Iterator[Features] = iter(())

    def build(
        self, recipe: Recipe, target: Target, layer_lr_ratio: float, classes: int, class_weights: Tensor | None
    ) -> None:
        """A model of the same form; its weights come later."""
        model = build_classifier(
            recipe.backbone,
            pretrained=False,
            dropout=recipe.dropout,
            drop_path=recipe.drop_path,
            prior=np.zeros(classes),
        )
        self.learner = Learner(model, recipe, target, layer_lr_ratio, choose_device(), class_weights)

    def load(self, declaration: str | None) -> None:
        """Load what declares a pipeline of its own."""
        if declaration is not None:
            load_competition(Path(declaration))

    def look_at(self, paths: Paths, expected: Expectations, viewpoint: Viewpoint, seed: int) -> None:
        """Be told of the images that what follows is about."""
        silent = Console(Terminal(quiet=True))
        self.images = Images(paths, expected, viewpoint, seed, Path(), silent)

    def train_on(
        self,
        size: int,
        seed: int,
        erasing: float,
        kept: Mapping[int, ImageCache],
        rows: Rows,
        targets: Tensor,
        batch_size: int,
    ) -> None:
        """Be given the rows that train in the next stage."""
        dataset = self.images.dataset(size, seed, erasing, kept)
        self.epochs = ImageEpochs(
            dataset,
            rows,
            targets,
            batch_size,
            workers=workers(),
            rank=self.processes.rank,
            count=self.processes.count,
        )

    def ready(
        self, stage: Stage, batch_size: int, at_once: int | None, seed: int, scaler: dict[str, Any] | None
    ) -> None:
        """Stand before the first step of a stage, or of a sweep."""
        set_size(self.learner.model, stage.size)
        self.learner.passes.training = at_once
        self.stage, self.seed, self.steps, self.batches = stage, seed, 0, []
        # The rate is that of each step.
        self.optimizer = self.learner.ready(stage, 1.0, batch_size)
        self._scale_by(scaler)

    def go_on(self, optimizer: dict[str, Any], scaler: dict[str, Any] | None, steps: int) -> None:
        """Be where a stage was stopped."""
        self.optimizer.load_state_dict(optimizer)
        self._scale_by(scaler)
        self.steps = steps

    def _scale_by(self, scaler: dict[str, Any] | None) -> None:
        """Gradients in half precision are scaled alike in all processes, or their mean would be of none."""
        if self.learner.accelerator.scaler is not None and scaler is not None:
            self.learner.accelerator.scaler.load_state_dict(scaler)

    def epoch(self, number: int, start: int) -> None:
        self.under_way = self.epochs.epoch(number, start)

    def batch(self) -> None:
        self.batches.append(next(self.under_way))

    def step(self, rates: Sequence[float]) -> None:
        """A step on the batches taken since the last one, each layer group at its rate."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        # From what it is for, so that a training that was stopped goes on as it would have.
        drawn = np.random.SeedSequence([self.seed, self.processes.rank, self.steps]).generate_state(1)
        torch.manual_seed(int(drawn[0]))
        try:
            self.learner.step(self.stage, self.batches, self.optimizer)
        except LostError:
            raise
        except RunError as error:
            # Memory doesn't suffice for the fewest rows: all come to that together, and the first one says so.
            raise LostError from error
        self.steps, self.batches = self.steps + 1, []

    def features(self, rows: Rows, size: int, views: Sequence[View], kept: Mapping[int, ImageCache] | None) -> None:
        """Be given rows to look at with the weights that are evaluated now."""
        learner = self.learner
        if learner.evaluated is learner.model:
            learner.evaluated = copy.deepcopy(learner.model)
        set_size(learner.evaluated, size)
        self.processes.same_weights(learner.evaluated)
        self.looked = own_features(self.processes, self.images, learner, rows, size, views, kept)

    def block(self) -> None:
        """Give the features of the next images of its own, if there are any."""
        features = next(self.looked, None)
        if features is not None:
            self.processes.give(features)
