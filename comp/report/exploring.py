"""What a competition's data look like before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.augmenting import Preprocessing
from comp.data.data_check import checked_tables
from comp.data.loading import ImageDataset
from comp.data.reading import read_image
from comp.data.splitting import draw_folds
from comp.declare.viewpoint import View
from comp.report import EXPLORATION, figures
from comp.report.advice import advise
from comp.report.matrices import together_cells
from comp.report.pictures import SIDE, thumbnail
from comp.report.rendering import write_page
from comp.report.screened import advice_on, screened_facts
from comp.runs.resolve import resolve
from comp.training.backbone import pretraining
from comp.training.inputs import tta_views
from comp.training.prepared import which_validate

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from comp.console import Console
    from comp.data.tables import Tables
    from comp.declare.competition import Competition
    from comp.declare.recipe import Recipe
    from comp.runs import Workspace
    from comp.runs.resolve import Choices

    Array = npt.NDArray[Any]

SAMPLES = 240
FEWEST, MOST = 2, 14
AUGMENTATIONS = 6
CANDIDATES = 20
TOGETHER_AT_MOST = 80


def explore(competition: Competition, choices: Choices, workspace: Workspace, console: Console) -> Path:
    """Write explore.html beside the competition's runs; nothing is trained, and no weights are loaded."""
    competition, recipe = resolve(competition, choices)
    root = workspace.data(competition.name)
    tables = checked_tables(competition, workspace, console, every_image=True)
    assert tables.data_check is not None
    images = tables.data_check.images
    parts, names = _parts(tables, recipe, choices)
    counts = _per_class(tables)
    size, interpolation = pretraining(recipe.backbone)
    readable = images[images["problem"] == ""]
    facts = {
        "competition": competition,
        "recipe": recipe,
        "recipe_name": choices.recipe,
        "tables": tables,
        "tags": tables.targets.ndim == 2,
        "advice": advice_on(tables.data_check)
        + advise(readable, counts, tables.classes, competition.scoring, recipe, size),
        "parts": names,
        "per_class": _split(tables, counts, parts, len(names)),
        "split_sizes": np.bincount(parts, minlength=len(names)).tolist(),
        "groups": None if tables.groups is None else len(set(tables.groups)),
        "together": _together(tables),
        "shapes": _shapes(readable),
        "sizes": _sizes(readable),
        "modes": _modes(readable),
        "samples": _samples(tables, parts, names, choices.seed, console),
        "augmented": _augmented(competition, recipe, tables, interpolation, choices.seed),
        "seed": choices.seed,
        "screened": screened_facts(tables.data_check, tables.notes, root),
    }
    return write_page(workspace.runs / competition.name / EXPLORATION, "explore", **facts)


def _parts(tables: Tables, recipe: Recipe, choices: Choices) -> tuple[Array, list[str]]:
    """The number of each labelled row's part (N,), and what the parts are called."""
    if choices.folds is not None:
        folds = draw_folds(tables.targets, choices.folds, choices.seed, tables.groups, tables.duplicate_groups)
        return folds, [f"fold {fold}" for fold in range(1, choices.folds + 1)]
    return which_validate(tables, recipe, choices).astype(int), ["train", "valid"]


def _per_class(tables: Tables) -> Array:
    """How many images each class or tag has (C,)."""
    counts: Array = (
        tables.targets.sum(axis=0)
        if tables.targets.ndim == 2
        else np.bincount(tables.targets, minlength=len(tables.classes))
    )
    return counts


def _split(tables: Tables, counts: Array, parts: Array, number: int) -> list[dict[str, Any]]:
    """Each class with how many of its images are in each part, the most frequent first."""
    of_class = tables.targets if tables.targets.ndim == 2 else np.eye(len(tables.classes), dtype=int)[tables.targets]
    of_parts = np.stack([of_class[parts == part].sum(axis=0) for part in range(number)], axis=1)
    return [
        {
            "place": place,
            "name": tables.classes[place],
            "count": int(counts[place]),
            "share": float(counts[place] / len(parts)),
            "parts": of_parts[place].tolist(),
            "widths": (of_parts[place] / counts.max()).tolist(),
        }
        for place in np.argsort(-counts, kind="stable").tolist()
    ]


def _together(tables: Tables) -> dict[str, Any] | None:
    """How often tags are given together, of the most frequent ones."""
    if tables.targets.ndim == 1:
        return None
    kept = np.sort(np.argsort(-tables.targets.sum(axis=0), kind="stable")[:TOGETHER_AT_MOST])
    names = [tables.classes[place] for place in kept]
    return {
        "names": names,
        "cells": together_cells(tables.targets[:, kept], names),
        "left_out": len(tables.classes) - len(kept),
        "per_image": float(tables.targets.sum(axis=1).mean()),
        "sets": len(np.unique(tables.targets, axis=0)),
    }


def _shapes(images: pd.DataFrame) -> list[tuple[str, Any]]:
    named = {"train": "labelled", "test": "to predict"}
    charts = []
    for caption, axis, column in (
        ("Width", "columns of pixels", images["width"]),
        ("Height", "rows of pixels", images["height"]),
        ("Shapes", "width divided by height", images["width"] / images["height"]),
    ):
        values = {name: column[images["part"] == part].to_numpy(float) for part, name in named.items()}
        every = np.concatenate(list(values.values()))
        if every.min() == every.max():
            continue
        spread = every.max() > 8 * every.min()
        charts.append((caption, figures.histograms(values, axis, log=bool(spread))))
    return charts


def _sizes(images: pd.DataFrame) -> list[tuple[str, int, int]]:
    """The most frequent sizes, and how many images of each part have them."""
    named = images["width"].astype(str) + " × " + images["height"].astype(str)
    counted = named.groupby([named, images["part"]]).size().unstack(fill_value=0)
    return _by_part(counted, 6)


def _modes(images: pd.DataFrame) -> list[tuple[str, int, int]]:
    """The colour modes by file format, and how many images of each part have them."""
    named = images["format"] + ", " + images["mode"]
    return _by_part(named.groupby([named, images["part"]]).size().unstack(fill_value=0), 12)


def _by_part(counted: pd.DataFrame, most: int) -> list[tuple[str, int, int]]:
    both = counted.reindex(columns=["train", "test"], fill_value=0)
    first = both.loc[both.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    rows = [(str(name), int(row["train"]), int(row["test"])) for name, row in first.head(most).iterrows()]
    rest = first.iloc[most:]
    if len(rest):
        rows.append((f"{len(rest)} others", int(rest["train"].sum()), int(rest["test"].sum())))
    return rows


def _samples(tables: Tables, parts: Array, names: list[str], seed: int, console: Console) -> list[dict[str, Any]]:
    """Some images of each class as they are, drawn from the seed."""
    of_class = tables.targets if tables.targets.ndim == 2 else np.eye(len(tables.classes), dtype=int)[tables.targets]
    order = np.random.default_rng(seed).permutation(len(of_class))
    each = int(np.clip(SAMPLES // len(tables.classes), FEWEST, MOST))
    turns = [order[of_class[order, place] == 1][:each] for place in range(len(tables.classes))]
    chosen: dict[int, None] = {}
    for turn in range(each):
        chosen.update(dict.fromkeys(int(rows[turn]) for rows in turns if len(rows) > turn))
    cards = []
    with console.bar("pictures", len(chosen), "images") as bar:
        for row in list(chosen)[: 2 * SAMPLES]:
            pixels = read_image(Path(tables.train["path"].iloc[row]), SIDE)
            places = np.flatnonzero(of_class[row]).tolist()
            cards.append(
                {
                    "id": tables.train["id"].iloc[row],
                    "part": names[parts[row]],
                    "actual": places,
                    "labels": [tables.classes[place] for place in places],
                    "picture": thumbnail(pixels),
                }
            )
            bar.advance(1)
    return cards


def _augmented(
    competition: Competition, recipe: Recipe, tables: Tables, interpolation: str, seed: int
) -> dict[str, Any]:
    """One image as it is, under augmentations of training, and in the views that are averaged in prediction."""
    row = _with_most_to_see(tables, seed)
    path, size, viewpoint = Path(tables.train["path"].iloc[row]), recipe.stages[-1].size, competition.augment

    def views(seen: tuple[View, ...], erasing: float) -> list[str]:
        dataset = ImageDataset([path], Preprocessing(size, interpolation, viewpoint, erasing), seed)
        return [thumbnail(pixels) for pixels in dataset[0, seen][1]]

    return {
        "id": tables.train["id"].iloc[row],
        "original": thumbnail(read_image(path, SIDE)),
        "size": size,
        "training": views(tuple(View(draw=draw) for draw in range(AUGMENTATIONS)), recipe.random_erasing),
        "tta": views(tta_views(recipe, viewpoint), 0.0),
    }


def _with_most_to_see(tables: Tables, seed: int) -> int:
    """Of some images drawn from the seed the one with the most contrast: of a plain one all views are alike."""
    some: list[int] = np.random.default_rng(seed).permutation(len(tables.train))[:CANDIDATES].tolist()
    return max(some, key=lambda row: float(read_image(Path(tables.train["path"].iloc[row]), SIDE // 4).std()))
