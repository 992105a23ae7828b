"""Labels in the names of files and folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, ClassVar

from comp.declare.checks import check, wrong
from comp.declare.labels.files import images_in, left_out, names_in, placed
from comp.declare.labels.table import table
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from comp.declare.metrics import Target


@dataclass(frozen=True)
class FileNames:
    """Labels in file names: ``FileNames("train/{label}.*.jpg")`` reads ``train/cat.0.jpg`` as a cat.

    ``{label}`` stands for the class, the shortest text that fits, and ``*`` for anything else; neither spans
    folders. The id is the name without its suffix (``cat.0``). An image of the same suffix (``.*``: of any) in the
    folder that doesn't fit the pattern is an error.
    """

    pattern: str
    target: ClassVar[Target] = "single"

    def __post_init__(self) -> None:
        check(self, "pattern", str)
        if Path(self.pattern).name.count("{label}") != 1 or self.pattern.count("{label}") != 1:
            raise wrong(self, "pattern", self.pattern, "a path whose file name has {label} in it once")

    def read(self, folder: Path) -> pd.DataFrame:
        pattern = Path(self.pattern)
        pieces = re.split(r"(\{label\}|\*)", pattern.name)
        parts = ({"{label}": "(?P<label>.+?)", "*": ".*"}.get(piece, re.escape(piece)) for piece in pieces)
        regex = re.compile("".join(parts), re.DOTALL)
        suffix = None if "*" in pattern.suffix else pattern.suffix or None
        place = str(folder / pattern.parent)
        found, others = names_in(folder / pattern.parent, suffix)
        names, labels = sorted(found), []
        for name in names:
            match = regex.fullmatch(name)
            if match is None:
                raise DataError(
                    f"{placed(place, name)} has no label: its name doesn't fit the pattern {self.pattern!r}; "
                    "mend the pattern in competition.py or remove the file."
                )
            labels.append(match["label"])
        paths = [placed(place, name) for name in names]
        notes = [] if suffix is None else left_out([placed(place, name) for name in others], suffix)
        return table([PurePath(name).stem for name in names], paths, labels, notes=notes)


@dataclass(frozen=True)
class Folders:
    """A folder per class: ``Folders("train")`` reads ``train/cat/0.jpg`` as a cat.

    The id is the path below the folder, without its suffix (``cat/0``).
    """

    folder: str
    target: ClassVar[Target] = "single"

    def __post_init__(self) -> None:
        check(self, "folder", str)

    def read(self, folder: Path) -> pd.DataFrame:
        root = folder / self.folder
        loose = [name for name in images_in(root, required=False) if not (root / name).is_dir()]
        if loose:
            raise DataError(
                f"{root / loose[0]} has no label: it lies beside the class folders of {root} and not in one."
            )
        classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not classes:
            raise DataError(f"{root} holds no class folders; check `folder` of Folders in competition.py.")
        ids: list[str] = []
        paths: list[str] = []
        labels: list[str] = []
        for place in classes:
            names, text = images_in(place, required=False), str(place)
            if not names:
                raise DataError(f"{place} holds no image files, so it is no class; add some, or remove the folder.")
            ids += [f"{place.name}/{PurePath(name).stem}" for name in names]
            paths += [placed(text, name) for name in names]
            labels += [place.name] * len(names)
        return table(ids, paths, labels)
