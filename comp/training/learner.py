"""The learner: one loop that trains a stage, on images or on cached features, and reports every epoch."""

import atexit
import gc
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from comp.declare.metrics import Target
from comp.declare.recipe import Recipe, Stage
from comp.errors import DivergedError
from comp.training.backbone import Classifier, Pair, foldable, folded, freeze, training_mode
from comp.training.features import Features
from comp.training.losses import Mixing, classification_loss, rows_count
from comp.training.memory import keep_freed_memory
from comp.training.optimizers import Average, build_optimizer
from comp.training.passes import Passes, Undo, out_of_memory
from comp.training.processes import NoRoomError, Processes, processes
from comp.training.schedules import scheduler
from comp.training.state import StageState

# What torch and timm consist of stays for as long as the process: looking through it for garbage, as every stage does
# before it begins, took a third of a second each time. At the end it goes, or what is written in C++ speaks of leaks.
gc.freeze()
atexit.register(gc.unfreeze)

Batch = tuple[Tensor, Tensor]

# Steps between two looks at the loss within an epoch: each look waits for the GPU.
CHECKED = 100


class Epochs(Protocol):
    """The training rows of a stage, epoch by epoch: ``len`` is the mini-batches of one.

    batch_size: rows of each mini-batch; where several processes share it, each is given its own part of them.
    """

    @property
    def batch_size(self) -> int: ...

    def __len__(self) -> int: ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of inputs (B, ...) and targets (B,) or (B, C), from the one with index ``start`` on.

        Nothing is drawn for them but from the epoch's number: an epoch that is taken up in its middle goes on as it
        would have.
        """


@dataclass(frozen=True)
class Validation:
    """The validation rows in order: their pooled features (B, 1, F) anew at every call, and their targets."""

    features: Callable[[], Iterable[Features]]
    targets: Tensor


@dataclass(frozen=True)
class Step:
    """One optimizer step has been taken."""

    number: int
    steps: int
    images: int


@dataclass(frozen=True)
class Epoch:
    """What an epoch was: its losses, its time without validation, and the history of its steps.

    steps: one dict per optimizer step, with the loss and the learning rate of each layer group.
    logits: of the validation rows in order, (N, C); None without a validation set.
    """

    number: int
    cycle: int
    ends_cycle: bool
    train_loss: float
    valid_loss: float | None
    seconds: float
    images_per_second: float
    steps: list[dict[str, float]]
    logits: npt.NDArray[np.float32] | None

    @property
    def broken(self) -> bool:
        """Whether one of its losses is no number."""
        losses = [step["loss"] for step in self.steps] + [self.valid_loss or 0.0]
        return not np.isfinite(losses).all()


def choose_device() -> Accelerator:
    """A GPU if there is one, in bfloat16, or half precision where it lacks that; the processor in single precision."""
    if not torch.cuda.is_available():
        keep_freed_memory()
        # One of several processes, as launchers count them, talks to the others only where it is told to be on one.
        return Accelerator(mixed_precision="no", cpu="LOCAL_RANK" in os.environ)
    # Emulated, as on a T4, bfloat16 is slower than single precision.
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return Accelerator(mixed_precision="bf16" if native else "fp16")


class Learner:
    """A classifier on a device, with what its recipe says about training it.

    model: trains. evaluated: validates and predicts; the same, or the moving average of its weights while it trains.
    class_weights: of the loss, (C,), where the recipe balances by them.
    passes: how many rows go through the model at once.
    predicting: the network of a pass without gradients that is under way, of whose layers these pairs are one; None
        before the first.
    under_way: where the stage that trains stands; None between two stages.
    processes: those that train together; None where this one is alone. together: those that share the stage's batches:
        a head on cached features trains faster than its gradients could be exchanged. share: the most rows that one of
        them has of a batch.
    """

    passes: Passes
    under_way: StageState | None
    together: Processes | None

    def __init__(
        self,
        model: Classifier,
        recipe: Recipe,
        target: Target,
        layer_lr_ratio: float,
        accelerator: Accelerator,
        class_weights: Tensor | None = None,
    ) -> None:
        self.model = self.evaluated = model.to(accelerator.device).to(memory_format=torch.channels_last)
        self.recipe, self.target, self.layer_lr_ratio = recipe, target, layer_lr_ratio
        self.accelerator = accelerator
        self.class_weights = None if class_weights is None else class_weights.to(accelerator.device)
        mixes = recipe.mixup or recipe.cutmix
        self.mixing = Mixing(recipe.mixup, recipe.cutmix, model.classes, target) if mixes else None
        self.passes, self.under_way, self.undo = Passes(), None, Undo(model)
        self.predicting: Classifier | None = None
        self.pairs: list[Pair] | None = None
        self.processes, self.together, self.share = processes(accelerator), None, 0
        if self.processes is not None:
            self.processes.ask("build", recipe, target, layer_lr_ratio, model.classes, class_weights)

    @property
    def device(self) -> str:
        """What it trains on, in words."""
        if self.processes is None:
            return str(self.accelerator.device)
        return f"{self.processes.count} x {self.accelerator.device.type}"

    def fit(
        self,
        stage: Stage,
        learning_rate: float,
        training: Epochs,
        validation: Validation | None,
        seed: int,
        saved: dict[str, Any] | None = None,
    ) -> Iterator[Step | Epoch]:
        """Train a stage; yields every step, and every epoch with its validation.

        learning_rate: the peak of the head's.
        training: gives pooled features (B, F) for a cached stage, images (B, size, size, 3) otherwise.
        saved: the state of `under_way` at one of these events, to go on from; the model must be as it was then.
        Raises DivergedError after an epoch whose loss is no longer a number.
        """
        gathers = self.recipe.accumulation
        state = self.under_way = self.begin(stage, learning_rate, training, seed)
        if saved is not None:
            state.load_state_dict(saved)
            if self.together is not None:
                self.together.ask("go_on", saved["optimizer"], saved["scaler"], saved["taken"])
        total, ends = stage.epochs * math.ceil(len(training) / gathers), np.cumsum(stage.cycle_epochs)
        while state.epoch < stage.epochs:
            number, began = state.epoch, time.perf_counter() - state.seconds
            training_mode(self.model, freeze_batch_norm=self.recipe.freeze_batch_norm)
            for batches in gathered(training.epoch(number, len(state.losses) * gathers), gathers):
                if state.losses and len(state.losses) % CHECKED == 0 and not state.losses[-1].isfinite():
                    break
                state.rates.append(
                    {f"lr_{group['name']}": float(group["lr"]) for group in state.optimizer.param_groups}
                )
                state.losses.append(self.step(stage, batches, state.optimizer))
                state.schedule.step()
                state.taken += 1
                images = len(batches) * training.batch_size
                state.images += images
                if state.average is not None:
                    state.average.update(state.taken)
                state.seconds = time.perf_counter() - began
                yield Step(state.taken, total, images)
            loss_values = torch.stack(state.losses).tolist()
            logits, valid_loss = self._validate(validation) if np.isfinite(loss_values).all() else (None, None)
            if valid_loss is not None and not np.isfinite(valid_loss):
                # The last step broke the weights, or the sum of their products overflows.
                logits = None
            epoch = Epoch(
                number=number,
                cycle=int(np.searchsorted(ends, number, side="right")),
                ends_cycle=number + 1 in ends,
                train_loss=float(np.mean(loss_values)),
                valid_loss=valid_loss,
                seconds=state.seconds,
                images_per_second=state.images / state.seconds,
                steps=[{"loss": loss, **groups} for loss, groups in zip(loss_values, state.rates, strict=True)],
                logits=logits,
            )
            state.end_epoch()
            yield epoch
            if epoch.broken:
                raise DivergedError(number + 1, learning_rate)
        if state.average is not None:
            state.average.into(self.model)
            self.evaluated = self.model
        self.under_way = None

    def begin(self, stage: Stage, learning_rate: float, training: Epochs, seed: int) -> StageState:
        """Freeze what the stage doesn't train; where it stands before its first step."""
        torch.manual_seed(seed)
        optimizer = self.ready(stage, learning_rate, training.batch_size)
        schedule = scheduler(optimizer, stage, math.ceil(len(training) / self.recipe.accumulation))
        average = Average(self.model, self.recipe.ema) if self.recipe.ema else None
        if average is not None:
            self.evaluated = average.module
        return StageState(optimizer, schedule, average, self.accelerator)

    def ready(self, stage: Stage, learning_rate: float, batch_size: int) -> Optimizer:
        """Freeze what the stage doesn't train; an optimizer of the rest, its groups at their peak rates."""
        self.accelerator.free_memory()
        self.together = None if stage.cached else self.processes
        if self.together is not None:
            self.share = math.ceil(batch_size / self.together.count)
            scaler = None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict()
            self.together.ask("ready", stage, batch_size, self.passes.training, torch.initial_seed(), scaler)
            self.together.same_weights(self.model)
        freeze(self.model, stage.groups)
        training_mode(self.model, freeze_batch_norm=self.recipe.freeze_batch_norm)
        self.undo = Undo(self.model)
        optimizer: Optimizer = self.accelerator.prepare(
            build_optimizer(self.model, self.recipe, learning_rate, self.layer_lr_ratio, stage.groups)
        )
        return optimizer

    def step(self, stage: Stage, batches: Sequence[Batch], optimizer: Optimizer) -> Tensor:
        """One optimizer step by the gathered gradients of some mini-batches; their mean loss, detached.

        Where memory runs out the step is begun again, with as many rows in smaller parts.
        """
        if self.together is not None:
            self.together.ask("step", [float(group["lr"]) for group in optimizer.param_groups])
        self.undo.remember()
        while (losses := self._gradients(stage, batches)) is None:
            optimizer.zero_grad()
            self.undo.undo()
        if self.together is not None:
            self.together.average(self.model.parameters())
        if self.recipe.clip_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return torch.stack(losses).sum()

    def _gradients(self, stage: Stage, batches: Sequence[Batch]) -> list[Tensor] | None:
        """Add the gradients of some mini-batches; what each adds to their mean loss, or None where memory ran out."""
        most = self.share if self.together else max(len(targets) for _, targets in batches)
        rows = max(part.stop - part.start for part in self.passes.parts(most))
        try:
            losses = [self.backward(stage, batch, 1 / len(batches)) for batch in batches]
            if self.together is not None:
                self.together.sizes(0)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            alone = not isinstance(error, NoRoomError)
        else:
            return losses
        if self.together is not None and alone:
            with suppress(NoRoomError):
                self.together.sizes(None)
        # Not where the error is at hand: it holds on to the tensors of the pass that had no room.
        self.passes.halve("training", rows)
        return None

    def backward(self, stage: Stage, batch: Batch, share: float) -> Tensor:
        """Add the gradients of a mini-batch's loss, times ``share``; returns that loss, detached."""
        inputs, targets = (part.to(self.accelerator.device, non_blocking=True) for part in batch)
        if self.mixing is not None:
            inputs, targets = self.mixing(inputs, targets)
        parts = self.passes.parts(len(targets), self.share if self.together else None)
        every = targets if self.together is None or len(parts) == 1 else self._gathered(targets)
        losses = []
        for part in parts:
            with self.accelerator.autocast():
                logits, labels = self._forward(stage, inputs[part], targets[part])
            loss = share * classification_loss(
                logits.float(),
                labels,
                self.target,
                label_smoothing=self.recipe.label_smoothing,
                class_weights=self.class_weights,
            )
            if len(parts) > 1:
                of_part, of_all = (rows_count(rows, self.target, self.class_weights) for rows in (labels, every))
                loss = loss * (of_part / of_all)
            self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0]

    def _forward(self, stage: Stage, inputs: Tensor, targets: Tensor) -> Batch:
        """The logits of inputs, and their targets; of those of all processes where they share the batch.

        Each process sends its own images through the backbone and all features through the head, whose batch norm sees
        the batch so, and whose loss is the whole batch's.
        """
        if self.together is None:
            module: nn.Module = self.model.head if stage.cached else self.model
            return module(inputs), targets
        features = self.model.features(inputs)
        sizes = self.together.sizes(len(features))
        return self.model.head(self.together.gathered(features, sizes)), self.together.gather(targets, sizes)

    def _gathered(self, targets: Tensor) -> Tensor:
        assert self.together is not None
        return self.together.gather(targets, self.together.sizes(len(targets)))

    @torch.inference_mode()
    def features(self, images: Iterable[Tensor]) -> Iterator[Features]:
        """Pooled features (B, V, F) of batches of images in their views, (B, V, size, size, 3) bytes."""
        self.predicting = None
        for batch in images:
            rows, views = batch.shape[:2]
            while (features := self._pooled(batch.flatten(0, 1))) is None:
                pass
            yield features.reshape(rows, views, -1).numpy()
        self.predicting = None

    def _folded(self, image: Tensor) -> Classifier:
        """What `evaluated` predicts with: itself, or in single precision a copy with its batch norms folded."""
        network = self.evaluated.eval()
        if self.accelerator.mixed_precision != "no":
            return network
        if self.pairs is None:
            self.pairs = foldable(network, image.to(self.accelerator.device))
        return folded(network, self.pairs) if self.pairs else network

    def _pooled(self, images: Tensor) -> Tensor | None:
        """Features (B, F) of bytes of RGB (B, size, size, 3), on the processor, or None where memory ran out."""
        rows = min(len(images), self.passes.forward or len(images))
        try:
            network = self.predicting = self.predicting or self._folded(images[:1])
            with self.accelerator.autocast():
                parts = [
                    network.features(images[part].to(self.accelerator.device, non_blocking=True)).float().cpu()
                    for part in self.passes.forward_parts(len(images))
                ]
            return torch.cat(parts) if len(parts) > 1 else parts[0]
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        self.passes.halve("forward", rows)
        return None

    @torch.inference_mode()
    def logits(self, features: Iterable[Features]) -> npt.NDArray[np.float32]:
        """The head's logits (N, V, C) for batches of pooled features (B, V, F)."""
        self.evaluated.eval()
        batches = [
            self.evaluated.head(torch.from_numpy(batch).flatten(0, 1).to(self.accelerator.device))
            .reshape(*batch.shape[:2], -1)
            .cpu()
            for batch in features
        ]
        if not batches:
            return np.empty((0, 1, self.model.classes), np.float32)
        return torch.cat(batches).numpy()

    def _validate(self, validation: Validation | None) -> tuple[npt.NDArray[np.float32] | None, float | None]:
        if validation is None:
            return None, None
        logits = self.logits(validation.features())[:, 0]
        return logits, float(classification_loss(torch.from_numpy(logits), validation.targets, self.target))


def gathered(batches: Iterator[Batch], count: int) -> Iterator[list[Batch]]:
    """The batches, so many at a time; the last time as many as are left."""
    while taken := list(islice(batches, count)):
        yield taken
