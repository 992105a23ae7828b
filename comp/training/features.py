"""Cached features: what a frozen backbone makes of every image and view, computed once and kept on disk."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from comp.files import replacing

Features = npt.NDArray[np.float32]


def content_digest(paths: Sequence[Path]) -> str:
    """A fingerprint of the files' bytes, in order."""
    fingerprint = hashlib.blake2b(digest_size=16)
    for path in paths:
        fingerprint.update(hashlib.blake2b(path.read_bytes(), digest_size=16).digest())
    return fingerprint.hexdigest()


def cached_features(
    cache: Path, made_from: dict[str, Any], compute: Callable[[], Iterable[Features]], shape: tuple[int, int, int]
) -> tuple[Features, bool]:
    """Features (N, V, F) from the cache, or computed and put there; and whether they were found.

    made_from: everything the features follow from: weights, preprocessing, views, file content. Their fingerprint is
        the file's name, so a change of any of it is another file.
    """
    key = hashlib.blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=16).hexdigest()
    path = cache / f"{key}.npy"
    if path.is_file():
        found: Features = np.load(path, mmap_mode="r")
        with contextlib.suppress(OSError):
            os.utime(path)
        return found, True
    # Written and not mapped: on a full disk a mapped page ends the process, where a write raises OSError.
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        row = 0
        for batch in compute():
            file.write(np.ascontiguousarray(batch, dtype=np.float32).tobytes())
            row += len(batch)
        if row != shape[0]:
            raise ValueError(f"{row} rows of features were computed, but {shape[0]} were announced")
    made: Features = np.load(path, mmap_mode="r")
    return made, False


class FeatureEpochs:
    """Cached features of the training rows in a new order each epoch, each row in one view drawn for it.

    features: (N, V, F) of all rows; rows: which of them train; targets: (N,) or (N, C) of all rows.
    """

    def __init__(
        self, features: Features, rows: npt.NDArray[np.int64], targets: Tensor, batch_size: int, seed: int
    ) -> None:
        self.features, self.targets = torch.from_numpy(np.ascontiguousarray(features[rows])), targets[rows]
        self.batch_size, self.seed = min(batch_size, len(rows)), seed

    def __len__(self) -> int:
        return len(self.features) // self.batch_size

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = np.random.default_rng([self.seed, number])
        order = generator.permutation(len(self.features))
        views = generator.integers(self.features.shape[1], size=len(self.features))
        for step in range(len(self)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self.features[rows, views[rows]], self.targets[rows]


def in_batches(features: Features, rows: npt.NDArray[np.int64], batch_size: int = 4096) -> Iterator[Features]:
    """The features of some rows, in order, as batches (B, V, F)."""
    for start in range(0, len(rows), batch_size):
        yield np.ascontiguousarray(features[rows[start : start + batch_size]])
