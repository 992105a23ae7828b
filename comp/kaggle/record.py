"""The record of a data folder's files, by which missing files are noticed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

from comp.declare.labels.files import walked
from comp.declare.own_images import PREPARED
from comp.errors import DataError, counted
from comp.files import write_text

RECORD = ".complete.json"
ARCHIVES = ".archives"
LOCK = ".lock"
RESERVED = (RECORD, ARCHIVES, LOCK)

# The file names by folder path; with their sizes where the files can't be downloaded again.
Listed = Mapping[str, Sequence[str] | Mapping[str, int]]


def write_record(folder: Path, sources: Sequence[str], files: Listed, **facts: Any) -> None:
    """Record that a folder is complete.

    files: those that must stay. facts: further entries, like ``data``, the files' folder on this machine.
    """
    write_text(folder / RECORD, json.dumps({"sources": list(sources), "files": files, **facts}))


def read_record(folder: Path, name: str = RECORD) -> dict[str, Any]:
    """The record that `write_record` wrote, or another JSON object in a file; empty where there is none."""
    try:
        return dict(json.loads((folder / name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def must_be_whole(name: str, folder: Path, say: Callable[[str], None]) -> None:
    """Raise DataError where files of the competition ``name`` are gone from its folder.

    A changed file size is reported once, where the data were on this machine.
    """
    record = read_record(folder)
    listed, data = record.get("files") or {}, record.get("data")
    if gone := gone_from(folder, listed):
        again = f"comp new {name} --data {quote(data)}" if data else f"comp download {name}"
        remedy = f"{f'remove {folder} and ' if data else ''}run `{again}`"
        raise DataError(f"{in_words(gone, listed, folder)}, the first {gone[0]}; put back what is gone, or {remedy}.")
    if data and (now := files_below(folder)) != listed:
        sizes = {(place, file): size for place, files in listed.items() for file, size in files.items()}
        changed = [(place, file) for (place, file), size in sizes.items() if now[place][file] != size]
        if changed:
            place, file = changed[0]
            say(
                f"{counted(len(changed), 'file has', 'files have')} another size than `comp new` found in {data}, the "
                f"first {_path(place, file)}: {now[place][file]} bytes instead of {sizes[place, file]}"
            )
        with suppress(OSError):
            write_record(folder, **record | {"files": now})


def gone_from(folder: Path, listed: Listed) -> list[str]:
    """The paths of the listed files that are gone from ``folder``; only folders and links are read, for speed."""
    gone: list[str] = []
    for place, names in listed.items():
        files = os.scandir(folder / place) if (folder / place).is_dir() else ()
        # A link outlives the file that it leads to.
        there = {file.name for file in files if not file.is_symlink() or Path(file).exists()}
        gone += (_path(place, name) for name in names if name not in there)
    return sorted(gone)


def _path(place: str, name: str) -> str:
    return os.path.normpath(f"{place}/{name}")


def in_words(gone: Sequence[str], listed: Listed, folder: Path) -> str:
    """The number of files that are gone, as a sentence."""
    return f"{len(gone)} of {sum(map(len, listed.values()))} files in {folder} {'is' if len(gone) == 1 else 'are'} gone"


def files_in(folder: Path) -> dict[str, list[str]]:
    """The names of files and of links to folders, by their folder's path from ``folder``; without broken links."""
    listed = {}
    for base, folders, names in os.walk(folder):
        place = os.path.relpath(base, folder)
        if place == ".":
            folders[:] = [name for name in folders if name not in RESERVED]
            names = [name for name in names if name not in RESERVED]
        names += [name for name in folders if Path(base, name).is_symlink()]
        if names := [name for name in names if Path(base, name).exists()]:
            listed[place] = sorted(names)
    return listed


def files_below(folder: Path) -> dict[str, dict[str, int]]:
    """The sizes of files by their folder's path from ``folder``, links followed; without the prepared folder."""
    listed = {}
    for base, folders, names in walked(folder):
        place = os.path.relpath(base, folder)
        if place == "." and PREPARED in folders:
            folders.remove(PREPARED)
        paths = [path for name in names if (path := Path(base, name)).exists()]
        if paths:
            listed[place] = {path.name: path.stat().st_size for path in paths}
    return listed
