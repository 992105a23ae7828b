"""Atomic writes of files and folders, numbered folders, digests of files, and locks."""

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from stat import S_ISREG

from filelock import BaseFileLock, FileLock, Timeout

ROOT = Path(__file__).parent.parent
# Longer than another process holds the file only to ask whether it is held.
LOOK_SECONDS = 0.1
# In bytes: larger files are known by their dates. Reading this much takes a tenth of a second.
MOST_BYTES = 1 << 26


def home() -> Path:
    """The folder of data, caches and runs: ``COMP_HOME``, or the working folder."""
    return Path(os.environ.get("COMP_HOME") or ".").expanduser().resolve()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write to: it is flushed to disk and renamed to ``path`` if the block succeeds, else removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files no other user can read, whatever the umask.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    unfinished.open("xb").close()
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, unfinished: Path) -> Iterator[None]:
    """Make the empty folder ``unfinished``, which becomes ``folder`` if the block succeeds, and is removed if not.

    No other process may write to either.
    """
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def sweep(folder: Path) -> None:
    """Remove the unfinished files of a killed process from a folder that no other process writes to."""
    for unfinished in folder.rglob(".*.part"):
        unfinished.unlink(missing_ok=True)


def holds_files(folder: Path) -> bool:
    """Whether a folder has any entry that isn't hidden; False where there is no folder."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def numbered_folder(place: Path, name: str = "") -> Path:
    """Make a folder in ``place``, called ``name`` with the next free number behind it."""
    place.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = place / f"{name}{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


@cache
def source_digest(*modules: str) -> str:
    """The digest of the source of comp's modules by name: ``source_digest("comp.data.reading")``.

    It is a part of cache keys, so that nothing is reused that edited code would make differently. A package stands for
    all its modules; none is imported. Raises ModuleNotFoundError for a name that is none of comp's. For the code in a
    competition's own folder, see `Competition.source`.
    """
    files: list[Path] = []
    for module in modules:
        path = ROOT.joinpath(*module.split("."))
        found = [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else sorted(path.rglob("*.py"))
        if not found:
            raise ModuleNotFoundError(f"There is no module {module!r} in {ROOT}.")
        files += found
    return digest_of({path.relative_to(ROOT).as_posix(): path for path in files})


def digest_of(files: Mapping[str, Path], most_bytes: int = MOST_BYTES) -> str:
    """A digest, 16 hexadecimal digits, of files by name: of the bytes, or of the dates of files over ``most_bytes``.

    Files that can't be read, and anything that isn't a regular file, are left out.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, path in sorted(files.items()):
        with suppress(OSError):
            facts = path.stat()
            if S_ISREG(facts.st_mode):
                known = path.read_bytes() if facts.st_size <= most_bytes else f"{facts.st_mtime_ns}".encode()
                digest.update(f"{name}\0{facts.st_size}\0".encode(errors="surrogateescape") + known)
    return digest.hexdigest()


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a file for the block; yields False if another process does. The kernel releases it when a process dies."""
    try:
        lock = lock_at(path).acquire(timeout=LOOK_SECONDS)
    except Timeout:
        yield False
        return
    with lock:
        yield True


def is_held(path: Path) -> bool:
    """Whether a process holds the file by `held`; False where there is no file."""
    if sys.platform == "win32":  # it has no shared locks
        with held(path) if path.exists() else nullcontext(True) as free:
            return not free
    import fcntl

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
    """Let only one process at a time into the block of this path; a file exists there meanwhile.

    waiting: called before waiting for another process.
    """
    lock = lock_at(path)
    try:
        acquired = lock.acquire(blocking=False)
    except Timeout:
        waiting()
        acquired = lock.acquire()
    with acquired:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def lock_at(path: Path) -> BaseFileLock:
    """A lock that the kernel releases when its process dies, on every system."""
    # Any thread may release it; where the file system has no locks, a file's mere existence must not pass for one.
    return FileLock(path, thread_local=False, fallback_to_soft=False)
