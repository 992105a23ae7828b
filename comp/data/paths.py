"""The paths of many files, in arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Places = npt.NDArray[np.int64]


class Paths(Sequence[Path]):
    """Paths by their row, in three arrays instead of an object each.

    A process that reads images shares its parent's pages as long as nobody writes to them, and Python writes to every
    object that it looks at: a list of a million paths would be copied into each process.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        # No path has a NUL in it.
        ended = "".join(f"{os.fspath(path)}\0" for path in paths)
        self.text = np.frombuffer(ended.encode("utf-8", "surrogateescape"), np.uint8)
        self.ends = np.flatnonzero(self.text == 0)
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])[: len(self.ends)]

    @classmethod
    def in_column(cls, column: pd.Series[str]) -> Paths:
        """Those in a table's column of text, whose own bytes these are: nothing is copied."""
        import pyarrow as pa

        text = pa.array(column.array)
        text = (text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text).cast(pa.large_string())
        _, offsets, data = text.buffers()
        edges = np.frombuffer(offsets or b"\0" * 8, np.int64)[text.offset :][: len(text) + 1]
        paths = cls.__new__(cls)
        paths.text, paths.starts, paths.ends = np.frombuffer(data or b"", np.uint8), edges[:-1], edges[1:]
        return paths

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> Path: ...

    @overload
    def __getitem__(self, row: slice) -> Paths: ...

    def __getitem__(self, row: int | slice) -> Path | Paths:
        if isinstance(row, slice):
            return self.of(np.arange(len(self))[row])
        return Path(os.fsdecode(self.text[self.starts[row] : self.ends[row]].tobytes()))

    def of(self, rows: Places) -> Paths:
        """Those of some rows."""
        chosen = Paths.__new__(Paths)
        chosen.text, chosen.starts, chosen.ends = self.text, self.starts[rows], self.ends[rows]
        return chosen
