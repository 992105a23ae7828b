"""What the process that leads asks the others to share: the batches of a stage, and images to be looked at."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from comp.errors import OverrideError
from comp.training.passes import FEWEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from comp.data.image_cache import ImageCache
    from comp.data.loading import ImageEpochs
    from comp.declare.viewpoint import View
    from comp.training.features import Features
    from comp.training.inputs import Images
    from comp.training.learner import Batch, Learner
    from comp.training.processes import Processes

    Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SharedEpochs:
    """This process's part of every batch; whenever one is taken, the others take theirs."""

    own: ImageEpochs
    processes: Processes

    @property
    def batch_size(self) -> int:
        return self.own.batch_size

    def __len__(self) -> int:
        return len(self.own)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        self.processes.ask("epoch", number, start)
        for batch in self.own.epoch(number, start):
            self.processes.ask("batch")
            yield batch


def refuse_small_batches(batch_size: int, count: int) -> None:
    """Raise OverrideError unless each of so many processes gets rows enough for batch norm."""
    if batch_size < FEWEST * count:
        raise OverrideError(
            f"A batch of {batch_size} rows is too few for {count} processes, which take {FEWEST} rows each at least; "
            "start fewer, or raise batch_size."
        )


def shared_features(
    images: Images,
    learner: Learner,
    rows: Rows,
    size: int,
    views: Sequence[View],
    kept: Mapping[int, ImageCache] | None,
) -> Iterator[Features]:
    """The features (B, V, F) of some rows in order, in the batches that one process would look at, each by one of all.

    A batch's features are so the same, bit for bit, as in one process on such a device.
    """
    processes = learner.processes
    assert processes is not None
    ask_with_images(processes, images, "features", rows, size, views, kept)
    processes.same_weights(learner.evaluated)
    blocks = images.blocks(rows, views)
    own = own_features(processes, images, learner, rows, size, views, kept)
    for first in range(0, len(blocks), processes.count):
        processes.ask("block")
        yield next(own)
        for rank, block in enumerate(blocks[first + 1 : first + processes.count], start=1):
            yield processes.take(rank, (len(block), len(views), learner.model.width))


def own_features(
    processes: Processes,
    images: Images,
    learner: Learner,
    rows: Rows,
    size: int,
    views: Sequence[View],
    kept: Mapping[int, ImageCache] | None,
) -> Iterator[Features]:
    """Of every ``count`` batches the one that this process looks at."""
    own = images.blocks(rows, views)[processes.rank :: processes.count]
    return learner.features(images.views(np.concatenate([rows[:0], *own]), size, views, kept))


def ask_with_images(processes: Processes, images: Images, what: str, *arguments: object) -> None:
    """Ask for something about images, which the others read from the same paths and are told of once."""
    if processes.looks_at is not images:
        processes.looks_at = images
        pipeline = images.viewpoint.pipeline
        # A function that a competition.py declares is found by its name once the file was loaded.
        module = None if pipeline is None else sys.modules.get(pipeline.__module__)
        processes.ask("load", getattr(module, "__file__", None))
        processes.ask("look_at", images.paths, images.expected, images.viewpoint, images.seed)
    processes.ask(what, *arguments)
