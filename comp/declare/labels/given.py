"""A validation set that a competition gives, as a label source beside that of the images to train on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

    train, valid: label sources. The images of ``valid`` validate, unless folds are trained or all data. Where an id
    is in both sources, all ids of ``valid`` begin with ``valid/``; so do its answers where one is in both.
    """

    train: Source
    valid: Source

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        yield "valid", self.train.target != self.valid.target, "a source of the same target as `train`"

    @property
    def target(self) -> Target:
        return self.train.target

    def read(self, folder: Path) -> pd.DataFrame:
        import pandas as pd

        train, valid = self.train.read(folder), self.valid.read(folder)
        if self.target in ("single", "multi") and (unknown := sorted(_classes(valid) - _classes(train))):
            raise DataError(
                f"The validation set has the class {unknown[0]!r}, which the images to train on have not; remove its "
                "images, or declare the labels without GivenSplit."
            )
        notes = dict.fromkeys([*train.attrs.get("notes", ()), *valid.attrs.get("notes", ())])
        both = pd.concat([train.assign(validates=False), valid.assign(validates=True)], ignore_index=True)
        validates = both["validates"]
        for column in ("id", "answer") if "answer" in both else ("id",):
            # Where only one source has answers, an image of the other is one by itself.
            names = both[column].fillna(both["id"])
            apart = "valid/" if names[validates].isin(names[~validates]).any() else ""
            both[column] = names.where(~validates, apart + names)
        if "group" in both:
            both["group"] = both["group"].fillna(both["answer" if "answer" in both else "id"])
        return table(notes, **{name: both[name].to_list() for name in COLUMNS if name in both})


def _classes(frame: pd.DataFrame) -> set[str]:
    return {name for label in frame["label"] for name in ((label,) if isinstance(label, str) else label)}
