"""The table of facts: what was found of each file, kept so that a file which did not change is not opened again."""

import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from comp.data.file_facts import BLANK, THUMBNAIL, FileFacts, facts_of_each, judged_by
from comp.files import replacing

Rows = npt.NDArray[np.int64]

# Seconds of work that a killed process loses at most, unless writing the table takes longer than a twentieth of that.
KEEP_EVERY = 30.0
MOST_COST = 1 / 20
# Files whose facts are held as objects before they become a part of a table: a million would take a gigabyte.
AT_ONCE = 1 << 14
# A file is known by its place, its size in bytes, and when it was written and changed (ns). One that was replaced may
# keep its size and its date, but not the time it was changed on this machine.
KEY = {"path": pa.string(), "size": pa.int64(), "written": pa.int64(), "changed": pa.int64()}
TYPES = {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "bytes": pa.binary(len(BLANK))}
SCHEMA = pa.schema({**KEY, **{name: TYPES[kind.__name__] for name, kind in FileFacts.__annotations__.items()}})


@dataclass(frozen=True)
class Facts:
    """What was found of some files, a row each, in their order.

    table: the columns of `FileFacts`, ``path``, below the folder they are relative to, and ``size``, in bytes, -1 where
        the file has none. It may be mapped from its file: what is not looked at is not read.
    opened: how many files had to be opened.
    """

    table: pa.Table
    opened: int

    def frame(self) -> pd.DataFrame:
        """The table without the thumbnails."""
        frame: pd.DataFrame = self.table.drop_columns(["written", "changed", "thumbnail"]).to_pandas(split_blocks=True)
        return frame

    def thumbnails(self) -> npt.NDArray[np.uint8]:
        """Those of all files (N, THUMBNAIL, THUMBNAIL)."""
        parts = [np.empty(0, np.uint8)]
        for chunk in self.table["thumbnail"].chunks:
            whole = np.frombuffer(chunk.buffers()[1], np.uint8)
            parts.append(whole[len(BLANK) * chunk.offset :][: len(BLANK) * len(chunk)])
        return np.concatenate(parts).reshape(-1, THUMBNAIL, THUMBNAIL)


def read_facts(
    paths: Sequence[str],
    root: Path,
    kept: Path,
    advance: Callable[[int], None],
    say: Callable[[str], None],
) -> Facts:
    """What is known of these files, after those have been opened of which nothing is known.

    root: the folder that the table's paths are relative to. kept: the table, an Arrow file, written whole or not at
    all; where it can't be read or written, which is said, the files are opened again.
    advance: is called with the number of files that were done since.
    """
    keys, known = _keys(paths, root), _read(kept, say)
    rows = _rows_of(keys, known)
    unknown = np.flatnonzero(rows < 0)
    advance(len(paths) - len(unknown))
    growing = _Growing(_taken(known, rows[rows >= 0]), keys.take(unknown))
    order = np.argsort(np.concatenate([np.flatnonzero(rows >= 0), unknown]), kind="stable")
    saved, cost = monotonic(), 0.0
    try:
        for facts in facts_of_each(Path(paths[row]) for row in unknown.tolist()):
            growing.add(facts)
            advance(1)
            if growing.unsaved and monotonic() - saved > max(KEEP_EVERY, cost / MOST_COST):
                began = monotonic()
                _write(growing.table(), kept, say)
                growing.unsaved, saved, cost = False, monotonic(), monotonic() - began
    finally:
        table = growing.table()
        # After an interrupt it has fewer rows, in their own order.
        table = _taken(table, order) if len(table) == len(order) else table
        if growing.unsaved:
            _write(table, kept, say)
    return Facts(table, len(unknown))


def _keys(paths: Sequence[str], root: Path) -> pa.Table:
    """The key of each file; one that can't be asked has -1 for its size and times."""
    facts = array("q")
    for path in paths:
        try:
            found = os.stat(path)  # noqa: PTH116, a Path of each would take longer
            facts.extend((found.st_size, found.st_mtime_ns, found.st_ctime_ns))
        except (OSError, ValueError):
            facts.extend((-1, -1, -1))
    inside = f"{root}/"
    names = pa.array([path.removeprefix(inside) for path in paths], pa.string())
    return pa.table([names, *map(pa.array, np.frombuffer(facts, np.int64).reshape(-1, 3).T)], schema=pa.schema(KEY))


def _rows_of(keys: pa.Table, known: pa.Table) -> Rows:
    """The row of each key in the table; -1 where there is none."""
    if known["path"].equals(keys["path"]):
        rows = np.arange(len(keys))
    else:
        # A path that is there twice was changed in between: its last row is the newest.
        named = pd.Series(np.arange(len(known)), index=known["path"].to_pandas())
        newest = named[~named.index.duplicated(keep="last")]
        rows = newest.reindex(keys["path"].to_pandas(), fill_value=-1).to_numpy(np.int64)
    for name in ("size", "written", "changed"):
        of_known = np.append(known[name].to_numpy(), -1)
        rows = np.where(of_known[rows] == keys[name].to_numpy(), rows, -1)
    return rows


def _taken(table: pa.Table, rows: Rows) -> pa.Table:
    return table if np.array_equal(rows, np.arange(len(table))) else table.take(rows)


class _Growing:
    """A table, and the facts of files that are opened, added in parts.

    keys: of these files. unsaved: whether one was added whose bytes were read.
    """

    def __init__(self, table: pa.Table, keys: pa.Table) -> None:
        self.parts, self.keys, self.unsaved = [table], keys, False
        self.waiting: list[FileFacts] = []

    def add(self, facts: FileFacts) -> None:
        self.waiting.append(facts)
        self.unsaved |= facts.content != ""
        if len(self.waiting) == AT_ONCE:
            self.table()

    def table(self) -> pa.Table:
        if self.waiting:
            keys, columns = self.keys[: len(self.waiting)].columns, zip(*self.waiting, strict=True)
            types = SCHEMA.types[len(KEY) :]
            facts = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
            self.parts.append(pa.table([*keys, *facts], schema=SCHEMA))
            self.keys, self.waiting = self.keys[len(self.waiting) :], []
        return pa.concat_tables(self.parts)


def _read(kept: Path, say: Callable[[str], None]) -> pa.Table:
    """The table that other commands left, mapped; an empty one where it can't be read or was made by other code."""
    try:
        with pa.memory_map(str(kept)) as file:
            table = pa.ipc.open_file(file).read_all()
    # Not asked for first: another process may remove it in between.
    except FileNotFoundError:
        return SCHEMA.empty_table()
    except Exception as error:  # a damaged file makes pyarrow raise nearly anything
        say(f"{kept} can't be read ({' '.join(str(error).split())}), so all images are opened again")
        return SCHEMA.empty_table()
    believed = table.schema.equals(SCHEMA) and (table.schema.metadata or {}).get(b"judged by") == judged_by()
    return table.replace_schema_metadata(None) if believed else SCHEMA.empty_table()


def _write(table: pa.Table, kept: Path, say: Callable[[str], None]) -> None:
    """Without the files whose bytes were not read: one that could not be opened today may be opened tomorrow."""
    read = pc.not_equal(table["content"], "")
    table = table if pc.all(read).as_py() else table.filter(read)
    schema = SCHEMA.with_metadata({"judged by": judged_by()})
    try:
        with replacing(kept) as unfinished, pa.ipc.new_file(str(unfinished), schema) as file:
            file.write_table(table.cast(schema))
    except OSError as error:
        say(f"{kept} can't be written ({error.strerror or error}), so the images will be opened again the next time")
