"""Cached features of a frozen backbone: computed once for every image and view, and kept on disk."""

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from comp.data.disk_room import last_used, make_room, room_for
from comp.data.readers import files_of
from comp.data.reading import Paths
from comp.declare.custom import custom_parts
from comp.declare.reading import Channels, Read
from comp.errors import CompError
from comp.files import alone, write_text

Features = npt.NDArray[np.float32]

# Maps that were unused for this long may be removed to make room for others.
IDLE_SECONDS = 6 * 3600.0
# The most work, in seconds, that a computation loses when it is killed.
MARK_SECONDS = 10.0
# The most values that a head is solved on: 2 GiB.
MOST_VALUES = 1 << 29


def content_digest(paths: Paths, contents: Sequence[str] | None = None, read: Read | Channels = "images") -> str:
    """A fingerprint of the files' bytes, in the order of the paths; ``contents``: their digests, where known.

    A custom ``read`` may go by a file's name, so with one the paths count as well.
    """
    if contents is None:
        whole = (b"".join(file.read_bytes() for file in files_of(Path(path), read)) for path in paths)
        contents = [*map(_fingerprint, whole)]
    named = "\n".join(map(str, paths)) if custom_parts(read) else ""
    return _fingerprint(bytes.fromhex("".join(contents)) + named.encode())


def _fingerprint(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def file_of(cache: Path, made_from: dict[str, Any]) -> Path:
    """The cache file of features; made_from: all that they depend on, so that any change leads to another file."""
    key = _fingerprint(json.dumps(made_from, sort_keys=True).encode())
    if "images" in made_from:  # so that `features_of` finds it
        key = f"{made_from['images']}-{key}"
    return cache / f"{key}.npy"


def lacks_room(path: Path, shape: tuple[int, ...]) -> str | None:
    """The bytes that features would take, in words, where their folder has no room for them; None where it has."""
    wanted, room = _wanted(path, shape), room_for(path, _in_use)
    if wanted <= room:
        return None
    return f"{wanted / 1e9:.1f} GB, more than the {room / 1e9:.1f} GB for them in {path.parent}"


def make_room_for(path: Path, shape: tuple[int, ...]) -> None:
    """Remove the longest unused files from the features' folder, until there is room or all files are in use."""
    make_room(path, _wanted(path, shape), _in_use)


def _wanted(path: Path, shape: tuple[int, ...]) -> int:
    """The bytes that are still to be written."""
    for file in (path, path.with_suffix(".part")):
        with contextlib.suppress(FileNotFoundError):
            return max(0, 4 * prod(shape) - file.stat().st_size)
    return 4 * prod(shape)


def _in_use(path: Path) -> bool:
    """Whether a training is likely to need the file soon."""
    return time.time() - last_used(path) <= IDLE_SECONDS


def cached_features(
    path: Path,
    compute: Callable[[int], Iterable[Tensor]],
    shape: tuple[int, ...],
    waiting: Callable[[], None] = lambda: None,
) -> tuple[Features, bool]:
    """Features (N, V, F) from a file of the cache, or computed and put there; and whether they were found.

    compute: yields them in batches from a given row on, which isn't 0 where an earlier computation was stopped.
    waiting: called before waiting for another process that computes the same.
    """
    found = _whole(path, shape)
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.with_suffix(".lock"), waiting):
            found = _whole(path, shape)
            if found is None:
                complete(path, shape, compute)
                return np.load(path, mmap_mode="r"), False
    with contextlib.suppress(OSError):
        os.utime(path)
    return found, True


def features_of(
    cache: Path, paths: Paths, contents: Sequence[str] | None, read: Read | Channels = "images"
) -> Features | None:
    """The features (N, V, ...) of exactly these images that a workspace cached last, whatever their backbone."""
    files = sorted((cache / "features").glob("*.npy"), key=last_used, reverse=True)
    if not files:
        return None
    of_these = f"{content_digest(paths, contents, read)}-"
    return next((np.load(path, mmap_mode="r") for path in files if path.name.startswith(of_these)), None)


def _whole(path: Path, shape: tuple[int, ...]) -> Features | None:
    """The features in the file; None where it is missing or damaged."""
    try:
        found: Features = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape else None


def complete(path: Path, shape: tuple[int, ...], compute: Callable[[int], Iterable[Tensor]]) -> None:
    """Write the missing rows and put the file in its place; only one process at a time may do so.

    Whole rows outlive an interruption. Their number is kept in a separate file, as after a power cut a file may be
    longer than its contents. The rows are written, not memory-mapped: on a full disk a mapped page ends the process,
    while a write raises OSError.
    """
    part, mark = path.with_suffix(".part"), path.with_suffix(".rows")
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": "<f4", "fortran_order": False, "shape": shape})
    header = written.getvalue()
    done = _marked(mark, part, len(header), shape)

    def mark_done(file: BinaryIO) -> None:
        os.fsync(file.fileno())
        write_text(mark, f"{done}\n")

    try:
        with part.open("r+b" if done else "wb") as file:
            file.write(header)
            file.seek(file.truncate(len(header) + _bytes_of(done, shape)))
            marked = time.monotonic()
            try:
                for batch in compute(done):
                    file.write(batch.cpu().numpy().tobytes())
                    file.flush()
                    done += len(batch)
                    if time.monotonic() - marked > MARK_SECONDS:
                        mark_done(file)
                        marked = time.monotonic()
                os.fsync(file.fileno())
            except (CompError, ValueError):
                # An image that can't be read will be replaced, after which these rows are of no use.
                mark.unlink(missing_ok=True)
                raise
            except BaseException:
                # A full disk may have no room for the mark; the previous one is kept then.
                with contextlib.suppress(OSError):
                    mark_done(file)
                raise
        if done != shape[0]:
            mark.unlink(missing_ok=True)
            raise ValueError(f"{done} rows of features were computed, but {shape[0]} were expected")
        part.replace(path)
    finally:
        if not _marked(mark, part, len(header), shape):
            part.unlink(missing_ok=True)
            mark.unlink(missing_ok=True)


def _marked(mark: Path, part: Path, header: int, shape: tuple[int, ...]) -> int:
    """The number of complete rows in an unfinished file."""
    with contextlib.suppress(OSError, ValueError):
        rows = int(mark.read_text(encoding="utf-8"))
        return rows if header + _bytes_of(rows, shape) <= part.stat().st_size else 0
    return 0


def _bytes_of(rows: int, shape: tuple[int, ...]) -> int:
    return 4 * rows * prod(shape[1:])


class FeatureEpochs:
    """Cached features of the training rows, in a new order each epoch, each row in a randomly drawn view.

    features: (N, V, ...) of all rows; rows: the training rows; targets: (N,) or (N, C) of all rows, columns: (N, K).
    folds: (N,) of all rows, for a head whose regularisation is chosen by cross-validation.
    """

    def __init__(
        self,
        features: Features,
        rows: npt.NDArray[np.int64],
        targets: Tensor,
        batch_size: int,
        seed: int,
        columns: Tensor | None = None,
        folds: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self.folds = np.zeros(len(rows), np.int64) if folds is None else folds[rows]
        # Maps stay on disk and are read batch by batch: they may not fit into memory.
        self.features, self.rows = (features[rows], np.arange(len(rows))) if features.ndim == 3 else (features, rows)
        self.others = [values[rows] for values in (columns, targets) if values is not None]
        self.batch_size, self.seed = min(batch_size, len(rows)), seed

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def whole(self, most_rows: int = MOST_VALUES) -> tuple[Tensor, Tensor, npt.NDArray[np.int64]]:
        """A head's inputs for the training rows in all views (N, V, F), their targets and folds.

        A sample of the rows is drawn where there are more than ``most_rows``, or more values than `MOST_VALUES`.
        """
        most = min(max(1, MOST_VALUES // prod(self.features.shape[1:])), most_rows)
        drawn = np.random.default_rng(self.seed).permutation(len(self.rows))
        # Rows that a fold leaves out come first.
        drawn = np.sort(drawn[np.argsort(self.folds[drawn] < 0, kind="stable")][:most])
        *columns, targets = (values[drawn] for values in self.others)
        inputs = torch.from_numpy(np.ascontiguousarray(self.features[self.rows[drawn]]))
        beside = [values[:, None].expand(-1, inputs.shape[1], -1).to(inputs.dtype) for values in columns]
        return torch.cat([inputs, *beside], dim=-1), targets, self.folds[drawn]

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        generator = np.random.default_rng([self.seed, number])
        order = generator.permutation(len(self.rows))
        views = generator.integers(self.features.shape[1], size=len(self.rows))
        for step in range(start, len(self)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            own = torch.from_numpy(self.features[self.rows[rows], views[rows]])
            yield own, *(values[rows] for values in self.others)


def in_batches(features: Features, rows: npt.NDArray[np.int64], at_once: int | None = None) -> Iterator[Tensor]:
    """The features of some rows, in order, as batches (B, V, ...) of ``at_once``; by default fewer maps or tokens."""
    # Tokens are (N, V, T, F), maps (N, V, F, H, W).
    positions = features.shape[2] if features.ndim == 4 else prod(features.shape[3:])
    at_once = at_once or max(1, 4096 // positions)
    for start in range(0, len(rows), at_once):
        yield torch.from_numpy(np.ascontiguousarray(features[rows[start : start + at_once]]))
