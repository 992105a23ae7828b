"""Everything a competition needs from Kaggle, in one folder, brought there once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from comp.errors import DataError
from comp.files import alone, holds_files, write_text
from comp.kaggle.archives import NESTED_SUFFIXES, DamagedError, extract, kind_of, link
from comp.kaggle.client import Kaggle
from comp.kaggle.downloads import Download, Progress, StoppedError, at_once, downloaded_before, forget, unwatched
from comp.kaggle.failures import Say, silent

RECORD = ".complete.json"
ARCHIVES = ".archives"
LOCK = ".lock"
RESERVED = (RECORD, ARCHIVES, LOCK)
UNPACKED = "unpacked.json"  # among the archives, until all are


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


@dataclass(frozen=True)
class Fetched:
    """What was fetched into a folder.

    files: the names in each folder, by its path; none where the record is from before they were listed. was_there: an
    earlier fetch had brought it. downloaded: the archives that were brought for it, by this fetch or an earlier one
    that was interrupted.
    """

    archives: tuple[FetchedArchive, ...]
    files: Mapping[str, Sequence[str]]
    was_there: bool = True
    downloaded: tuple[FetchedArchive, ...] = ()

    def gone(self, folder: Path) -> int:
        """How many of the files are in ``folder`` no more; one look at each folder, none at a file."""
        return sum(len(set(names) - _names_in(folder / place)) for place, names in self.files.items())


def fetch(
    connect: Callable[[], Kaggle],
    slug: str,
    datasets: Sequence[str],
    folder: Path,
    progress: Callable[[str], Progress] = lambda _: unwatched,
    say: Say = silent,
    *,
    mount_of: Callable[[str], Path | None] = lambda _: None,
    delete_archives: bool = False,
) -> Fetched:
    """Bring a competition's files and those of its extra data sets into ``folder``, unpacked.

    All archives are downloaded at once and unpacked in order: where two sources hold a file of the same name, the
    later one's stays. ``folder/.complete.json`` is written last and says what was fetched; with it there, nothing is
    done and nobody is connected to, unless files that it lists are gone. Then all is unpacked again, from the archives
    that were kept where they were. Interrupted, the next call resumes: archives that are unpacked are not asked for
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
    sources, kept = [slug, *datasets], folder / ARCHIVES
    found = _read(folder / RECORD, sources)
    if found is not None and not found.gone(folder) and not (delete_archives and kept.exists()):
        return found
    with _alone_in(folder, say):
        found = _read(folder / RECORD, sources)
        if found is None or found.gone(folder):
            found = _bring(connect, sources, folder, progress, say, mount_of, found)
        if delete_archives:
            shutil.rmtree(kept, ignore_errors=True)
        return found


def adopt(found: Path, sources: Sequence[str], folder: Path, say: Say = silent) -> bool:
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
    record = [FetchedArchive(source, found.name, 0, None) for source in sources]
    if _links_to(found, folder):
        _write(folder / RECORD, sources, record)
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
    _write(folder / RECORD, sources, record)
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


def _bring(
    connect: Callable[[], Kaggle],
    sources: Sequence[str],
    folder: Path,
    progress: Callable[[str], Progress],
    say: Say,
    mount_of: Callable[[str], Path | None],
    lost: Fetched | None,
) -> Fetched:
    """Unpack what isn't yet; everything where files of what had been fetched are ``lost``."""
    unpacked = folder / ARCHIVES / UNPACKED
    begun = _read(unpacked, sources) if lost is None else None
    done = [] if begun is None else list(begun.archives)
    # All that come after one that isn't unpacked yet are unpacked again, so that the later one's files stay.
    missing = sources[len(done) :]
    archives = {source: folder / ARCHIVES / source.replace("/", "_") / _name(source) for source in missing}
    mounts = {source: mount for source in missing if (mount := mount_of(source)) is not None}
    kept = {
        source: download
        for source, archive in archives.items()
        if lost is not None and (download := downloaded_before(archive)) is not None
    }
    absent = [source for source in missing if source not in mounts and source not in kept]
    if lost is not None:
        say(_lost_in_words(lost, folder, [_name(source) for source in absent], bool(kept)))
    jobs = []
    if absent:
        kaggle = connect()
        for source in absent:
            bring = kaggle.download_competition if source == sources[0] else kaggle.download_dataset
            jobs.append(partial(_watched, partial(bring, source, archives[source].parent), progress(_name(source))))
    # Half unpacked again, all files may be there, but an earlier source's in place of a later one's.
    (folder / RECORD).unlink(missing_ok=True)
    with at_once(jobs) as downloads:
        for source in missing:
            if source in mounts:
                notes = link(mounts[source], folder, RESERVED)
                done.append(FetchedArchive(source, mounts[source].name, 0, None, mount=str(mounts[source])))
            else:
                got = kept.get(source) or downloads[absent.index(source)].result()
                notes = _extracted(got.path, folder)
                done.append(FetchedArchive(source, got.path.name, got.path.stat().st_size, got.validator, got.md5))
            for note in notes:
                say(note)
            _write(unpacked, sources, done)
    files = _files_in(folder)
    _write(folder / RECORD, sources, done, files)
    with contextlib.suppress(OSError):
        unpacked.unlink(missing_ok=True)
        unpacked.parent.rmdir()
    downloaded = tuple(archive for archive in done if not archive.mount and archive.source not in kept)
    return Fetched(tuple(done), files, was_there=False, downloaded=downloaded)


def _watched(bring: Callable[[Progress], Download], progress: Progress, stop: Event) -> Download:
    def told(done_bytes: int, total_bytes: int | None, /) -> None:
        if stop.is_set():
            raise StoppedError
        progress(done_bytes, total_bytes)

    return bring(told)


def _extracted(archive: Path, folder: Path) -> list[str]:
    try:
        return extract(archive, folder, RESERVED)
    except DamagedError:
        forget(archive)
        raise


def _lost_in_words(lost: Fetched, folder: Path, downloaded: Sequence[str], kept: bool) -> str:
    gone, listed = lost.gone(folder), sum(len(names) for names in lost.files.values())
    again = "the kept archives are unpacked again" if kept else "what is mounted is linked again"
    if downloaded:
        again = f"{' and '.join(downloaded)} {'is' if len(downloaded) == 1 else 'are'} downloaded again"
    return f"{gone} of {listed} files in {folder} {'is' if gone == 1 else 'are'} gone; {again}"


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


def _read(record: Path, sources: Sequence[str]) -> Fetched | None:
    """The record, or None if it isn't there or is of other sources."""
    try:
        content: Any = json.loads(record.read_text(encoding="utf-8"))
        archives = tuple(FetchedArchive(**archive) for archive in content["archives"])
        return Fetched(archives, content.get("files") or {}) if content["sources"] == list(sources) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(
    record: Path,
    sources: Sequence[str],
    archives: Sequence[FetchedArchive],
    files: Mapping[str, Sequence[str]] | None = None,
) -> None:
    content = {"sources": list(sources), "archives": [asdict(archive) for archive in archives], "files": files}
    write_text(record, json.dumps(content))


@contextlib.contextmanager
def _alone_in(folder: Path, say: Say) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / LOCK, lambda: say(f"another download to {folder} is under way; waiting for it")):
            yield
    except OSError as error:
        raise DataError(
            f"{folder} can't be written: {error.strerror or error}; make it writable and give it room, or set "
            "COMP_HOME to another folder."
        ) from error
