"""Labels in COCO's and iNaturalist's JSON: images, annotations and categories."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from comp.declare.checks import Declared
from comp.declare.labels.files import images_below, placed
from comp.declare.labels.naming import Names
from comp.declare.labels.table import table
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

IMAGE = ("id", "image_id")
FILE = ("file_name", "filename", "image", "name")
CATEGORY = ("category_id", "category", "label")


@dataclass(frozen=True)
class Coco(Declared):
    """Labels in a JSON of ``images``, ``annotations`` and ``categories``, as COCO's, or in a list of annotations.

    json: the file, relative to the competition's data folder. folder: of the images.
    target: ``single`` where an image has one category, ``multi`` where it may have several.
    """

    json: str
    folder: str
    target: Literal["single", "multi"] = "single"

    def read(self, folder: Path) -> pd.DataFrame:
        path = folder / self.json
        images, labels = annotated(path)
        known = Names(images_below(folder / self.folder), roots=(folder / self.folder, folder))
        there = set(known.paths)
        ids, paths, found = [], [], []
        for image, categories in labels.items():
            name = images.get(image, image)
            direct = placed(str(folder / self.folder), name)
            file = direct if direct in there else known.find(name)
            if file is None:
                raise DataError(f"{path} names the image {name!r}, which {folder / self.folder} has not.")
            if self.target == "single" and len(categories) > 1:
                raise DataError(f"{path} gives {name!r} {len(categories)} categories; say target='multi' of Coco.")
            ids.append(image)
            paths.append(file)
            found.append(tuple(sorted(categories)) if self.target == "multi" else next(iter(categories)))
        return table(ids, paths, found)


def annotated(path: Path) -> tuple[dict[str, str], dict[str, set[str]]]:
    """The file of each image by its id, and the names of its categories; raises DataError for another JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts: Mapping[str, Any] = {"annotations": content} if isinstance(content, list) else content
        names = {str(one["id"]): str(one.get("name", one["id"])) for one in parts.get("categories", ())}
        images = {_of(one, IMAGE): _of(one, (*FILE, *IMAGE)) for one in parts.get("images", ())}
        labels: dict[str, set[str]] = defaultdict(set)
        for one in parts["annotations"]:
            category = _of(one, CATEGORY)
            labels[_of(one, ("image_id", "id"))].add(names.get(category, category))
    except FileNotFoundError:
        raise DataError(f"{path} doesn't exist; check its name in competition.py.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} has no images, annotations and categories as COCO writes them ({error}).") from None
    return images, dict(labels)


def _of(one: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The value of the first key that is there; raises KeyError without any."""
    return str(one[next((key for key in keys if key in one), keys[0])])
