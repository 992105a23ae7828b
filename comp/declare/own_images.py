"""Your own images as a competition: the sample submission and hidden answers that Kaggle's hosts make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from comp.declare.checks import Declared, between
from comp.declare.labels.csv import read_ids
from comp.declare.labels.given import Source, Wrapped
from comp.declare.labels.table import answers_of

if TYPE_CHECKING:
    import pandas as pd

# The folder and the files that ``prepare`` writes.
PREPARED = "prepared"
SAMPLE, ANSWERS = "sample_submission.csv", "answers.csv"


@dataclass(frozen=True)
class AskForAll(Declared):
    """For ``prepare``: writes a ``prepared/sample_submission.csv`` with all images of ``test``."""


@dataclass(frozen=True)
class HideShare(Declared):
    """For ``prepare``: hides a share of the labelled images as test images: ``HideShare(0.2)``.

    It needs ``labels=KnownLabels(images)`` and ``test=HiddenImages(images)`` beside it. The hidden images are the rows
    of ``prepared/sample_submission.csv``, and `comp submit` grades by ``prepared/answers.csv`` on this machine.

    share: the approximate share of each class. Groups and answers are hidden whole, and each class keeps some images.
    Images of a given validation set, and those that only train, aren't hidden.
    """

    share: Annotated[float, between(0.01, 0.9)]


@dataclass(frozen=True)
class KnownLabels(Wrapped):
    """Keeps the labelled images that aren't hidden: ``KnownLabels(Folders("."))``.

    labels: the source of all labels. hidden: the sample submission with the ids or answers of the hidden images.
    """

    hidden: str = f"{PREPARED}/{SAMPLE}"

    def read(self, folder: Path) -> pd.DataFrame:
        images = self.labels.read(folder)
        return images[~answers_of(images).isin(read_ids(folder / self.hidden)[1])].reset_index(drop=True)


@dataclass(frozen=True)
class HiddenImages(Declared):
    """The labelled images that are hidden, as test images; the fields are `KnownLabels`'."""

    labels: Source
    hidden: str = f"{PREPARED}/{SAMPLE}"

    def read(self, folder: Path) -> pd.DataFrame:
        """The table of the test images, as `TestImages` gives it; the notes are in `KnownLabels`' table."""
        images = self.labels.read(folder)
        are_hidden = answers_of(images).isin(read_ids(folder / self.hidden)[1])
        hidden = images.loc[are_hidden, images.columns.isin(["id", "path", "answer"])]
        hidden.attrs.clear()
        return hidden.reset_index(drop=True)
