"""A competition's data on disk, read and checked before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.splitting import targets_of
from comp.labels import classes_of
from comp.prediction.decisions import untuned
from comp.prediction.submission import build_submission, read_sample

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from comp.competition import Competition


@dataclass(frozen=True)
class Tables:
    """The labelled images, the images that the sample submission asks for, and that sample; images in their ids' order.

    So what is random about a row, like the views of test-time augmentation, follows from its id.

    targets: (N,) places in ``classes``, or (N, C) of 0 and 1, in the order of ``train``.
    ignored: how many test images the sample doesn't ask for.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    sample: pd.DataFrame
    classes: tuple[str, ...]
    targets: npt.NDArray[Any]
    ignored: int

    @property
    def groups(self) -> npt.NDArray[Any] | None:
        """The group of each row (N,), where the label source gives them."""
        return self.train["group"].to_numpy() if "group" in self.train else None


def read_tables(competition: Competition, folder: Path) -> Tables:
    """The tables of the files in ``folder``.

    A submission of even probabilities is built from them, so that what wouldn't fit the sample submission after hours
    of training comes out now. Raises DataError or SubmissionError.
    """
    train = competition.labels.read(folder)
    classes = classes_of(train, competition.target)
    sample = read_sample(folder / competition.sample_submission)
    test = competition.test.read(folder)
    even = untuned(competition.scoring, competition.target, len(classes))(
        np.full((len(test), len(classes)), 1 / len(classes))
    )
    build_submission(list(test["id"]), even, classes, sample, competition.submission, competition.target)
    asked = test[test["id"].isin(sample.iloc[:, 0])].reset_index(drop=True)
    targets = targets_of(train, classes, competition.target)
    return Tables(train, asked, sample, classes, targets, ignored=len(test) - len(asked))
