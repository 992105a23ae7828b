"""The table of facts: what was found of each file, kept so that a file which did not change is not opened again."""

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from comp.data.file_facts import BLANK, THUMBNAIL, FileFacts, facts_of_each, judged_by
from comp.files import replacing

Rows = npt.NDArray[np.int64]
Thumbnails = npt.NDArray[np.uint8]

# Seconds of work that a killed process loses at most, unless writing the table takes longer than a twentieth of that.
KEEP_EVERY = 30.0
MOST_COST = 1 / 20
# Files whose facts are held as objects before they become a part of a table, and thumbnails that are read at once.
AT_ONCE = 1 << 14
# A file is known by its place, its size in bytes, and when it was written and changed (ns). One that was replaced may
# keep its size and its date, but not the time it was changed on this machine.
KEY = {"path": pa.string(), "size": pa.int64(), "written": pa.int64(), "changed": pa.int64()}
TYPES = {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "bytes": pa.binary(len(BLANK))}
SCHEMA = pa.schema({**KEY, **{name: TYPES[kind.__name__] for name, kind in FileFacts.__annotations__.items()}})
BUT_THUMBNAILS = [name for name in SCHEMA.names if name != "thumbnail"]


@dataclass(frozen=True)
class Facts:
    """What was found of some files, a row each, in their order.

    table: the columns of `FileFacts` but for the thumbnail, ``path``, below the folder they are relative to, and
        ``size``, in bytes, -1 where the file has none.
    opened: how many files had to be opened.
    thumbnails: gives all of them (N, THUMBNAIL, THUMBNAIL), read only then.
    """

    table: pd.DataFrame
    opened: int
    thumbnails: Callable[[], Thumbnails]


def read_facts(
    paths: Sequence[str],
    root: Path,
    kept: Path,
    advance: Callable[[int], None],
    say: Callable[[str], None],
) -> Facts:
    """What is known of these files, after those have been opened of which nothing is known.

    root: the folder that the table's paths are relative to. kept: the table, a Parquet file, written whole or not at
    all; where it can't be read or written, which is said, the files are opened again.
    advance: is called with the number of files that were done since.
    """
    keys, known = _keys(paths, root), _Known(kept, say)
    rows = known.rows_of(keys)
    unknown = np.flatnonzero(rows < 0)
    advance(len(paths) - len(unknown))
    if not len(unknown):
        return Facts(_frame(_taken(known.facts, rows)), 0, lambda: known.thumbnails(rows, paths))

    growing = _Growing(_taken(known.with_thumbnails(), rows[rows >= 0]), keys.take(unknown))
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
    return Facts(_frame(table), len(unknown), lambda: _stacked(table["thumbnail"].chunks))


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


class _Known:
    """The table as it is on disk; its thumbnails are read only where they are needed."""

    def __init__(self, kept: Path, say: Callable[[str], None]) -> None:
        self.kept, self.say = kept, say
        self.file: parquet.ParquetFile | None = None
        self.facts = SCHEMA.empty_table().select(BUT_THUMBNAILS)
        # Not asked for first: another process may remove it in between.
        with self._saying(), suppress(FileNotFoundError):
            file = parquet.ParquetFile(kept, memory_map=False)
            if file.schema_arrow.equals(SCHEMA) and (file.schema_arrow.metadata or {}).get(b"judged by") == judged_by():
                self.facts, self.file = file.read(BUT_THUMBNAILS), file

    def rows_of(self, keys: pa.Table) -> Rows:
        """The row of each key; -1 where there is none."""
        if self.facts["path"].equals(keys["path"]):
            rows = np.arange(len(keys))
        else:
            # A path that is there twice was changed in between: its last row is the newest.
            named = pd.Series(np.arange(len(self.facts)), index=self.facts["path"].to_pandas())
            newest = named[~named.index.duplicated(keep="last")]
            rows = newest.reindex(keys["path"].to_pandas(), fill_value=-1).to_numpy(np.int64)
        for name in ("size", "written", "changed"):
            known = np.append(self.facts[name].to_numpy(), -1)
            rows = np.where(known[rows] == keys[name].to_numpy(), rows, -1)
        return rows

    def with_thumbnails(self) -> pa.Table:
        return SCHEMA.empty_table() if self.file is None else self.file.read(SCHEMA.names)

    def thumbnails(self, rows: Rows, paths: Sequence[str]) -> Thumbnails:
        """Those of some rows, which these paths have."""
        if self.file is not None:
            with self._saying():
                batches = self.file.iter_batches(AT_ONCE, columns=["thumbnail"])
                every = _stacked([batch["thumbnail"] for batch in batches])
                return every if _are_all(rows, len(every)) else every[rows]
        again = [facts.thumbnail for facts in facts_of_each(map(Path, paths))]
        return _stacked([pa.array(again, SCHEMA.field("thumbnail").type)])

    @contextmanager
    def _saying(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a damaged file makes pyarrow raise nearly anything
            why = " ".join(str(error).split())
            self.say(f"{self.kept} can't be read ({why}), so all images are opened again")


class _Growing:
    """A table and the facts of files that are opened, added in parts: a million tuples would take a gigabyte.

    unsaved: whether a file was added whose bytes were read.
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
            count, types = len(self.waiting), SCHEMA.types[len(KEY) :]
            found = [
                pa.array(column, kind) for column, kind in zip(zip(*self.waiting, strict=True), types, strict=True)
            ]
            self.parts.append(pa.table([*self.keys[:count].columns, *found], schema=SCHEMA))
            self.keys, self.waiting = self.keys[count:], []
        return pa.concat_tables(self.parts)


def _are_all(rows: Rows, count: int) -> bool:
    return np.array_equal(rows, np.arange(count))


def _taken(table: pa.Table, rows: Rows) -> pa.Table:
    return table if _are_all(rows, len(table)) else table.take(rows)


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.select(BUT_THUMBNAILS).drop_columns(["written", "changed"]).to_pandas(split_blocks=True)
    return frame


def _stacked(thumbnails: Sequence[pa.Array]) -> Thumbnails:
    rows = (np.frombuffer(part.buffers()[1], np.uint8)[len(BLANK) * part.offset :] for part in thumbnails)
    parts = [row[: len(BLANK) * len(part)] for row, part in zip(rows, thumbnails, strict=True)]
    return np.concatenate([np.empty(0, np.uint8), *parts]).reshape(-1, THUMBNAIL, THUMBNAIL)


def _write(table: pa.Table, kept: Path, say: Callable[[str], None]) -> None:
    """Without the files whose bytes were not read: one that could not be opened today may be opened tomorrow."""
    try:
        with replacing(kept) as unfinished:
            read = pc.not_equal(table["content"], "")
            table = table if pc.all(read).as_py() else table.filter(read)
            parquet.write_table(table.replace_schema_metadata({"judged by": judged_by()}), unfinished)
    except OSError as error:
        say(f"{kept} can't be written ({error.strerror or error}), so the images will be opened again the next time")
