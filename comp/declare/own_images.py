"""Images of one's own as a competition: what Kaggle's hosts make of theirs, a sample submission and hidden answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from comp.declare.checks import Declared, between
from comp.declare.labels.table import LabelSource

# Where ``prepare`` puts what it makes, and what it makes of them.
PREPARED = "prepared"
TRAIN, VALID, TEST = "train", "valid", "test"
SAMPLE, ANSWERS = "sample_submission.csv", "answers.csv"


@dataclass(frozen=True)
class AskForAll(Declared):
    """For ``prepare``: a ``prepared/sample_submission.csv`` that asks for all images that ``test`` has."""


@dataclass(frozen=True)
class HideShare(Declared):
    """For ``prepare``: hides a share of the labelled images, to be predicted: ``HideShare(Folders("."))``.

    The others lie in ``prepared/train``, in a folder per class, those of a given validation set in ``prepared/valid``;
    the hidden ones in ``prepared/test``, all as links; ``prepared/sample_submission.csv`` asks for them, and
    `comp submit` grades by ``prepared/answers.csv`` on this machine. Images of tags or numbers lie in no folders of
    classes: ``prepared/train.csv`` and ``valid.csv`` have a ``label``, or a column for each number, beside ``image``.
    Such tables, with ``group`` and ``answer``, are there where images have these; ``test.csv`` has the ``answer``.

    labels: of all images. share: about so many of each class; groups and answers are hidden whole, no class is.
    """

    labels: Annotated[LabelSource, "a label source, like Folders"]
    share: Annotated[float, between(0.01, 0.9)] = 0.2
