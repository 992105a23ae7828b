"""The table of facts: what was found of each file, kept so that a file which did not change is not opened again."""

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from comp.data.file_facts import JUDGED_BY, THUMBNAIL, FileFacts, facts_of_each
from comp.files import replacing

Rows = npt.NDArray[np.int64]
Thumbnails = npt.NDArray[np.uint8]

# Seconds of work that a killed process loses at most, unless writing the table takes longer than a twentieth of that.
KEEP_EVERY = 30.0
MOST_COST = 1 / 20
# A file is known by its place, its size in bytes, when it was written and changed (ns), and who judged it. One that was
# replaced may keep its size and its date, but not the time it was changed on this machine.
KEY = {"path": pa.string(), "size": pa.int64(), "written": pa.int64(), "changed": pa.int64(), "by": pa.string()}
KINDS = {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "bytes": pa.binary()}
KINDS_OF_FACTS = {name: KINDS[kind.__name__] for name, kind in FileFacts.__annotations__.items()}
SCHEMA = pa.schema({**KEY, **KINDS_OF_FACTS})
FACTS = [name for name in KINDS_OF_FACTS if name != "thumbnail"]
# Rows that are held as objects before they become a part of a table, and rows of thumbnails that are read at once.
AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Found:
    """What was found of some files, a row each, in their order.

    table: the columns of `FileFacts` but for the thumbnail, ``path``, below the folder they are relative to, and
        ``size``, in bytes, -1 where the file has none.
    opened: how many files had to be opened.
    thumbnails: gives those (R, THUMBNAIL, THUMBNAIL) of some rows, none of which may have a problem.
    """

    table: pd.DataFrame
    opened: int
    thumbnails: Callable[[Rows], Thumbnails]


def read_facts(
    paths: Sequence[str],
    root: Path,
    kept: Path,
    advance: Callable[[int], None],
    say: Callable[[str], None],
) -> Found:
    """What was found of each of these files.

    root: the folder that the table's paths are relative to. kept: the table, a Parquet file, written whole or not at
    all; where it can't be read or written, which is said, the files are opened again.
    advance: is called with the number of files that were done since.
    """
    keys = _keys(paths, root)
    known = _Known(kept, say)
    places = known.places(keys)
    unknown = np.flatnonzero(places < 0)
    advance(len(paths) - len(unknown))
    if not len(unknown):
        return Found(_facts(known.facts, keys, places), 0, lambda rows: known.thumbnails(places[rows], paths, rows))

    before = pa.concat_tables([known.whole().take(places[places >= 0])])
    order = np.argsort(np.concatenate([np.flatnonzero(places >= 0), unknown]), kind="stable")
    opened = _Opened(keys)
    unsaved, saved, cost = 0, monotonic(), 0.0
    try:
        for row, screened in zip(
            unknown.tolist(), facts_of_each(Path(paths[row]) for row in unknown.tolist()), strict=True
        ):
            opened.add(row, screened)
            unsaved += screened.content != ""
            advance(1)
            if unsaved and monotonic() - saved > max(KEEP_EVERY, cost / MOST_COST):
                began = monotonic()
                _write(pa.concat_tables([before, opened.table()]), kept, say)
                unsaved, saved, cost = 0, monotonic(), monotonic() - began
    finally:
        every = pa.concat_tables([before, opened.table()])
        # Less than all after an interrupt.
        if len(every) == len(order) and not np.array_equal(order, np.arange(len(order))):
            every = every.take(order)
        if unsaved:
            _write(every, kept, say)
    return Found(
        _frame(every.select(["path", *FACTS, "size"])), len(unknown), lambda rows: _stacked(every["thumbnail"], rows)
    )


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
    by = pa.repeat(JUDGED_BY, len(paths))
    return pa.table([names, *map(pa.array, np.frombuffer(facts, np.int64).reshape(-1, 3).T), by], schema=pa.schema(KEY))


class _Known:
    """The table as it is on disk, of this version's rows; thumbnails are read when they are asked for.

    The file stays open: another process may put another one in its place.
    """

    def __init__(self, kept: Path, say: Callable[[str], None]) -> None:
        self.kept, self.say = kept, say
        self.facts = SCHEMA.empty_table().drop_columns("thumbnail")
        self.believed = np.empty(0, np.int64)
        self.file: parquet.ParquetFile | None = None
        # Not asked for first: another process may remove it in between.
        with self._saying(), suppress(FileNotFoundError):
            file = parquet.ParquetFile(kept, memory_map=False)
            file.schema_arrow.field("thumbnail")
            facts = file.read([*KEY, *FACTS]).cast(self.facts.schema)
            self.believed = np.flatnonzero(pc.equal(facts["by"], JUDGED_BY).to_numpy())
            self.facts = facts if len(self.believed) == len(facts) else facts.take(self.believed)
            self.file = file

    def places(self, keys: pa.Table) -> Rows:
        """Where the table has the row of each key; -1 where it has none."""
        if self.facts["path"].equals(keys["path"]):
            places = np.arange(len(keys))
        else:
            # Of a path that is there twice the last row is the newest.
            named = pd.Series(np.arange(len(self.facts)), index=self.facts["path"].to_pandas())
            newest = named[~named.index.duplicated(keep="last")]
            places = newest.reindex(keys["path"].to_pandas(), fill_value=-1).to_numpy(np.int64)
        for name in ("size", "written", "changed"):
            known = np.append(self.facts[name].to_numpy(), -1)
            places = np.where(known[places] == keys[name].to_numpy(), places, -1)
        return places

    def whole(self) -> pa.Table:
        """The table with its thumbnails."""
        thumbnails = pa.chunked_array([[b""] * len(self.facts)], pa.binary())
        if self.file is not None and len(self.facts):
            thumbnails = self.file.read(["thumbnail"])["thumbnail"].cast(pa.binary()).take(pa.array(self.believed))
        return self.facts.append_column("thumbnail", thumbnails).select(SCHEMA.names)

    def thumbnails(self, places: Rows, paths: Sequence[str], rows: Rows) -> Thumbnails:
        """Of some places in the table, which are those of these rows of the paths."""
        if not len(places):
            return _stacked(SCHEMA.empty_table()["thumbnail"], places)
        assert self.file is not None
        with self._saying():
            return _read_stacked(self.file, self.believed[places])
        again = [one.thumbnail for one in facts_of_each(Path(paths[row]) for row in rows.tolist())]
        return _stacked(pa.chunked_array([again], pa.binary()), np.arange(len(rows)))

    @contextmanager
    def _saying(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a damaged file makes pyarrow raise nearly anything
            why = " ".join(str(error).split())
            self.say(f"{self.kept} can't be read ({why}), so all images are opened again")


@dataclass
class _Opened:
    """What was found of files that were opened, as tables: a million tuples would take a gigabyte."""

    keys: pa.Table
    rows: list[int] = field(default_factory=list)
    waiting: list[FileFacts] = field(default_factory=list)
    parts: list[pa.Table] = field(default_factory=lambda: [SCHEMA.empty_table()])

    def add(self, row: int, screened: FileFacts) -> None:
        self.rows.append(row)
        self.waiting.append(screened)
        if len(self.waiting) == AT_ONCE:
            self.table()

    def table(self) -> pa.Table:
        if self.waiting:
            columns: Any = zip(*self.waiting, strict=True)
            found = [pa.array(column, kind) for column, kind in zip(columns, KINDS_OF_FACTS.values(), strict=True)]
            self.parts.append(pa.table([*self.keys.take(self.rows).columns, *found], schema=SCHEMA))
            self.rows, self.waiting = [], []
        return pa.concat_tables(self.parts)


def _facts(known: pa.Table, keys: pa.Table, places: Rows) -> pd.DataFrame:
    chosen = known.select(FACTS)
    if not np.array_equal(places, np.arange(len(known))):
        chosen = chosen.take(places)
    return _frame(chosen.append_column("size", keys["size"]).append_column("path", keys["path"]))


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(split_blocks=True)
    return frame


def _stacked(thumbnails: pa.ChunkedArray, rows: Rows) -> Thumbnails:
    stacked = np.empty((len(rows), THUMBNAIL, THUMBNAIL), np.uint8)
    for start in range(0, len(rows), AT_ONCE):
        chosen = thumbnails.take(pa.array(rows[start : start + AT_ONCE])).to_pylist()
        stacked[start : start + AT_ONCE] = np.frombuffer(b"".join(chosen), np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL)
    return stacked


def _read_stacked(file: parquet.ParquetFile, rows: Rows) -> Thumbnails:
    """As `_stacked`, read piece by piece: the column as a whole would be there beside what is made of it."""
    stacked = np.empty((len(rows), THUMBNAIL, THUMBNAIL), np.uint8)
    order, start = np.argsort(rows, kind="stable"), 0
    ascending = rows[order]
    for batch in file.iter_batches(AT_ONCE, columns=["thumbnail"]):
        low, high = np.searchsorted(ascending, [start, start + len(batch)])
        thumbnails = pa.chunked_array([batch["thumbnail"]])
        stacked[order[low:high]] = _stacked(thumbnails, ascending[low:high] - start)
        start += len(batch)
    return stacked


def _write(found: pa.Table, kept: Path, say: Callable[[str], None]) -> None:
    """Of the files whose bytes were read: one that could not be opened today may be opened tomorrow."""
    try:
        with replacing(kept) as unfinished:
            read = pc.not_equal(found["content"], "")
            parquet.write_table(found if pc.all(read).as_py() else found.filter(read), unfinished)
    except OSError as error:
        say(f"{kept} can't be written ({error.strerror or error}), so the images will be opened again the next time")
