"""The image cache: images on disk at a stage's size, so that only the first epoch decodes files."""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from comp.data.disk_room import make_room, remove, room_for
from comp.data.reading import Paths, Pixels, Reading, in_threads, read_image
from comp.declare.reading import Size, size_in_words
from comp.errors import counted
from comp.files import alone, is_held, replacing_folder, source_digest

Rows = npt.NDArray[np.int64]

SAMPLED = 16


class ImageCache:
    """The images (H, W, C) of some rows, all covering the same size, in one memory-mapped file.

    Processes share its pages: a pickle has only the folder and the rows.

    rows: in ascending order, without repeats.
    """

    def __init__(self, folder: Path, rows: Rows) -> None:
        self.folder, self.rows = folder, rows

    def __contains__(self, row: int) -> bool:
        return row in self.rows[self.rows.searchsorted(row) :][:1]

    def __getitem__(self, row: int) -> Pixels:
        if row not in self:
            raise KeyError(row)
        shapes, starts, pixels = self._arrays
        index = self.rows.searchsorted(row)
        return pixels[starts[index] : starts[index + 1]].reshape(shapes[index])

    def __reduce__(self) -> tuple[type["ImageCache"], tuple[Path, Rows]]:
        return ImageCache, (self.folder, self.rows)

    @cached_property
    def _arrays(self) -> tuple[Rows, Rows, npt.NDArray[np.uint8]]:
        """The images' shapes (N, 3), their start offsets and the end of the last (N + 1,), and their bytes."""
        shapes, starts = (np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in ("shapes", "starts"))
        return shapes, starts, np.memmap(self.folder / "pixels", dtype=np.uint8, mode="r")

    @property
    def whole(self) -> bool:
        """Whether the files are there and complete."""
        try:
            shapes, starts, pixels = self._arrays
            return len(shapes) == len(starts) - 1 == len(self.rows) and pixels.size == starts[-1]
        except (OSError, ValueError, EOFError):
            return False


def cached_images(
    cache: Path,
    paths: Paths | Sequence[Path],
    rows: Rows,
    content: str,
    size: Size,
    reading: Reading,
    advance: Callable[[int], None],
    say: Callable[[str], None],
    beside: Collection[ImageCache] = (),
) -> ImageCache | None:
    """The images of these rows at a size, as by `read_image`, cached now if they weren't; None if there is no room.

    paths: of all rows. content: a fingerprint of their files' bytes. cache: the folder; other entries are removed from
    it, the longest unused first, where all together would take too much of the disk.
    advance: called with the number of images done since its last call. beside: other entries that must not be removed.
    """
    made_from = {
        "content": content,
        "rows": hashlib.blake2b(rows.tobytes(), digest_size=16).hexdigest(),
        "reading": [source_digest("comp.data.reading", "comp.data.readers"), size, *reading.key],
    }
    key = hashlib.blake2b(json.dumps(made_from, sort_keys=True).encode(), digest_size=16).hexdigest()
    cache.mkdir(parents=True, exist_ok=True)
    with alone(cache / f"{key}.lock", lambda: say("another process caches the same images; waiting for it")):
        if not ImageCache(cache / key, rows).whole:
            for unfinished in cache.glob("*.part"):
                if not is_held(unfinished.with_suffix(".lock")):  # what a killed process left
                    remove(unfinished)
            kept = {other.folder for other in beside}

            def stay(entry: Path) -> bool:
                """Whether the same stage needs the entry, or another process is writing it."""
                return entry in kept or (entry.suffix == ".part" and is_held(entry.with_suffix(".lock")))

            read = partial(read_image, size=size, reading=reading)
            wanted, room = _estimate(paths, rows, read), room_for(cache / key, stay)
            said = f"{counted(len(rows), 'image')} at {size_in_words(size)} px take about {wanted / 1e6:.0f} MB"
            if wanted > room:
                say(f"{said}, but only {room / 1e6:.0f} MB are left in {cache}: they are read anew in every epoch")
                return None
            make_room(cache / key, wanted, stay)
            try:
                _write(cache / key, in_threads(read, (Path(paths[row]) for row in rows)), advance)
            except OSError as error:
                say(f"{said}, which can't be written ({error.strerror}): they are read anew in every epoch")
                return None
            say(f"{said} in {cache}")
    with suppress(OSError):
        os.utime(cache / key)
    return ImageCache(cache / key, rows)


def _write(folder: Path, images: Iterable[Pixels], advance: Callable[[int], None]) -> None:
    """Write all images or nothing."""
    unfinished, shapes = folder.with_suffix(".part"), []
    remove(folder)
    with replacing_folder(folder, unfinished):
        with (unfinished / "pixels").open("wb") as file:
            for image in images:
                file.write(image.tobytes())
                shapes.append(image.shape)
                advance(1)
            file.flush()
            os.fsync(file.fileno())
        sizes = np.array(shapes, dtype=np.int64).reshape(-1, 3)
        np.save(unfinished / "shapes.npy", sizes)
        np.save(unfinished / "starts.npy", np.concatenate([[0], sizes.prod(axis=1).cumsum()]))


def _estimate(paths: Paths | Sequence[Path], rows: Rows, read: Callable[[Path], Pixels]) -> int:
    """The bytes that the images will take, estimated from a sample."""
    some = in_threads(read, (Path(paths[row]) for row in rows[:: max(1, len(rows) // SAMPLED)]))
    return round(len(rows) * np.mean([image.nbytes for image in some]))
