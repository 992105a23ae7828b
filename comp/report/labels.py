"""Labels that a run's predictions contradict: confident learning (Northcutt et al. 2021, arXiv:1911.00068).

Each image was predicted by a model that did not train on it. A class is predicted confidently where its probability is
at least its mean over the images labelled with it. A label is contradicted where another class is predicted confidently
and the label is not the most probable class. Each tag is judged by itself.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.console import Console
from comp.data.tables import read_tables
from comp.declare.competition import Competition
from comp.errors import RunError
from comp.report import LABELS
from comp.report.gallery import PICTURES, card_of, reading_of
from comp.report.outcomes import Outcomes, read_outcomes
from comp.report.rendering import one_by_one, write_page
from comp.runs import Run, Workspace

Array = npt.NDArray[Any]

PAIRS = 20


def check_labels(competition: Competition, run: Run, workspace: Workspace, console: Console) -> str:
    """Write labels.html in the run's folder; return a line with the number of contradicted labels and the page's path.

    Raises RunError for a run of another competition or without validation predictions, and where labels are numbers.
    """
    if run.competition != competition.name:
        raise RunError(f"{run.name} is a run of {run.competition}; name one of {competition.name}.")
    tables = read_tables(competition, workspace.data(competition.name), console.say).answers
    (outcomes,) = read_outcomes([run], tables)
    if outcomes.numbers:
        raise RunError(
            f"The labels of {competition.name} are numbers, but only classes and tags can be checked; "
            f"`comp report {run.name}` has the largest errors."
        )
    if not len(outcomes.ids):
        raise RunError(f"No image validated in {run.name}; name a run of folds, or one that was not trained on all.")
    likelier = contradictions(outcomes)
    rows = ranked(outcomes, likelier)
    paths, reading = tables.train.set_index("id")["path"], reading_of(competition, run)
    cards = []
    for row in one_by_one(rows[:PICTURES].tolist(), console):
        card = card_of(outcomes, row, Path(paths[outcomes.ids[row]]), reading)
        corrected = outcomes.truth[row] ^ likelier[row] if outcomes.tags else likelier[row]
        cards.append({**card, "right": False, "predicted": np.flatnonzero(corrected).tolist()})
    page = write_page(
        run.folder / LABELS,
        "labels",
        run=run.name,
        competition=competition,
        outcomes=outcomes,
        rows=len(rows),
        cards=cards,
        folds=sorted(set(outcomes.folds), key=lambda fold: (len(fold), fold)),
        pairs=Counter(_pairs(outcomes, likelier)).most_common(PAIRS),
    )
    return f"{len(rows)} of {len(outcomes.ids)} labels are contradicted by the predictions of {run.name}: {page}"


def contradictions(outcomes: Outcomes) -> npt.NDArray[np.bool_]:
    """(N, C): the class that contradicts each image's label; for tags, all that are wrongly given or missing."""
    if outcomes.tags:
        of_tags = zip(outcomes.probabilities.T, outcomes.truth.T, strict=True)
        each = [_likelier(np.stack([1 - has, has], axis=1), truth.astype(int)) >= 0 for has, truth in of_tags]
        return np.stack(each, axis=1)
    found = _likelier(outcomes.probabilities, outcomes.targets)
    return np.equal.outer(found, np.arange(len(outcomes.classes)))


def _likelier(probabilities: Array, labels: Array) -> Array:
    """The class (N,) that contradicts each label (N,), by the probabilities (N, K); -1 where none does."""
    own = [probabilities[labels == index, index] for index in range(probabilities.shape[1])]
    confident = probabilities >= [part.mean() if len(part) else np.inf for part in own]
    likeliest = np.where(confident, probabilities, -1).argmax(axis=1)
    contradicted = confident.any(axis=1) & (likeliest != labels) & (probabilities.argmax(axis=1) != labels)
    return np.where(contradicted, likeliest, -1)


def ranked(outcomes: Outcomes, likelier: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """The rows whose labels are contradicted, the least probable label first."""
    loss = np.where(likelier, outcomes.costs, 0).max(axis=1) if outcomes.tags else outcomes.losses
    order = np.argsort(-loss, kind="stable")
    return order[likelier[order].any(axis=1)]


def _pairs(outcomes: Outcomes, likelier: npt.NDArray[np.bool_]) -> list[tuple[str, str]]:
    """The label and the likelier class of each contradiction, or the tag and what is wrong with it."""
    rows, found = (indices.tolist() for indices in likelier.nonzero())
    names = outcomes.classes
    if outcomes.tags:
        named = [(names[tag], outcomes.truth[row, tag]) for row, tag in zip(rows, found, strict=True)]
        return [(name, "given, but unlikely" if has else "missing, but likely") for name, has in named]
    return [(names[outcomes.targets[row]], names[other]) for row, other in zip(rows, found, strict=True)]
