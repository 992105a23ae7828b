"""Labels in COCO's and iNaturalist's JSON: images, annotations and categories."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from comp.declare.checks import Declared
from comp.declare.labels.files import images_below, placed
from comp.declare.labels.naming import Names
from comp.declare.labels.table import table
from comp.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd

IMAGE = ("id", "image_id", "imageId")
FILE = ("file_name", "filename", "image", "name")
CATEGORY = ("category_id", "category", "label", "label_id", "labelId")
CATEGORY_ID, CATEGORY_NAME = ("id", "category_id"), ("name", "scientificName")


class Annotated(NamedTuple):
    """The contents of such a JSON, with ids and names as text.

    files: the images' files by image id. categories: the category ids of each annotated image, by image id. names: the
    categories' names by their ids. images: the images' entries as they are in the JSON, by image id.
    """

    files: Mapping[str, str]
    categories: Mapping[str, Collection[str]]
    names: Mapping[str, str]
    images: Mapping[str, Mapping[str, Any]]

    def value(self, image: str, key: str) -> str:
        """A value of an image's entry, as text; empty if there is none."""
        found = self.images.get(image, {}).get(key)
        return "" if found is None else str(found)


@dataclass(frozen=True)
class Coco(Declared):
    """Labels in a JSON of ``images``, ``annotations`` and ``categories``, like COCO's, or in a list of annotations.

    json: the file, relative to the competition's data folder. folder: the images' folder.
    target: ``single`` where an image has one category, ``multi`` where it may have several. Images in the folder that
        the JSON lists without a category have no tags; with ``single`` they are left out, and counted.
    classes: whether a class is named by its category's ``name`` or ``id``.
    group: a key of ``images``, like ``location``: images that share its value are never on both sides of a split.
    """

    json: str
    folder: str
    target: Literal["single", "multi"] = "single"
    classes: Literal["name", "id"] = "name"
    group: str | None = None

    def read(self, folder: Path) -> pd.DataFrame:
        path = folder / self.json
        said, found = annotated(path), []
        files = _files_of(said, [*said.categories, *said.files], folder, self.folder)
        labelled = _required({image: files[image] for image in said.categories}, said, path, folder / self.folder)
        bare = {file: image for image, file in files.items() if file and image not in labelled}
        for file in labelled.values():
            bare.pop(file, None)
        if self.target == "multi":
            labelled |= {image: file for file, image in bare.items()}
        for image in labelled:
            ids = said.categories.get(image, ())
            called = {said.names.get(one, one) if self.classes == "name" else one for one in ids}
            if self.target == "single" and len(called) > 1:
                name = said.files.get(image, image)
                raise DataError(f"{path} gives {name!r} {len(called)} categories; say target='multi' of Coco.")
            found.append(tuple(sorted(called)) if self.target == "multi" else next(iter(called)))
        groups = None if self.group is None else [self._group(said, image, path) for image in labelled]
        what = "left out, without a category" if self.target == "single" else "without a category, and so without tags"
        notes = [f"{self.json}: {what}: {counted(len(bare), 'image')}, the first {min(bare)}"] if bare else []
        return table(notes, id=list(labelled), path=list(labelled.values()), label=found, group=groups)

    def _group(self, said: Annotated, image: str, path: Path) -> str:
        if not (value := said.value(image, str(self.group))):
            name = said.files.get(image, image)
            raise DataError(f"{path} gives the image {name!r} no {self.group!r}; add it, or leave `group` of Coco out.")
        return value


@dataclass(frozen=True)
class CocoImages(Declared):
    """Test images, with their ids from the ``images`` of such a JSON; json, folder: as in `Coco`."""

    json: str
    folder: str

    def read(self, folder: Path) -> pd.DataFrame:
        path = folder / self.json
        said = annotated(path)
        files = _required(_files_of(said, list(said.files), folder, self.folder), said, path, folder / self.folder)
        return table(id=list(files), path=list(files.values()))


def _files_of(said: Annotated, images: Sequence[str], root: Path, place: str) -> dict[str, str | None]:
    """The file of each image by its id; None where it isn't in the folder."""
    folder = root / place
    known = Names(images_below(folder), roots=(folder, root))
    there, names = set(known.paths), [said.files.get(image, image) for image in images]
    direct = zip(images, names, placed(folder, names), strict=True)
    return {image: file if file in there else known.find(name) for image, name, file in direct}


def _required(files: Mapping[str, str | None], said: Annotated, path: Path, folder: Path) -> dict[str, str]:
    """The files; raises DataError for a missing one."""
    found = {image: file for image, file in files.items() if file is not None}
    if missing := [image for image in files if image not in found]:
        name = said.files.get(missing[0], missing[0])
        raise DataError(f"{path} names the image {name!r}, which isn't in {folder}.")
    return found


def annotated(path: Path) -> Annotated:
    """Read such a JSON; raises DataError for a JSON of another kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        parts: Mapping[str, Any] = content
        called: tuple[str, ...] = (*FILE, *IMAGE)
        if isinstance(content, list):
            called = FILE
            is_label = bool(content) and any(key in content[0] for key in CATEGORY)
            parts = {"annotations" if is_label else "images": content}
        names = {_of(one, CATEGORY_ID): _of(one, (*CATEGORY_NAME, *CATEGORY_ID)) for one in parts.get("categories", ())}
        images = {_of(one, IMAGE): one for one in parts.get("images", ())}
        files = {image: _of(one, called) for image, one in images.items()}
        categories: dict[str, set[str]] = defaultdict(set)
        for one in parts.get("annotations", ()) if files else parts["annotations"]:
            given = _value(one, CATEGORY)
            for category in given if isinstance(given, list) else [given]:
                categories[_of(one, ("image_id", "imageId", "id"))].add(str(category))
    except FileNotFoundError:
        raise DataError(f"{path} doesn't exist; check its name in competition.py.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} has no images, annotations and categories as COCO writes them ({error}).") from None
    return Annotated(files, dict(categories), names, images)


def _of(one: Mapping[str, Any], keys: Sequence[str]) -> str:
    return str(_value(one, keys))


def _value(one: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first key that exists; raises KeyError where none does."""
    return one[next((key for key in keys if key in one), keys[0])]
