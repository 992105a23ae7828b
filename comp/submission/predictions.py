"""Predictions: combining an answer's images, a custom `postprocess`, Parquet files, and the predictions of runs."""

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
from comp.declare.custom import called, short_name
from comp.declare.metrics import Target
from comp.errors import DataError, DeclarationError, RunError
from comp.files import replacing
from comp.runs import Run

BEFORE = "{}-before-postprocess"
ROUNDING = 1e-9


def combined(
    competition: Competition, predictions: npt.NDArray[Any], answers: npt.NDArray[Any] | None
) -> npt.NDArray[Any]:
    """Combine images' predictions (N, C) into those of sorted answers (A, C), as the competition declares.

    answers: the answer of each image (N,); None where each image is one. Probabilities that should sum to one are
    normalised. Raises DeclarationError where a function doesn't return (C,) finite numbers.
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
                f"Competition: `combine` returns {one.tolist()!r} for predictions {part.shape}, but it should return "
                f"{part.shape[1]} finite numbers."
            )
    result = np.stack(found)
    return result / result.sum(axis=1, keepdims=True) if competition.target in ("single", "shares") else result


def postprocessed(
    competition: Competition, ids: Iterable[str], classes: Sequence[str], predictions: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Apply the competition's `postprocess`, if any, to the predictions (A, C) of these ids.

    Probabilities that should sum to one are normalised. Raises DeclarationError where it doesn't return a table of the
    same ids and columns, in any order, or where values aren't valid predictions.
    """
    function = competition.postprocess
    if function is None or not len(predictions):
        return predictions
    field = f"Competition: `postprocess` {short_name(function)}"
    given = pd.DataFrame(predictions, pd.Index(list(ids), dtype=object, name="id"), list(classes))
    made = called("Competition: `postprocess`", function, given.copy())
    if not isinstance(made, pd.DataFrame):
        raise DeclarationError(f"{field} returns a {type(made).__name__}, but it should return a DataFrame.")
    try:
        return predictions_in(made, given, competition.target, f"{field} returns a table that", "the one it was given")
    except DataError as error:
        raise DeclarationError(str(error)) from None


def predictions_in(
    table: pd.DataFrame, like: pd.DataFrame, target: Target, of_which: str, other: str
) -> npt.NDArray[Any]:
    """The predictions (A, C) in a user's table, in the order of the ids and columns of `like`.

    Probabilities that should sum to one are normalised. Raises DataError for other ids or columns, or for invalid
    values. of_which, other: how the error's sentence begins, and how it names `like`.
    """
    for what, index, asked in (("id", table.index, like.index), ("column", table.columns, like.columns)):
        found = index.to_flat_index()
        odd = [
            *(f"lacks the {what} {one!r}" for one in asked.difference(found, sort=False)),
            *(f"has the new {what} {one!r}" for one in found.difference(asked, sort=False)),
            *(f"has the {what} {one!r} twice" for one in found[found.duplicated()]),
        ]
        if odd:
            raise DataError(f"{of_which} {odd[0]}; it should have the {what}s of {other}.")
    table = table.loc[like.index, like.columns]
    numbers = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    result, right = numbers, np.isfinite(numbers)
    if target in ("single", "shares"):
        with np.errstate(divide="ignore", invalid="ignore"):
            result = numbers / numbers.sum(axis=1, keepdims=True)
    if target != "number":
        right &= (numbers >= 0) & (result <= 1 + ROUNDING)
        result = result.clip(0, 1)
    if not right.all():
        row = int(np.argmin(right.all(axis=1)))
        wanted = "numbers" if target == "number" else "probabilities"
        values = ", ".join(map(str, table.iloc[row, :5]))
        raise DataError(f"{of_which} has {values} for {like.index[row]!r}, where it should have {wanted}.")
    return np.asarray(result)


def name_of_ids(classes: Sequence[str]) -> str:
    """The name of the column of ids beside the classes': ``id``, or ``_id`` where a class is called ``id``."""
    name = "id"
    while name in classes:
        name = f"_{name}"
    return name


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a Parquet file: a row per answer, indexed by its id, a column per class. Raises OSError or ValueError."""
    frame = pd.read_parquet(path)
    return frame.set_index(frame.columns[0]).rename_axis("id")


def write_predictions(path: Path, ids: Iterable[str], probabilities: npt.NDArray[Any], classes: Sequence[str]) -> None:
    """Write a Parquet file with a column of ids, see `name_of_ids`, and one per class, in their order."""
    frame = pd.DataFrame(probabilities, columns=list(classes))
    frame.insert(0, name_of_ids(classes), list(ids))
    with replacing(path) as unfinished:
        frame.to_parquet(unfinished, index=False)


def keep_predictions(
    run: Run, part: str, ids: Iterable[str], classes: Sequence[str], made: npt.NDArray[Any], before: npt.NDArray[Any]
) -> None:
    """Write a run's predictions (A, C), and those `before` `postprocess`, if there is one.

    An ensemble blends the latter, because `postprocess` is for the submission. The order of writing makes sure that
    `postprocess` isn't applied twice, even if this is interrupted.
    """
    other = run.predictions(BEFORE.format(part))
    if made is not before:
        write_predictions(other, ids, before, classes)
    write_predictions(run.predictions(part), ids, made, classes)
    if made is before:
        other.unlink(missing_ok=True)


@dataclass(frozen=True)
class Member:
    """A run with its predictions, as one of several that are compared, averaged or joined.

    config: its config.json. parts: the part of each labelled row by its id, as in `Run.split`.
    valid, test: its predictions, a row per answer, indexed by its id, and a column per class.
    """

    run: Run
    config: Mapping[str, Any]
    parts: Mapping[str, str]
    valid: pd.DataFrame
    test: pd.DataFrame

    @property
    def name(self) -> str:
        return self.run.name


def read_members(runs: Sequence[Run], *, to_combine: bool = False) -> list[Member]:
    """Read runs' predictions; raises RunError for a run without predictions or a run named twice.

    to_combine: read the predictions before `postprocess`.
    """
    members = []
    for index, run in enumerate(runs):
        if run in runs[:index]:
            raise RunError(f"The run {run.name} is named twice; name each run once.")
        valid, test = (_kept(run, part, to_combine) for part in ("valid", "test"))
        members.append(Member(run, run.record("config"), dict(run.split()), valid, test))
    return members


def _kept(run: Run, part: str, to_combine: bool) -> pd.DataFrame:
    before = run.predictions(BEFORE.format(part))
    path = before if to_combine and before.is_file() else run.predictions(part)
    try:
        return read_predictions(path)
    except FileNotFoundError:
        raise RunError(f"The run {run.name} has no predictions; make them with `comp predict {run.name}`.") from None
    except (OSError, ValueError, IndexError) as error:
        raise RunError(f"{path} can't be read: {error}; make it again with `comp predict {run.name}`.") from None
