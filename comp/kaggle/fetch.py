"""Everything a competition needs from Kaggle, in one folder, brought there once."""

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
    """The competition's files and its data sets', unpacked in one folder; does nothing where they already are.

    Raises KaggleError.
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
        # Kaggle doesn't know a competition whose slug may only stand for one: there is another way to its data.
        if competition.kaggle == competition.name and not holds_files(folder):
            another = f"`comp new {competition.name} --data DIR` links them instead"
            error.args = (f"{str(error).removesuffix('.')}; where the files are on this machine, {another}.",)
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
    """Bring a competition's files and those of its extra data sets into ``folder``, unpacked.

    All archives are downloaded, then unpacked in the same order: where two sources hold a file of the same name, the
    later one's stays. ``folder/.complete.json`` is written last and says what was fetched; with it there, nothing is
    done and nobody is connected to, unless files that it lists are gone: then all is unpacked again. Archives that
    are there whole are not asked for again, whether they were kept or their unpacking was interrupted; one that is
    half downloaded is resumed. A second process waits for the first. Of a source that is mounted there are links
    instead, and nobody is connected to for it.

    Args:
        connect: makes the connection, when one is needed.
        sources: the competition's slug, then ``owner/name`` of each data set.
        progress: called with an archive's name before its download.
        mount_of: gives the folder where a source is mounted, if it is.
        delete_archives: once they are unpacked, also where an earlier fetch kept them.

    Returns whether archives were downloaded, by this call or one before it that was interrupted.

    Raises:
        KaggleError: Kaggle refuses or is away.
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
    """Download and unpack everything; ``lost`` are the files that had been, where some of them are gone."""
    archives = {source: folder / ARCHIVES / source.replace("/", "_") / _name(source) for source in sources}
    mounts = {source: mount for source in sources if (mount := mount_of(source))}
    needed = [source for source in sources if source not in mounts]
    absent = [source for source in needed if not downloaded_before(archives[source])]
    if lost is not None:
        say(f"{in_words(gone_from(folder, lost), lost, folder)}; all is brought there again")
    if absent:
        kaggle = connect()
        for source in absent:
            bring = kaggle.download_competition if source == sources[0] else kaggle.download_dataset
            bring(source, archives[source].parent, progress(_name(source)))
    # Half unpacked again, all files may be there, but an earlier source's in place of a later one's.
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
    """Delete a damaged archive; raise DataError where the one before it, downloaded too, was just so."""
    known, found = archive.with_name(f"{archive.name}.damaged"), f"{archive.stat().st_size} {error}"
    forget(archive)
    if known.is_file() and known.read_text(encoding="utf-8") == found:
        known.unlink()
        raise DataError(
            f"{str(error).split(';')[0]}, and so was the one before it; download it in a browser, {BY_HAND}."
        ) from error
    write_text(known, found)


def _name(source: str) -> str:
    return source.rpartition("/")[2] + ".zip"


def _listed(folder: Path, sources: Sequence[str]) -> Listed | None:
    """The files that were brought from these sources; None where they never were whole.

    Data that were on this machine are a competition's whatever its slug is: that may have been a guess.
    """
    record = read_record(folder)
    own = 1 if "data" in record else 0
    return (record.get("files") or {}) if (record.get("sources") or [])[own:] == list(sources)[own:] else None
