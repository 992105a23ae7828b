"""The image that a value in a table means, where the value isn't simply the file's name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePath
from posixpath import splitext
from typing import TYPE_CHECKING

from comp.declare.labels.files import IMAGE_SUFFIXES, READ_BY
from comp.declare.labels.table import table
from comp.errors import counted

if TYPE_CHECKING:
    import pandas as pd

Key = Callable[[str], str]


class Names:
    """Images by the names that tables use for them.

    A value names an image by the first of these that fits exactly one: the path from one of the roots, or the file
    name; these without the suffix; these in any case and Unicode composition and with backslashes; these with numbers
    without leading zeros or a trailing ``.0``.
    """

    def __init__(self, paths: Iterable[str], roots: Sequence[PurePath]) -> None:
        self.paths, self._roots = list(paths), ["" if root == PurePath() else f"{root}/" for root in roots]

    def find(self, value: str, within: str = "") -> str | None:
        """The path of the only image that the value names, if it lies in this folder."""
        paths = (known.get(key(value)) for key, known in self._by_key)
        return next((path for path in paths if path is not None and path.startswith(within)), None)

    def nearest(self, value: str) -> str | None:
        """The image name most similar to the value, or the first with the same number as its only one; or None."""
        import difflib

        names = [path.rpartition("/")[2] for path in self.paths[:10_000]]
        number = re.compile(rf"\D*0*{re.escape(_as_counted(value))}\D*")
        numbered = (name for name in names if value[:1].isdecimal() and number.fullmatch(_bare(name)))
        return next(iter(difflib.get_close_matches(value, names, 1, 0.5)), None) or next(numbered, None)

    def instead_of(self, value: str) -> str:
        """The words for how images are named, where the value names none."""
        if nearest := self.nearest(value):
            return f", where the nearest name is {nearest!r}"
        return f", where images are called like {self.paths[0].rpartition('/')[2]!r}" if self.paths else ""

    @cached_property
    def _by_key(self) -> list[tuple[Key, dict[str, str | None]]]:
        return [(key, self._known(key, whole=whole)) for key in KEYS for whole in (True, False)]

    def _known(self, key: Key, *, whole: bool) -> dict[str, str | None]:
        """The image of each key, None where several share it; keys of paths from the roots, or of file names."""
        known: dict[str, str | None] = {}
        for path in self.paths:
            called = [path.removeprefix(root) for root in self._roots if path.startswith(root)] if whole else []
            for name in {key(text) for text in called or ([] if whole else [path.rpartition("/")[2]])}:
                known[name] = path if known.get(name, path) == path else None
        return known


def _bare(text: str) -> str:
    start, suffix = splitext(text)
    return start if suffix.lower() in IMAGE_SUFFIXES | READ_BY.keys() else text


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", _bare(text)).casefold().replace("\\", "/")


def _as_counted(text: str) -> str:
    """Write whole numbers alike: 0101 and 101.0 are 101."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"(?<=\d)\.0+$", "", _folded(text)))


KEYS: tuple[Key, ...] = (str, _bare, _folded, _as_counted)


def named_as_asked(test: pd.DataFrame, asked: Collection[str], folder: Path) -> pd.DataFrame:
    """The test images with the sample submission's ids, where it names them differently.

    folder: the competition's. A note in the table counts these images and names the first.
    """
    known = set(test["id"])
    missing = [value for value in asked if value not in known]
    names = Names(test["path"], roots=(folder,))
    found = {path: value for value in missing if (path := names.find(value)) is not None}
    ids = [found.get(path, called) for path, called in zip(test["path"], test["id"], strict=True)]
    if not found or len(set(ids)) < len(ids):
        return test
    path, value = next(iter(found.items()))
    first = f"{path.removeprefix(f'{folder}/')}, called {value!r}"
    notes = [
        *test.attrs.get("notes", ()),
        f"the sample submission has other names for {counted(len(found), 'image')}, like {first}",
    ]
    return table(notes, id=ids, path=test["path"].to_list())
