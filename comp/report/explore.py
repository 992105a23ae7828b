"""A page on a competition's data before any training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.console import Console
from comp.data.augmenting import Preprocessing, tta_views
from comp.data.data_check import checked_tables
from comp.data.findings import DataCheck, kinds_of, lines_for_training
from comp.data.loading import ImageDataset
from comp.data.reading import Reading, read_image
from comp.data.splitting import strata
from comp.data.tables import Tables, folds_of
from comp.declare.competition import Competition
from comp.declare.labels.table import in_words
from comp.declare.reading import size_in_words
from comp.declare.recipe import Recipe
from comp.declare.viewpoint import View
from comp.report import EXPLORATION, figures
from comp.report.advice import advice_on_files, advise
from comp.report.nearby import nearby
from comp.report.outcomes import one_hot
from comp.report.rendering import SIDE, one_by_one, thumbnail, write_page
from comp.runs import Workspace
from comp.runs.choices import Choices
from comp.runs.pretraining import pretraining
from comp.runs.resolve import resolve
from comp.training.prepared import which_validate

Array = npt.NDArray[Any]
# Turns an image's path into a data URL of the image, whole and without augmentation.
Picture = Callable[[Path | str], str]

SAMPLES = 240
TO_PREDICT = 28
FEWEST, MOST = 2, 14
AUGMENTATIONS = 6
# The image with the most contrast among this many is augmented: all views of a plain image look the same.
CANDIDATES = 20
TOGETHER_AT_MOST = 80
LISTED = 20
PAIRS = 12
# The worst first.
OF_PAIRS = {"conflict": "conflicting labels", "leak": "leak", "duplicate": "duplicate"}


def explore(competition: Competition, choices: Choices, workspace: Workspace, console: Console) -> Path:
    """Write explore.html beside the competition's runs, without training or loading weights."""
    competition, recipe = resolve(competition, choices)
    tables = checked_tables(competition, workspace, console, every_image=True)
    check = tables.data_check
    assert check is not None
    readable = check.images[check.images["problem"] == ""]
    parts, names = _parts(tables, recipe, choices)
    charts, classes = [], tables.classes
    if tables.targets.dtype.kind == "f":
        numbers = zip(tables.classes, tables.targets.T, strict=True)
        charts = [(name, figures.histograms({"labelled": values}, name)) for name, values in numbers]
        tables, classes = _in_quantiles(tables), ()
    truth = one_hot(tables.targets, len(tables.classes))
    counts = truth.sum(axis=0)
    of_parts = np.stack([truth[parts == part].sum(axis=0) for part in range(len(names))], axis=1)
    known = pretraining(recipe.backbone)
    reading = Reading(known.interpolation, competition.augment.fit, competition.read, tables.depth)
    as_it_is = replace(reading, interpolation="bilinear", fit="crop")

    def picture(path: Path | str) -> str:
        return thumbnail(read_image(Path(path), SIDE, as_it_is))

    return write_page(
        workspace.runs / competition.name / EXPLORATION,
        "explore",
        competition=competition,
        recipe_name=choices.recipe,
        seed=choices.seed,
        tables=tables,
        tags=tables.targets.ndim == 2,
        advice=[
            *advice_on_files(check),
            *advise(readable, counts, classes, competition.scoring, recipe, known.side, competition.augment.fit),
        ],
        parts=names,
        split_sizes=np.bincount(parts, minlength=len(names)).tolist(),
        per_class=[
            (tables.classes[index], int(counts[index]), of_parts[index].tolist())
            for index in np.argsort(-counts, kind="stable")
        ],
        answers=None if tables.answers is tables else len(tables.answers.train),
        groups=None if tables.groups is None else len(set(tables.groups)),
        together=_together(tables) if competition.target == "multi" else None,
        histograms=charts,
        shapes=_shapes(readable),
        sizes=_by_part(readable["width"].astype(str) + " × " + readable["height"].astype(str), readable["part"], 6),
        modes=_by_part(readable["format"] + ", " + readable["mode"], readable["part"], 12),
        nearby=nearby(tables, truth, workspace.cache, as_it_is, choices.seed),
        to_predict=_to_predict(tables, choices.seed, picture),
        samples=_samples(tables, truth, np.array(names)[parts], choices.seed, console, picture),
        augmented=_augmented(competition, recipe, tables, reading, choices.seed, picture),
        check=_check(check, tables.notes, workspace.data(competition.name), picture),
    )


def _parts(tables: Tables, recipe: Recipe, choices: Choices) -> tuple[Array, list[str]]:
    """The index of each labelled image's part (N,), and the parts' names."""
    if choices.folds is not None:
        folds = folds_of(tables, choices.folds, choices.splits_by)
        names = [f"fold {fold}" for fold in range(1, choices.folds + 1)]
        return (folds + 1, ["only trains", *names]) if (folds < 0).any() else (folds, names)
    return which_validate(tables, recipe, choices).astype(int), ["train", "valid"]


def _in_quantiles(tables: Tables) -> Tables:
    """The tables with each number's quantile as the class, or the quantiles of several numbers as tags."""
    names, columns = [], []
    for name, values in zip(tables.classes, tables.targets.T, strict=True):
        quantiles = strata(values[:, None])
        for quantile in np.unique(quantiles):
            columns.append(quantiles == quantile)
            some = values[columns[-1]]
            names.append(f"{name} {some.min():g} to {some.max():g}")
    has = np.stack(columns, axis=1).astype(np.int64)
    return replace(tables, classes=tuple(names), targets=has if len(tables.classes) > 1 else has.argmax(axis=1))


def _together(tables: Tables) -> dict[str, Any]:
    """How often the most frequent tags occur together."""
    kept = np.sort(np.argsort(-tables.targets.sum(axis=0), kind="stable")[:TOGETHER_AT_MOST])
    names = [tables.classes[index] for index in kept]
    return {
        "counts": pd.DataFrame(tables.targets[:, kept].T @ tables.targets[:, kept], names, names),
        "left_out": len(tables.classes) - len(kept),
        "per_image": float(tables.targets.sum(axis=1).mean()),
        "sets": len(np.unique(tables.targets, axis=0)),
    }


def _shapes(images: pd.DataFrame) -> list[tuple[str, Any]]:
    """Histograms of width, height and shape, of those that vary."""
    charts = []
    for caption, axis, column in (
        ("Width", "columns of pixels", images["width"]),
        ("Height", "rows of pixels", images["height"]),
        ("Shapes", "width divided by height", images["width"] / images["height"]),
    ):
        if column.nunique() > 1:
            labelled = images["part"] == "train"
            values = {"labelled": column[labelled].to_numpy(float), "to predict": column[~labelled].to_numpy(float)}
            spread = bool(column.max() > 8 * column.min())
            charts.append((caption, figures.histograms(values, axis, log=spread)))
    return charts


def _by_part(named: pd.Series[str], part: pd.Series[str], most: int) -> list[tuple[str, int, int]]:
    """The most frequent names with their number of labelled and of test images; the others as one row."""
    counts = pd.crosstab(named, part).reindex(columns=["train", "test"], fill_value=0)
    ordered = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    rows = list(ordered.head(most).itertuples(name=None))
    rest = ordered.iloc[most:]
    return [*rows, (f"{len(rest)} others", *rest.sum().tolist())] if len(rest) else rows


def _samples(
    tables: Tables, truth: Array, parts: Array, seed: int, console: Console, picture: Picture
) -> list[dict[str, Any]]:
    """Some images of each class without augmentation, drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(truth))
    each = int(np.clip(SAMPLES // len(tables.classes), FEWEST, MOST))
    of_classes = [order[has][:each] for has in truth[order].T]
    chosen = dict.fromkeys(int(rows[turn]) for turn in range(each) for rows in of_classes if len(rows) > turn)
    cards = []
    for row in one_by_one(list(chosen)[: 2 * SAMPLES], console):
        id_, path = tables.train[["id", "path"]].iloc[row]
        actual = np.flatnonzero(truth[row]).tolist()
        cards.append({"id": id_, "part": parts[row], "actual": actual, "picture": picture(path)})
    return cards


def _to_predict(tables: Tables, seed: int, picture: Picture) -> list[tuple[str, str]]:
    readable = tables.test[tables.readable]
    some = readable.iloc[np.random.default_rng(seed).permutation(len(readable))[:TO_PREDICT]]
    return [(id_, picture(path)) for id_, path in zip(some["id"], some["path"], strict=True)]


def _augmented(
    competition: Competition, recipe: Recipe, tables: Tables, reading: Reading, seed: int, picture: Picture
) -> dict[str, Any]:
    """One image as it is, with training augmentations, and in the views that are averaged in prediction."""
    some = tables.train.iloc[np.random.default_rng(seed).permutation(len(tables.train))[:CANDIDATES]]
    contrasts = [float(read_image(Path(path), SIDE // 4, reading).std()) for path in some["path"]]
    id_, path = some[["id", "path"]].iloc[int(np.argmax(contrasts))]
    size, viewpoint = recipe.stages[-1].pixels, competition.augment

    def views(seen: tuple[View, ...], erasing: float) -> list[str]:
        dataset = ImageDataset([Path(path)], Preprocessing(size, reading, viewpoint, erasing, recipe.tta), seed)
        return [thumbnail(pixels) for pixels in dataset[0, seen][1]]

    return {
        "id": id_,
        "original": picture(path),
        "size": size_in_words(size),
        "training": views(tuple(View(draw=draw) for draw in range(AUGMENTATIONS)), recipe.random_erasing),
        "tta": views(tta_views(recipe, viewpoint), 0.0),
    }


def _check(check: DataCheck, notes: Sequence[str], root: Path, picture: Picture) -> dict[str, Any]:
    """The data check's findings: counts, the files that can't be read, and pairs of duplicates as pictures.

    notes: problems in files of labels and images that were tolerated, a line each.
    """
    images, of_images = check.images, lines_for_training(check)
    unreadable = images[images["problem"] != ""]
    return {
        "kinds": [
            (name, *((found["part"] == part).sum() for part in ("train", "test")), follows)
            for name, found, follows, _ in kinds_of(images)
        ],
        "notes": [note for note in notes if note not in of_images],
        "torn": check.torn,
        "unreadable": unreadable[["path", "problem", "detail"]].head(LISTED).to_numpy().tolist(),
        "unreadable_left_out": max(0, len(unreadable) - LISTED),
        "pairs": _pairs(images, root, picture),
    }


def _pairs(images: pd.DataFrame, root: Path, picture: Picture) -> list[tuple[str, list[dict[str, Any]]]]:
    """Pairs of duplicates, each pair once, conflicts first."""
    kinds: dict[frozenset[str], tuple[str, tuple[str, str]]] = {}
    for column, kind in OF_PAIRS.items():
        for path, like, how in images.loc[images[column] != "", ["path", "like", column]].itertuples(index=False):
            kinds.setdefault(frozenset((path, like)), (f"{how} {kind}", (path, like)))
    labels = images.set_index("path")["label"]

    def side(path: str) -> dict[str, Any]:
        return {"path": path, "label": in_words(labels[path]), "picture": picture(root / path)}

    return [(kind, [side(path) for path in both]) for kind, both in list(kinds.values())[:PAIRS]]
