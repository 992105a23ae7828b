"""Images in folders: labels from the names of files and folders, and test images."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from comp.declare.checks import Declared, matching
from comp.declare.labels.table import table
from comp.declare.metrics import Target
from comp.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd

# Pillow's suffixes of the formats in `comp.data.readers.FORMATS`.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".avif", ".avifs"}
    | {".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm"}
)
# Further suffixes, with the readers for them.
READ_BY = {".dcm": "dicom", ".dicom": "dicom", ".npy": "npy"}
# The smallest share of the sample submission's ids that must have an image.
MOST = 0.9

Suffix = Annotated[
    Literal[""] | Annotated[str, matching(r".*[.*].*")],
    "empty, or text with a dot, like '.jpg' or '_green.png', or a * for several images of an answer, like '/*.jpg'",
]


@dataclass(frozen=True)
class FileNames(Declared):
    """Labels in file names: ``FileNames("train/{label}.*.jpg")`` reads ``train/cat.0.jpg`` as a cat.

    ``{label}`` stands for the class, ``{answer}``, if given, for the answer that several images share, both as the
    shortest text that fits, and ``*`` for anything else; none spans folders. The id is the name without its suffix
    (``cat.0``). An image in the folder with the same suffix (any suffix for ``.*``) must fit the pattern.
    """

    pattern: str
    target: ClassVar[Target] = "single"

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        texts = self.pattern, Path(self.pattern).name
        labels, answers = ([text.count(part) for text in texts] for part in ("{label}", "{answer}"))
        is_wrong = labels != [1, 1] or answers not in ([0, 0], [1, 1])
        yield "pattern", is_wrong, "a path whose file name has {label} in it once, and {answer} once or not at all"

    def read(self, folder: Path) -> pd.DataFrame:
        pattern = Path(self.pattern)
        pieces = re.split(r"(\{label\}|\{answer\}|\*)", pattern.name)
        meant = {"{label}": "(?P<label>.+?)", "{answer}": "(?P<answer>.+?)", "*": ".*"}
        parts = (meant.get(piece, re.escape(piece)) for piece in pieces)
        regex = re.compile("".join(parts), re.DOTALL)
        suffix, place = "" if "*" in pattern.suffix else pattern.suffix, folder / pattern.parent
        names, paths, others = images_in(place, suffix)
        if not names:
            raise DataError(
                f"{place} holds no {suffix or 'image'} files{_instead(place)}; check its name in competition.py."
            )
        matches = [regex.fullmatch(name) for name in names]
        if None in matches:
            raise DataError(
                f"{paths[matches.index(None)]} has no label: its name doesn't fit the pattern {self.pattern!r}; "
                "correct the pattern in competition.py or remove the file."
            )
        said = {part: [match[part] for match in matches if match] for part in regex.groupindex}
        ids = [PurePath(name).stem for name in names]
        notes = left_out(others, suffix)
        return table(notes, id=ids, path=paths, label=said["label"], answer=said.get("answer"))


@dataclass(frozen=True)
class Folders(Declared):
    """A folder per class: ``Folders("train")`` reads ``train/cat/0.jpg`` as a cat.

    The id is the path below the folder, without its suffix (``cat/0``). suffix: the ending of the images' names; if
    empty, any of IMAGE_SUFFIXES. without: the names of folders that are neither classes nor groups.
    layout: the folders on the way to an image: ``{label}`` is named after the class, ``{group}`` after a group of
        images, never on both sides of a split; other parts are literal names, like ``{label}/images``.
    """

    folder: str
    suffix: Suffix = ""
    without: Annotated[Sequence[str], "a list of folders"] = ()
    layout: str = "{label}"
    target: ClassVar[Target] = "single"

    @property
    def group(self) -> str | None:
        """The property that images of one group share, in a word."""
        return "folder" if "{group}" in self.layout else None

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        parts = self.layout.split("/")
        others = {part for part in parts if part in ("", ".", "..") or "{" in part} - {"{label}", "{group}"}
        is_wrong = others or parts.count("{label}") != 1 or parts.count("{group}") > 1
        yield "layout", is_wrong, "folders of which one is {label} and one may be {group}, like '{group}/{label}'"

    def read(self, folder: Path) -> pd.DataFrame:
        root, parts = folder / self.folder, self.layout.split("/")
        places = [root]
        for part in parts:
            places = [inside for place in places for inside in self._inside(place, part)]
        if not places:
            raise DataError(f"{root} holds no class folders; check `folder` of Folders in competition.py.")
        rows: list[tuple[str, str, str, str]] = []
        left: list[str] = []
        for place in places:
            names, found, others = images_in(place, self.suffix)
            if not names:
                raise DataError(
                    f"{place} holds no image files{_instead(place)}, so it is no class; add some, or remove the folder."
                )
            way = place.relative_to(root)
            called = dict(zip(parts, way.parts, strict=True))
            label, group = called["{label}"], called.get("{group}", "")
            rows += [
                (f"{way.as_posix()}/{PurePath(name).stem}", path, label, group)
                for name, path in zip(names, found, strict=True)
            ]
            left += others
        ids, paths, labels, groups = zip(*rows, strict=True)
        notes = left_out(left, self.suffix)
        return table(notes, id=ids, path=paths, label=labels, group=groups if self.group else None)

    def _inside(self, place: Path, part: str) -> list[Path]:
        """The folders inside a folder for a part of the layout. Raises DataError for an image beside them."""
        loose = [path for path in images_in(place, self.suffix)[1] if not os.path.isdir(path)]  # noqa: PTH112
        if loose:
            raise DataError(f"{loose[0]} has no label: it lies beside the folders in {place} and not in one.")
        if "{" not in part:
            return [place / part]
        inside = sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [path for path in inside if path.name not in self.without]


@dataclass(frozen=True)
class TestImages(Declared):
    """The test images in folders. Their ids are the file names without suffix (``with_suffix``: with it).

    folder: one or several; where none of them directly has images, those in all folders below are taken. Where the
        sample submission names an image by its path or its number without leading zeros, this name is its id.

    A suffix with ``*`` gives an answer several images: ``/*.png`` reads ``7/0.png`` and ``7/1.png`` as images of the
    answer ``7``, and ``_*.png`` does the same with ``7_0.png`` and ``7_1.png``.

    hidden: the test images appear only when a notebook at Kaggle is graded; until then, missing ones are predicted like
        unreadable images.
    incomplete: at most a tenth of the sample submission's ids have no image, and are predicted like unreadable images.
    """

    __test__: ClassVar[bool] = False

    folder: Annotated[Sequence[str] | str, "a folder, or a list of folders"]
    suffix: Suffix = ""
    with_suffix: bool = False
    hidden: bool = False
    incomplete: bool = False

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        one = isinstance(self.folder, str) and "*" not in self.suffix
        yield "hidden", self.hidden and not one, "False for several folders, and for several images of an answer"
        several = not isinstance(self.folder, str) and "*" in self.suffix
        yield "folder", several, "one folder where `suffix` has a * for several images of an answer"

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of the test images: ``id`` and ``path``, and ``answer`` where an answer has several images."""
        if "*" in self.suffix:
            return table(**images_of_answers(folder / str(self.folder), self.suffix))
        places = [folder / place for place in ([self.folder] if isinstance(self.folder, str) else self.folder)]
        places = [place for place in places if place.is_dir() or not self.hidden]
        listed = [images_in(place, self.suffix) for place in places]
        names = [name for found, _, _ in listed for name in found]
        paths = [path for _, found, _ in listed for path in found]
        others = [path for _, _, left in listed for path in left]
        if not names:
            paths = [path for place in places for path in images_below(place, self.suffix)]
            names = [path.rpartition("/")[2] for path in paths]
        if not names and not self.hidden:
            raise DataError(
                f"{', '.join(map(str, places))} holds no {self.suffix or 'image'} files{_instead(places[0])}; check "
                "`test` in competition.py."
            )
        if len(set(names)) < len(names):
            names = [path.removeprefix(f"{folder}/") for path in paths]
        ids = names if self.with_suffix else [name[: -len(self.suffix or PurePath(name).suffix)] for name in names]
        return table(left_out(others, self.suffix), id=ids, path=paths)

    def with_missing(self, test: pd.DataFrame, asked: Sequence[str], folder: Path) -> pd.DataFrame:
        """Return the table from `read` with a row for each asked id without an image; its path is no file.

        Raises DataError where more than a tenth are missing and the images aren't hidden.
        """
        known = set(test["answer" if "answer" in test else "id"])
        missing = [one for one in asked if one not in known] if self.hidden or self.incomplete else []
        if not missing:
            return test
        if not self.hidden and len(asked) - len(missing) < MOST * len(asked):
            raise DataError(
                f"{len(missing)} of the sample submission's {len(asked)} ids have no image in {self.folder}, the first "
                f"{missing[0]!r}, which are too many to be missing; check `folder` and `suffix` of TestImages."
            )
        place = self.folder if isinstance(self.folder, str) else self.folder[0]
        paths = placed(folder / place, [f"{one}{self.suffix}" for one in missing])
        why = "are hidden, and not in" if self.hidden else f"are missing, the first {missing[0]!r}, in"
        notes = [*test.attrs.get("notes", ()), f"{len(missing)} of {len(asked)} test images {why} {self.folder}"]
        answers = [*test["answer"], *missing] if "answer" in test else None
        return table(notes, id=[*test["id"], *missing], path=[*test["path"], *paths], answer=answers)


def images_below(folder: Path, suffix: str = "") -> Iterator[str]:
    """The paths of all images in a folder and its subfolders, in order, without hidden ones.

    suffix: the ending of their names; if empty, any of IMAGE_SUFFIXES.
    """
    wanted = suffix.lower() or tuple(IMAGE_SUFFIXES)
    for place, _, names in walked(folder):
        yield from (f"{place}/{name}" for name in names if name.lower().endswith(wanted))


def walked(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a folder like `os.walk`, in order and without hidden folders and files.

    Links are followed, but no folder is entered twice, so a loop of links ends.
    """
    entered = set()
    for place, inside, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in entered:
            inside.clear()
            continue
        entered.add(real)
        inside[:] = sorted(name for name in inside if name[0] != ".")
        yield place, inside, sorted(name for name in names if name[0] != ".")


def images_of_answers(folder: Path, suffix: str, depth: int = 0) -> dict[str, list[str]]:
    """The images whose paths in a folder are an answer's name, the longest that fits, followed by the suffix.

    Returns the columns of a table: ``id``, the paths in the folder without suffix, ``path`` and ``answer``.

    suffix: with ``*`` for anything within one name. depth: the number of folders in an answer's name. Raises DataError
    where there are no such images.
    """
    regex = re.compile("(.+)" + "[^/]*".join(map(re.escape, suffix.split("*"))), re.DOTALL)
    places = sorted(
        path.relative_to(folder).as_posix() for path in folder.glob("*/" * depth + "*" + suffix.lstrip("*"))
    )
    matches = [match for place in places if "/." not in f"/{place}" and (match := regex.fullmatch(place))]
    if not matches:
        raise DataError(f"{folder} holds no images that end in {suffix!r}; check `suffix` in competition.py.")
    names = [match[0] for match in matches]
    ids = [name.removesuffix(PurePath(name).suffix) for name in names]
    return {"id": ids, "path": placed(folder, names), "answer": [match[1] for match in matches]}


def images_in(folder: Path, suffix: str = "") -> tuple[list[str], list[str], list[str]]:
    """The sorted names and paths of the images directly in a folder, and the paths that the suffix leaves out.

    suffix: the ending of the names; if empty, any of IMAGE_SUFFIXES. Hidden files are left out.
    Raises DataError for a folder that doesn't exist.
    """
    if not folder.is_dir():
        raise DataError(
            f"The image folder {folder} doesn't exist; check its name in competition.py, or download the data."
        )
    any_image = tuple(IMAGE_SUFFIXES)
    wanted = suffix.lower() or any_image
    names: list[str] = []
    others: list[str] = []
    for name in sorted(os.listdir(folder)):  # noqa: PTH208, Path objects would be slower
        small = name.lower()
        if small.endswith(wanted) and name[0] != ".":
            names.append(name)
        elif small.endswith(any_image) and name[0] != ".":
            others.append(name)
    return names, placed(folder, names), placed(folder, others)


def _instead(folder: Path) -> str:
    """The other files in a folder without images of a suffix, in words, and how to read them."""
    counts = Counter(path.suffix.lower() or "without a suffix" for path in folder.iterdir() if path.is_file())
    listed = ", ".join(f"{counted(count, 'file')} {suffix}" for suffix, count in counts.most_common(3))
    ordinary = next((suffix for suffix, _ in counts.most_common() if suffix in IMAGE_SUFFIXES), None)
    need = f"which need `suffix` {ordinary!r}" if ordinary else "which need a `read` for them"
    return f" but {listed}, {need}" if listed else ""


def left_out(others: Sequence[str], suffix: str) -> list[str]:
    """A note of the images that a suffix leaves out, if there are any."""
    if not others:
        return []
    said = counted(len(others), "image does", "images do")
    return [f"{said} not end in {suffix!r} and are left out, the first {others[0]!r}"]


def placed(folder: Path, names: Sequence[str]) -> list[str]:
    """``folder / name`` for each name, as text: a million Path objects would take most of a start's time."""
    start, slashed = str(folder / "_").removesuffix("_"), f"/{'/'.join(names)}/"
    # `Path` normalises such names.
    if "//" in slashed or "/./" in slashed:
        return [str(folder / name) for name in names]
    return [start + name for name in names]
