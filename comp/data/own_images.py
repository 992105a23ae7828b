"""Images of one's own as a competition: a sample submission is written, a share of the labelled images hidden."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.data.splitting import draw_hidden
from comp.data.targets import targets_of
from comp.declare.competition import Competition
from comp.declare.forms import Numbers, ProbabilityPerClass
from comp.declare.labels.table import classes_of
from comp.declare.metrics import Target
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
    """Links to the labelled images, some of them without their labels, and what is asked of these; as it says."""
    table, target = hiding.labels.read(folder), competition.target
    classes = classes_of(table, target)
    in_folders = target == "single"
    unsafe = next((name for name in classes if "/" in name or name.startswith(".")), None)
    if in_folders and unsafe is not None:
        raise DataError(f"The class {unsafe!r} can't be a folder's name; rename it, or write a sample submission.")
    targets = targets_of(table, classes, target)
    given = table.get("validates", pd.Series(None, table.index, dtype=object))
    if (only_train := given.eq(False)).any():
        raise DataError(
            f"HideShare: {table['path'][only_train].iloc[0]} only trains, which `prepare` can't keep; leave such "
            "images out, and add them by `labels=WithExtra(...)`."
        )
    validates = given.eq(True).to_numpy()
    together = next((table[name].to_numpy(object) for name in ("group", "answer") if name in table), None)
    hidden = draw_hidden(targets, hiding.share, 0, ~validates, together)
    digits = len(str(len(table)))
    ids = [f"{number:0{digits}}" for number in range(len(table))]
    parts = np.where(hidden, TEST, np.where(validates, VALID, TRAIN))
    names = [f"{id_}{Path(path).suffix}" for id_, path in zip(ids, table["path"], strict=True)]
    for name, path, label, part in zip(names, table["path"], table["label"], parts, strict=True):
        place = new / part / label if in_folders and part != TEST else new / part
        place.mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to(os.path.realpath(path))
    if "answer" in table:
        table["answer"] = ids = numbered(table["answer"])
    if not in_folders or "answer" in table or "group" in table:
        _write_tables(competition, table.assign(image=names), parts, new)
    those, first = np.unique(np.array(ids)[hidden], return_index=True)
    asked = those.tolist()
    _write(competition, classes, asked, _even(competition, classes, len(asked)), new / SAMPLE)
    _write(competition, classes, asked, exact_predictions(competition, classes, targets[hidden][first]), new / ANSWERS)


def numbered(names: Iterable[object]) -> list[str]:
    """The numbers of the names, in their order, as texts of one length."""
    numbers = np.unique(np.array(list(names), object), return_inverse=True)[1].tolist()
    return [f"{number:0{len(str(max(numbers)))}}" for number in numbers]


def as_columns(labels: Sequence[Any], target: Target, separator: str | None) -> dict[str, Sequence[Any]]:
    """Labels as the columns of a CSV: classes, tags with a separator between them, or each number in its own."""
    if target == "single":
        return {"label": labels}
    if target == "multi":
        return {"label": [(separator or "|").join(tags) for tags in labels]}
    return {name: [dict(numbers)[name] for numbers in labels] for name, _ in labels[0]}


def _write_tables(competition: Competition, table: pd.DataFrame, parts: npt.NDArray[np.str_], new: Path) -> None:
    """A CSV of the images of each part (N,), with what is known of them."""
    separator = getattr(getattr(competition.labels, "train", competition.labels), "separator", None)
    suffix = getattr(competition.test, "suffix", "")
    given = {name: table[name] for name in ("group", "answer") if name in table}
    known = as_columns(table["label"].to_list(), competition.target, separator)
    if clash := {"image", *given}.intersection(known):
        raise DataError(
            f"HideShare: a column of numbers is called {min(clash)!r}, as one that `prepare` writes; rename it."
        )
    whole = pd.DataFrame({"image": [name.removesuffix(suffix) for name in table["image"]], **known, **given})
    if "answer" in given:
        whole.loc[parts == TEST, ["image", "answer"]].to_csv(new / f"{TEST}.csv", index=False)
    for part in {TRAIN, VALID} & set(parts):
        whole[parts == part].to_csv(new / f"{part}.csv", index=False)


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
