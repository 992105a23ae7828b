"""Files and folders that appear whole or not at all, folders with a number, digests of files, and locks."""

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
# Somebody who only asks whether a file is held has it for less.
LOOK_SECONDS = 0.1
# Bytes of a file that a digest is of; it takes a tenth of a second.
MOST_BYTES = 1 << 26


def home() -> Path:
    """The folder that data, caches and runs are in: ``COMP_HOME``, or the working folder."""
    return Path(os.environ.get("COMP_HOME") or ".").expanduser().resolve()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that becomes ``path`` when the block ends well, and is removed when it doesn't.

    Written beside its place, flushed to disk, then renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose files are closed to others whatever the person's umask is.
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
    """An empty folder ``unfinished`` becomes ``folder`` when the block ends well, and is removed when it doesn't.

    Nobody else may write to either.
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
    """Remove what a killed process left unfinished in a folder that nobody else writes to."""
    for unfinished in folder.rglob(".*.part"):
        unfinished.unlink(missing_ok=True)


def holds_files(folder: Path) -> bool:
    """Whether anything lies right in a folder, but for what is hidden; False where there is no folder."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def numbered_folder(place: Path, name: str = "") -> Path:
    """A new folder in ``place``, called ``name`` with the next free number behind it."""
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

    It stands in keys, so that what edited code would make is not taken for what was made before. A package stands for
    all modules in it. None is imported. Raises ModuleNotFoundError for a name that is none of comp's. That of what a
    competition's own folder defines is `Competition.source`.
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
    """A digest, 16 hexadecimal digits, of files by their names: their bytes, and of those with more their dates.

    What is no file, or can't be read, is left out.
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
    """Whether this process is the only one that holds the file, for the block; the kernel lets go when it dies."""
    try:
        lock = lock_at(path).acquire(timeout=LOOK_SECONDS)
    except Timeout:
        yield False
        return
    with lock:
        yield True


def is_held(path: Path) -> bool:
    """Whether a process holds the file, as `held` has it; False where there is no file."""
    if sys.platform == "win32":  # which has no lock that several may hold
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
    """Be the only process in the block of this path; the file at it is there for as long.

    waiting: called before another process is waited for.
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
    """A lock that the kernel lets go of when its process dies, on every system."""
    # Any thread may let go; where the file system has no locks, a file that merely exists must not pass for one.
    return FileLock(path, thread_local=False, fallback_to_soft=False)
