"""Images kept on disk as a stage reads them, so that only their first epoch decodes files."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from comp.data.reading import Pixels, opened, read_image
from comp.data.threads import in_threads
from comp.files import alone, is_held

Rows = npt.NDArray[np.int64]

# Of the disk's free bytes, those that kept images have included.
SHARE_OF_DISK = 0.5
# Raised when `read_image` makes other pixels of the same file.
READING = 1
SAMPLED = 64


class ImageCache:
    """The images of some rows, RGB (H, W, 3), all with the same shorter side, in one file that is mapped, not read.

    Processes share its pages; what is handed to another process is the file's place alone.

    rows: in ascending order, none twice.
    """

    def __init__(self, folder: Path, rows: Rows) -> None:
        self.folder, self.rows = folder, rows

    def __contains__(self, row: int) -> bool:
        return self._place(row) is not None

    def __getitem__(self, row: int) -> Pixels:
        place = self._place(row)
        if place is None:
            raise KeyError(row)
        height, width = self._shapes[place]
        start = self._starts[place]
        image: Pixels = self._pixels[start : start + 3 * height * width].reshape(height, width, 3)
        return image

    def __reduce__(self) -> tuple[type["ImageCache"], tuple[Path, Rows]]:
        return ImageCache, (self.folder, self.rows)

    def _place(self, row: int) -> int | None:
        place = int(self.rows.searchsorted(row))
        return place if place < len(self.rows) and self.rows[place] == row else None

    @cached_property
    def _shapes(self) -> npt.NDArray[np.int64]:
        shapes: npt.NDArray[np.int64] = np.load(self.folder / "shapes.npy", mmap_mode="r")
        return shapes

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        starts: npt.NDArray[np.int64] = np.load(self.folder / "starts.npy", mmap_mode="r")
        return starts

    @cached_property
    def _pixels(self) -> npt.NDArray[np.uint8]:
        return np.memmap(self.folder / "pixels", dtype=np.uint8, mode="r")

    @property
    def whole(self) -> bool:
        """Whether the files are there and hold what they should."""
        try:
            rows = len(self.rows)
            lengths = len(self._shapes), len(self._starts) - 1
            return lengths == (rows, rows) and self._pixels.size == self._starts[-1]
        except (OSError, ValueError, EOFError):
            return False


def keep(
    cache: Path,
    paths: Sequence[Path],
    rows: Rows,
    content: str,
    short_side: int,
    interpolation: str,
    advance: Callable[[int], None],
    say: Callable[[str], None],
    beside: Collection[ImageCache] = (),
) -> ImageCache | None:
    """The images of these rows as `read_image` gives them, from the cache or put there; None where there is no room.

    paths: of all rows. content: a fingerprint of their files' bytes. cache: its folder; other images that were kept
    there are removed, the longest unused first, where all together would take more than SHARE_OF_DISK.
    advance: is called with the number of images that were done since. beside: what must stay there as well.
    """
    made_from = {
        "content": content,
        "rows": hashlib.blake2b(rows.tobytes(), digest_size=16).hexdigest(),
        "reading": [READING, short_side, interpolation, version("pillow")],
    }
    key = hashlib.blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=16).hexdigest()
    kept = ImageCache(cache / key, rows)
    cache.mkdir(parents=True, exist_ok=True)
    with alone(cache / f"{key}.lock", lambda: say("another process keeps the same images; waiting for it")):
        if not kept.whole:
            kept = ImageCache(cache / key, rows)
            stay = {other.folder for other in beside}
            wanted, room = _estimate(paths, rows, short_side), _room(cache) - sum(map(_size, stay))
            size = f"{len(rows)} images at {short_side} px take about {wanted / 1e6:.0f} MB"
            if wanted > room:
                say(f"{size}, more than the {room / 1e6:.0f} MB for them in {cache}: they are read anew in every epoch")
                return None
            _make_room(cache, room - wanted, stay)
            read = partial(read_image, short_side=short_side, interpolation=interpolation)
            try:
                _write(kept.folder, (paths[row] for row in rows), read, advance)
            except OSError as error:
                say(f"{size}, which can't be written ({error.strerror}): they are read anew in every epoch")
                return None
            say(f"{size} of the {room / 1e6:.0f} MB for them in {cache}")
    with suppress(OSError):
        os.utime(kept.folder)
    return kept


def _write(folder: Path, paths: Iterable[Path], read: Callable[[Path], Pixels], advance: Callable[[int], None]) -> None:
    """All of it or nothing; nobody else writes there."""
    unfinished = folder.with_suffix(".part")
    for old in (unfinished, folder):
        shutil.rmtree(old, ignore_errors=True)
    try:
        unfinished.mkdir()
        with (unfinished / "pixels").open("wb") as file:
            shapes = [_append(file, image, advance) for image in in_threads(read, paths)]
            file.flush()
            os.fsync(file.fileno())
        sizes = np.array(shapes, dtype=np.int64).reshape(-1, 2)
        np.save(unfinished / "shapes.npy", sizes)
        np.save(unfinished / "starts.npy", np.concatenate([[0], 3 * sizes.prod(axis=1).cumsum()]))
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _append(file: BinaryIO, image: Pixels, advance: Callable[[int], None]) -> tuple[int, int]:
    file.write(image.tobytes())
    advance(1)
    return image.shape[0], image.shape[1]


def _estimate(paths: Sequence[Path], rows: Rows, short_side: int) -> float:
    """The bytes that the images will take, from the sizes of some."""
    aspects = []
    for row in rows[:: max(1, len(rows) // SAMPLED)]:
        with suppress(Exception), opened(paths[row]) as image:
            aspects.append(max(image.size) / min(image.size))
    return float(len(rows) * 3 * short_side**2 * (np.mean(aspects) if aspects else 1))


def _room(cache: Path) -> float:
    """The bytes that kept images may take."""
    return SHARE_OF_DISK * (shutil.disk_usage(cache).free + sum(map(_size, _folders(cache))))


def _make_room(cache: Path, room: float, stay: Collection[Path]) -> None:
    """Remove what killed processes left, and the images that were unused for the longest time, until the others fit.

    Who trains on images that are removed goes on with what it has mapped, or with the files.
    """
    for unfinished in cache.glob("*.part"):
        if not is_held(unfinished.with_suffix(".lock")):
            shutil.rmtree(unfinished, ignore_errors=True)
    taken = 0.0
    for folder in sorted(set(_folders(cache)) - set(stay), key=_used, reverse=True):
        taken += _size(folder)
        if taken > room:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir() and path.suffix != ".part"]


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another process made room
        return 0.0


def _size(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except FileNotFoundError:
        return 0
