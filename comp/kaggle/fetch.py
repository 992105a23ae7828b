"""Everything a competition needs from Kaggle, in one folder, brought there once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comp.errors import DataError
from comp.files import holds_files
from comp.kaggle.archives import NESTED_SUFFIXES, extract, link
from comp.kaggle.client import Download
from comp.kaggle.concurrently import Jobs, StoppedError
from comp.kaggle.downloads import forget
from comp.kaggle.formats import DamagedError, kind_of
from comp.kaggle.progress import silent_for, unheard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from threading import Event

    from comp.kaggle.client import Kaggle
    from comp.kaggle.progress import Progress, ProgressOf, Say

RECORD = ".complete.json"
ARCHIVES = ".archives"
LOCK = ".lock"
RESERVED = (RECORD, ARCHIVES, LOCK)


@dataclass(frozen=True)
class FetchedArchive:
    """An archive that was downloaded and unpacked, or a folder that was there.

    source: the competition's slug, or the ``owner/name`` of a data set. size: in bytes. validator: Kaggle's ETag or
    Last-Modified. md5: in hexadecimal, where Kaggle says it. mount: the folder, of which there are links.
    """

    source: str
    name: str
    size: int
    validator: str | None
    md5: str | None = None
    mount: str | None = None


def nowhere(source: str, /) -> Path | None:  # noqa: ARG001
    """Where a source is mounted that is not."""
    return None


@dataclass(frozen=True)
class FetchReport:
    """What lies in ``folder``; ``was_there`` if an earlier fetch had brought it, ``kept`` if the archives still are.

    downloaded: the archives that were brought for it: by this fetch, or an earlier one that was interrupted.
    """

    folder: Path
    archives: tuple[FetchedArchive, ...]
    was_there: bool
    kept: bool
    downloaded: tuple[FetchedArchive, ...] = ()


@dataclass(frozen=True)
class _Record:
    """What an earlier fetch brought.

    files: the names in each folder, by its path; None where the record is from before they were listed.
    """

    archives: tuple[FetchedArchive, ...]
    files: Mapping[str, Sequence[str]] | None = None

    def gone(self, folder: Path) -> int:
        """How many of the files are in ``folder`` no more; one look at each folder, none at a file."""
        return sum(len(set(names) - _names_in(folder / place)) for place, names in (self.files or {}).items())


def fetch(
    connect: Callable[[], Kaggle],
    slug: str,
    datasets: Sequence[str],
    folder: Path,
    progress: ProgressOf = silent_for,
    say: Say = unheard,
    *,
    mount_of: Callable[[str], Path | None] = nowhere,
    delete_archives: bool = False,
) -> FetchReport:
    """Bring a competition's files and those of its extra data sets into ``folder``, unpacked.

    All archives are downloaded at once and unpacked in order: where two sources hold a file of the same name, the
    later one's stays. ``folder/.complete.json`` is written last and says what was fetched; with it there, nothing is
    done and nobody is connected to, unless files that it lists are gone. Then all is unpacked again, from the archives
    that were kept where they were. Interrupted, the next call goes on: archives that are unpacked are not asked for
    again, one that is half downloaded is resumed. A second process waits for the first. Of a source that is mounted
    there are links instead, and nobody is connected to for it.

    Args:
        connect: makes the connection, when one is needed.
        slug: the competition.
        datasets: ``owner/name`` of each data set.
        folder: made if missing.
        progress: called with an archive's name before its download; what it gives is called from other threads.
        say: called with a line about what is waited for, or worth knowing.
        mount_of: gives the folder where a source is mounted, if it is.
        delete_archives: once they are unpacked, also where an earlier fetch kept them.

    Raises:
        KaggleError: Kaggle refuses or is away.
        DataError: an archive can't be unpacked, or the folder can't be written.
    """
    sources = [slug, *datasets]
    found = _read(folder / RECORD, sources)
    if found is not None and not found.gone(folder) and not (delete_archives and (folder / ARCHIVES).exists()):
        return FetchReport(folder, found.archives, was_there=True, kept=(folder / ARCHIVES).exists())
    with _alone_in(folder, say):
        found = _read(folder / RECORD, sources)
        if found is not None and not found.gone(folder):
            report = FetchReport(folder, found.archives, was_there=True, kept=True)
        else:
            archives, downloaded = _bring(connect, sources, folder, progress, say, mount_of, found)
            report = FetchReport(folder, archives, was_there=False, kept=True, downloaded=downloaded)
        if delete_archives:
            shutil.rmtree(folder / ARCHIVES, ignore_errors=True)
        return replace(report, kept=(folder / ARCHIVES).exists())


def adopt(found: Path, sources: Sequence[str], folder: Path, say: Say = unheard) -> bool:
    """Make ``folder`` what `fetch` would make it, of what is ``found`` on this machine: a folder, or one archive.

    Of a folder there are links, so that nothing is copied and nothing in it is changed; an archive is unpacked.
    Where the very same links are there already, they stay; returns whether anything was put there.

    Args:
        found: has the files of all ``sources``.
        sources: the competition's slug, and the ``owner/name`` of each data set.
        folder: made if missing; may hold what a failed download left.
        say: called with a line worth knowing.

    Raises:
        DataError: there is nothing at ``found``, it holds archives or can't be unpacked; ``folder`` holds other data.
    """
    if _links_to(found, folder):
        _write_adopted(found, sources, folder)
        return False
    if holds_files(folder):
        raise DataError(f"{folder} holds other data; remove it or move it away, and run the same command again.")
    if found.is_file():
        if kind_of(found) is None:
            raise DataError(f"{found} is neither a folder nor an archive (zip, tar or 7z) of the competition's files.")
        try:
            notes = extract(found, folder, RESERVED)
        except DamagedError as error:
            raise DataError(f"{found} can't be unpacked: it is damaged or cut short; get another copy.") from error
        for note in notes:
            say(note)
    elif found.is_dir():
        inside = _visible(found)
        if not inside:
            raise DataError(f"{found} is empty; name the folder, or the archive, that the competition's files are in.")
        packed = [path for path in inside if path.is_file() and path.name.lower().endswith(NESTED_SUFFIXES)]
        if packed:
            raise DataError(f"{found} holds {packed[0].name}, which is not unpacked; unpack it there.")
        folder.mkdir(parents=True, exist_ok=True)
        for path in inside:
            (folder / path.name).symlink_to(path.resolve())
    else:
        raise DataError(f"There is no {found}; name the folder, or the archive, that the competition's files are in.")
    _write_adopted(found, sources, folder)
    return True


def disown(folder: Path) -> None:
    """Remove what `adopt` put into a folder, with the folder if nothing else is in it."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            if path.name != ARCHIVES:
                shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _links_to(found: Path, folder: Path) -> bool:
    """Whether all that lies in ``folder`` are links to all that lies in the folder ``found``."""
    if not (found.is_dir() and holds_files(folder)):
        return False
    links = {path.name: path.resolve() for path in _visible(folder) if path.is_symlink()}
    return len(links) == len(_visible(folder)) and links == {path.name: path.resolve() for path in _visible(found)}


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _write_adopted(found: Path, sources: Sequence[str], folder: Path) -> None:
    _write(folder / RECORD, sources, [FetchedArchive(source, found.name, 0, None) for source in sources])


def _bring(
    connect: Callable[[], Kaggle],
    sources: Sequence[str],
    folder: Path,
    progress: ProgressOf,
    say: Say,
    mount_of: Callable[[str], Path | None],
    lost: _Record | None,
) -> tuple[tuple[FetchedArchive, ...], tuple[FetchedArchive, ...]]:
    """The archives that are unpacked now, and those of them that were downloaded.

    lost: what lay there before files of it were removed.
    """
    places = {source: folder / ARCHIVES / source.replace("/", "_") for source in sources}
    done: list[FetchedArchive] = []
    for source, place in places.items() if lost is None else ():
        receipt = _read(place / RECORD, [source])
        if receipt is None:
            break
        done += receipt.archives
    # What comes after one that isn't unpacked yet is unpacked again, so that the later one's files stay.
    missing = sources[len(done) :]
    mounts = {source: mount for source in missing if (mount := mount_of(source)) is not None}
    kept = {} if lost is None else _kept(lost, places)
    absent = [source for source in missing if source not in mounts and source not in kept]
    if lost is not None:
        say(f"{_gone_in_words(lost, folder)}; {_again_in_words([_name(source) for source in absent], bool(kept))}")
    jobs = []
    if absent:
        kaggle = connect()
        jobs = [
            partial(_download, kaggle, source, source == sources[0], places[source], progress(_name(source)))
            for source in absent
        ]
    # Half unpacked again, all files may be there, but an earlier source's in place of a later one's.
    (folder / RECORD).unlink(missing_ok=True)
    with Jobs(jobs) as downloads:
        for source in missing:
            if source in mounts:
                archive = _linked(mounts[source], source, folder, say)
            elif source in kept:
                archive = _unpacked(kept[source], source, folder, say)
            else:
                archive = _unpacked(downloads.result(absent.index(source)), source, folder, say)
            places[source].mkdir(parents=True, exist_ok=True)
            _write(places[source] / RECORD, [source], (archive,))
            done.append(archive)
    _write(folder / RECORD, sources, done, _files_in(folder))
    for place in places.values():
        # With everything recorded, an archive that is kept says nothing any more about what lies unpacked.
        with contextlib.suppress(OSError):
            (place / RECORD).unlink(missing_ok=True)
            place.rmdir()
    with contextlib.suppress(OSError):
        (folder / ARCHIVES).rmdir()
    return tuple(done), tuple(archive for archive in done if not archive.mount and archive.source not in kept)


def _kept(lost: _Record, places: Mapping[str, Path]) -> dict[str, Download]:
    """The archives, by source, that lie where they were downloaded to, and are as long as they were."""
    kept = {}
    for archive in lost.archives:
        path = places[archive.source] / archive.name
        if archive.size and path.is_file() and path.stat().st_size == archive.size:
            kept[archive.source] = Download(path, archive.size, archive.validator, archive.md5)
    return kept


def _gone_in_words(lost: _Record, folder: Path) -> str:
    gone, listed = lost.gone(folder), sum(len(names) for names in (lost.files or {}).values())
    return f"{gone} of {listed} files in {folder} {'is' if gone == 1 else 'are'} gone"


def _again_in_words(downloaded: Sequence[str], kept: bool) -> str:
    if downloaded:
        return f"{' and '.join(downloaded)} {'is' if len(downloaded) == 1 else 'are'} downloaded again"
    return "the kept archives are unpacked again" if kept else "what is mounted is linked again"


def _linked(mount: Path, source: str, folder: Path, say: Say) -> FetchedArchive:
    for note in link(mount, folder, RESERVED):
        say(note)
    return FetchedArchive(source, mount.name, 0, None, mount=str(mount))


def _download(
    kaggle: Kaggle, source: str, is_competition: bool, place: Path, progress: Progress, stop: Event
) -> Download:
    def watched(done_bytes: int, total_bytes: int | None, /) -> None:
        if stop.is_set():
            raise StoppedError
        progress(done_bytes, total_bytes)

    bring: Callable[..., Download] = kaggle.download_competition if is_competition else kaggle.download_dataset
    return bring(source, place, watched)


def _unpacked(got: Download, source: str, folder: Path, say: Say) -> FetchedArchive:
    try:
        notes = extract(got.path, folder, RESERVED)
    except DamagedError:
        forget(got.path)
        raise
    for note in notes:
        say(note)
    return FetchedArchive(source, got.path.name, got.size, got.validator, got.md5)


def _name(source: str) -> str:
    return source.rpartition("/")[2] + ".zip"


def _files_in(folder: Path) -> dict[str, list[str]]:
    """The names of the files, and of links to folders, in each folder by its path from ``folder``."""
    listed = {}
    for base, folders, names in os.walk(folder):
        place = os.path.relpath(base, folder)
        if place == ".":
            folders[:] = [name for name in folders if name not in RESERVED]
            names = [name for name in names if name not in RESERVED]
        names += [name for name in folders if Path(base, name).is_symlink()]
        if names:
            listed[place] = sorted(names)
    return listed


def _names_in(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _read(record: Path, sources: Sequence[str]) -> _Record | None:
    """What the record says was fetched, or None if it isn't there or is of other sources."""
    try:
        content: Any = json.loads(record.read_text(encoding="utf-8"))
        archives = tuple(FetchedArchive(**archive) for archive in content["archives"])
        files = content.get("files")
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return _Record(archives, files) if [archive.source for archive in archives] == list(sources) else None


def _write(
    record: Path,
    sources: Sequence[str],
    archives: Sequence[FetchedArchive],
    files: Mapping[str, Sequence[str]] | None = None,
) -> None:
    content = {"sources": list(sources), "archives": [asdict(archive) for archive in archives], "files": files}
    beside = record.with_name(record.name + ".part")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(record)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise DataError(f"{record} can't be written: {error.strerror or error}; make room and run again.") from error


@contextlib.contextmanager
def _alone_in(folder: Path, say: Say) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise DataError(
            f"{folder} can't be written: {error.strerror or error}; make it writable, or set COMP_HOME to a folder "
            "that is."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another download to {folder} is under way; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
