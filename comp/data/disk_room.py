"""The disk space of a cache folder's entries, files or folders, and the removal of old ones for a new one."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# The share that a cache's entries may take of the disk's free bytes and their own.
SHARE_OF_DISK = 0.5

# Whether an entry may not be removed.
Stays = Callable[[Path], bool]


def room_for(entry: Path, stays: Stays) -> int:
    """The bytes that an entry may take once all others that needn't stay are removed."""
    others = _others(entry)
    return max(0, _share(entry, others) - sum(_size(other) for other in others if stays(other)))


def make_room(entry: Path, wanted: int, stays: Stays) -> None:
    """Remove the longest unused entries until ``wanted`` bytes have room, or all that are left must stay.

    A process that has an entry open or mapped keeps its content.
    """
    others = _others(entry)
    taken, share = sum(map(_size, others)), _share(entry, others)
    for other in others:
        if wanted + taken <= share:
            break
        if not stays(other):
            taken -= _size(other)
            remove(other)


def remove(entry: Path) -> None:
    """Remove a file or a folder, as far as that can be done."""
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with suppress(OSError):
            entry.unlink()


def last_used(entry: Path) -> float:
    """The time of an entry's last use, in seconds since 1970; 0 where another process removed it meanwhile."""
    with suppress(FileNotFoundError):
        return entry.stat().st_mtime
    return 0.0


def _others(entry: Path) -> list[Path]:
    """The folder's other entries, whole or begun, the longest unused first."""
    own, beside = {entry, entry.with_suffix(".part")}, {".lock", ".rows"}
    found = entry.parent.iterdir() if entry.parent.is_dir() else ()
    return sorted((other for other in found if other not in own and other.suffix not in beside), key=last_used)


def _share(entry: Path, others: list[Path]) -> int:
    """The bytes that the folder's entries may take together."""
    folder = next(folder for folder in entry.parents if folder.is_dir())
    return int(SHARE_OF_DISK * (shutil.disk_usage(folder).free + sum(map(_size, others))))


def _size(entry: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(file.stat().st_size for file in (entry.iterdir() if entry.is_dir() else (entry,)))
    return 0
