"""The learner: one loop that trains a stage, on images or on cached features, and reports every epoch."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import SGD, AdamW, Optimizer

from comp.errors import RunError
from comp.metrics import Target
from comp.recipe import LAYER_GROUPS, Recipe, Stage
from comp.training.backbone import Classifier, freeze, layer_groups, training_mode, unfreeze
from comp.training.features import Features
from comp.training.memory import keep_freed_memory
from comp.training.schedule import group_rates, scheduler


class Epochs(Protocol):
    """The training rows of a stage, epoch by epoch: ``len`` is the steps of one."""

    def __len__(self) -> int: ...

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
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
        accelerator = Accelerator(mixed_precision="bf16" if torch.cuda.is_bf16_supported() else "fp16")
    if accelerator.num_processes > 1:
        raise RunError(
            f"comp trains in one process, but was started in {accelerator.num_processes}; start it without a launcher."
        )
    return accelerator


class Learner:
    """A classifier on a device, with what its recipe says about training it."""

    def __init__(
        self, model: Classifier, recipe: Recipe, target: Target, layer_lr_ratio: float, accelerator: Accelerator
    ) -> None:
        self.model = model.to(accelerator.device).to(memory_format=torch.channels_last)
        self.recipe, self.target, self.layer_lr_ratio = recipe, target, layer_lr_ratio
        self.accelerator = accelerator

    def fit(self, stage: Stage, training: Epochs, validation: Validation | None, seed: int) -> Iterator[Step | Epoch]:
        """Train a stage; yields every step, and every epoch with its validation.

        training: gives pooled features (B, F) for a cached stage, images (B, size, size, 3) otherwise.
        """
        torch.manual_seed(seed)
        if stage.train == "head":
            freeze(self.model)
        else:
            unfreeze(self.model)
        module = self._module(stage)
        optimizer = self.accelerator.prepare(self._optimizer(stage))
        schedule = scheduler(optimizer, stage, len(training))
        taken, total = 0, stage.epochs * len(training)
        for number, cycle in enumerate(cycle for cycle, length in enumerate(stage.cycle_epochs) for _ in range(length)):
            training_mode(self.model)
            losses, rates, images, began = [], [], 0, time.perf_counter()
            for inputs, targets in training.epoch(number):
                with self.accelerator.autocast():
                    logits = module(inputs.to(self.accelerator.device, non_blocking=True))
                loss = self.loss(logits.float(), targets.to(self.accelerator.device), self.recipe.label_smoothing)
                self.accelerator.backward(loss)
                rates.append([group["lr"] for group in optimizer.param_groups])
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                losses.append(loss.detach())
                taken, images = taken + 1, images + len(targets)
                yield Step(taken, total, len(targets))
            loss_values = torch.stack(losses).tolist()
            seconds = time.perf_counter() - began
            if not np.isfinite(loss_values).all():
                raise RunError(
                    f"The loss is no longer a number in epoch {number + 1}; "
                    f"lower the stage's learning rate, which is {stage.learning_rate:g}."
                )
            logits, valid_loss = self._validate(validation)
            yield Epoch(
                number=number,
                cycle=cycle,
                train_loss=float(np.mean(loss_values)),
                valid_loss=valid_loss,
                seconds=seconds,
                images_per_second=images / seconds,
                steps=[
                    {
                        "loss": loss,
                        **{f"lr_{name}": rate for name, rate in zip(self._groups(stage), groups, strict=True)},
                    }
                    for loss, groups in zip(loss_values, rates, strict=True)
                ],
                logits=logits,
            )

    def loss(self, logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy for one class per image, binary cross-entropy for tags, averaged over the batch."""
        if self.target == "single":
            return cross_entropy(logits, targets, label_smoothing=label_smoothing)
        smoothed = targets.float() * (1 - label_smoothing) + 0.5 * label_smoothing
        return binary_cross_entropy_with_logits(logits, smoothed)

    @torch.inference_mode()
    def features(self, images: Iterable[Tensor]) -> Iterator[Features]:
        """Pooled features (B, V, F) of batches of images in their views, (B, V, size, size, 3) bytes."""
        self.model.eval()
        for batch in images:
            rows, views = batch.shape[:2]
            with self.accelerator.autocast():
                features = self.model.features(batch.flatten(0, 1).to(self.accelerator.device, non_blocking=True))
            yield features.float().reshape(rows, views, -1).cpu().numpy()

    @torch.inference_mode()
    def logits(self, features: Iterable[Features]) -> npt.NDArray[np.float32]:
        """The head's logits (N, V, C) for batches of pooled features (B, V, F)."""
        self.model.eval()
        batches = [
            self.model.head(torch.from_numpy(batch).flatten(0, 1).to(self.accelerator.device))
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
        return logits, float(self.loss(torch.from_numpy(logits), validation.targets))

    def _module(self, stage: Stage) -> nn.Module:
        return self.model.head if stage.cached else self.model

    def _groups(self, stage: Stage) -> tuple[str, ...]:
        return LAYER_GROUPS[-stage.groups :]

    def _optimizer(self, stage: Stage) -> Optimizer:
        groups, names = layer_groups(self.model), self._groups(stage)
        rates = group_rates(stage.learning_rate, self.layer_lr_ratio, len(names))
        parameters: list[dict[str, Any]] = [
            {"params": groups[name], "lr": rate} for name, rate in zip(names, rates, strict=True)
        ]
        if self.recipe.optimizer == "sgd":
            return SGD(parameters, momentum=0.9, weight_decay=self.recipe.weight_decay)
        return AdamW(parameters, weight_decay=self.recipe.weight_decay)
