"""Files that appear whole or not at all, and files that say that somebody is at work."""

import fcntl
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

LOOK_SECONDS = 0.1


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that becomes ``path`` when the block ends well, and is removed when it doesn't.

    Written beside its place, flushed to disk, then renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(descriptor)
    unfinished = Path(name)
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def sweep(folder: Path) -> None:
    """Remove what a killed process left unfinished in a folder that nobody else writes to."""
    for unfinished in folder.rglob(".*.part"):
        unfinished.unlink(missing_ok=True)


def holds_files(folder: Path) -> bool:
    """Whether anything lies right in a folder, but for what is hidden; False where there is no folder."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Whether this process is the only one that holds the file, for the block; the kernel lets go when it dies."""
    with path.open("ab") as file:
        _not_in_children(file)
        alone = _lock(file, fcntl.LOCK_NB)
        if not alone:
            # Somebody may only have asked whether it is held.
            time.sleep(LOOK_SECONDS)
            alone = _lock(file, fcntl.LOCK_NB)
        yield alone


def is_held(path: Path) -> bool:
    """Whether a process holds the file, as `held` has it; False where there is no file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def alone(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Be the only process in the block of this path; the file at it is there for as long.

    waiting: called before another process is waited for.
    """
    while True:
        with path.open("ab") as file:
            _not_in_children(file)
            if not _lock(file, fcntl.LOCK_NB):
                waiting()
                _lock(file)
            # Who held it may have removed it, and another made a new one.
            if not _is_at(path, file):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lock(file: BinaryIO, how: int = 0) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    return True


def _not_in_children(file: BinaryIO) -> None:
    """Processes that read images are children; one that outlives this process would hold the file on."""
    reference = weakref.ref(file)

    def close() -> None:
        if (inherited := reference()) is not None:
            inherited.close()

    os.register_at_fork(after_in_child=close)
