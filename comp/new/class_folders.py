"""Find class folders, and tell tables of classes from tables of images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import pandas as pd

from comp.declare.labels.files import Folders
from comp.declare.labels.given import GivenSplit
from comp.declare.labels.table import LabelSource, in_order
from comp.declare.own_images import PREPARED
from comp.new.columns import FEW
from comp.new.groups import FEWEST_GROUPS
from comp.new.look import IS_TEST, WORD, Look
from comp.new.matching import Asked, suffix_of
from comp.new.sample import TRIVIAL, SampleTable
from comp.new.tables import Found

# Names of sibling folders that are no classes.
PARTS = {"train", "test", "valid", "val"}
IMAGES = {"images", "image", "img", "imgs"}
NO_CLASSES = IMAGES | {"masks", "mask", "labels", "label", "annotations", "json", "xml"}
IS_PART = re.compile(
    rf"{WORD}(?i:train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?|dev)(?![a-zA-Z])|^(?i:{'|'.join(sorted(NO_CLASSES))})[\W_\d]*$"
)
OF_CLASSES = r"(class|label|category|species|breed)(_?name)?"


class Laid(NamedTuple):
    """Class folders below ``parent``: layout as in `Folders`, classes, paths, names of the other folders."""

    parent: str
    layout: str
    classes: Collection[str]
    folders: Sequence[str]
    without: Sequence[str]


def in_folders(look: Look, asked: Asked, sample: SampleTable) -> Iterator[Found]:
    """A folder for each class, all in a parent without images of its own, possibly beside the folder of test images.

    Class folders may have their images in inner folders of one name, or be inside folders of groups, like patients.
    """
    # Folders with other images than test images.
    own = {
        folder.path
        for folder in look.image_folders
        if any(str(PurePosixPath(folder.path, name)) not in asked.images for name in folder.names)
    } - {"."}
    for laid in (*_right_in(look, own), *_below(look, own)):
        parent, classes = laid.parent, laid.classes
        if IS_TEST.search(parent):
            continue
        answered = set(sample.values) & set(classes)
        told = bool(answered - TRIVIAL) or set(sample.columns) == set(classes)
        known = told or bool(answered)
        within = set(laid.folders)
        images = [path for path in look.images_below[parent] if path.rpartition("/")[0] in within]
        sure = 2 + known + ("train" in parent.lower()) + len(images) / len(look.files)
        grouped = "{group}" in laid.layout
        _, _, inner = laid.layout.partition("/")
        where = " in the folder of each group" if grouped else f", its images in {inner}" if inner else ""
        seen = f"{parent} has a folder for each of {len(classes)} classes{where}"
        odd = len(sample.values) and not known and not set(sample.values) <= TRIVIAL
        doubts = (
            [f"whether {', '.join(in_order(classes)[:3])} are the classes"] if odd or (grouped and not known) else []
        )
        beside = [str(PurePosixPath(parent, name)) for name in laid.without if not IS_TEST.search(name)]
        left = [place for place in beside if not asked.images.issuperset(look.images_below.get(place, ()))]
        doubts += [f"images in {', '.join(left)} are not trained on"] if left else []
        without = [*laid.without, PREPARED] if parent == "." and not sample.columns else laid.without
        source: LabelSource = Folders(parent, suffix=suffix_of(images), without=without, layout=laid.layout)
        if valid := _given_validation(look, laid):
            other = Folders(valid, suffix=suffix_of(look.images_below[valid]), layout=laid.layout)
            seen, source = f"{seen}; those in {valid} validate", GivenSplit(source, other)
        yield Found(source, in_order(classes), seen, sure, tuple(doubts), known=told)


def _right_in(look: Look, own: Collection[str]) -> Iterator[Laid]:
    """Sibling folders of images."""
    below = {folder.path for folder in look.image_folders} - {"."}
    for parent in sorted({str(PurePosixPath(path).parent) for path in below} - below):
        places = look.folders_in(parent)
        classes = [name for name in places if str(PurePosixPath(parent, name)) in own]
        called = {name.lower() for name in classes}
        if len(classes) > 1 and not called <= NO_CLASSES and not (parent == "." and called & PARTS):
            folders = [str(PurePosixPath(parent, name)) for name in classes]
            yield Laid(parent, "{label}", classes, folders, [name for name in places if name not in classes])


def _below(look: Look, own: Collection[str]) -> Iterator[Laid]:
    """Folders of images inside sibling folders: of the same name in each class, or class folders inside groups."""
    inside: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in map(PurePosixPath, own):
        if len(path.parts) > 1 and not IS_PART.search(path.parent.name):
            inside[str(path.parent.parent)][path.parent.name].add(path.name)
    for parent, names in sorted(inside.items()):
        outer, inner = sorted(names), set.union(*names.values())
        alike = set.intersection(*names.values()) - (NO_CLASSES - IMAGES)
        common = min(alike if len(inner) == 1 else alike & IMAGES, default="")
        if len(outer) < 2 or any(str(PurePosixPath(parent, name)) in own for name in outer):
            continue
        beside = [name for name in look.folders_in(parent) if name not in names]
        images = sum(len(look.images_below[str(PurePosixPath(parent, name))]) for name in outer)
        if common and inner <= NO_CLASSES | {common} and len(outer) * 2 <= images:
            folders = [str(PurePosixPath(parent, name, common)) for name in outer]
            yield Laid(parent, f"{{label}}/{common}", outer, folders, beside)
        elif _are_classes(inner, list(names.values())):
            folders = [str(PurePosixPath(parent, name, one)) for name in outer for one in sorted(names[name])]
            within = {name for place in outer for name in look.folders_in(str(PurePosixPath(parent, place)))}
            yield Laid(parent, "{group}/{label}", inner, folders, [*beside, *sorted(within - inner)])


def _are_classes(inner: Collection[str], of_each: Sequence[Collection[str]]) -> bool:
    """Whether inner folders are the same few classes in many groups, and no parts like "train" or "images"."""
    share = sum(map(len, of_each)) / (len(of_each) * len(inner))
    parts = any(IS_PART.search(name) for name in inner)
    return not parts and len(of_each) >= max(FEWEST_GROUPS, len(inner) + 1) and len(inner) > 1 and share >= 0.5


def _given_validation(look: Look, laid: Laid) -> str:
    """The sibling folder with validation images in folders of the same classes; empty if there is none."""
    path, parts = PurePosixPath(laid.parent), laid.layout.split("/")
    beside = str(path.parent)
    for name in look.folders_in(beside) if "train" in path.name.lower() else ():
        place = str(PurePosixPath(beside, name))
        ways = (
            one.path.removeprefix(f"{place}/").split("/")
            for one in look.image_folders
            if one.path.startswith(f"{place}/")
        )
        inside = {way[parts.index("{label}")] for way in ways if len(way) == len(parts)}
        if re.match("val|dev", name.lower()) and inside and inside <= set(laid.classes):
            return place
    return ""


def names_classes(column: str, values: Collection[str], sample: SampleTable) -> bool:
    """Whether values that name several images each are classes, by the sample submission or the column's name."""
    answered = {*sample.columns, *sample.words}
    return not answered.isdisjoint(values) or bool(re.fullmatch(OF_CLASSES, column.lower()))


def counting(rows: pd.DataFrame, column: str, images: Mapping[str, Collection[str]]) -> list[str]:
    """The columns that hold the number of images that each value of ``column`` names."""
    counts = rows[column].map(lambda value: len(images.get(value, ())))
    others = {name: pd.to_numeric(rows[name], errors="coerce") for name in rows if name != column}
    return [str(name) for name, found in others.items() if counts.nunique() > 1 and (found == counts).mean() >= 1 - FEW]
