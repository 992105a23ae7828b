"""Batches of images as bytes: each image in one or several views, in a reproducible order."""

import pickle
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property, partial
from pathlib import Path
from traceback import format_exc
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from comp.data.augmenting import Pipeline, Preprocessing
from comp.data.image_cache import ImageCache
from comp.data.reading import Paths, Pixels, in_threads, read_image
from comp.declare.competition import load_competition, loaded_declarations
from comp.declare.reading import Size
from comp.declare.viewpoint import View
from comp.errors import CompError

# On macOS forked processes crash in the system's libraries; Windows has no fork.
FORKS = sys.platform.startswith("linux")
# Forward passes whose images are read at once by threads: the few images of one would leave threads idle.
PASSES_AT_ONCE = 4

# Batches that a worker reads ahead; workers put them into shared memory, of which all together may fill this share.
AHEAD = 4
SHARED_MEMORY, SHARE_OF_IT = "/dev/shm", 0.5

# A row, and the views to make of its image.
Request = tuple[int, tuple[View, ...]]
Rows = Sequence[int] | npt.NDArray[np.int64]


class ImageDataset(Dataset[tuple[int, Pixels]]):
    """Images by (row, views): gives the row and its views, (V, size, size, C) bytes.

    A file is read once for all its views, or not at all where it is in one of the ``caches``, by the size to cover.
    Without workers, threads share the images of a batch, each with pipelines of its own.
    """

    def __init__(
        self,
        paths: Paths | Sequence[Path],
        preprocessing: Preprocessing,
        seed: int,
        caches: Mapping[Size, ImageCache] | None = None,
    ) -> None:
        self.paths, self.preprocessing, self.seed, self.caches = paths, preprocessing, seed, caches or {}
        self.pipelines = preprocessing.pipelines()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle for a process that isn't forked: it loads the declarations whose functions it calls first."""
        parts = pickle.dumps((self.paths, self.preprocessing, self.seed, self.caches))
        return _arrived, ([path for name, path in loaded_declarations().items() if name.encode() in parts], parts)

    def __getitem__(self, request: Request) -> tuple[int, Pixels]:
        return self._seen(request, self.pipelines)

    def __getitems__(self, requests: Sequence[Request]) -> list[tuple[int, Pixels]] | CompError:
        """The images of several requests, by threads: OpenCV and Pillow work without Python's lock.

        A worker returns a CompError in place of the images, as torch would put a traceback into its text.
        """
        if get_worker_info() is not None:
            try:
                return [self[request] for request in requests]
            except CompError as error:
                error.add_note(format_exc())
                return error
        count = min(len(self._of_threads), len(requests))
        if count <= 1:
            return [self[request] for request in requests]
        shares = ((requests[first::count], self._of_threads[first]) for first in range(count))
        seen = list(in_threads(lambda share: [self._seen(request, share[1]) for request in share[0]], shares, count))
        return [seen[index % count][index // count] for index in range(len(requests))]

    @cached_property
    def _of_threads(self) -> list[list[Pipeline]]:
        """The pipelines of each thread: a pipeline holds the random state of its current image."""
        return [self.pipelines, *(self.preprocessing.pipelines() for _ in range(1, torch.get_num_threads()))]

    def _seen(self, request: Request, pipelines: Sequence[Pipeline]) -> tuple[int, Pixels]:
        row, views = request
        # Fixed views share one reading of the file, random views one with a margin, custom views a whole one.
        read = cache(partial(self.read, row))
        return row, np.stack([self.preprocessing.seen(view, read, pipelines, self.seed, row) for view in views])

    def read(self, row: int, size: Size | None) -> Pixels:
        """The image of a row (H, W, C) that covers the size, or all of it."""
        cached = None if size is None else self.caches.get(size)
        if cached is not None and row in cached:
            # Another training may have removed the files to make room, and another machine may not have them.
            with suppress(OSError):
                return cached[row]
        return read_image(Path(self.paths[row]), size, self.preprocessing.reading)


def _arrived(declarations: Iterable[Path], parts: bytes) -> ImageDataset:
    for declaration in declarations:
        load_competition(declaration)
    return ImageDataset(*pickle.loads(parts))


class Shuffled(Sampler[Request]):
    """The given rows in a new random order every epoch, each differently augmented.

    The caller sets ``epoch``; order and augmentations follow from it and the seed alone. The first ``skipped`` rows of
    the order are left out. A row may be given several times: its copies are augmented differently.

    own: the positions in each ``batch_size`` rows of the order that this process reads; rows at the end that don't fill
    a batch are left out.
    """

    def __init__(self, rows: Rows, seed: int, batch_size: int = 1, own: range = range(1)) -> None:
        self.rows, self.seed, self.epoch, self.skipped = np.asarray(rows), seed, 0, 0
        self.batch_size, self.own = batch_size, own
        self.most_copies = int(_copies_before(self.rows).max(initial=0)) + 1

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Request]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        copies = _copies_before(order) if self.most_copies > 1 else None
        first = View(draw=self.epoch * self.most_copies)
        for index in range(self.skipped, len(order) - len(order) % self.batch_size):
            if index % self.batch_size in self.own:
                view = first if copies is None else View(draw=self.epoch * self.most_copies + int(copies[index]))
                yield int(order[index]), (view,)


def _copies_before(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The number of earlier copies (R,) of each row."""
    return np.asarray(pd.Series(rows).groupby(rows).cumcount(), np.int64)


class ImageEpochs:
    """The training rows, shuffled and augmented anew each epoch, as images (B, size, size, C) and their targets.

    targets: (N,) or (N, C) of all rows of the data set. columns: inputs (N, K) of all rows, given between images and
    targets. The last rows of an epoch, which don't fill a batch, are left out.
    rank, count: this process's rank among those that share each batch, and their number; each reads its own part.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        rows: Rows,
        targets: Tensor,
        batch_size: int,
        *,
        workers: int,
        rank: int = 0,
        count: int = 1,
        columns: Tensor | None = None,
    ) -> None:
        self.columns = [] if columns is None else [columns]
        self.batch_size = min(batch_size, len(rows))
        own = share(self.batch_size, rank, count)
        self.sampler = Shuffled(rows, dataset.seed, self.batch_size, own)
        self.batches = loader(dataset, self.sampler, len(own), workers=workers, drop_last=True)
        self.targets = targets

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """The batches from index ``start`` on; images of earlier batches are not read."""
        self.sampler.epoch, self.sampler.skipped = number, start * self.batch_size
        for rows, images in self.batches:
            yield images[:, 0], *(values[rows] for values in self.columns), self.targets[rows]


def share(rows: int, rank: int, count: int) -> range:
    """The rows, of ``rows`` in all, of process ``rank`` of ``count``; a remainder goes to the first processes."""
    each, more = divmod(rows, count)
    start = rank * each + min(rank, more)
    return range(start, start + each + (rank < more))


def in_views(
    dataset: ImageDataset, rows: Rows, views: Sequence[View], batch_size: int, *, workers: int
) -> Iterator[Tensor]:
    """The rows in order, each in these views, as batches (B, V, size, size, C) of at most ``batch_size`` views."""
    at_once = max(1, batch_size // len(views))
    read_at_once = at_once if workers else PASSES_AT_ONCE * at_once
    requests = ((int(row), tuple(views)) for row in rows)
    for _, images in loader(dataset, requests, read_at_once, workers=workers):
        yield from images.split(at_once)


def loader(
    dataset: ImageDataset, sampler: Iterable[Request], batch_size: int, *, workers: int, drop_last: bool = False
) -> DataLoader[tuple[int, Pixels]]:
    """Batches of rows (B,) and images (B, V, size, size, C) as bytes; they are scaled on the device.

    workers: the number of processes that read ahead; 0 reads by threads of this process, which is fastest where the
        model runs on the same cores. Threads also read where processes can't be forked and the dataset can't be
        pickled.
    """
    if not FORKS and not _can_be_sent(dataset):
        workers = 0
    return _Loader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=_collated,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available(),
        # Python 3.14's default would start new processes, which import torch again.
        multiprocessing_context="fork" if workers and FORKS else None,
        persistent_workers=workers > 0,
        prefetch_factor=AHEAD if workers else None,
        # Else every pass over the data would draw from the random state of dropout.
        generator=torch.Generator(),
        worker_init_fn=_leave_interrupts if workers else None,
    )


class _Loader(DataLoader[tuple[int, Pixels]]):
    """Raises the error that a worker returns in place of a batch."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, CompError):
                raise batch
            yield batch


def _can_be_sent(dataset: ImageDataset) -> bool:
    try:
        pickle.dumps(dataset)
    except (pickle.PicklingError, AttributeError, TypeError):  # a lambda, or a function within another
        return False
    return True


def readers_within(wanted: int, batch: int) -> int:
    """The number of workers: as wanted, or as many as shared memory has room for. batch: the bytes of a batch."""
    try:
        room = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # as on macOS
        return wanted
    return min(wanted, int(SHARE_OF_IT * room) // ((AHEAD + 1) * batch))


def _leave_interrupts(_: int) -> None:
    """Ignore Ctrl-C, which reaches every process of the terminal: the training process ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collated(samples: list[tuple[int, Pixels]] | CompError) -> tuple[Tensor, Tensor] | CompError:
    return samples if isinstance(samples, CompError) else collate(samples)


def collate(samples: list[tuple[int, Pixels]]) -> tuple[Tensor, Tensor]:
    """Stack samples to rows (B,) and images (B, V, size, size, C)."""
    return torch.tensor([row for row, _ in samples]), torch.from_numpy(np.stack([views for _, views in samples]))
