"""Images of one's own, without a sample submission: one is written; where none are to predict a share is hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from comp.declare.labels.columns import CsvColumns, CsvImages, CsvLabels, CsvNumbers
from comp.declare.labels.files import Folders, TestImages
from comp.declare.labels.given import GivenSplit
from comp.declare.labels.placing import Rows
from comp.declare.labels.table import LabelSource
from comp.declare.own_images import PREPARED, SAMPLE, TEST, TRAIN, VALID, AskForAll, HideShare
from comp.errors import DataError
from comp.new.columns import SEPARATORS
from comp.new.labels import find_labels
from comp.new.look import IS_TEST, Look
from comp.new.matching import Asked, must_have_images, suffix_of
from comp.new.metrics import metric_of
from comp.new.pixels import images_of
from comp.new.sample import SampleTable
from comp.new.tables import Found


def own_images(look: Look) -> tuple[HideShare | AskForAll, Found, Asked, SampleTable]:
    """What to prepare, labels, images to predict and the sample submission that will be there.

    Raises DataError where there are no labels, or none that can be hidden.
    """
    metric = metric_of(look.metric)
    path = f"{PREPARED}/{SAMPLE}"
    sample = SampleTable(path, pd.DataFrame({"id": []}, dtype=str), "id", metric.takes if metric else None)
    must_have_images(look)
    place = _test_folder(look)
    if place is not None:
        images = frozenset(look.images_below[place])
        test = TestImages(place, suffix=suffix_of(images))
        asked = Asked(test, images, None, False, f"all images in {place}, as there is no sample submission: {path}")
        return AskForAll(), _labels(look, asked, sample), asked, sample
    nothing = Asked(TestImages("."), frozenset(), None, False, "")
    labels = _labels(look, nothing, sample)
    source: Any = getattr(labels.source, "train", labels.source)
    suffix = suffix_of(images_of(look, source))
    inside = _prepared(labels, source, TRAIN, suffix)
    if isinstance(labels.source, GivenSplit):
        inside = GivenSplit(inside, _prepared(labels, source, VALID, suffix))
    # What is prepared lies in the same folder, and has no rows.
    hiding = HideShare(replace(labels.source, shared=True) if isinstance(labels.source, Rows) else labels.source)
    hides = f"{PREPARED}/{TEST}"
    several = CsvImages(f"{hides}.csv", image="image", folder=hides, suffix=suffix, answer="answer")
    kept = [f"one {source.group!r}"] if getattr(source, "group", None) else []
    kept += [f"one {source.image!r}"] if _has_answers(source) else []
    whole = f", those of {' and those of '.join(kept)} together" if kept else ""
    hidden = f"{hiding.share:.0%} of the labelled are hidden{whole}"
    seen = f"there are none, so {hidden}, and graded by: make {{name}}-submit"
    predicted = several if _has_answers(source) else TestImages(hides, suffix=suffix)
    asked = Asked(predicted, frozenset(), None, False, seen, sure=False)
    return hiding, replace(labels, source=inside), asked, sample


def _has_answers(source: Any) -> bool:
    """Whether several images of a source are predicted together."""
    return "*" in getattr(source, "suffix", "")


def _prepared(labels: Found, source: Any, part: str, suffix: str) -> LabelSource:
    """What reads the labels of a part that `prepare` made of those of a source."""
    place, group, answers = f"{PREPARED}/{part}", getattr(source, "group", None), _has_answers(source)
    if source.target == "single" and not (group or answers):
        return Folders(place, suffix=suffix)
    where: dict[str, Any] = {"csv": f"{place}.csv", "image": "image", "suffix": suffix}
    where |= {"group": "group" if group else None, "answer": "answer" if answers else None}
    if source.target == "single":
        return CsvLabels(label="label", folder=f"{place}/{{label}}", **where)
    if source.target == "multi":
        separator = next((mark for mark in SEPARATORS if not any(mark in name for name in labels.classes)), "|")
        return CsvLabels(label="label", separator=separator, folder=place, **where)
    if source.target == "number":
        return CsvNumbers(values=labels.classes, folder=place, **where)
    return CsvColumns(labels=labels.classes, target=source.target, folder=place, **where)


def _labels(look: Look, asked: Asked, sample: SampleTable) -> Found:
    try:
        return find_labels(look, asked, sample)
    except DataError as error:
        seen = ", ".join(sorted(look.tables)) or ("no CSV that can be read" if look.aside else "no CSV at all")
        raise DataError(
            f"There is no sample submission among the competition's files, which have {seen}. {error}"
        ) from error


def _test_folder(look: Look) -> str | None:
    """The topmost folder of images to predict."""
    called = {
        str(parent)
        for folder in look.image_folders
        for parent in (PurePosixPath(folder.path), *PurePosixPath(folder.path).parents)
        if IS_TEST.search(parent.name)
    }
    return min(called, key=lambda place: (place.count("/"), -len(look.images_below[place]), place), default=None)
