"""Images of one's own, without a sample submission: one is written; where none are to predict a share is hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pandas as pd

from comp.declare.labels.files import Folders, TestImages
from comp.declare.labels.given import GivenSplit
from comp.declare.labels.placing import Rows
from comp.declare.labels.table import LabelSource
from comp.declare.own_images import PREPARED, SAMPLE, TEST, TRAIN, VALID, AskForAll, HideShare
from comp.errors import DataError
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
        source = TestImages(place, suffix=suffix_of(images))
        asked = Asked(source, images, None, False, f"all images in {place}, as there is no sample submission: {path}")
        return AskForAll(), _labels(look, asked, sample), asked, sample
    nothing = Asked(TestImages("."), frozenset(), None, False, "")
    labels = _labels(look, nothing, sample)
    if labels.source.target != "single" or getattr(labels.source, "answer", None):
        raise DataError(
            f"There are no images to predict, and no sample submission: {labels.seen}; put other images in a folder "
            "test beside them."
        )
    suffix = suffix_of(images_of(look, labels.source))
    inside: LabelSource = Folders(f"{PREPARED}/{TRAIN}", suffix=suffix)
    if isinstance(labels.source, GivenSplit):
        inside = GivenSplit(inside, Folders(f"{PREPARED}/{VALID}", suffix=suffix))
    # What is prepared lies in the same folder, and has no rows.
    hiding = HideShare(replace(labels.source, shared=True) if isinstance(labels.source, Rows) else labels.source)
    seen = f"there are none, so {hiding.share:.0%} of the labelled are hidden, and graded by: make {{name}}-submit"
    asked = Asked(TestImages(f"{PREPARED}/{TEST}", suffix=suffix), frozenset(), None, False, seen, sure=False)
    group = getattr(getattr(labels.source, "train", labels.source), "group", None)
    doubts = (
        (f"images of one {group!r} may be on both sides of a split, and among those that are hidden",) if group else ()
    )
    return hiding, replace(labels, source=inside, doubts=(*labels.doubts, *doubts)), asked, sample


def _labels(look: Look, asked: Asked, sample: SampleTable) -> Found:
    try:
        return find_labels(look, asked, sample)
    except DataError as error:
        seen = ", ".join(sorted(look.tables)) or "no CSV at all"
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
