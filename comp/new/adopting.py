"""Use a competition's files that are already on this machine as if they had been downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from comp.declare.own_images import PREPARED
from comp.errors import DataError
from comp.files import holds_files
from comp.kaggle.archives import DamagedError, extract, kind_of, link
from comp.kaggle.failures import Say
from comp.kaggle.record import RECORD, RESERVED, files_below, write_record


@contextmanager
def adopted(found: Path, sources: Sequence[str], folder: Path, say: Say) -> Iterator[None]:
    """Make ``folder`` as `fetch` would, from ``found``, a folder or one archive; undone if the block fails.

    A folder's content is linked, so nothing is copied or changed; an archive is unpacked. Links that are there already
    stay, whatever happens.

    sources: the competition's slug and the ``owner/name`` of each data set. folder: made if missing; may hold what a
    failed download left. Raises DataError where there is nothing at ``found``, where it can't be unpacked, and where
    ``folder`` holds other data.
    """
    found = found.expanduser()
    were_there = found.is_dir() and holds_files(folder) and _links(folder) == _visible(found)
    if holds_files(folder) and not were_there:
        raise DataError(f"{folder} holds other data; remove it or move it away, and run the same command again.")
    try:
        if not were_there:
            _put(found, folder, say)
        write_record(folder, sources, files_below(folder), data=str(found.absolute()))
        yield
    except BaseException:
        if not were_there and folder.is_dir():
            # Nothing is lost: these are links, or files that the archive still has.
            _remove(folder)
        raise


def _visible(folder: Path) -> dict[str, Path]:
    """The resolved paths of a folder's visible content, by name."""
    return {path.name: path.resolve() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def _links(folder: Path) -> dict[str, Path]:
    """As `_visible`; empty where the folder itself is a link, or holds more than links and the prepared folder."""
    visible = {} if folder.is_symlink() else _visible(folder)
    inside = {name: path for name, path in visible.items() if name != PREPARED}
    return inside if all((folder / name).is_symlink() for name in inside) else {}


def _put(found: Path, folder: Path, say: Say) -> None:
    which = "name the folder, or the archive, that the competition's files are in"
    if not found.exists():
        raise DataError(f"There is no {found}; {which}.")
    if found.is_dir() and not _visible(found):
        raise DataError(f"{found} is empty; {which}.")
    if found.is_file() and kind_of(found) is None:
        raise DataError(f"{found} is neither a folder nor an archive (zip, tar or 7z) of the competition's files.")
    try:
        for note in (link if found.is_dir() else extract)(found, folder, RESERVED):
            say(note)
    except DamagedError as error:
        damaged = str(error).partition(" is damaged")[0]
        raise DataError(f"{damaged} can't be unpacked: it is damaged or cut short; get another copy.") from error


def _remove(folder: Path) -> None:
    for path in [*(folder / name for name in _visible(folder)), folder / RECORD]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
