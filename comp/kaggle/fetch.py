"""Download a competition's data from Kaggle, once, into one folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from comp.console import Console
from comp.declare.competition import Competition
from comp.errors import CredentialsError, DataError
from comp.files import alone, holds_files, write_text
from comp.kaggle.archives import BY_HAND, DamagedError, extract, link
from comp.kaggle.client import Kaggle
from comp.kaggle.downloads import Progress, amount, downloaded_before, forget, unwatched
from comp.kaggle.failures import MissingError, Say
from comp.kaggle.record import (
    ARCHIVES,
    LOCK,
    RECORD,
    RESERVED,
    Listed,
    files_in,
    gone_from,
    in_words,
    must_be_whole,
    read_record,
    write_record,
)
from comp.kaggle.sources import kaggle_of, mount_of
from comp.runs import Workspace


def download(
    competition: Competition, workspace: Workspace, console: Console, *, delete_archives: bool = False
) -> Path:
    """Download and unpack the competition's files and data sets, unless they are there; return their one folder.

    Raises KaggleError, and DataError where linked files are gone, an archive is damaged or the disk is full.
    """
    folder = workspace.data(competition.name)
    if "data" in read_record(folder):
        must_be_whole(competition.name, folder, console.say)
    try:
        with kaggle_of(competition, workspace, console.say) as connect, console.downloads() as progress:
            downloaded = fetch(
                connect,
                [competition.kaggle, *(dataset.handle for dataset in competition.extra_data)],
                folder,
                progress,
                console.say,
                mount_of=mount_of,
                delete_archives=delete_archives,
            )
    except (CredentialsError, MissingError) as error:
        # The slug may be a mere placeholder, equal to the name: the data may be on this machine instead.
        name, another = competition.name, ""
        if holds_files(folder):
            another = f"; `comp train {name}` and `comp predict {name}` take the files that are in {folder}"
        elif competition.kaggle == name:
            another = f"; where the files are on this machine, `comp new {name} --data DIR` links them instead"
        error.args = (f"{str(error).removesuffix('.')}{another}.",)
        raise
    if downloaded and not delete_archives:
        size = amount(sum(archive.stat().st_size for archive in (folder / ARCHIVES).glob("*/*.zip")))
        console.say(f"the archives are kept, {size}; --delete-archives deletes them")
    return folder


def fetch(
    connect: Callable[[], Kaggle],
    sources: Sequence[str],
    folder: Path,
    progress: Callable[[str], Progress] = lambda _: unwatched,
    say: Say = lambda _: None,
    *,
    mount_of: Callable[[str], Path | None] = lambda _: None,
    delete_archives: bool = False,
) -> bool:
    """Download a competition's files and those of its extra data sets, and unpack them into ``folder``.

    All archives are downloaded, then unpacked in the order of ``sources``: of two files of the same name, the later
    source's stays. ``folder/.complete.json`` is written last and lists what was fetched; if it is of these sources,
    nothing is done and no connection made, unless files that it lists are gone: then everything is unpacked again.
    Archives that are whole are not downloaded again, whether they were kept or their unpacking was interrupted; a
    partial one is resumed. A second process waits for the first. A mounted source is linked instead, without a
    connection.

    Args:
        connect: makes the connection; called only when one is needed.
        sources: the competition's slug, then ``owner/name`` of each data set.
        progress: called with an archive's name before its download.
        mount_of: the folder where a source is mounted, or None.
        delete_archives: delete them once they are unpacked, also those that an earlier fetch kept.

    Returns whether archives were downloaded, by this call or an earlier one that was interrupted.

    Raises:
        KaggleError: Kaggle refuses or can't be reached.
        DataError: an archive can't be unpacked, or the folder can't be written.
    """
    kept, listed = folder / ARCHIVES, _listed(folder, sources)
    if listed is not None and not gone_from(folder, listed) and not (delete_archives and kept.exists()):
        return False
    downloaded = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / LOCK, lambda: say(f"another download to {folder} is under way; waiting for it")):
            listed = _listed(folder, sources)
            if listed is None or gone_from(folder, listed):
                downloaded = _bring(connect, sources, folder, progress, say, mount_of, listed)
            if delete_archives:
                shutil.rmtree(kept, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{folder} can't be written: {error.strerror or error}; make it writable and give it room, or set "
            "COMP_HOME to another folder."
        ) from error
    return downloaded


def _bring(
    connect: Callable[[], Kaggle],
    sources: Sequence[str],
    folder: Path,
    progress: Callable[[str], Progress],
    say: Say,
    mount_of: Callable[[str], Path | None],
    lost: Listed | None,
) -> bool:
    """Download and unpack everything; ``lost``: the files of an earlier fetch, if some of them are gone."""
    archives = {source: folder / ARCHIVES / source.replace("/", "_") / _name(source) for source in sources}
    mounts = {source: mount for source in sources if (mount := mount_of(source))}
    needed = [source for source in sources if source not in mounts]
    absent = [source for source in needed if not downloaded_before(archives[source])]
    if lost is not None:
        say(f"{in_words(gone_from(folder, lost), lost, folder)}; all files are unpacked again")
    if absent:
        kaggle = connect()
        for source in absent:
            bring = kaggle.download_competition if source == sources[0] else kaggle.download_dataset
            bring(source, archives[source].parent, progress(_name(source)))
    # An interruption may leave all files there, but an earlier source's in place of a later one's.
    (folder / RECORD).unlink(missing_ok=True)
    for source in sources:
        if source in mounts:
            say(f"{source} is mounted at {mounts[source]}; nothing is downloaded for it")
            notes = link(mounts[source], folder, RESERVED)
        else:
            try:
                notes = extract(archives[source], folder, RESERVED)
            except DamagedError as error:
                _damaged(archives[source], error)
                raise
        for note in notes:
            say(note)
    write_record(folder, sources, files_in(folder))
    if downloaded := [_name(source) for source in (needed if lost is None else absent)]:
        say(f"downloaded {', '.join(downloaded)} to {folder}")
    return bool(downloaded)


def _damaged(archive: Path, error: DamagedError) -> None:
    """Delete a damaged archive; raise DataError if the previous download of it was damaged in the same way."""
    known, found = archive.with_name(f"{archive.name}.damaged"), f"{archive.stat().st_size} {error}"
    forget(archive)
    if known.is_file() and known.read_text(encoding="utf-8") == found:
        known.unlink()
        raise DataError(
            f"{str(error).split(';')[0]}, and so was the previous download; download it in a browser, {BY_HAND}."
        ) from error
    write_text(known, found)


def _name(source: str) -> str:
    return source.rpartition("/")[2] + ".zip"


def _listed(folder: Path, sources: Sequence[str]) -> Listed | None:
    """The files that were fetched from these sources; None where they were never complete.

    Data that were on this machine belong to the competition whatever its slug is: the slug may have been a guess.
    """
    record = read_record(folder)
    own = 1 if "data" in record else 0
    return (record.get("files") or {}) if (record.get("sources") or [])[own:] == list(sources)[own:] else None
