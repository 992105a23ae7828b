"""Extract the features of images by a backbone, or the maps of its early half: computed once, and cached."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from comp.data.augmenting import own_views, serialised
from comp.data.readers import versions_of
from comp.declare.custom import key_of
from comp.declare.reading import Size, size_in_words
from comp.declare.viewpoint import View
from comp.errors import RunError
from comp.files import source_digest
from comp.runs.pretraining import source_of_backbone
from comp.training.backbone import digest
from comp.training.features import Features, cached_features, file_of, in_batches, lacks_room, make_room_for
from comp.training.halves import Cut
from comp.training.images import Images, Rows, forward_batch
from comp.training.launching import from_main, is_main, main_first
from comp.training.learner import Learner

FEATURES_FOLLOW_FROM = (
    "comp.data.reading",
    "comp.data.readers",
    "comp.data.augmenting",
    "comp.training.backbone",
    "comp.training.halves",
    "comp.training.heads",
    "comp.training.inference",
    "comp.training.learner",
)


@dataclass(frozen=True)
class Extraction:
    """The pooled features (N, V, F) of all images at this size in these views, by a learner's backbone.

    With a ``cut``: the early half's maps (N, V, H, W, F).
    """

    images: Images
    learner: Learner
    size: Size
    views: Sequence[View]
    cut: Cut | None = None

    def features(self) -> Features:
        """All features, computed once and cached."""
        # Maps stay on disk, in one file: they may not fit into memory.
        if self.images.parts and self.cut is None and len(self.learner.model.shape) == 1:
            return np.concatenate([replace(self, images=part).features() for part in self.images.parts])
        began = time.monotonic()
        if self.cut is not None and is_main():
            make_room_for(self.path, self.shape)
        if is_main():
            features, found = cached_features(
                self.path,
                lambda start: self.computed(from_main(start)),
                self.shape,
                lambda: self.images.console.say("another process computes the same features; waiting for it"),
            )
            if found:
                from_main(None)
        else:
            # Rank 0 writes the features, and sends the row from which workers compute, or None where it found them.
            start = from_main(None)
            if start is not None:
                deque(self.computed(start), maxlen=0)
        with main_first():
            if not is_main():
                features, found = cached_features(self.path, _not_here, self.shape)
        how = "found in the cache" if found else f"computed in {time.monotonic() - began:.0f} s"
        self.images.console.detail(f"{self._what} of {len(self.images.paths)} images {self._at}: {how}")
        return features

    @property
    def count(self) -> int:
        """The number of views of all images."""
        return len(self.images.paths) * len(self.views)

    def computed(self, start: int = 0, among: int = 0) -> Iterator[Tensor]:
        """Compute the features from row ``start`` on, in the same batches as a computation from row 0.

        among: the number of views whose features have the same bits, where these are some of them.
        """
        count, console = len(self.images.paths), self.images.console
        if start:
            console.detail(f"{self._what} of {start} of {count} images {self._at}: found in the cache")
        text = f"{self._what} of {count} images in {len(self.views)} views {self._at}"
        with console.bar(text, self.count, "images") as bar:
            bar.advance(start * len(self.views))
            rows = np.arange(start, count)
            every = among or self.count
            for batch in self.images.through(self.learner, rows, self.size, self.views, cut=self.cut, count=every):
                yield batch
                bar.advance(batch.shape[0] * batch.shape[1])

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of all features."""
        of_one = self.learner.model.shape if self.cut is None else self.cut.shape
        return len(self.images.paths), len(self.views), *of_one

    @cached_property
    def path(self) -> Path:
        """The cache file, named by all that the features depend on."""
        images, backbone, cut = self.images, self.learner.evaluated.backbone, self.cut
        parts = [backbone] if cut is None else [backbone.get_submodule(name) for name in cut.early]
        made_from: dict[str, Any] = {
            "weights": [*map(digest, parts)],
            # For layers without weights: pooling, activations.
            "architecture": [type(backbone).__name__, *map(_described, parts)],
            "early": None if cut is None else cut.early,
            "versions": versions_of(["timm", "albumentations", "openvino"]),
            "images": images.content,
            "size": self.size,
            "expected": asdict(images.expected),
            "reading": images.reading.key,
            "views": [asdict(view) for view in self.views],
            "shape": list(self.shape[2:]),
            "augmentations": None,
            "source": [source_digest(*FEATURES_FOLLOW_FROM), source_of_backbone(self.learner.recipe.backbone)],
            "drawn": None,
            "own": None,
            "precision": [
                str(self.learner.accelerator.device.type),
                self.learner.accelerator.mixed_precision,
            ],
        }
        # Pipelines as albumentations serialises them, and custom ones by their source.
        if any(view.draw is not None for view in self.views):
            random, viewpoint = images.dataset(self.size, images.seed).pipelines[0], images.viewpoint
            made_from["augmentations"] = [serialised(random), viewpoint.max_zoom, key_of(viewpoint.pipeline)]
            made_from["drawn"] = images.seed
        if any(view.own for view in self.views):
            made_from["own"] = [[serialised(one) for one in own_views(images.tta, self.size)], key_of(images.tta)]
        return file_of(images.cache / ("features" if cut is None else "maps"), made_from)

    def is_cached(self) -> bool:
        return from_main(is_main() and self.path.is_file())

    def has_room(self) -> bool:
        """Whether there is room for the maps on the disk; says so where there is none."""
        lacking = from_main(lacks_room(self.path, self.shape) if is_main() else None)
        if lacking:
            self.images.console.say(f"the early half's maps would take {lacking}, so images take their place")
        return not lacking

    def of_rows(self, features: Features, rows: Rows) -> Iterator[Tensor]:
        """These rows' features, or with a ``cut`` the late half's features of these maps, as batches (B, V, F)."""
        if self.cut is None:
            return in_batches(features, rows)
        at_once = max(1, forward_batch() // features.shape[1])
        return self.learner.features_of_maps(in_batches(features, rows, at_once), self.cut)

    @property
    def _what(self) -> str:
        return "features" if self.cut is None else "the early half's maps"

    @property
    def _at(self) -> str:
        return f"at {size_in_words(self.size)} px"


def _described(part: nn.Module) -> str:
    """The layers of a module in words, without drop path: a network that only predicts is built without it."""
    return "\n".join(line for line in repr(part).splitlines() if "(drop_path" not in line)


def _not_here(_: int) -> Iterator[Tensor]:
    raise RunError("The features that rank 0 computed aren't here: several machines need the same COMP_HOME.")
