"""Everything a competition needs from Kaggle, in one folder, brought there once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from comp.errors import DataError
from comp.kaggle.archives import NESTED_SUFFIXES, extract
from comp.kaggle.progress import silent_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from comp.kaggle.client import Download, Kaggle
    from comp.kaggle.progress import ProgressOf

RECORD = ".complete.json"


@dataclass(frozen=True)
class FetchedArchive:
    """An archive that was unpacked and, unpacked, deleted.

    source: the competition's slug, or the ``owner/name`` of a data set. size: in bytes. validator: Kaggle's ETag or
    Last-Modified.
    """

    source: str
    name: str
    size: int
    validator: str | None


@dataclass(frozen=True)
class FetchReport:
    """What lies in ``folder``; ``was_there`` if an earlier fetch had brought it and this one did nothing."""

    folder: Path
    archives: tuple[FetchedArchive, ...]
    was_there: bool


def fetch(
    connect: Callable[[], Kaggle],
    slug: str,
    datasets: Sequence[str],
    folder: Path,
    progress: ProgressOf = silent_for,
) -> FetchReport:
    """Bring a competition's files and those of its extra data sets into ``folder``, unpacked.

    Where two sources hold a file of the same name, the later one's stays. ``folder/.complete.json`` is written last
    and says what was fetched; with it there, nothing is done and nobody is connected to. Interrupted, the next call
    goes on: archives that are unpacked are not asked for again, one that is half downloaded is resumed. A second
    process waits for the first.

    Args:
        connect: makes the connection, when one is needed.
        slug: the competition.
        datasets: ``owner/name`` of each data set.
        folder: made if missing.
        progress: called with an archive's name before its download.

    Raises:
        KaggleError: Kaggle refuses or is away.
        DataError: an archive can't be unpacked, or the folder can't be written.
    """
    sources = [slug, *datasets]
    found = _read(folder / RECORD, sources)
    if found is not None:
        return FetchReport(folder, found, was_there=True)
    with _alone_in(folder):
        found = _read(folder / RECORD, sources)
        if found is not None:
            return FetchReport(folder, found, was_there=True)
        kaggle = connect()
        archives = tuple(_one(kaggle, source, source == slug, folder, progress) for source in sources)
        _write(folder / RECORD, sources, archives)
        shutil.rmtree(folder / ".archives", ignore_errors=True)
        return FetchReport(folder, archives, was_there=False)


def adopt(found: Path, slug: str, folder: Path) -> None:
    """Make ``folder`` what `fetch` would make it, of what is ``found`` on this machine: a folder, or one archive.

    Of a folder there are links, so that nothing is copied and nothing in it is changed; an archive is unpacked.

    Raises:
        DataError: there is nothing at ``found``, it holds archives, or ``folder`` is there already.
    """
    if folder.exists():
        raise DataError(f"{folder} holds the competition's data already; leave out --data, or remove that folder.")
    if found.is_file():
        extract(found, folder)
    elif found.is_dir():
        inside = [path for path in sorted(found.iterdir()) if not path.name.startswith(".")]
        packed = [path for path in inside if path.is_file() and path.name.lower().endswith(NESTED_SUFFIXES)]
        if packed:
            raise DataError(f"{found} holds {packed[0].name}, which is not unpacked; unpack it there.")
        folder.mkdir(parents=True)
        for path in inside:
            (folder / path.name).symlink_to(path.resolve())
    else:
        raise DataError(f"There is no {found}; name the folder, or the archive, that the competition's files are in.")
    _write(folder / RECORD, [slug], (FetchedArchive(slug, found.name, 0, None),))


def _one(kaggle: Kaggle, source: str, is_competition: bool, folder: Path, progress: ProgressOf) -> FetchedArchive:
    # a folder for each source, because two owners may give their data sets the same name
    archives = folder / ".archives" / source.replace("/", "_")
    receipt = archives / RECORD
    done = _read(receipt, [source])
    if done is not None:
        return done[0]
    name = source.rpartition("/")[2] + ".zip"
    bring: Callable[..., Download] = kaggle.download_competition if is_competition else kaggle.download_dataset
    got = bring(source, archives, progress(name))
    extract(got.path, folder)
    archive = FetchedArchive(source, got.path.name, got.size, got.validator)
    _write(receipt, [source], (archive,))
    got.path.unlink()
    return archive


def _read(record: Path, sources: Sequence[str]) -> tuple[FetchedArchive, ...] | None:
    """What the record says was fetched, or None if it isn't there or is of other sources."""
    try:
        content: Any = json.loads(record.read_text(encoding="utf-8"))
        archives = tuple(FetchedArchive(**archive) for archive in content["archives"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return archives if [archive.source for archive in archives] == list(sources) else None


def _write(record: Path, sources: Sequence[str], archives: tuple[FetchedArchive, ...]) -> None:
    content = {
        "sources": list(sources),
        "archives": [asdict(archive) for archive in archives],
        "archives_kept": False,
    }
    beside = record.with_name(record.name + ".part")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(record)
    except OSError as error:
        raise DataError(f"{record} can't be written: {error.strerror or error}; make room and run again.") from error


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise DataError(
            f"{folder} can't be written: {error.strerror or error}; make it writable, or set COMP_HOME to a folder "
            "that is."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
