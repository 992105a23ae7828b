"""Images of one's own as a competition: a sample submission is written, a share of the labelled images hidden."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

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
    hidden = _which(table, targets, ~validates, hiding.share)
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


def _which(
    table: pd.DataFrame, targets: npt.NDArray[Any], able: npt.NDArray[np.bool_], share: float
) -> npt.NDArray[np.bool_]:
    """True for the rows (N,) that are hidden: of those that are able to, groups and answers whole."""
    together = next((table[name].to_numpy(object) for name in ("group", "answer") if name in table), None)
    if together is None and targets.ndim == 1:
        return _drawn(targets, able, share)
    return _drawn_whole(targets, able, share, np.arange(len(table)) if together is None else together)


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


def _drawn_whole(
    targets: npt.NDArray[Any], able: npt.NDArray[np.bool_], share: float, together: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """As `_drawn`, but those of one value (N,) are together: they are hidden where that brings the shares nearer.

    So is the first with a class or tag; none is hidden whole. Of numbers, the share is one of the rows.
    """
    numbers = np.unique(together, return_inverse=True)[1]
    # Of each group: its rows of each class or tag, and last all of them.
    classes = 0 if targets.dtype.kind == "f" else targets.max() + 1 if targets.ndim == 1 else targets.shape[1]
    counts = np.zeros((numbers.max() + 1, classes + 1))
    counts[:, -1] = np.bincount(numbers)
    if targets.ndim == 1:
        np.add.at(counts, (numbers, targets), 1)
    elif classes:
        np.add.at(counts[:, :-1], numbers, targets)
    fixed = np.bincount(numbers, ~able) > 0
    there, taken, hidden = counts[~fixed].sum(axis=0), np.zeros(counts.shape[1]), np.zeros(len(counts), bool)
    for number in np.random.default_rng(0).permutation(np.flatnonzero(~fixed)):
        has, new = counts[number] > 0, taken + counts[number]
        nearer = np.abs(new - share * there).sum() < np.abs(taken - share * there).sum()
        if (nearer or (taken[has] == 0).any()) and (new < there)[has].all():
            hidden[number], taken = True, new
    if not hidden.any():
        raise DataError(f"None of {len(targets)} labelled images can be hidden without a class being lost; add images.")
    return np.asarray(hidden[numbers])


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
