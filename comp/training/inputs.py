"""A learner's inputs: the images of a run, or the cached features of a frozen backbone."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from comp.console import Console
from comp.data.augmenting import Preprocessing, own_views, serialised, tta_views
from comp.data.image_cache import ImageCache, cached_images
from comp.data.loading import SHARED_MEMORY, ImageDataset, ImageEpochs, in_views, readers_within
from comp.data.readers import versions_of
from comp.data.reading import RGB, Depth, Paths, Reading
from comp.declare.custom import key_of
from comp.declare.reading import Channels, Read, Size, sides, size_in_words
from comp.declare.recipe import TTA, Stage
from comp.declare.viewpoint import View, Viewpoint
from comp.errors import RunError
from comp.files import source_digest
from comp.runs.pretraining import source_of_backbone
from comp.training.backbone import Expectations, digest
from comp.training.epochs import Epochs, Validation
from comp.training.features import (
    FeatureEpochs,
    Features,
    cached_features,
    content_digest,
    file_of,
    in_batches,
    lacks_room,
    make_room_for,
)
from comp.training.halves import Cut
from comp.training.launching import from_main, is_main, main_first
from comp.training.learner import Learner
from comp.training.processes import in_order, same_weights

Rows = npt.NDArray[np.int64]

FEATURES_FOLLOW_FROM = (
    "comp.data.reading",
    "comp.data.readers",
    "comp.data.augmenting",
    "comp.training.backbone",
    "comp.training.halves",
    "comp.training.heads",
    "comp.training.learner",
)


@dataclass(frozen=True)
class Images:
    """The images of a table, and everything needed to read them as the backbone's weights expect.

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

    def features(self, learner: Learner, size: Size, views: Sequence[View], cut: Cut | None = None) -> Features:
        """The pooled features (N, V, F) of all rows in these views, computed once and cached.

        With a ``cut``: the early half's maps (N, V, H, W, F).
        """
        # Maps stay on disk, in one file: they may not fit into memory.
        if self.parts and cut is None and len(learner.model.shape) == 1:
            return np.concatenate([part.features(learner, size, views) for part in self.parts])
        began, computed = time.monotonic(), partial(self._computed, learner, size, views, cut=cut)
        path, shape = self._place(learner, size, views, cut)
        if cut is not None and is_main():
            make_room_for(path, shape)
        cached = partial(cached_features, path, shape=shape)
        if is_main():
            waiting = partial(self.console.say, "another process computes the same features; waiting for it")
            features, found = cached(lambda start: computed(start=from_main(start)), waiting=waiting)
            if found:
                from_main(None)
        else:
            # Rank 0 writes the features, and sends the row from which workers compute, or None where it found them.
            start = from_main(None)
            if start is not None:
                deque(computed(start=start), maxlen=0)
        with main_first():
            if not is_main():
                features, found = cached(_not_here)
        how = "found in the cache" if found else f"computed in {time.monotonic() - began:.0f} s"
        self.console.detail(f"{_what(cut)} of {len(self.paths)} images at {size_in_words(size)} px: {how}")
        return features

    def _place(
        self, learner: Learner, size: Size, views: Sequence[View], cut: Cut | None
    ) -> tuple[Path, tuple[int, ...]]:
        """The cache file of the features of all rows, and their shape."""
        shape = learner.model.shape if cut is None else cut.shape
        backbone = learner.evaluated.backbone
        parts = [backbone] if cut is None else [backbone.get_submodule(name) for name in cut.early]
        made_from: dict[str, Any] = {
            "weights": [*map(digest, parts)],
            # For layers without weights: pooling, activations.
            "architecture": [type(backbone).__name__, *map(_described, parts)],
            "early": None if cut is None else cut.early,
            "versions": versions_of(["timm", "albumentations"]),
            "images": self.content,
            "size": size,
            "expected": asdict(self.expected),
            "reading": self.reading.key,
            "views": [asdict(view) for view in views],
            "shape": list(shape),
            "augmentations": None,
            "source": [source_digest(*FEATURES_FOLLOW_FROM), source_of_backbone(learner.recipe.backbone)],
            "drawn": None,
            "own": None,
            "precision": [str(learner.accelerator.device.type), learner.accelerator.mixed_precision],
        }
        # Pipelines as albumentations serialises them, and custom ones by their source.
        if any(view.draw is not None for view in views):
            random, viewpoint = self.dataset(size, self.seed).pipelines[0], self.viewpoint
            made_from["augmentations"] = [serialised(random), viewpoint.max_zoom, key_of(viewpoint.pipeline)]
            made_from["drawn"] = self.seed
        if any(view.own for view in views):
            made_from["own"] = [[serialised(one) for one in own_views(self.tta, size)], key_of(self.tta)]
        folder = self.cache / ("features" if cut is None else "maps")
        return file_of(folder, made_from), (len(self.paths), len(views), *shape)

    def can_cache_maps(self, learner: Learner, stage: Stage) -> bool:
        """Whether the early half's maps of all rows can be cached for a stage; says why not."""
        given = learner.given(stage)
        if isinstance(given, Cut):
            return self._has_room(learner, stage.pixels, self.viewpoint.at(stage.pixels).views(stage.views), given)
        self.console.say("the backbone can't be cut in halves, so its late half trains on images, not on cached maps")
        return False

    def _has_room(self, learner: Learner, size: Size, views: Sequence[View], cut: Cut) -> bool:
        lacking = from_main(lacks_room(*self._place(learner, size, views, cut)) if is_main() else None)
        if lacking:
            self.console.say(f"the early half's maps would take {lacking}, so images take their place")
        return not lacking

    def for_stage(
        self,
        learner: Learner,
        stage: Stage,
        targets: Tensor,
        training: Rows,
        validating: Rows,
        seed: int,
        folds: Rows | None = None,
    ) -> tuple[Epochs, Validation | None]:
        """A stage's training epochs, drawn from ``seed``, and its validation; None where no row validates."""
        batch_size = learner.recipe.batch_size_of(stage)
        epochs: Epochs
        validation: Callable[[], Iterable[Tensor]]
        views = self.viewpoint.at(stage.pixels).views(stage.views)
        given = learner.given(stage)
        if isinstance(given, Cut):
            maps = self.features(learner, stage.pixels, views, given)
            epochs = FeatureEpochs(maps, training, targets, batch_size, seed, self.columns)
            validation = partial(self._of_maps, learner, maps[:, :1], validating, given)
        elif given == "features":
            features = self.features(learner, stage.pixels, views)
            epochs = FeatureEpochs(features, training, targets, batch_size, seed, self.columns, folds)
            validation = partial(in_batches, features[:, :1], validating)
        else:
            kept = self.kept(stage, training, validating)
            rank, count = learner.accelerator.process_index, learner.accelerator.num_processes
            dataset = self.dataset(stage.pixels, seed, learner.recipe.random_erasing, kept)
            shared = {"workers": self._workers(stage.pixels, batch_size), "rank": rank, "count": count}
            epochs = ImageEpochs(dataset, training, targets, batch_size, **shared, columns=self.columns)
            validation = partial(self._features, learner, validating, stage.pixels, (View(),), kept)
        columns = None if self.columns is None else self.columns[validating]
        return epochs, Validation(validation, targets[validating], columns) if len(validating) else None

    def to_predict(self, learner: Learner, rows: Rows | None = None) -> Iterable[Tensor]:
        """The features of some rows, by default of all, in the recipe's TTA views, as batches (B, V, F).

        Features of a trained backbone are not cached. Features or maps that a stage cached for all rows are reused.
        """
        stages, views = learner.recipe.stages, tta_views(learner.recipe, self.viewpoint)
        size, every = stages[-1].pixels, np.arange(len(self.paths)) if rows is None else rows
        if not len(every):
            return iter(())
        trained = any(stage.groups > 1 for stage in stages)
        given = learner.given(stages[-1])
        cut = given if isinstance(given, Cut) else None
        if trained and cut is None:
            return self.only(every)._computed(learner, size, views)
        # A stage may have cached these views, and more, for all rows.
        of_stages = (
            self.viewpoint.at(size).views(stage.views)
            for stage in stages
            if rows is not None and stage.pixels == size and stage.cached and stage.on_features != trained
        )
        seen = next((seen for seen in of_stages if seen[: len(views)] == views), None)
        in_halves = seen is not None or self.reused
        if seen is not None and cut is not None and not self._is_cached(learner, size, seen, cut):
            seen = None
        images, among = (self.only(every), np.arange(len(every))) if seen is None else (self, every)
        if cut and seen is None and not (self.reused and images._has_room(learner, size, views, cut)):
            if not in_halves:
                return images._computed(learner, size, views)
            # The late half's batch norms stay unfolded, as with cached maps, so that the bits are the same.
            return learner.features_of_maps(images._computed(learner, size, views, cut=cut), cut)
        features = images.features(learner, size, seen or views, cut)[:, : len(views)]
        return in_batches(features, among) if cut is None else self._of_maps(learner, features, among, cut)

    def _is_cached(self, learner: Learner, size: Size, views: Sequence[View], cut: Cut) -> bool:
        """Whether the early half's maps of all rows are cached."""
        return from_main(is_main() and self._place(learner, size, views, cut)[0].is_file())

    def _of_maps(self, learner: Learner, maps: Features, rows: Rows, cut: Cut) -> Iterator[Tensor]:
        """The late half's features of some rows' maps, as batches (B, V, F)."""
        at_once = max(1, forward_batch() // maps.shape[1])
        return learner.features_of_maps(in_batches(maps, rows, at_once), cut)

    def _computed(
        self, learner: Learner, size: Size, views: Sequence[View], start: int = 0, cut: Cut | None = None
    ) -> Iterator[Tensor]:
        """Compute features or maps from row ``start`` on, in the same batches as a computation from row 0."""
        if start:
            found = f"{start} of {len(self.paths)} images at {size_in_words(size)} px"
            self.console.detail(f"{_what(cut)} of {found}: found in the cache")
        text = f"{_what(cut)} of {len(self.paths)} images in {len(views)} views at {size_in_words(size)} px"
        with self.console.bar(text, len(self.paths) * len(views), "images") as bar:
            bar.advance(start * len(views))
            for batch in self._features(learner, np.arange(start, len(self.paths)), size, views, cut=cut):
                yield batch
                bar.advance(batch.shape[0] * batch.shape[1])

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
        dataset, readers = self.dataset(size, self.seed, kept=kept), self._workers(size, forward_batch())
        return in_views(dataset, rows, views, forward_batch(), workers=readers)

    def _workers(self, size: Size, images: int) -> int:
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

    def _features(
        self,
        learner: Learner,
        rows: Rows,
        size: Size,
        views: Sequence[View],
        kept: Mapping[Size, ImageCache] | None = None,
        cut: Cut | None = None,
    ) -> Iterator[Tensor]:
        """The features of rows in order, (B, V, ...) each, the same bits in one process or several that share them."""
        rank, count = learner.accelerator.process_index, learner.accelerator.num_processes
        if count == 1:
            return learner.features(self.views(rows, size, views, kept), cut)
        same_weights(learner.evaluated)
        # The rows of one forward pass in these views.
        at_once = max(1, forward_batch() // len(views))
        blocks = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
        own = np.concatenate([rows[:0], *blocks[rank::count]])
        return in_order(learner.features(self.views(own, size, views, kept), cut), len(blocks))


def _described(part: nn.Module) -> str:
    """The layers of a module in words, without drop path: a network that only predicts is built without it."""
    return "\n".join(line for line in repr(part).splitlines() if "(drop_path" not in line)


def _what(cut: Cut | None) -> str:
    return "features" if cut is None else "the early half's maps"


def _not_here(_: int) -> Iterator[Tensor]:
    raise RunError("The features that rank 0 computed aren't here: several machines need the same COMP_HOME.")


def workers() -> int:
    """The number of processes that read images: the cores per training process, at most 16; none without a GPU."""
    if not torch.cuda.is_available():
        return 0
    trainers = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(16, max(1, (os.cpu_count() or 1) // trainers))


def forward_batch() -> int:
    """The number of images in one forward pass: on a CPU, a batch that fits its cache is fastest."""
    return 256 if torch.cuda.is_available() else 16
