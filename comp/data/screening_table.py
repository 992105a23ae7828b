"""The screening table: what was found of each file, kept so that a file which did not change is not opened again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pandas as pd

from comp.data.screening import SCREENED_BY, Screened, screen
from comp.files import replacing

# Seconds of work that a killed process loses at most.
KEEP_EVERY = 30.0


class Key(NamedTuple):
    """What a file is known by: its place, its size in bytes, when it was written and changed (ns), and who judged it.

    A file that was replaced may keep its size and its date, but not the time it was changed on this machine.
    """

    path: str
    size: int
    written: int
    changed: int
    by: str = SCREENED_BY


def screen_anew(
    paths: Sequence[Path],
    root: Path,
    kept: Path,
    advance: Callable[[int], None],
    say: Callable[[str], None],
) -> tuple[list[Screened], int]:
    """What was found of each of these files, in their order, and how many had to be opened for it.

    root: the folder that the table's paths are relative to. kept: the table, a Parquet file, written whole or not at
    all; where it can't be read or written, which is said, the files are opened again.
    advance: is called with the number of files that were done since.
    """
    keys = [_key(path, root) for path in paths]
    known = _read(kept, say)
    unknown = [row for row, key in enumerate(keys) if key not in known]
    advance(len(keys) - len(unknown))
    unsaved, saved = 0, monotonic()
    found = {}
    try:
        for row, screened in zip(unknown, screen([paths[row] for row in unknown]), strict=True):
            found[row] = screened
            unsaved += screened.content != ""
            advance(1)
            if unsaved and monotonic() - saved > KEEP_EVERY:
                _write(_of_bytes(keys, known, found), kept, say)
                unsaved, saved = 0, monotonic()
    finally:
        if unsaved:
            _write(_of_bytes(keys, known, found), kept, say)
    return [found[row] if row in found else known[key] for row, key in enumerate(keys)], len(unknown)


def _key(path: Path, root: Path) -> Key:
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    try:
        facts = path.stat()
    except OSError:
        return Key(name, -1, -1, -1)
    return Key(name, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _of_bytes(keys: Sequence[Key], known: Mapping[Key, Screened], found: Mapping[int, Screened]) -> dict[Key, Screened]:
    """What is known by now of these files' bytes; a file that could not be opened today may be opened tomorrow."""
    both = ((key, found[row] if row in found else known.get(key)) for row, key in enumerate(keys))
    return {key: screened for key, screened in both if screened is not None and screened.content}


def _read(kept: Path, say: Callable[[str], None]) -> dict[Key, Screened]:
    try:
        table = pd.read_parquet(kept, columns=[*Key._fields, *Screened._fields])
        keys = map(Key._make, table[list(Key._fields)].itertuples(index=False, name=None))
        screened = map(Screened._make, table[list(Screened._fields)].itertuples(index=False, name=None))
        return dict(zip(keys, screened, strict=True))
    except FileNotFoundError:
        return {}
    except Exception as error:  # a damaged file makes pyarrow raise nearly anything
        say(f"{kept} can't be read ({' '.join(str(error).split())}), so all images are opened again")
        return {}


def _write(found: Mapping[Key, Screened], kept: Path, say: Callable[[str], None]) -> None:
    rows = [(*key, *screened) for key, screened in found.items()]
    table = pd.DataFrame(rows, columns=[*Key._fields, *Screened._fields])
    try:
        with replacing(kept) as unfinished:
            table.to_parquet(unfinished, index=False)
    except OSError as error:
        say(f"{kept} can't be written ({error.strerror or error}), so the images will be opened again the next time")
