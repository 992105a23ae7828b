"""Two label sources in one: a validation set that a competition gives, or extra images that only train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from comp.declare.checks import Declared
from comp.declare.labels.table import COLUMNS, LabelSource, table
from comp.declare.metrics import Target
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Source = Annotated[LabelSource, "a label source, like Folders or CsvLabels"]


@dataclass(frozen=True)
class GivenSplit(Declared):
    """Labels with a validation set of their own: ``GivenSplit(Folders("train"), Folders("valid"))``.

    train, valid: label sources. The images of ``valid`` validate, unless folds are trained, to which the images of both
    are dealt, or all data. Where an id is in both sources, all ids of ``valid`` begin with ``valid/``; so do its
    answers where one is in both.
    """

    train: Source
    valid: Source

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield "valid", self.train.target != self.valid.target, "a source of the same target as `train`"

    @property
    def target(self) -> Target:
        return self.train.target

    @property
    def bounds(self) -> Any:
        """Of `CsvNumbers`; None elsewhere."""
        return getattr(self.train, "bounds", None)

    def read(self, folder: Path) -> pd.DataFrame:
        return _together(self, self.train.read(folder), self.valid.read(folder), "valid", validates=True)


@dataclass(frozen=True)
class WithExtra(Declared):
    """Labels, and extra ones that only train: ``WithExtra(Folders("train"), Folders("external"))``.

    labels, extra: label sources. No image of ``extra``, of other years or with pseudo-labels, ever validates, in folds
    neither; of the others those do that would without it. Where an id is in both sources, all ids of ``extra`` begin
    with ``extra/``; so do its answers where one is in both. Groups of one name in both are one, so it only trains.
    """

    labels: Source
    extra: Source

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield "extra", self.labels.target != self.extra.target, "a source of the same target as `labels`"

    @property
    def target(self) -> Target:
        return self.labels.target

    @property
    def bounds(self) -> Any:
        """Of `CsvNumbers`; None elsewhere."""
        return getattr(self.labels, "bounds", None)

    def read(self, folder: Path) -> pd.DataFrame:
        return _together(self, self.labels.read(folder), self.extra.read(folder), "extra", validates=False)


def _together(
    source: GivenSplit | WithExtra, first: pd.DataFrame, second: pd.DataFrame, name: str, *, validates: bool
) -> pd.DataFrame:
    """Both tables as one; ``validates`` of the second, of this name, is this but in rows that it says only train.

    Raises DataError where the second has a class of its own.
    """
    import numpy as np
    import pandas as pd

    if source.target in ("single", "multi") and (unknown := sorted(_classes(second) - _classes(first))):
        word = type(source).__name__
        raise DataError(
            f"{word}: `{name}` has the class {unknown[0]!r}, which the other images have not; remove its images, or "
            f"declare the labels without {word}."
        )
    notes = dict.fromkeys([*first.attrs.get("notes", ()), *second.attrs.get("notes", ())])
    said = [*_validates(first), *(False if own is False else validates for own in _validates(second))]
    both = pd.concat([frame.drop(columns="validates", errors="ignore") for frame in (first, second)], ignore_index=True)
    in_second = np.arange(len(both)) >= len(first)
    for column in ("id", "answer") if "answer" in both else ("id",):
        # Where only one source has answers, an image of the other is one by itself.
        names = both[column].fillna(both["id"])
        apart = f"{name}/" if names[in_second].isin(names[~in_second]).any() else ""
        both[column] = names.where(~in_second, apart + names)
    if "group" in both:
        both["group"] = both["group"].fillna(both["answer" if "answer" in both else "id"])
    return table(notes, **{name: both[name].to_list() for name in COLUMNS if name in both}, validates=said)


def _validates(frame: pd.DataFrame) -> list[bool | None]:
    return frame["validates"].to_list() if "validates" in frame else [None] * len(frame)


def _classes(frame: pd.DataFrame) -> set[str]:
    return {name for label in frame["label"] for name in ((label,) if isinstance(label, str) else label)}
