"""Measure training and prediction speed on a competition's images, compared with the model alone."""

from __future__ import annotations

import os
import platform
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from comp.console import Console
from comp.data.augmenting import tta_views
from comp.data.loading import ImageDataset, ImageEpochs, collate
from comp.declare.competition import Competition
from comp.declare.reading import Size, sides
from comp.declare.recipe import Stage
from comp.declare.viewpoint import View
from comp.runs import Workspace
from comp.runs.choices import Choices
from comp.runs.resolve import Experiment
from comp.submission.scoring import score_logits
from comp.tools.speeds import endless
from comp.training.backbone import set_size, training_mode
from comp.training.epochs import Epoch, Step
from comp.training.features import FeatureEpochs
from comp.training.images import forward_batch, workers
from comp.training.inference import WORTH
from comp.training.learner import Learner
from comp.training.memory import peak_memory
from comp.training.prepared import Prepared, prepare
from comp.training.state import save_weights

IMAGES = 512  # images read; more would only fill the machine's file cache
BATCHES = 8  # per rate and round
ROUNDS = 5
TIMED = 64  # images for timing each part of the work

MODEL_TRAINS, MODEL_PREDICTS = "model alone, forward and backward", "model alone, forward"
COMPILED_PREDICTS = "the same, compiled"  # on a CPU
FROM_FILES, FROM_KEPT = "reading and augmenting files", "reading and augmenting kept images"
TRAINING, PREDICTING = "training", "predicting"
FROZEN, CACHED = "training a head on images", "training a head on cached features"
# Rates that are compared: a rate, the words between, and the rate that it is divided by.
BESIDE = (
    (TRAINING, "of the model alone", MODEL_TRAINS),
    (PREDICTING, "of the model alone", MODEL_PREDICTS),
    (PREDICTING, "of it compiled", COMPILED_PREDICTS),
    (CACHED, "times that on images", FROZEN),
)


@dataclass(frozen=True)
class Benchmark:
    """The measurements.

    setting: what the rates depend on, by name. rounds: images, or views of them, per second in each round, by name.
    parts: milliseconds per image for each part of the work. memory: the peak, in bytes.
    """

    setting: dict[str, Any]
    rounds: dict[str, list[float]]
    parts: dict[str, float]
    memory: int

    @property
    def rates(self) -> dict[str, float]:
        """The median of all rounds, by name."""
        return {name: median(measured) for name, measured in self.rounds.items()}

    @property
    def ratios(self) -> dict[tuple[str, str], float]:
        """The ratios in `BESIDE`, by rate and words: medians of each round's ratio, as speeds vary between rounds."""
        return {
            (name, words): median(map(truediv, self.rounds[name], self.rounds[other])) for name, words, other in BESIDE
        }

    def lines(self) -> list[str]:
        """The setting, the rates compared with the model alone, the parts and the memory, as lines for the console."""
        beside = {
            name: ", ".join(f"{ratio:.3f} {words}" for (of, words), ratio in self.ratios.items() if of == name)
            for name in self.rates
        }
        return [
            *(f"{name:<28}{value}" for name, value in self.setting.items()),
            "",
            *(f"{name:<36}{rate:>10.1f} images/s  {beside[name]}".rstrip() for name, rate in self.rates.items()),
            "",
            *(f"{name:<36}{milliseconds:>10.3f} ms per image" for name, milliseconds in self.parts.items()),
            f"{'peak memory':<36}{self.memory / 1e6:>10.0f} MB",
        ]

    def as_record(self) -> dict[str, Any]:
        return {
            "setting": self.setting,
            "images per second": {name: round(rate, 2) for name, rate in self.rates.items()},
            "ratios": {", ".join(held): round(ratio, 4) for held, ratio in self.ratios.items()},
            "milliseconds per image": {name: round(milliseconds, 4) for name, milliseconds in self.parts.items()},
            "peak memory in bytes": self.memory,
        }


def benchmark(
    competition: Competition, choices: Choices, size: int | None, workspace: Workspace, console: Console
) -> Benchmark:
    """Measure all rates by turns in one process, for the recipe's last stage on images.

    The data must have been downloaded. A recipe that trains heads on cached features only is measured with all layers.
    size: of the images, in pixels, instead of the stage's.
    """
    prepared = prepare(Experiment.of(competition, choices, workspace), console)
    learner, images = prepared.learner, prepared.images
    stage = _stage(prepared, size)
    set_size(learner.model, stage.pixels)
    rows = np.random.default_rng(0).permutation(prepared.training)[:IMAGES]
    kept = images.kept(stage, rows, rows[:0])
    files, dataset = images.dataset(stage.pixels, 0), images.dataset(stage.pixels, 0, kept=kept)
    targets = torch.from_numpy(prepared.tables.targets)
    batch_size = learner.recipe.batch_size_of(stage)

    def epochs(dataset: ImageDataset) -> ImageEpochs:
        return ImageEpochs(dataset, rows, targets, batch_size, workers=workers())

    def batches(dataset: ImageDataset) -> Iterator[Any]:
        return chain.from_iterable(map(epochs(dataset).epoch, count()))

    events = learner.fit(stage, 1e-6, epochs(dataset), None, seed=0)
    resident = next(batches(dataset))
    views = tta_views(learner.recipe, competition.augment)
    shape = forward_batch(), *sides(stage.pixels), prepared.tables.depth.channels
    forward = torch.randint(0, 256, shape, dtype=torch.uint8)
    predicted = rows[: max(1, BATCHES * forward_batch() // len(views))]
    # It is compiled once, as its weights stay: training takes turns with it.
    predicting = copy(learner)
    predicting.model = predicting.evaluated = deepcopy(learner.model)

    def trains() -> int:
        _training(learner)
        return _steps(events)

    def model_trains() -> int:
        _training(learner)
        assert learner.under_way is not None
        for _ in range(BATCHES):
            learner.step(learner.model, [resident], learner.under_way.optimizer)
        return BATCHES * len(resident[0])

    @torch.inference_mode()
    def model_predicts() -> int:
        network = learner.evaluated.eval()
        with learner.accelerator.autocast():
            return sum(len(network.features(images.to(learner.accelerator.device))) for images in [forward] * BATCHES)

    def compiled_predicts() -> int:
        return sum(len(batch) for batch in predicting.features([forward[:, None]] * BATCHES, count=WORTH))

    def predict() -> int:
        logits = predicting.logits(predicting.features(images.views(predicted, stage.pixels, views), count=WORTH))
        return int(logits.shape[0] * logits.shape[1])

    def read(dataset: ImageDataset) -> Callable[[], int]:
        taken = batches(dataset)
        return lambda: sum(len(images) for images, _ in islice(taken, BATCHES))

    blocks: dict[str, Callable[[], int]] = {
        TRAINING: trains,
        MODEL_TRAINS: model_trains,
        PREDICTING: predict,
        MODEL_PREDICTS: model_predicts,
        COMPILED_PREDICTS: compiled_predicts,
        FROM_FILES: read(files),
        FROM_KEPT: read(dataset),
    }
    rounds = _by_turns(blocks, console)
    parts = _parts(prepared, dataset, rows, stage.pixels, median(rounds[MODEL_TRAINS]))
    rounds |= _by_turns(_of_a_head(learner, stage, epochs(dataset), rows, targets), console)
    learner.under_way = None
    return Benchmark(_setting(prepared, stage, bool(kept)), rounds, parts, peak_memory())


def _of_a_head(
    learner: Learner, stage: Stage, images: ImageEpochs, rows: Any, targets: torch.Tensor
) -> dict[str, Callable[[], int]]:
    """Training a head on the images, through the frozen backbone, and on features, whose values don't matter."""
    features = np.random.default_rng(0).normal(size=(len(rows), 1, learner.model.width)).astype(np.float32)
    on_images = replace(stage, train="head")
    on_features = replace(on_images, cached=True, batch_size=None)
    batch_size = learner.recipe.batch_size_of(on_features)
    cached = FeatureEpochs(features, np.arange(len(rows)), targets[rows], batch_size, seed=0)
    fits = {
        FROZEN: learner.fit(on_images, 1e-6, images, None, seed=0),
        CACHED: learner.fit(on_features, 1e-6, cached, None, seed=0),
    }
    return {name: partial(_steps, events) for name, events in fits.items()}


def _training(learner: Learner) -> None:
    """Set training mode as at an epoch's start, as predicting leaves evaluation mode on."""
    training_mode(learner.model, freeze_batch_norm=learner.recipe.freeze_batch_norm)


def _steps(events: Iterator[Step | Epoch]) -> int:
    """Take `BATCHES` steps; return the number of images in them."""
    return sum(step.images for step in islice((event for event in events if isinstance(event, Step)), BATCHES))


def _stage(prepared: Prepared, size: int | None) -> Stage:
    """The last stage that trains on images, or else the last with all layers, at ``size`` if given; endless."""
    stages = prepared.experiment.recipe.stages
    last = next((stage for stage in reversed(stages) if not stage.on_features), None)
    train = "all" if last is None else last.train
    stage = last or stages[-1]
    return replace(endless(stage), train=train, size=size or stage.size, cached=False, views=1)


def _by_turns(blocks: dict[str, Callable[[], int]], console: Console) -> dict[str, list[float]]:
    """Images per second of each block in several rounds, after one round that isn't counted."""
    rates: dict[str, list[float]] = {name: [] for name in blocks}
    with console.bar("measuring", (ROUNDS + 1) * len(blocks), "rates") as bar:
        for number in range(ROUNDS + 1):
            for name, block in blocks.items():
                _finish()
                began = time.perf_counter()
                images = block()
                _finish()
                if number:
                    rates[name].append(images / (time.perf_counter() - began))
                bar.advance(1)
    return rates


def _finish() -> None:
    """Wait for the GPU, whose work is asynchronous."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _parts(prepared: Prepared, dataset: ImageDataset, rows: Any, size: Size, model_trains: float) -> dict[str, float]:
    """Milliseconds per image of each part of an epoch's work, timed one after the other in this process."""
    learner, timed = prepared.learner, rows[:TIMED].tolist()
    side, augmented = dataset.preprocessing.covered, (View(draw=0),)
    files, requests = [Path(dataset.paths[row]) for row in timed], [(row, augmented) for row in timed]
    without = prepared.images.dataset(size, 0)
    samples = [dataset[request] for request in requests]
    stacked = collate(samples)[1]
    logits = np.zeros((len(timed), prepared.outputs.width), np.float32)
    targets = prepared.tables.targets[rows[:TIMED]]
    device = learner.accelerator.device
    read = _milliseconds(lambda: [Path(file).read_bytes() for file in files])
    decode = _milliseconds(lambda: [without.read(row, side) for row in timed]) - read
    kept = _milliseconds(lambda: [dataset.read(row, side) for row in timed])
    judged = prepared.experiment.competition, prepared.outputs, prepared.tables.classes, targets, logits
    parts = {
        "read": read,
        "decode and resize": decode,
        "augment": _milliseconds(lambda: [dataset[request] for request in requests]) - kept,
        "collate": _milliseconds(lambda: collate(samples)),
        "transfer": _milliseconds(lambda: stacked.to(device)),
        "metric": _milliseconds(lambda: score_logits(*judged)),
    }
    with tempfile.TemporaryDirectory() as place:
        save = _milliseconds(lambda: save_weights(learner.model, Path(place) / "weights.safetensors"))
    return {
        **{name: max(0.0, milliseconds) / len(timed) for name, milliseconds in parts.items()},
        "forward and backward": 1000 / model_trains,
        "save, once in an epoch": save / len(prepared.training),
    }


def _milliseconds(work: Callable[[], Any]) -> float:
    """The median of `ROUNDS` times."""
    return 1000 * median(timeit.repeat(work, number=1, repeat=ROUNDS))


def _setting(prepared: Prepared, stage: Stage, kept: bool) -> dict[str, Any]:
    accelerator = prepared.learner.accelerator
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "competition": prepared.experiment.competition.name,
        "backbone": prepared.experiment.recipe.backbone,
        "size": stage.size,
        "batch size": prepared.experiment.recipe.batch_size_of(stage),
        "trains": stage.trains,
        "device": gpu or f"{os.cpu_count()} cores of {platform.processor() or platform.machine()}",
        "precision": accelerator.mixed_precision if accelerator.mixed_precision != "no" else "fp32",
        "memory format": "channels last",
        "threads": torch.get_num_threads(),
        "processes that read": workers(),
        "images kept at their size": kept,
        "torch": torch.__version__,
    }
