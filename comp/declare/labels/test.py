"""The images to predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from comp.declare.checks import check
from comp.declare.labels.files import check_suffix, left_out, names_in, placed
from comp.declare.labels.table import table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True)
class TestImages:
    """Where the images to predict are. Their ids are the file names without suffix (``with_suffix``: with it)."""

    __test__: ClassVar[bool] = False

    folder: str
    suffix: str = ""
    with_suffix: bool = False

    def __post_init__(self) -> None:
        check(self, "folder", str)
        check(self, "with_suffix", bool)
        check_suffix(self, self.suffix)

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of the test images: ``id`` and ``path``."""
        found, others = names_in(folder / self.folder, self.suffix or None)
        names, place = sorted(found), str(folder / self.folder)
        notes = left_out([placed(place, name) for name in others], self.suffix)
        ids = names if self.with_suffix else [name[: -len(self.suffix or PurePath(name).suffix)] for name in names]
        paths = [placed(place, name) for name in names]
        return table(ids, paths, [""] * len(names), notes=notes)[["id", "path"]]
