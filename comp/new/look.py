"""What can be seen of a competition before its images are here: names of files, small tables, one image's size."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from comp.declare.labels import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd


@dataclass(frozen=True)
class ImageFolder:
    """The images right in a folder, or some of them: ``path`` is "." for the top one, ``names`` are their files'."""

    path: str
    names: tuple[str, ...]

    @property
    def parent(self) -> str:
        return str(PurePosixPath(self.path).parent)

    @property
    def own_name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def suffix(self) -> str:
        """That of most of its images."""
        return Counter(PurePosixPath(name).suffix for name in self.names).most_common(1)[0][0]


@dataclass(frozen=True)
class Look:
    """A competition's files, as they lie once everything is unpacked in one folder.

    files: paths with ``/``; of a large folder maybe only some. folders: all folders, also those not looked into.
    whole: no file is left out. tables: the CSVs, all text, by path. pixels: width and height of an image.
    title, metric, description: in Kaggle's words; empty if unknown. only_notebooks: nothing can be uploaded.
    """

    files: Sequence[str]
    tables: Mapping[str, pd.DataFrame]
    folders: Sequence[str] = ()
    whole: bool = True
    pixels: tuple[int, int] | None = None
    title: str = ""
    description: str = ""
    metric: str = ""
    only_notebooks: bool = False

    @cached_property
    def image_folders(self) -> list[ImageFolder]:
        """Every folder with images in it, in the order of their paths."""
        names = defaultdict(list)
        for path in map(PurePosixPath, self.files):
            if is_image(path):
                names[str(path.parent)].append(path.name)
        return [ImageFolder(path, tuple(sorted(names[path]))) for path in sorted(names)]

    def folders_in(self, parent: str) -> list[str]:
        """The names of all folders right in one."""
        parents = {str(PurePosixPath(file).parent) for file in self.files}
        found = {PurePosixPath(folder) for folder in (*self.folders, *parents)}
        return sorted(path.name for path in found if str(path.parent) == parent and path.name and path.name[0] != ".")


def is_image(path: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden


def is_table(path: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() == ".csv" and not hidden


def lifted(paths: Sequence[str]) -> list[str]:
    """The paths, with ``train.csv/train.csv`` made ``train.csv`` where it is alone in its folder, as unpacking does."""
    alone = Counter(str(PurePosixPath(path).parent) for path in paths)
    whole = []
    for path in map(PurePosixPath, paths):
        only = len(path.parts) > 1 and path.name == path.parent.name and alone[str(path.parent)] == 1
        whole.append(str(path.parent if only else path))
    return whole


def unpacked(archive: str, members: Sequence[str], beside: Sequence[str]) -> list[str]:
    """Where unpacking puts the members of an archive: beside it, or in a folder of its name.

    beside: the names of what lies beside the archive.
    """
    path = PurePosixPath(archive)
    tops = {PurePosixPath(member).parts[0] for member in members}
    place = path.parent
    if len(tops) != 1 or tops & set(beside):
        place = place / path.name[: -len(path.suffix)]
    return lifted([str(place / member) for member in members])
