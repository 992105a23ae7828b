"""The pictures of a report: selected images as the model saw them, with predictions and activation maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.console import Console
from comp.data.reading import Depth, Reading, centre, read_image
from comp.declare.competition import Competition
from comp.declare.reading import Size
from comp.errors import BackboneError, RunError
from comp.report.activation import ActivationMaps
from comp.report.outcomes import Outcomes, orders
from comp.report.rendering import SIDE, heat, one_by_one, thumbnail
from comp.runs import Run
from comp.training.backbone import expectations
from comp.training.predicting import Trained, kept_learners

# About 8 kB each: a page with these pictures and a table of 10,000 images is below 5 MB.
PICTURES = 200
SHARES = {"loss": 0.35, "uncertain": 0.15, "sure": 0.15}
AT_ONCE = 16
LARGEST = 40
# The most classes with a bar in a picture's large view, and the smallest probability that gets one.
BARS, BARELY = 100, 0.0005


def gallery(
    competition: Competition, run: Run, outcomes: Outcomes, paths: Sequence[Path], console: Console, *, with_maps: bool
) -> dict[str, Any]:
    """Cards of the images worth a picture, whether they have activation maps, and what prevented maps, if anything.

    paths: the paths of the outcomes' images.
    """
    rows = worth_a_picture(outcomes, PICTURES)
    ranks = {name: {row: rank for rank, row in enumerate(order.tolist())} for name, order in orders(outcomes).items()}
    maps: dict[int, str] = {}
    why_not = "it has no weights of its own" if run.without_weights else ""
    if with_maps and not why_not:
        try:
            maps = _maps(competition, run, outcomes, rows, paths, console)
        except (BackboneError, RunError, ValueError) as error:
            why_not = str(error).rstrip(".")
    cards, reading = [], reading_of(competition, run)
    for row in one_by_one(rows, console):
        of_orders = {name: of_rows[row] for name, of_rows in ranks.items() if row in of_rows}
        cards.append(card_of(outcomes, row, paths[row], reading) | {"map": maps.get(row), "ranks": of_orders})
    return {"cards": cards, "has_maps": bool(maps), "why_no_maps": why_not}


def card_of(outcomes: Outcomes, row: int, path: Path, reading: Reading) -> dict[str, Any]:
    """The content of an image's card."""
    return {
        "id": outcomes.ids[row],
        "fold": outcomes.folds[row],
        "right": bool(outcomes.right[row]),
        "loss": float(outcomes.losses[row]),
        "actual": np.flatnonzero(outcomes.truth[row]).tolist(),
        "predicted": np.flatnonzero(outcomes.answers[row]).tolist(),
        "costliest": int(outcomes.costliest[row]),
        "probabilities": outcomes.probabilities[row].tolist(),
        "path": _shown(path),
        "likely": likely(outcomes.probabilities[row]),
        "picture": thumbnail(_middle(path, SIDE, reading)),
        "map": None,
        "ranks": {},
    }


def largest_errors(
    competition: Competition, run: Run, outcomes: Outcomes, paths: Sequence[Path]
) -> list[dict[str, Any]]:
    """Cards of the images with the largest errors in numbers, the worst first, with labels and predictions."""
    reading, largest = reading_of(competition, run), []
    for row in orders(outcomes)["loss"][:LARGEST].tolist():
        values = zip(outcomes.classes, outcomes.targets[row], outcomes.probabilities[row], strict=True)
        picture = thumbnail(read_image(paths[row], SIDE, reading))
        largest.append({"id": outcomes.ids[row], "picture": picture, "values": list(values)})
    return largest


def likely(probabilities: npt.NDArray[np.float64]) -> list[str]:
    """The classes with a bar, by their probabilities (C,), the likeliest first, each as ``index:probability``."""
    order = np.argsort(-probabilities, kind="stable")[:BARS]
    return [f"{index}:{probabilities[index]:.4f}" for index in order if probabilities[index] >= BARELY]


def _shown(path: Path) -> str:
    """The path from the folder ``data`` on, as a page may be mailed; the whole path if there is no such folder."""
    parts = path.parts
    return str(Path(*parts[parts.index("data") :])) if "data" in parts else str(path)


def worth_a_picture(outcomes: Outcomes, most: int) -> list[int]:
    """At most ``most`` rows, highest loss first: the top of all orders, and the worst and best of every class."""
    ordered = orders(outcomes)
    chosen: dict[int, None] = {}
    for order, share in SHARES.items():
        chosen.update(dict.fromkeys(ordered[order][: int(most * share)].tolist()))
    by_loss = ordered["loss"]
    of_classes = [by_loss[has] for has in outcomes.truth[by_loss].T]
    for turn in range(most):
        # The worst, the best, the second worst, the second best, and so on.
        index = turn // 2 if turn % 2 == 0 else -1 - turn // 2
        for rows in of_classes:
            if len(rows) > turn and len(chosen) < most:
                chosen.setdefault(int(rows[index]))
    return [row for row in by_loss.tolist() if row in chosen]


def _maps(
    competition: Competition, run: Run, outcomes: Outcomes, rows: list[int], paths: Sequence[Path], console: Console
) -> dict[int, str]:
    """The activation maps of the predicted class, or the tag with the highest loss, by row."""
    size, reading, maps = maps_of(competition, run, console)
    explained = outcomes.costliest if outcomes.tags else outcomes.answers.argmax(axis=1)
    pictures = {}
    with console.bar("activation maps", len(rows), "images") as bar:
        for some in (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)):
            images = np.stack([_middle(paths[row], size, reading) for row in some])
            found = maps(images, explained[list(some)].tolist())
            pictures.update({row: heat(activation) for row, activation in zip(some, found, strict=True)})
            bar.advance(len(some))
    return pictures


def maps_of(competition: Competition, run: Run, console: Console) -> tuple[Size, Reading, ActivationMaps]:
    """The size that the run's model was trained at, its images' reading, and its activation maps."""
    trained = Trained.of(run, competition)
    model, size = next(kept_learners(trained, console)).evaluated.eval(), trained.recipe.stages[-1].pixels
    reading = replace(reading_of(trained.competition, run), interpolation=expectations(model.backbone).interpolation)
    return size, reading, ActivationMaps(model, size)


def reading_of(competition: Competition, run: Run) -> Reading:
    """The reading of the run's images for pages: with the run's fit and depth, but bilinear interpolation."""
    if run.without_weights:  # the other run may have no weights either
        return reading_of(competition, run.beside(run.split_of or run.members[0]))
    config = run.record("config")
    fit = config.get("augment", {}).get("fit", "crop")
    return Reading(fit=fit, read=competition.read, depth=Depth.of(config.get("depth")))


def _middle(path: Path, size: Size, reading: Reading) -> npt.NDArray[np.uint8]:
    """The plain view."""
    return centre(read_image(path, size, reading), size)
