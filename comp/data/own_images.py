"""Images of one's own as a competition: a sample submission is written, a share of the labelled images hidden."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.declare.competition import Competition
from comp.declare.forms import Numbers, ProbabilityPerClass
from comp.declare.labels.table import classes_of
from comp.declare.own_images import ANSWERS, SAMPLE, TEST, TRAIN, VALID, HideShare
from comp.errors import DataError
from comp.submission.postprocessing import untuned
from comp.submission.predictions import name_of_ids
from comp.submission.submission import exact_predictions


def ask_for_all(competition: Competition, folder: Path, new: Path) -> None:
    """A sample submission that asks for all images to predict, each with an even answer."""
    classes = classes_of(competition.labels.read(folder), competition.target)
    ids = competition.test.read(folder)["id"].to_list()
    _write(competition, classes, ids, _even(competition, classes, len(ids)), new / SAMPLE)


def hide(hiding: HideShare, competition: Competition, folder: Path, new: Path) -> None:
    """Links to the labelled images, some of them without their class, and what is asked of these; as it says."""
    table = hiding.labels.read(folder)
    classes = classes_of(table, "single")
    unsafe = next((name for name in classes if "/" in name or name.startswith(".")), None)
    if unsafe is not None:
        raise DataError(f"The class {unsafe!r} can't be a folder's name; rename it, or write a sample submission.")
    targets = pd.Index(classes).get_indexer(pd.Index(table["label"]))
    validates = table["validates"].eq(True).to_numpy() if "validates" in table else np.zeros(len(table), bool)
    hidden = _drawn(targets, ~validates, hiding.share)
    digits = len(str(len(table)))
    ids = [f"{number:0{digits}}" for number in range(len(table))]
    parts = np.where(hidden, TEST, np.where(validates, VALID, TRAIN))
    for id_, path, label, part in zip(ids, table["path"], table["label"], parts, strict=True):
        place = new / part if part == TEST else new / part / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{id_}{Path(path).suffix}").symlink_to(os.path.realpath(path))
    asked = np.array(ids)[hidden].tolist()
    _write(competition, classes, asked, _even(competition, classes, len(asked)), new / SAMPLE)
    _write(competition, classes, asked, exact_predictions(competition, classes, targets[hidden]), new / ANSWERS)


def _drawn(targets: npt.NDArray[Any], able: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.bool_]:
    """True for the rows (N,) that are hidden: of each class a share, one at least, and not all."""
    hidden, generator = np.zeros(len(targets), bool), np.random.default_rng(0)
    for label in np.unique(targets):
        rows = np.flatnonzero((targets == label) & able)
        count = min(max(round(len(rows) * share), 1), len(rows) - 1)
        hidden[generator.choice(rows, max(count, 0), replace=False)] = True
    if not hidden.any():
        raise DataError("No class has two images, so none can be hidden; add images.")
    return hidden


def _even(competition: Competition, classes: Sequence[str], count: int) -> npt.NDArray[Any]:
    return untuned(competition, classes)(np.full((count, len(classes)), 1 / len(classes)))


def _write(
    competition: Competition, classes: Sequence[str], ids: Sequence[str], predictions: npt.NDArray[Any], path: Path
) -> None:
    """A CSV of the ids and these answers, in the competition's form."""
    each = isinstance(competition.submission, (ProbabilityPerClass, Numbers))
    columns = list(classes) if each else ["label"]
    values = competition.submission.encode(predictions, classes, columns)
    values.insert(0, name_of_ids(columns), ids)
    values.to_csv(path, index=False)
