"""The images in folders, and what the names of files and folders say of them: labels, and ids of images to predict."""

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

# Those of the kinds that are opened, as Pillow knows them: `comp.data.readers.FORMATS`.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".avif", ".avifs"}
    | {".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm"}
)
# Those that readers are for, by name.
READ_BY = {".dcm": "dicom", ".dicom": "dicom", ".npy": "npy"}
# Of the ids that are asked for have an image, where not all do.
MOST = 0.9

Suffix = Annotated[
    Literal[""] | Annotated[str, matching(r".*[.*].*")],
    "empty, or have a dot in it, like '.jpg' or '_green.png', or a * for several images of an answer, like '/*.jpg'",
]


@dataclass(frozen=True)
class FileNames(Declared):
    """Labels in file names: ``FileNames("train/{label}.*.jpg")`` reads ``train/cat.0.jpg`` as a cat.

    ``{label}`` stands for the class and ``{answer}``, where there is one, for what the image shows with others, both
    the shortest text that fits, and ``*`` for anything else; none spans folders. The id is the name without its suffix
    (``cat.0``). An image of the same suffix (``.*``: of any) in the folder that doesn't fit the pattern is an error.
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
                f"{paths[matches.index(None)]} has no label: its name doesn't fit the pattern {self.pattern!r}; mend "
                "the pattern in competition.py or remove the file."
            )
        said = {part: [match[part] for match in matches if match] for part in regex.groupindex}
        ids = [PurePath(name).stem for name in names]
        notes = left_out(others, suffix)
        return table(notes, id=ids, path=paths, label=said["label"], answer=said.get("answer"))


@dataclass(frozen=True)
class Folders(Declared):
    """A folder per class: ``Folders("train")`` reads ``train/cat/0.jpg`` as a cat.

    The id is the path below the folder, without its suffix (``cat/0``). suffix: what names end in; if it is empty, any
    of IMAGE_SUFFIXES. without: the names of folders that are no classes, and no groups.
    layout: the folders on the way to an image: ``{label}`` is called by the class, ``{group}`` by what its images
        belong to, which is never on both sides of a split; others are called so in each, like ``{label}/images``.
    """

    folder: str
    suffix: Suffix = ""
    without: Annotated[Sequence[str], "a list of folders"] = ()
    layout: str = "{label}"
    target: ClassVar[Target] = "single"

    @property
    def group(self) -> str | None:
        """What images of one group have in common, in a word."""
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
        """The folders in a folder that a part of the layout means. Raises DataError for an image beside them."""
        loose = [path for path in images_in(place, self.suffix)[1] if not os.path.isdir(path)]  # noqa: PTH112
        if loose:
            raise DataError(f"{loose[0]} has no label: it lies beside the folders in {place} and not in one.")
        if "{" not in part:
            return [place / part]
        inside = sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [path for path in inside if path.name not in self.without]


@dataclass(frozen=True)
class TestImages(Declared):
    """Where the images to predict are. Their ids are the file names without suffix (``with_suffix``: with it).

    folder: one or several; where none has images right in it, those in all folders below are taken. Where the sample
        submission calls an image otherwise, by its path or its number without zeros, it has that id.

    A suffix with ``*`` has several images for an answer: ``/*.png`` reads ``7/0.png`` and ``7/1.png`` as images of the
    answer ``7``, and ``_*.png`` so ``7_0.png`` and ``7_1.png``.

    hidden: the images come to light only where a notebook at Kaggle is graded; those that are asked for and not there
        are predicted as images that can't be read are.
    incomplete: some that are asked for, a tenth at most, have no image at all, and are predicted in the same way.
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
        """The table of the test images: ``id`` and ``path``, and ``answer`` where one has several."""
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
        """The table, as `read` gives it, with a row, whose path is no file, for each id asked for without an image.

        Raises DataError where these are more than a few, and not hidden.
        """
        known = set(test["answer" if "answer" in test else "id"])
        missing = [one for one in asked if one not in known] if self.hidden or self.incomplete else []
        if not missing:
            return test
        if not self.hidden and len(asked) - len(missing) < MOST * len(asked):
            raise DataError(
                f"{len(missing)} of {len(asked)} ids that are asked for have no image in {self.folder}, the first "
                f"{missing[0]!r}, which are too many to be missing; check `folder` and `suffix` of TestImages."
            )
        place = self.folder if isinstance(self.folder, str) else self.folder[0]
        paths = placed(folder / place, [f"{one}{self.suffix}" for one in missing])
        why = "are hidden, and not in" if self.hidden else f"are missing, the first {missing[0]!r}, in"
        notes = [*test.attrs.get("notes", ()), f"{len(missing)} of {len(asked)} that are asked for {why} {self.folder}"]
        answers = [*test["answer"], *missing] if "answer" in test else None
        return table(notes, id=[*test["id"], *missing], path=[*test["path"], *paths], answer=answers)


def images_below(folder: Path, suffix: str = "") -> Iterator[str]:
    """The paths of all images in a folder and in those below it, in order; hidden ones are none.

    suffix: what their names end in; if it is empty, any of IMAGE_SUFFIXES.
    """
    wanted = suffix.lower() or tuple(IMAGE_SUFFIXES)
    for place, _, names in walked(folder):
        yield from (f"{place}/{name}" for name in names if name.lower().endswith(wanted))


def walked(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder in a folder, itself first, with the folders and files in it, in order and without hidden ones.

    Links are followed, but no folder is entered twice, so a loop of them ends.
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
    """The images whose place in a folder is the name of an answer, the longest that fits, and then the suffix.

    They are the columns of a table: ``id``, their places without suffix, ``path`` and ``answer``.

    suffix: with ``*`` for anything within one name. depth: of the folders in an answer's name. Raises DataError where
    there are none.
    """
    regex = re.compile("(.+)" + "[^/]*".join(map(re.escape, suffix.split("*"))), re.DOTALL)
    places = sorted(
        path.relative_to(folder).as_posix() for path in folder.glob("*/" * depth + "*" + suffix.lstrip("*"))
    )
    matches = [match for place in places if "/." not in f"/{place}" and (match := regex.fullmatch(place))]
    if not matches:
        raise DataError(f"{folder} holds no images that end in {suffix!r}; check it in competition.py.")
    names = [match[0] for match in matches]
    ids = [name.removesuffix(PurePath(name).suffix) for name in names]
    return {"id": ids, "path": placed(folder, names), "answer": [match[1] for match in matches]}


def images_in(folder: Path, suffix: str = "") -> tuple[list[str], list[str], list[str]]:
    """The names and the paths of the images right in a folder, sorted, and the paths of those left out by the suffix.

    suffix: what the names end in; if it is empty, any of IMAGE_SUFFIXES. Hidden files are none.
    Raises DataError for a folder that isn't there.
    """
    if not folder.is_dir():
        raise DataError(
            f"The image folder {folder} doesn't exist; check its name in competition.py, or download the data."
        )
    any_image = tuple(IMAGE_SUFFIXES)
    wanted = suffix.lower() or any_image
    names: list[str] = []
    others: list[str] = []
    for name in sorted(os.listdir(folder)):  # noqa: PTH208, a Path of each would take longer
        small = name.lower()
        if small.endswith(wanted) and name[0] != ".":
            names.append(name)
        elif small.endswith(any_image) and name[0] != ".":
            others.append(name)
    return names, placed(folder, names), placed(folder, others)


def _instead(folder: Path) -> str:
    """What a folder without images of a suffix has, in words: how many files of others, and what these need."""
    counts = Counter(path.suffix.lower() or "without a suffix" for path in folder.iterdir() if path.is_file())
    listed = ", ".join(f"{counted(count, 'file')} {suffix}" for suffix, count in counts.most_common(3))
    ordinary = next((suffix for suffix, _ in counts.most_common() if suffix in IMAGE_SUFFIXES), None)
    need = f"for which `suffix` has to be {ordinary!r}" if ordinary else "which `read` has to be for"
    return f" but {listed}, {need}" if listed else ""


def left_out(others: Sequence[str], suffix: str) -> list[str]:
    """A line that names the images that a suffix leaves out, by their paths, if there are any."""
    if not others:
        return []
    said = counted(len(others), "image does", "images do")
    return [f"{said} not end in {suffix!r}, and count as no rows of their own, the first {others[0]!r}"]


def placed(folder: Path, names: Sequence[str]) -> list[str]:
    """``folder / name`` of each, as text: of a million files, paths as objects would take most of a start's time."""
    start, slashed = str(folder / "_").removesuffix("_"), f"/{'/'.join(names)}/"
    # `Path` would write these otherwise.
    if "//" in slashed or "/./" in slashed:
        return [str(folder / name) for name in names]
    return [start + name for name in names]
