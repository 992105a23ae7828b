"""Predictions: the mean over an image's views, their Parquet files, and those that runs have kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, softmax

from comp.declare.metrics import Target
from comp.errors import RunError
from comp.files import replacing
from comp.runs import Run

VALUES_AT_ONCE = 1 << 22


def mean_over_views(logits: npt.NDArray[Any], target: Target) -> npt.NDArray[np.float64]:
    """Logits (N, V, C) to the probabilities (N, C): of each view its own, then their mean.

    One class per image: softmax, so rows sum to one; tags: a sigmoid each.
    """
    mean = np.empty((logits.shape[0], logits.shape[2]))
    # In pieces: the probabilities of all views at once would take several times the memory of their means.
    at_once = max(1, VALUES_AT_ONCE // max(1, logits.shape[1] * logits.shape[2]))
    for start in range(0, len(logits), at_once):
        exact = logits[start : start + at_once].astype(np.float64)
        of_views: npt.NDArray[np.float64] = softmax(exact, axis=-1) if target == "single" else expit(exact)
        mean[start : start + at_once] = of_views.mean(axis=1)
    return mean


def read_predictions(path: Path) -> pd.DataFrame:
    """A Parquet file's row per image, named by its id, and column per class. Raises OSError or ValueError."""
    return pd.read_parquet(path).set_index("id")


def write_predictions(path: Path, ids: Iterable[str], probabilities: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Columns ``id`` and one per class, in their order."""
    frame = pd.DataFrame(probabilities, columns=list(classes))
    frame.insert(0, "id", list(ids), allow_duplicates=True)
    with replacing(path) as unfinished:
        frame.to_parquet(unfinished, index=False)


@dataclass(frozen=True)
class Member:
    """A run with its predictions, as one of several that are compared, averaged or joined.

    config: its config.json. parts: the part of each labelled row by its id, as `Run.parts` has it.
    valid, test: its predictions, a row per image, named by its id, and a column per class.
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
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} can't be read: {error}; make it again with `comp predict {run.name}`.") from None
