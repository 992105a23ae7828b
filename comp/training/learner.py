"""The learner: one loop that trains a stage, on images or on cached features, and reports every epoch."""

import atexit
import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from accelerate import DistributedDataParallelKwargs
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from comp.declare.custom import short_name
from comp.declare.reading import Size
from comp.declare.recipe import Recipe, Stage
from comp.errors import DeclarationError, DivergedError, first_line
from comp.training.backbone import Classifier, digest, freeze, training_mode
from comp.training.epochs import Batch, Epoch, Epochs, Step, Validation
from comp.training.features import FeatureEpochs
from comp.training.halves import Cut, cut_of
from comp.training.heads import build_head
from comp.training.inference import WORTH, compiled
from comp.training.losses import Mixing, Objective
from comp.training.memory import MicroBatches, Undo
from comp.training.optimizers import average_of, build_optimizer, needs_closure
from comp.training.processes import SharedBatch, choose_device, gathered, seed_worker, shares
from comp.training.schedules import scheduler
from comp.training.solving import FOLDS, MOST_ROWS, Solved, solve
from comp.training.state import StageState

# The objects of torch and timm live as long as the process: to collect garbage among them, as each stage does when it
# begins, takes a third of a second. They are unfrozen at exit, or C++ extensions report leaks.
gc.freeze()
atexit.register(gc.unfreeze)

# Inputs, and columns if any, to logits.
Network = Callable[..., Tensor]

# The inputs of a stage: images, cached features, or the early half's cached maps up to a cut.
Given = Literal["images", "features"] | Cut

# Steps between two checks of the loss within an epoch: each check waits for the GPU.
CHECKED = 100


class Learner:
    """A classifier on a device, with its recipe's settings for training.

    model: the network that trains. evaluated: the network that validates and predicts: the model, or its moving average
        while it trains.
    objective: the loss to minimise; None where the learner only predicts.
    micro_batches: the number of samples in one pass through the network.
    under_way: the state of the current stage; None between two stages.
    shares: each process's number of samples per batch, where several processes share batches; empty on cached features
        or maps: there all processes take the same steps.
    solved: the latest result of L-BFGS.
    """

    under_way: StageState | None = None
    shares: Sequence[int] = ()
    solved: Solved | None = None

    def __init__(
        self, model: Classifier, recipe: Recipe, layer_lr_ratio: float, objective: Objective | None = None
    ) -> None:
        self.accelerator = accelerator = choose_device()
        self.model = self.evaluated = model.to(accelerator.device)
        # Torch has no channels-last layout for five-dimensional weights, as lambda layers have.
        if all(parameter.ndim != 5 for parameter in model.parameters()):
            model.to(memory_format=torch.channels_last)
        self.recipe, self.layer_lr_ratio, self.objective = recipe, layer_lr_ratio, objective
        if objective is not None and objective.class_weights is not None:
            objective.class_weights = objective.class_weights.to(accelerator.device)
        mixes = recipe.mixup or recipe.cutmix or recipe.mixing
        self.mixing = Mixing(recipe.mixup, recipe.cutmix, model.outputs, recipe.mixing or None) if mixes else None
        self.micro_batches = MicroBatches()
        self._closes = objective is not None and needs_closure(recipe)
        if self._closes and accelerator.scaler is not None:
            raise DeclarationError(
                f"Recipe: `optimizer` {short_name(recipe.optimizer)} steps with a closure, which half precision "
                "doesn't support; take one that steps without, or a GPU with bfloat16."
            )
        self._undo: Undo | None = None
        self._compiled: tuple[object, Network] | None = None
        self._cuts: dict[Size, Cut | None] = {}

    @property
    def device(self) -> str:
        """The device in words, with the number of processes where there are several."""
        if self.accelerator.num_processes == 1:
            return str(self.accelerator.device)
        return f"{self.accelerator.num_processes} x {self.accelerator.device.type}"

    def fit(
        self,
        stage: Stage,
        learning_rate: float,
        training: Epochs,
        validation: Validation | None,
        seed: int,
        saved: dict[str, Any] | None = None,
    ) -> Iterator[Step | Epoch]:
        """Train a stage; yield every step, and every epoch with its validation.

        learning_rate: the head's peak.
        training: the inputs that the stage is `given`: images (B, size, size, 3), cached features or cached maps.
        saved: the state of `under_way` at one of these events, to resume from; the model must be as it was then.
        Raises DivergedError after an epoch whose loss is NaN or infinite.
        """
        torch.manual_seed(seed)
        if stage.schedule == "lbfgs":
            yield from self._solve(training, validation)
            return
        network, optimizer = self.ready(stage, learning_rate, training.batch_size)
        accumulated = self.recipe.accumulation
        steps_per_epoch = math.ceil(len(training) / accumulated)
        schedule = scheduler(optimizer, stage, steps_per_epoch)
        average = average_of(self.model, self.recipe.ema) if self.recipe.ema else None
        self.evaluated = self.model if average is None else average.module
        state = self.under_way = StageState(optimizer, schedule, average, self.accelerator)
        if saved is not None:
            state.load_state_dict(saved)
        cycle_ends = np.cumsum(stage.cycle_epochs)
        while state.epoch < stage.epochs:
            began = time.perf_counter() - state.seconds
            training_mode(self.model, freeze_batch_norm=self.recipe.freeze_batch_norm)
            batches = training.epoch(state.epoch, len(state.losses) * accumulated)
            while together := list(islice(batches, accumulated)):
                if state.losses and len(state.losses) % CHECKED == 0 and not state.losses[-1].isfinite():
                    break
                if self.shares:
                    seed_worker(seed, state.taken)
                state.rates.append({f"lr_{group['name']}": float(group["lr"]) for group in optimizer.param_groups})
                state.losses.append(self.step(network, together, optimizer))
                schedule.step()
                state.taken += 1
                if average is not None:
                    average.update(self.model, step=state.taken)
                images = len(together) * training.batch_size
                state.images += images
                state.seconds = time.perf_counter() - began
                yield Step(images)
            losses = torch.stack(state.losses).tolist()
            logits, valid_loss = self._validate(validation) if np.isfinite(losses).all() else (None, None)
            epoch = Epoch(
                number=state.epoch,
                cycle=int(np.searchsorted(cycle_ends, state.epoch, side="right")),
                ends_cycle=state.epoch + 1 in cycle_ends,
                train_loss=float(np.mean(losses)),
                valid_loss=valid_loss,
                seconds=state.seconds,
                images_per_second=state.images / state.seconds,
                steps=[{"loss": loss, **rates} for loss, rates in zip(losses, state.rates, strict=True)],
                logits=logits,
            )
            state.end_epoch()
            yield epoch
            if epoch.diverged:
                raise DivergedError(epoch.number + 1, learning_rate)
        if average is not None:
            self.model.load_state_dict(average.module.state_dict())
        self.evaluated, self.under_way = self.model, None

    def _solve(self, training: Epochs, validation: Validation | None) -> Iterator[Epoch]:
        """Solve the head on cached features, as one epoch of one step."""
        assert isinstance(training, FeatureEpochs)
        assert self.objective is not None
        began = time.perf_counter()
        self.model.eval()
        inputs, targets, folds = training.whole()
        self.solved = solve(self.model.head, inputs, targets, folds, self.objective)
        loss, seconds = self.solved.loss, time.perf_counter() - began
        logits, valid_loss = self._validate(validation) if math.isfinite(loss) else (None, None)
        steps = [{"loss": loss, "lr_head": 1.0}]
        epoch = Epoch(0, 0, True, loss, valid_loss, seconds, len(inputs) / seconds, steps, logits)
        yield epoch
        if epoch.diverged:
            raise DivergedError(1, 1.0)

    def baseline(
        self, training: Epochs, validation: Validation | None
    ) -> tuple[npt.NDArray[np.float32] | None, float | None]:
        """The validation samples' logits (N, C) and loss, by a linear head solved on a stage's features.

        With cross-entropy this is logistic regression. Both are None where the stage has no pooled features, no sample
        validates, or the loss is custom, as it may need batches or another head. The model stays as it is.
        """
        assert self.objective is not None
        pooled = training if isinstance(training, FeatureEpochs) and training.features.ndim == 3 else None
        if pooled is None or validation is None or callable(self.objective.loss):
            return None, None
        inputs, targets, _ = pooled.whole(MOST_ROWS)
        folds = np.random.default_rng(0).permutation(len(inputs)) % FOLDS
        own = self.model.head
        # Torch draws the initial weights of a layer.
        with torch.random.fork_rng(devices=[]):
            head = build_head(inputs.shape[-1], np.zeros(self.model.outputs), dropout=0.0)
        self.model.head = head.to(self.accelerator.device)
        try:
            solve(self.model.head, inputs, targets, folds, self.objective)
            return self._validate(validation)
        finally:
            self.model.head = own

    def undo_stage(self) -> None:
        """Reset the state after a stage that diverged or is undone; the caller restores the weights."""
        self.under_way, self.evaluated = None, self.model
        if (scaler := self.accelerator.scaler) is not None:
            # The gradient scale of half precision was halved at every step with non-finite gradients.
            scaler.load_state_dict(GradScaler("cpu").state_dict())

    def given(self, stage: Stage) -> Given:
        """A stage's inputs: images, cached features, or the cut where the late half trains on cached maps.

        Where the backbone can't be cut, the late half trains on images. The model must be set to the stage's size.
        """
        if not stage.cached or stage.on_features:
            return "features" if stage.cached else "images"
        if stage.pixels not in self._cuts:
            self._cuts[stage.pixels] = cut_of(self.model, stage.pixels)
        return self._cuts[stage.pixels] or "images"

    def ready(self, stage: Stage, learning_rate: float, batch_size: int) -> tuple[Network, Optimizer]:
        """Freeze what the stage doesn't train; return the network for its inputs, and an optimizer at peak rates.

        batch_size: samples per batch, of all processes together.
        """
        self._undo = None  # it holds the previous stage's optimizer
        self.accelerator.free_memory()
        freeze(self.model, stage.groups)
        given = self.given(stage)
        training_mode(self.model, freeze_batch_norm=self.recipe.freeze_batch_norm)
        self.shares, self.micro_batches.processes = (), 1
        network: Network = self.model.on_features if given == "features" else self.model
        if isinstance(given, Cut):
            network = given.late_half(self.model)
        elif self.accelerator.num_processes > 1 and given == "images":
            self.shares, self.micro_batches.training = shares(batch_size), None
            self.micro_batches.processes = self.accelerator.num_processes
            # A head on maps skips the backbone's pooling, and a custom head may skip more.
            self.accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=not self.model.pooled)
            network = self.accelerator.prepare_model(SharedBatch(self.model, self.shares))
        # The parameters are on the device already, and placement would give an inner optimizer groups of its own.
        optimizer: Optimizer = self.accelerator.prepare(
            build_optimizer(self.model, self.recipe, learning_rate, self.layer_lr_ratio, stage.groups),
            device_placement=[False],
        )
        self._undo = Undo(self.model, optimizer)
        return network, optimizer

    def step(self, network: Network, batches: Sequence[Batch], optimizer: Optimizer) -> Tensor:
        """Take one optimizer step by the gradients of some mini-batches; return their mean loss, detached."""
        loss = self._gradients(network, batches)
        again = partial(self._gradients, network, batches, self._undo) if self._closes else None
        optimizer.step(again)  # type: ignore[arg-type]
        optimizer.zero_grad()
        return loss

    @torch.enable_grad()
    def _gradients(self, network: Network, batches: Sequence[Batch], before: Undo | None = None) -> Tensor:
        """Compute the clipped gradients of some mini-batches; return their mean loss, detached.

        before: undone first where a closure asks for gradients again, with the same mixing and dropout, at new weights.
        """
        if before is not None:
            before.undo()
        most = max(len(batch[-1]) for batch in batches)
        work = partial(self._forward_and_backward, network, batches)
        loss = self.micro_batches.within_memory("training", most, work, self._undo)
        if self.recipe.clip_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        return loss

    def _forward_and_backward(self, network: Network, batches: Sequence[Batch]) -> Tensor:
        """Add up the gradients of some mini-batches' mean loss; return that loss, detached."""
        objective, losses, share = self.objective, [], 1 / len(batches)
        assert objective is not None
        for batch in batches:
            inputs, *columns, targets = (part.to(self.accelerator.device, non_blocking=True) for part in batch)
            if self.mixing is not None:
                inputs, targets, *columns = self.mixing(inputs, targets, *columns)
            slices = self.micro_batches.slices(len(targets), "training")
            for part in slices:
                with self.accelerator.autocast():
                    logits = network(inputs[part], *(values[part] for values in columns))
                labels = gathered(targets, self.shares) if self.shares else targets[part]
                loss = share * objective(logits.float(), labels)
                if len(slices) > 1:
                    loss = loss * (objective.count(labels) / objective.count(targets))
                self.accelerator.backward(loss)
                losses.append(loss.detach())
        return torch.stack(losses).sum()

    @torch.inference_mode()
    def features(self, images: Iterable[Tensor], cut: Cut | None = None, count: int = 0) -> Iterator[Tensor]:
        """The features (B, V, ...), on the device, of batches of images in their views: bytes (B, V, size, size, 3).

        With a ``cut``: the early half's maps (B, V, H, W, F). count: of the images' views; many are worth compiling.
        """
        through: Network | None = None
        for batch in images:
            through = through or self._predicting(batch.flatten(0, 1)[:1], cut, count)
            yield self._forward(through, batch)

    @torch.inference_mode()
    def features_of_maps(self, maps: Iterable[Tensor], cut: Cut) -> Iterator[Tensor]:
        """The late half's features (B, V, ...), on the device, of batches of maps (B, V, H, W, F)."""
        late = cut.late_half(self.evaluated.eval())
        for batch in maps:
            yield self._forward(late.features, batch)

    def _forward(self, through: Network, batch: Tensor) -> Tensor:
        """Pass inputs (B, V, ...) through a network to (B, V, ...), in micro-batches that fit into memory."""
        inputs, device = batch.flatten(0, 1), self.accelerator.device

        def work() -> Tensor:
            slices = self.micro_batches.slices(len(inputs), "forward")
            with self.accelerator.autocast():
                return torch.cat([through(inputs[part].to(device, non_blocking=True)).float() for part in slices])

        given = self.micro_batches.within_memory("forward", len(inputs), work)
        return given.reshape(*batch.shape[:2], *given.shape[1:])

    def _predicting(self, image: Tensor, cut: Cut | None, count: int) -> Network:
        """The network to predict with, `evaluated`: compiled for many images on a CPU."""
        network = self.evaluated.eval()
        through: Network = network.features if cut is None else partial(cut.maps, network)
        if self.accelerator.device.type != "cpu" or count * image[..., 0].numel() < WORTH:
            return through
        key = digest(network.backbone), cut, image.shape
        if self._compiled is None or self._compiled[0] != key:
            try:
                through = compiled(network, cut, image)
            except Exception as error:  # OpenVINO lacks an operation, or isn't here: torch only takes longer
                self.micro_batches.say(f"OpenVINO can't compile the backbone ({first_line(error)}), so torch predicts")
            self._compiled = key, through
        return self._compiled[1]

    @torch.inference_mode()
    def logits(self, features: Iterable[Tensor], columns: Tensor | None = None) -> npt.NDArray[np.float32]:
        """The head's logits (N, V, C) for batches of features (B, V, ...) and the columns (N, K) of all rows."""
        network, device, batches, start = self.evaluated.eval(), self.accelerator.device, [], 0
        for batch in features:
            own = None if columns is None else columns[start : start + len(batch)].to(device)
            of_views = None if own is None else own.repeat_interleave(batch.shape[1], dim=0)
            logits = network.on_features(batch.flatten(0, 1).to(device), of_views)
            batches.append(logits.reshape(*batch.shape[:2], -1).cpu())
            start += len(batch)
        if not batches:
            return np.empty((0, 1, self.model.outputs), np.float32)
        return torch.cat(batches).numpy()

    def _validate(self, validation: Validation | None) -> tuple[npt.NDArray[np.float32] | None, float | None]:
        """The logits (N, C) of the validation samples, and their loss; no logits where the loss is NaN or infinite."""
        if validation is None:
            return None, None
        logits = self.logits(validation.features(), validation.columns)[:, 0]
        assert self.objective is not None
        loss = float(self.objective.plain()(torch.from_numpy(logits), validation.targets))
        # It isn't finite where the last step spoiled the weights, or a sum in the network overflows.
        return logits if math.isfinite(loss) else None, loss
