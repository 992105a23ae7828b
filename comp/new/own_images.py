"""The user's own images: a sample submission is written, and without test images some labelled ones are hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from comp.declare.labels.files import TestImages
from comp.declare.own_images import PREPARED, SAMPLE, AskForAll, HiddenImages, HideShare, KnownLabels
from comp.errors import DataError
from comp.new.labels import find_labels
from comp.new.look import IS_TEST, Look
from comp.new.matching import Asked, must_have_images, suffix_of
from comp.new.metrics import metric_of
from comp.new.sample import SampleTable
from comp.new.tables import Found


def own_images(look: Look) -> tuple[HideShare | AskForAll, Found, Asked, SampleTable]:
    """The preparation, the labels, the test images, and the sample submission that will be written.

    Raises DataError where there are no images or no labels.
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
    labelled, hiding = labels.source, HideShare(0.2)
    source: Any = getattr(labelled, "train", labelled)
    kept = [f"one {source.group!r}"] if getattr(source, "group", None) else []
    kept += [f"one {source.image!r}"] if "*" in getattr(source, "suffix", "") else []
    whole = f", those of {' and those of '.join(kept)} together" if kept else ""
    hidden = f"{hiding.share:.0%} of the labelled images are hidden{whole}"
    seen = f"there are no test images, so {hidden}, and graded when they are submitted"
    asked = Asked(HiddenImages(labelled), frozenset(), None, False, seen, sure=False)
    return hiding, replace(labels, source=KnownLabels(labelled)), asked, sample


def _labels(look: Look, asked: Asked, sample: SampleTable) -> Found:
    try:
        return find_labels(look, asked, sample)
    except DataError as error:
        seen = ", ".join(sorted(look.tables)) or ("no CSV that can be read" if look.aside else "no CSV at all")
        raise DataError(
            f"There is no sample submission among the competition's files, which have {seen}. {error}"
        ) from error


def _test_folder(look: Look) -> str | None:
    """The topmost folder of test images."""
    called = {
        str(parent)
        for folder in look.image_folders
        for parent in (PurePosixPath(folder.path), *PurePosixPath(folder.path).parents)
        if IS_TEST.search(parent.name)
    }
    return min(called, key=lambda place: (place.count("/"), -len(look.images_below[place]), place), default=None)
