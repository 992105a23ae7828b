"""The images of a run, read as the backbone's weights expect, and sent through the backbone."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from comp.console import Console
from comp.data.augmenting import Preprocessing
from comp.data.image_cache import ImageCache, cached_images
from comp.data.loading import SHARED_MEMORY, ImageDataset, in_views, readers_within
from comp.data.reading import RGB, Depth, Paths, Reading
from comp.declare.reading import Channels, Read, Size, sides, size_in_words
from comp.declare.recipe import TTA, Stage
from comp.declare.viewpoint import View, Viewpoint
from comp.training.backbone import Expectations
from comp.training.features import content_digest
from comp.training.halves import Cut
from comp.training.launching import main_first
from comp.training.learner import Learner
from comp.training.processes import in_order, same_weights

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """The images of a table, and how they are read.

    paths: of all rows, in the table's order. contents: the hexadecimal digests of their files' bytes, where known.
    columns: (N, K), where the competition has any. cache: the folder of cached features and of images cached at their
    training sizes. read, depth, beside: as in `Reading`. parts: the `Images` that were joined into this one; features
    are cached for each part. reused: whether the early half's maps are needed again, in other folds or for other
    snapshots. tta: the recipe's.
    """

    paths: Paths
    expected: Expectations
    viewpoint: Viewpoint
    seed: int
    cache: Path
    console: Console
    contents: Sequence[str] | None = None
    read: Read | Channels = "images"
    depth: Depth = RGB
    columns: Tensor | None = None
    parts: "tuple[Images, ...]" = ()
    reused: bool = False
    tta: TTA = "none"
    beside: str = ""

    @property
    def reading(self) -> Reading:
        return Reading(self.expected.interpolation, self.viewpoint.fit, self.read, self.depth, self.beside)

    def dataset(
        self, size: Size, seed: int, erasing: float = 0.0, kept: Mapping[Size, ImageCache] | None = None
    ) -> ImageDataset:
        preprocessing = Preprocessing(size, self.reading, self.viewpoint, erasing, self.tta)
        return ImageDataset(self.paths, preprocessing, seed, kept)

    def only(self, rows: Rows) -> "Images":
        contents = None if self.contents is None else [self.contents[row] for row in rows]
        return replace(self, paths=self.paths.take(rows), contents=contents, parts=())

    def followed_by(self, paths: Paths, contents: Sequence[str], columns: Tensor | None) -> "Images":
        both = pd.concat([pd.Series(self.paths), pd.Series(paths)], ignore_index=True).array
        more = replace(self, paths=paths, contents=contents, columns=columns)
        columns = None if self.columns is None or columns is None else torch.cat([self.columns, columns])
        known = None if self.contents is None else [*self.contents, *contents]
        return replace(self, paths=both, contents=known, columns=columns, parts=(self, more))

    @cached_property
    def content(self) -> str:
        return content_digest(self.paths, self.contents, self.read)

    def kept(self, stage: Stage, training: Rows, validating: Rows) -> dict[Size, ImageCache]:
        """The cached images of a stage of several epochs, by the size that they cover, where there is room for them.

        A custom pipeline takes whole images, which are too large to cache: their files are read in every epoch.
        """
        if stage.epochs == 1:
            return {}
        covered = Preprocessing(stage.pixels, self.reading, self.viewpoint).covered
        rows_by_size: dict[Size, Rows] = {} if covered is None else {covered: training}
        rows_by_size[stage.pixels] = np.concatenate([rows_by_size.get(stage.pixels, validating[:0]), validating])
        kept: dict[Size, ImageCache] = {}
        for size, repeated in rows_by_size.items():
            rows = np.unique(repeated)
            if not len(rows):
                continue
            text = f"caching images at {size_in_words(size)} px"
            with main_first(), self.console.bar(text, len(rows), "images") as bar:
                found = cached_images(
                    self.cache / "images",
                    self.paths,
                    rows,
                    self.content,
                    size,
                    self.reading,
                    bar.advance,
                    self.console.detail,
                    beside=kept.values(),
                )
            if found is not None:
                kept[size] = found
        return kept

    def views(
        self, rows: Rows, size: Size, views: Sequence[View], kept: Mapping[Size, ImageCache] | None = None
    ) -> Iterable[Tensor]:
        """Some rows in order, each in these views, as batches (B, V, size, size, C)."""
        dataset, readers = self.dataset(size, self.seed, kept=kept), self.readers(size, forward_batch())
        return in_views(dataset, rows, views, forward_batch(), workers=readers)

    def readers(self, size: Size, images: int) -> int:
        """The number of processes that read batches of this many images; says so where shared memory allows fewer."""
        wanted = workers()
        found = readers_within(wanted, images * prod(sides(size)) * self.depth.channels) if wanted else 0
        if found < wanted and found not in self._said:
            self._said.add(found)
            self.console.say(
                f"the number of processes that read images is {found}, not {wanted}: more would fill {SHARED_MEMORY}; "
                "make it larger, for example with docker run --shm-size=8g"
            )
        return found

    @cached_property
    def _said(self) -> set[int]:
        return set()

    def through(
        self,
        learner: Learner,
        rows: Rows,
        size: Size,
        views: Sequence[View],
        kept: Mapping[Size, ImageCache] | None = None,
        cut: Cut | None = None,
        count: int = 0,
    ) -> Iterator[Tensor]:
        """The features of rows in order, or with a ``cut`` the early half's maps, as batches (B, V, ...).

        They have the same bits in one process and in several that share the rows. count: as in `Learner.features`; an
        epoch's validation, whose weights change until the next one, has none.
        """
        rank, processes = learner.accelerator.process_index, learner.accelerator.num_processes
        if processes == 1:
            return learner.features(self.views(rows, size, views, kept), cut, count)
        same_weights(learner.evaluated)
        # The rows of one forward pass in these views.
        at_once = max(1, forward_batch() // len(views))
        blocks = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
        own = np.concatenate([rows[:0], *blocks[rank::processes]])
        return in_order(learner.features(self.views(own, size, views, kept), cut, count), len(blocks))


def workers() -> int:
    """The number of processes that read images: the cores per training process, at most 16; none without a GPU."""
    if not torch.cuda.is_available():
        return 0
    trainers = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(16, max(1, (os.cpu_count() or 1) // trainers))


def forward_batch() -> int:
    """The number of images in one forward pass: on a CPU, a batch that fits its cache is fastest."""
    return 256 if torch.cuda.is_available() else 16
