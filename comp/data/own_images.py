"""Images of one's own as a competition: a sample submission is written, a share of the labelled images hidden."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.data.splitting import draw_hidden
from comp.data.targets import targets_of
from comp.declare.competition import Competition
from comp.declare.forms import Numbers, ProbabilityPerClass
from comp.declare.labels.table import LabelSource, answers_of, classes_of
from comp.declare.own_images import ANSWERS, SAMPLE, HideShare, KnownLabels
from comp.submission.postprocessing import untuned
from comp.submission.predictions import name_of_ids
from comp.submission.submission import exact_predictions


def ask_for_all(competition: Competition, folder: Path, new: Path) -> None:
    """A sample submission that asks for all images to predict."""
    classes = classes_of(competition.labels.read(folder), competition.target)
    ask_for(competition, classes, competition.test.read(folder)["id"].to_list(), new)


def all_labels(competition: Competition) -> LabelSource:
    """Of all images, of which some are, or will be, hidden."""
    labels = competition.labels
    return labels.labels if isinstance(labels, KnownLabels) else labels


def hide(hiding: HideShare, competition: Competition, folder: Path, new: Path) -> None:
    """A sample submission that asks for a share of the labelled images, and its answers; as it says."""
    images = all_labels(competition).read(folder)
    classes = classes_of(images, competition.target)
    targets = targets_of(images, classes, competition.target)
    able = images["validates"].isna().to_numpy() if "validates" in images else np.ones(len(images), bool)
    together = next((images[name].to_numpy(object) for name in ("group", "answer") if name in images), None)
    hidden = draw_hidden(targets, hiding.share, 0, able, together)
    asked, first = np.unique(answers_of(images)[hidden].to_list(), return_index=True)
    ask_for(competition, classes, asked.tolist(), new, targets[hidden][first])


def ask_for(
    competition: Competition,
    classes: Sequence[str],
    ids: Sequence[str],
    new: Path,
    targets: npt.NDArray[Any] | None = None,
    header: Sequence[str] = (),
) -> None:
    """Write a sample submission of the ids (A,), with even answers, and those of the targets (A, …), if there are any.

    header: the column of the ids, and the others; without it, what the form needs.
    """
    if not header:
        each = isinstance(competition.submission, (ProbabilityPerClass, Numbers))
        columns = list(classes) if each else ["label"]
        header = (name_of_ids(columns), *columns)
    written = {SAMPLE: untuned(competition, classes)(np.full((len(ids), len(classes)), 1 / len(classes)))}
    if targets is not None:
        written[ANSWERS] = exact_predictions(competition, classes, targets)
    for name, predictions in written.items():
        values = competition.submission.encode(predictions, classes, header[1:])
        values.insert(0, header[0], ids)
        values.to_csv(new / name, index=False)
