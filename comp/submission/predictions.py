"""Predictions: answers of several images, Parquet files, and those that runs kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.declare.competition import Competition
from comp.errors import DeclarationError, RunError
from comp.files import replacing
from comp.runs import Run


def combined(
    competition: Competition, predictions: npt.NDArray[Any], answers: npt.NDArray[Any] | None
) -> npt.NDArray[Any]:
    """The predictions (A, C) of answers, in their order, of their images' (N, C), as the competition combines them.

    answers: the answer of each image (N,); None where each image is one. Probabilities that sum to one are made to
    again. Raises DeclarationError where a function gives what isn't (C,) finite numbers.
    """
    if answers is None or not len(answers):
        return predictions
    numbers = np.unique(answers, return_inverse=True)[1]
    order = np.argsort(numbers, kind="stable")
    parts = np.split(predictions[order], np.flatnonzero(np.diff(numbers[order])) + 1)
    named: dict[Any, Callable[[Any], Any]] = {"mean": partial(np.mean, axis=0), "max": partial(np.max, axis=0)}
    function = named.get(competition.combine) or cast("Callable[[Any], Any]", competition.combine)
    found = [np.asarray(function(part)) for part in parts]
    for part, one in zip(parts, found, strict=True):
        if one.shape != part.shape[1:] or not np.isfinite(one).all():
            raise DeclarationError(
                f"Competition: `combine` made {one.tolist()!r} of predictions {part.shape}, but it should make "
                f"{part.shape[1]} finite numbers."
            )
    result = np.stack(found)
    return result / result.sum(axis=1, keepdims=True) if competition.target in ("single", "shares") else result


def name_of_ids(classes: Sequence[str]) -> str:
    """What the column of ids beside those of classes is called: ``id``, or ``_id`` where a class is called ``id``."""
    name = "id"
    while name in classes:
        name = f"_{name}"
    return name


def read_predictions(path: Path) -> pd.DataFrame:
    """A Parquet file's row per answer, named by its id, and column per class. Raises OSError or ValueError."""
    frame = pd.read_parquet(path)
    return frame.set_index(frame.columns[0]).rename_axis("id")


def write_predictions(path: Path, ids: Iterable[str], probabilities: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """A column of ids, called as `name_of_ids` says, and one per class, in their order."""
    frame = pd.DataFrame(probabilities, columns=list(classes))
    frame.insert(0, name_of_ids(classes), list(ids))
    with replacing(path) as unfinished:
        frame.to_parquet(unfinished, index=False)


@dataclass(frozen=True)
class Member:
    """A run with its predictions, as one of several that are compared, averaged or joined.

    config: its config.json. parts: the part of each labelled row by its id, as `Run.parts` has it.
    valid, test: its predictions, a row per answer, named by its id, and a column per class.
    """

    run: Run
    config: Mapping[str, Any]
    parts: Mapping[str, str]
    valid: pd.DataFrame
    test: pd.DataFrame

    @property
    def name(self) -> str:
        return self.run.name


def read_members(runs: Sequence[Run]) -> list[Member]:
    """The runs with their predictions; raises RunError for one that has none, or that is named twice."""
    members = []
    for index, run in enumerate(runs):
        if run in runs[:index]:
            raise RunError(f"The run {run.name} is named twice; name each run once.")
        valid, test = (_kept(run, part) for part in ("valid", "test"))
        members.append(Member(run, run.record("config"), dict(run.split()), valid, test))
    return members


def _kept(run: Run, part: str) -> pd.DataFrame:
    path = run.predictions(part)
    try:
        return read_predictions(path)
    except FileNotFoundError:
        raise RunError(f"The run {run.name} has no predictions; make them with `comp predict {run.name}`.") from None
    except (OSError, ValueError, IndexError) as error:
        raise RunError(f"{path} can't be read: {error}; make it again with `comp predict {run.name}`.") from None
