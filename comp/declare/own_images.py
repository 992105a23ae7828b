"""Images of one's own as a competition: what Kaggle's hosts make of theirs, a sample submission and hidden answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from comp.declare.checks import Declared, between
from comp.declare.labels.csv import read_ids
from comp.declare.labels.table import LabelSource, answers_of
from comp.declare.metrics import Target

if TYPE_CHECKING:
    import pandas as pd

# Where ``prepare`` puts what it makes, and what it makes of one's own images.
PREPARED = "prepared"
SAMPLE, ANSWERS = "sample_submission.csv", "answers.csv"

Source = Annotated[LabelSource, "a label source, like Folders"]


@dataclass(frozen=True)
class AskForAll(Declared):
    """For ``prepare``: a ``prepared/sample_submission.csv`` that asks for all images that ``test`` has."""


@dataclass(frozen=True)
class HideShare(Declared):
    """For ``prepare``: hides a share of labelled images, to be predicted: ``HideShare(0.2)``.

    Beside it are ``labels=KnownLabels(images)``, of which it hides some, and ``test=HiddenImages(images)``.
    ``prepared/sample_submission.csv`` asks for them, and `comp submit` grades by ``prepared/answers.csv`` on this
    machine.

    share: about so many of each class; groups and answers are hidden whole, and no class is. Images of a given
    validation set, and those that only train, aren't hidden.
    """

    share: Annotated[float, between(0.01, 0.9)]


@dataclass(frozen=True)
class KnownLabels(Declared):
    """Keeps the labelled images that aren't hidden: ``KnownLabels(Folders("."))``.

    labels: of all. hidden: the sample submission that asks for the hidden ones, by their ids or their answers.
    """

    labels: Source
    hidden: str = f"{PREPARED}/{SAMPLE}"

    @property
    def target(self) -> Target:
        return self.labels.target

    @property
    def bounds(self) -> Any:
        """Of `CsvNumbers`; None elsewhere."""
        return getattr(self.labels, "bounds", None)

    def read(self, folder: Path) -> pd.DataFrame:
        images = self.labels.read(folder)
        return images[~answers_of(images).isin(read_ids(folder / self.hidden)[1])].reset_index(drop=True)


@dataclass(frozen=True)
class HiddenImages(Declared):
    """The images to predict where they are the hidden ones of labelled images; the fields are `KnownLabels`'."""

    labels: Source
    hidden: str = f"{PREPARED}/{SAMPLE}"

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of the test images, as `TestImages` gives it; what was put up with, `KnownLabels` says."""
        images = self.labels.read(folder)
        are_hidden = answers_of(images).isin(read_ids(folder / self.hidden)[1])
        hidden = images.loc[are_hidden, images.columns.isin(["id", "path", "answer"])]
        hidden.attrs.clear()
        return hidden.reset_index(drop=True)
