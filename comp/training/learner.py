"""The learner: one loop that trains a stage, on images or on cached features, and reports every epoch."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from comp.errors import RunError
from comp.metrics import Target
from comp.recipe import Recipe, Stage
from comp.training.averaging import Average
from comp.training.backbone import Classifier, freeze, training_mode
from comp.training.features import Features
from comp.training.losses import classification_loss
from comp.training.memory import keep_freed_memory
from comp.training.mixing import Mixing
from comp.training.optimizers import build_optimizer
from comp.training.schedule import scheduler

Batch = tuple[Tensor, Tensor]


class Epochs(Protocol):
    """The training rows of a stage, epoch by epoch: ``len`` is the mini-batches of one."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[Batch]:
        """Batches of inputs (B, ...) and targets (B,) or (B, C)."""


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


def choose_device() -> Accelerator:
    """A GPU if there is one, in bfloat16, or half precision where it lacks that; the processor in single precision."""
    if not torch.cuda.is_available():
        keep_freed_memory()
        accelerator = Accelerator(mixed_precision="no")
    else:
        # Emulated, as on a T4, bfloat16 is slower than single precision.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        accelerator = Accelerator(mixed_precision="bf16" if native else "fp16")
    if accelerator.num_processes > 1:
        raise RunError(
            f"comp trains in one process, but was started in {accelerator.num_processes}; start it without a launcher."
        )
    return accelerator


class Learner:
    """A classifier on a device, with what its recipe says about training it.

    model: trains. evaluated: validates and predicts; the same, or the moving average of its weights while it trains.
    class_weights: of the loss, (C,), where the recipe balances by them.
    """

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

    def fit(
        self, stage: Stage, learning_rate: float, training: Epochs, validation: Validation | None, seed: int
    ) -> Iterator[Step | Epoch]:
        """Train a stage; yields every step, and every epoch with its validation.

        learning_rate: the peak of the head's.
        training: gives pooled features (B, F) for a cached stage, images (B, size, size, 3) otherwise.
        Raises RunError after an epoch whose loss is no longer a number.
        """
        torch.manual_seed(seed)
        optimizer = self.ready(stage, learning_rate)
        steps_per_epoch = math.ceil(len(training) / self.recipe.accumulation)
        schedule = scheduler(optimizer, stage, steps_per_epoch)
        average = Average(self.model, self.recipe.ema) if self.recipe.ema else None
        if average is not None:
            self.evaluated = average.module
        taken, total = 0, stage.epochs * steps_per_epoch
        ends = np.cumsum(stage.cycle_epochs)
        for number in range(stage.epochs):
            training_mode(self.model, freeze_batch_norm=self.recipe.freeze_batch_norm)
            losses, rates, images, began = [], [], 0, time.perf_counter()
            for batches in gathered(training.epoch(number), self.recipe.accumulation):
                rates.append({f"lr_{group['name']}": float(group["lr"]) for group in optimizer.param_groups})
                losses.append(self.step(stage, batches, optimizer))
                schedule.step()
                taken, step_images = taken + 1, sum(len(targets) for _, targets in batches)
                images += step_images
                if average is not None:
                    average.update(taken)
                yield Step(taken, total, step_images)
            loss_values = torch.stack(losses).tolist()
            seconds = time.perf_counter() - began
            broken = not np.isfinite(loss_values).all()
            logits, valid_loss = (None, None) if broken else self._validate(validation)
            if valid_loss is not None and not np.isfinite(valid_loss):
                # The last step broke the weights, or the sum of their products overflows.
                broken, logits = True, None
            yield Epoch(
                number=number,
                cycle=int(np.searchsorted(ends, number, side="right")),
                ends_cycle=number + 1 in ends,
                train_loss=float(np.mean(loss_values)),
                valid_loss=valid_loss,
                seconds=seconds,
                images_per_second=images / seconds,
                steps=[{"loss": loss, **groups} for loss, groups in zip(loss_values, rates, strict=True)],
                logits=logits,
            )
            if broken:
                raise RunError(
                    f"The loss is no longer a number in epoch {number + 1}; "
                    f"lower the stage's learning rate, which is {learning_rate:g}."
                )
        if average is not None:
            average.into(self.model)
            self.evaluated = self.model

    def ready(self, stage: Stage, learning_rate: float) -> Optimizer:
        """Freeze what the stage doesn't train; an optimizer of the rest, its groups at their peak rates."""
        self.accelerator.free_memory()
        freeze(self.model, stage.groups)
        training_mode(self.model, freeze_batch_norm=self.recipe.freeze_batch_norm)
        optimizer: Optimizer = self.accelerator.prepare(
            build_optimizer(self.model, self.recipe, learning_rate, self.layer_lr_ratio, stage.groups)
        )
        return optimizer

    def step(self, stage: Stage, batches: Sequence[Batch], optimizer: Optimizer) -> Tensor:
        """One optimizer step by the gathered gradients of some mini-batches; their mean loss, detached."""
        losses = [self.backward(stage, batch, 1 / len(batches)) for batch in batches]
        if self.recipe.clip_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return torch.stack(losses).sum()

    def backward(self, stage: Stage, batch: Batch, share: float) -> Tensor:
        """Add the gradients of a mini-batch's loss, times ``share``; returns that loss, detached."""
        inputs, targets = (part.to(self.accelerator.device, non_blocking=True) for part in batch)
        if self.mixing is not None:
            inputs, targets = self.mixing(inputs, targets)
        module: nn.Module = self.model.head if stage.cached else self.model
        with self.accelerator.autocast():
            logits = module(inputs)
        loss = share * classification_loss(
            logits.float(),
            targets,
            self.target,
            label_smoothing=self.recipe.label_smoothing,
            class_weights=self.class_weights,
        )
        self.accelerator.backward(loss)
        return loss.detach()

    @torch.inference_mode()
    def features(self, images: Iterable[Tensor]) -> Iterator[Features]:
        """Pooled features (B, V, F) of batches of images in their views, (B, V, size, size, 3) bytes."""
        self.evaluated.eval()
        for batch in images:
            rows, views = batch.shape[:2]
            with self.accelerator.autocast():
                features = self.evaluated.features(batch.flatten(0, 1).to(self.accelerator.device, non_blocking=True))
            yield features.float().reshape(rows, views, -1).cpu().numpy()

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
