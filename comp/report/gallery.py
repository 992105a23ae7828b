"""The pictures of a report: which images, as the model saw them, with what was predicted and where it looked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.reading import centre, read_image
from comp.errors import BackboneError, RunError
from comp.report.outcomes import Outcomes, orders, worth_a_picture
from comp.report.pictures import SIDE, heat, thumbnail
from comp.runs.resolve import from_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from comp.console import Console
    from comp.declare.competition import Competition
    from comp.report.activation import ActivationMaps
    from comp.runs import Run

    Array = npt.NDArray[Any]

# About 8 kB each: with them and a table of 10,000 images a page is below 5 MB.
PICTURES = 200
AT_ONCE = 16


def gallery(
    competition: Competition,
    run: Run,
    outcomes: Outcomes,
    paths: Sequence[Path],
    console: Console,
    *,
    with_maps: bool,
) -> tuple[list[dict[str, Any]], str]:
    """A card for each image worth a picture, and why they have no activation maps, empty where they do.

    paths: of the outcomes' images.
    """
    rows = worth_a_picture(outcomes, PICTURES)
    ranks = {name: {row: rank for rank, row in enumerate(order.tolist())} for name, order in orders(outcomes).items()}
    heats: dict[int, str] = {}
    why_not = "a run made of other runs has no weights of its own" if run.members else ""
    if with_maps and not run.members:
        heats, why_not = _heats(competition, run, outcomes, rows, paths, console)
    cards = []
    with console.bar("pictures", len(rows), "images") as bar:
        for row in rows:
            card = _card(outcomes, row)
            card["picture"] = thumbnail(_middle(paths[row], SIDE))
            card["map"] = heats.get(row)
            card["ranks"] = {name: of_rows[row] for name, of_rows in ranks.items() if row in of_rows}
            cards.append(card)
            bar.advance(1)
    return cards, why_not


def _card(outcomes: Outcomes, row: int) -> dict[str, Any]:
    classes, probabilities = outcomes.classes, outcomes.probabilities[row]
    card: dict[str, Any] = {
        "id": outcomes.ids[row],
        "fold": outcomes.folds[row],
        "right": bool(outcomes.right[row]),
        "loss": float(outcomes.losses[row]),
    }
    if not outcomes.tags:
        actual, predicted = int(outcomes.targets[row]), int(outcomes.predicted[row])
        return {
            **card,
            "actual": [actual],
            "predicted": [predicted],
            "label": classes[actual],
            "answer": classes[predicted],
            "of_label": float(probabilities[actual]),
            "of_answer": float(probabilities[predicted]),
        }
    actual, predicted = outcomes.targets[row] == 1, outcomes.predicted[row] == 1
    dearest = int(outcomes.dearest[row])
    return {
        **card,
        "actual": np.flatnonzero(actual).tolist(),
        "predicted": np.flatnonzero(predicted).tolist(),
        "kept": [classes[place] for place in np.flatnonzero(actual & predicted).tolist()],
        "missed": [
            (classes[place], float(probabilities[place])) for place in np.flatnonzero(actual & ~predicted).tolist()
        ],
        "invented": [
            (classes[place], float(probabilities[place])) for place in np.flatnonzero(~actual & predicted).tolist()
        ],
        "dearest": classes[dearest],
        "of_dearest": float(probabilities[dearest]),
    }


def _heats(
    competition: Competition,
    run: Run,
    outcomes: Outcomes,
    rows: Sequence[int],
    paths: Sequence[Path],
    console: Console,
) -> tuple[dict[int, str], str]:
    """Of each of these rows where the run's model sees what it predicts, or the tag it errs most in; and why not."""
    try:
        size, interpolation, maps = _maps_of(competition, run, len(outcomes.classes), console)
        explained = outcomes.dearest if outcomes.tags else outcomes.predicted
        heats = {}
        with console.bar("activation maps", len(rows), "images") as bar:
            for some in _parts(rows, AT_ONCE):
                images = np.stack([_middle(paths[row], size, interpolation) for row in some])
                found = maps(images, [int(explained[row]) for row in some])
                heats.update({row: heat(activation) for row, activation in zip(some, found, strict=True)})
                bar.advance(len(some))
    except (BackboneError, RunError, ValueError) as error:
        return {}, str(error).rstrip(".")
    return heats, ""


def _maps_of(competition: Competition, run: Run, classes: int, console: Console) -> tuple[int, str, ActivationMaps]:
    """The side in pixels and the interpolation that the run's model was trained with, and its activation maps."""
    from comp.report.activation import ActivationMaps
    from comp.training.backbone import expectations
    from comp.training.trained import kept_learners

    competition, recipe = from_config(competition, run.record("config"), run.record("trained"))
    learner = next(kept_learners(competition, recipe, run, classes, console))
    model = learner.evaluated.eval()
    return recipe.stages[-1].size, expectations(model.backbone).interpolation, ActivationMaps(model)


def _middle(path: Path, size: int, interpolation: str = "bilinear") -> npt.NDArray[np.uint8]:
    """The plain view: the middle square of the image."""
    return centre(read_image(path, size, interpolation), size)


def _parts(rows: Sequence[int], count: int) -> Iterator[Sequence[int]]:
    return (rows[start : start + count] for start in range(0, len(rows), count))
