"""Two label sources in one: a validation set that a competition gives, or extra images that only train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from comp.declare.checks import Declared
from comp.declare.labels.table import COLUMNS, LabelSource, table
from comp.declare.metrics import Target
from comp.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Source = Annotated[LabelSource, "a label source, like Folders or CsvLabels"]


class _Both(Declared):
    """Two label sources; `validates` holds for the second's images, unless its table says that one only trains."""

    validates: ClassVar[bool]

    @property
    def sources(self) -> dict[str, LabelSource]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        (name, first), (other, second) = self.sources.items()
        yield other, first.target != second.target, f"a source of the same target as `{name}`"

    @property
    def target(self) -> Target:
        return next(iter(self.sources.values())).target

    @property
    def bounds(self) -> Any:
        """The bounds of `CsvNumbers`; None for other sources."""
        return getattr(next(iter(self.sources.values())), "bounds", None)

    def read(self, folder: Path) -> pd.DataFrame:
        """Both tables as one. Raises DataError where the second has a class that the first lacks."""
        import numpy as np
        import pandas as pd

        first, second = (source.read(folder) for source in self.sources.values())
        _, name = self.sources
        if self.target in ("single", "multi") and (unknown := sorted(_classes(second) - _classes(first))):
            word = type(self).__name__
            raise DataError(
                f"{word}: `{name}` has the class {unknown[0]!r}, which the other images lack; remove its images, or "
                f"declare the labels without {word}."
            )
        notes = dict.fromkeys([*first.attrs.get("notes", ()), *second.attrs.get("notes", ())])
        said = [*_validates(first), *(False if own is False else self.validates for own in _validates(second))]
        both = pd.concat([one.drop(columns="validates", errors="ignore") for one in (first, second)], ignore_index=True)
        in_second = np.arange(len(both)) >= len(first)
        for column in ("id", "answer") if "answer" in both else ("id",):
            # Where only one source has answers, each image of the other is its own answer.
            names = both[column].fillna(both["id"])
            apart = f"{name}/" if names[in_second].isin(names[~in_second]).any() else ""
            both[column] = names.where(~in_second, apart + names)
        if "group" in both:
            both["group"] = both["group"].fillna(both["answer" if "answer" in both else "id"])
        return table(notes, **{column: both[column].to_list() for column in COLUMNS if column in both}, validates=said)


@dataclass(frozen=True)
class GivenSplit(_Both):
    """Labels with a validation set of their own: ``GivenSplit(Folders("train"), Folders("valid"))``.

    train, valid: label sources. The images of ``valid`` validate in a single split; folds and training on all data use
    the images of both. Where an id is in both sources, all ids of ``valid`` get the prefix ``valid/``; so do its
    answers where an answer is in both.
    """

    train: Source
    valid: Source
    validates: ClassVar[bool] = True


@dataclass(frozen=True)
class WithExtra(_Both):
    """Labels, and extra ones that only train: ``WithExtra(Folders("train"), Folders("external"))``.

    labels, extra: label sources. The images of ``extra``, like other years' or pseudo-labelled ones, never validate,
    not even in folds; the validation images are the same as without them. Where an id is in both sources, all ids of
    ``extra`` get the prefix ``extra/``; so do its answers where an answer is in both. A group in both sources is one
    group, so it only trains.
    """

    labels: Source
    extra: Source
    validates: ClassVar[bool] = False


def _validates(frame: pd.DataFrame) -> list[bool | None]:
    return frame["validates"].to_list() if "validates" in frame else [None] * len(frame)


def _classes(frame: pd.DataFrame) -> set[str]:
    return {name for label in frame["label"] for name in ((label,) if isinstance(label, str) else label)}
