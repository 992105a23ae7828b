"""The table of facts about each file, cached so that a file that has not changed is not opened again."""

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
from comp.data.readers import files_of
from comp.data.reading import Depth
from comp.declare.reading import Channels, Read
from comp.files import replacing

Rows = npt.NDArray[np.int64]

# Seconds between two writes of the table, the work that a killed process loses; more where writing takes long.
KEEP_EVERY = 30.0
# The largest share of the time that writing may take.
MOST_COST = 1 / 20
# Files whose facts are held as objects before they go into a table: a million objects would take a gigabyte.
AT_ONCE = 1 << 14
# A file is known by its path, its size in bytes, and its modification and change times (ns). A replaced file may have
# the same size and modification time, but not the same change time.
KEY = {"path": pa.string(), "size": pa.int64(), "written": pa.int64(), "changed": pa.int64()}
TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "bytes": pa.binary(len(BLANK)),
    "tuple": pa.list_(pa.float64()),
}
SCHEMA = pa.schema({**KEY, **{name: TYPES[kind.__name__] for name, kind in FileFacts.__annotations__.items()}})


@dataclass(frozen=True)
class Facts:
    """The facts about some files, a row each, in their order.

    table: the columns of `FileFacts`, ``path``, relative to the data folder, and ``size``, in bytes, -1 where it is
        unknown. The table may be mapped from its file: unused columns are not read.
    opened: the number of files that had to be opened.
    """

    table: pa.Table
    opened: int

    def frame(self) -> pd.DataFrame:
        """The table without the files' times, thumbnails and ranges of values."""
        left_out = ["written", "changed", "thumbnail", "low", "high"]
        return self.table.drop_columns(left_out).to_pandas(split_blocks=True)

    def depth(self, rows: Rows) -> tuple[Depth, int]:
        """The depth of the readable files among these rows, and the median number of the 256 levels that they use.

        Files with another number of channels than most are left out; without files, the depth of ordinary images.
        """
        some = self.table.select(["problem", "channels", "low", "high"]).take(rows)
        some = some.filter(pc.equal(some["problem"], ""))
        if not len(some):
            return Depth(), 256
        channels = pc.mode(some["channels"])[0]["mode"].as_py()
        some = some.filter(pc.equal(some["channels"], channels))
        some = some.filter(pc.greater(pc.list_value_length(some["low"]), 0))
        if not len(some):
            return Depth(channels), 256
        low, high = (np.array(some[name].to_pylist()) for name in ("low", "high"))
        least, greatest = low.min(axis=0), high.max(axis=0)
        used = ((high - low) / np.maximum(greatest - least, 1e-300)).max(axis=1)
        return Depth(channels, tuple(least.tolist()), tuple(greatest.tolist())), round(255 * float(np.median(used))) + 1

    def unlike(self, depth: Depth) -> dict[str, int]:
        """The number of readable files that the depth doesn't fit, by reason, see `comp.data.findings.UNLIKE`."""
        some = self.table.select(["problem", "channels", "low", "high"])
        some = some.filter(pc.and_(pc.equal(some["problem"], ""), pc.equal(some["channels"], depth.channels)))
        deep = some.filter(pc.greater(pc.list_value_length(some["low"]), 0))
        if not depth.low:
            return {"deeper": len(deep)}
        low, high = (np.array(deep[name].to_pylist()).reshape(-1, depth.channels) for name in ("low", "high"))
        outside = ((low < np.array(depth.low)) | (high > np.array(depth.high))).any(axis=1)
        return {"bytes": len(some) - len(deep), "outside": int(outside.sum())}

    def thumbnails(self) -> npt.NDArray[np.uint8]:
        """The thumbnails of all files (N, THUMBNAIL, THUMBNAIL)."""
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
    read: Read | Channels = "images",
    beside: str = "",
) -> Facts:
    """The facts about these files; files that the cached table doesn't know are opened.

    root: the folder that the table's paths are relative to. kept: the cached table, an Arrow file, written whole or not
        at all; where it can't be read or written, ``say`` tells so, and the files are opened again.
    advance: called with the number of files done since its last call. read: as in `Competition`. beside: as in
        `judged_by`.
    Raises DeclarationError where ``read`` gives no image.
    """
    judge = judged_by(read, beside)
    keys, known = _keys(paths, root, read), _read(kept, say, judge)
    rows = _rows_of(keys, known)
    unknown = np.flatnonzero(rows < 0)
    advance(len(paths) - len(unknown))
    growing = _Growing(_taken(known, rows[rows >= 0]), keys.take(unknown))
    order = np.argsort(np.concatenate([np.flatnonzero(rows >= 0), unknown]), kind="stable")
    saved, cost = monotonic(), 0.0
    try:
        for facts in facts_of_each((Path(paths[row]) for row in unknown.tolist()), read):
            growing.add(facts)
            advance(1)
            if growing.unsaved and monotonic() - saved > max(KEEP_EVERY, cost / MOST_COST):
                began = monotonic()
                _write(growing.table(), kept, say, judge)
                growing.unsaved, saved, cost = False, monotonic(), monotonic() - began
    finally:
        table = growing.table()
        # After an interrupt it has fewer rows, in their own order.
        table = _taken(table, order) if len(table) == len(order) else table
        if growing.unsaved:
            _write(table, kept, say, judge)
    return Facts(table, len(unknown))


def _keys(paths: Sequence[str], root: Path, read: Read | Channels) -> pa.Table:
    """The key of each file, with -1 for size and times where these can't be read.

    An image in several files has the sum of their sizes and the latest of their times.
    """
    facts = array("q")
    several = isinstance(read, Channels)
    for path in paths:
        try:
            # A Path of each would take longer.
            found = [os.stat(file) for file in (files_of(Path(path), read) if several else (path,))]  # noqa: PTH116
            facts.append(sum(one.st_size for one in found))
            facts.extend((max(one.st_mtime_ns for one in found), max(one.st_ctime_ns for one in found)))
        except (OSError, ValueError):
            facts.extend((-1, -1, -1))
    inside = f"{root}/"
    names = pa.array([path.removeprefix(inside) for path in paths], pa.string())
    return pa.table([names, *map(pa.array, np.frombuffer(facts, np.int64).reshape(-1, 3).T)], schema=pa.schema(KEY))


def _rows_of(keys: pa.Table, known: pa.Table) -> Rows:
    """The row of each key in the known table; -1 where there is none."""
    if known["path"].equals(keys["path"]):
        rows = np.arange(len(keys))
    else:
        # The last row of a path is the newest: the file was changed between two rows.
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
    """A table that grows by the facts of opened files, in parts.

    keys: the keys of these files. unsaved: whether facts were added that are worth saving: the file's bytes were read.
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


def _read(kept: Path, say: Callable[[str], None], judge: bytes) -> pa.Table:
    """The table on disk, mapped; an empty one where it can't be read or was made by other code."""
    try:
        with pa.memory_map(str(kept)) as file:
            table = pa.ipc.open_file(file).read_all()
    # Not checked before opening: another process may remove the file in between.
    except FileNotFoundError:
        return SCHEMA.empty_table()
    except Exception as error:  # a damaged file makes pyarrow raise nearly anything
        say(f"{kept} can't be read ({' '.join(str(error).split())}), so all images are opened again")
        return SCHEMA.empty_table()
    believed = table.schema.equals(SCHEMA) and (table.schema.metadata or {}).get(b"judged by") == judge
    return table.replace_schema_metadata(None) if believed else SCHEMA.empty_table()


def _write(table: pa.Table, kept: Path, say: Callable[[str], None], judge: bytes) -> None:
    """Write the table without the files whose bytes were not read: they may be readable the next time."""
    read = pc.not_equal(table["content"], "")
    table = table if pc.all(read).as_py() else table.filter(read)
    schema = SCHEMA.with_metadata({"judged by": judge})
    try:
        with replacing(kept) as unfinished, pa.ipc.new_file(str(unfinished), schema) as file:
            file.write_table(table.cast(schema))
    except OSError as error:
        say(f"{kept} can't be written ({error.strerror or error}), so the images will be opened again next time")
