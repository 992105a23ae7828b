"""A competition's tables: the labelled images, the test images and the sample submission, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.data.duplicates import joined
from comp.data.findings import DataCheck
from comp.data.preparing import prepare_files
from comp.data.reading import RGB, Depth
from comp.data.splitting import draw_folds, draw_split
from comp.data.targets import class_counts, targets_of
from comp.declare.competition import Competition
from comp.declare.forms import ClassNumber, ProbabilityOf
from comp.declare.labels.files import TestImages
from comp.declare.labels.naming import named_as_asked
from comp.declare.labels.table import answers_of, classes_of
from comp.declare.metrics import grades_of
from comp.errors import DataError, first_few
from comp.files import holds_files
from comp.kaggle.record import must_be_whole
from comp.submission.postprocessing import untuned
from comp.submission.predictions import combined
from comp.submission.scoring import must_score
from comp.submission.submission import SampleSubmission, misread, must_fit, read_sample_submission, unlike_form


@dataclass(frozen=True)
class Tables:
    """The labelled images and the test images that the sample submission asks for, each in the order of their ids.

    The order makes what is random about a row, like random views, follow from its id.

    train, test: with a column ``answer`` where several images, those of the same value, are predicted together.
    targets: (N,) indices in ``classes``, or (N, C) of 0 and 1 or of numbers, in the order of ``train``.
    not_asked_for: the number of test images that the sample submission doesn't ask for.
    notes: tolerated oddities of the tables, a line each.
    data_check: the findings in the images; with them, ``train`` has readable images only.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    sample_submission: SampleSubmission
    classes: tuple[str, ...]
    targets: npt.NDArray[Any]
    not_asked_for: int
    notes: Sequence[str] = ()
    data_check: DataCheck | None = None

    @property
    def duplicate_groups(self) -> npt.NDArray[np.int64] | None:
        """The duplicate group of each row (N,), where the images were checked."""
        return None if self.data_check is None else self.data_check.duplicate_groups

    @property
    def depth(self) -> Depth:
        """The depth of the training images; that of ordinary images where they were not checked."""
        return RGB if self.data_check is None else self.data_check.depth

    @property
    def beside(self) -> str:
        """A digest of the other files that a custom ``read`` may use; empty where they were not checked."""
        return "" if self.data_check is None else self.data_check.beside

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """True for the test images (T,) that can be read; for all where they were not checked."""
        return np.ones(len(self.test), bool) if self.data_check is None else self.data_check.readable["test"]

    @property
    def groups(self) -> npt.NDArray[Any] | None:
        """The group of each row (N,), where the label source gives groups or answers."""
        given = next((name for name in ("group", "answer") if name in self.train), None)
        return None if given is None else self.train[given].to_numpy()

    @property
    def kept_together(self) -> tuple[npt.NDArray[Any] | None, npt.NDArray[np.int64] | None]:
        """The groups and the duplicate groups (N,), if any: no split divides one."""
        return self.groups, self.duplicate_groups

    @property
    def may_validate(self) -> npt.NDArray[np.bool_]:
        """False for the rows (N,) that train in every split: `validates` is false for them, or in their group."""
        able = np.ones(len(self.train), bool)
        if "validates" in self.train:
            able = ~self.train["validates"].eq(False).to_numpy(bool)
        if able.all():
            return able
        groups, duplicates = self.kept_together
        together = joined(np.arange(len(able)) if groups is None else groups, duplicates)
        return ~np.isin(together, together[~able])

    @cached_property
    def answers(self) -> Tables:
        """The tables with a row per answer: its name and its first image; itself where each image is an answer."""
        if "answer" not in self.train and "answer" not in self.test:
            return self
        train, test = self.train.iloc[first_rows(self.train)], self.test.iloc[first_rows(self.test)]
        if "validates" in train:
            # The result has no data check, which says which rows stay with those that only train.
            train = train.assign(validates=train["validates"].where(self.may_validate[train.index], False))
        named = (table.assign(id=answers_of(table)).drop(columns="answer", errors="ignore") for table in (train, test))
        of_train, of_test = (table.reset_index(drop=True) for table in named)
        return replace(self, train=of_train, test=of_test, targets=self.targets[train.index], data_check=None)

    def answered(self, rows: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        """The targets (A, …) of the answers of some training rows (R,), and the answer of each row (R,).

        The latter is None where each image is an answer.
        """
        if "answer" not in self.train:
            return self.targets[rows], None
        chosen = self.train.iloc[rows]
        return self.targets[rows][first_rows(chosen)], chosen["answer"].to_numpy(object)


def first_rows(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """The index (A,) of each answer's first image, in the order of answers."""
    if "answer" not in table:
        return np.arange(len(table))
    return np.unique(table["answer"].to_numpy(object), return_index=True)[1]


def read_tables(competition: Competition, folder: Path, say: Callable[[str], None] = lambda _: None) -> Tables:
    """Read the tables in ``folder``; no image is opened.

    Even probabilities are checked against the sample submission, so that a misfit shows before hours of training.
    Raises DataError or SubmissionError.
    """
    must_be_here(competition, folder)
    must_be_whole(competition.name, folder, say)
    prepare_files(competition, folder, say)
    train = competition.labels.read(folder)
    if competition.columns is not None:
        train = competition.columns.joined(train, folder / competition.columns.train)
    classes = _as_submitted(competition, classes_of(train, competition.target))
    unlabelled = read_test_tables(competition, folder, classes)
    targets = targets_of(train, classes, competition.target)
    must_score(competition, classes, targets)
    sample, path = unlabelled.sample_submission, folder / competition.sample_submission
    odd = (misread(competition, classes, sample, targets), unlike_form(competition, classes, sample, path))
    notes = [*train.attrs.get("notes", ()), *unlabelled.notes, *_rare(classes, targets), *filter(None, odd)]
    return replace(unlabelled, train=train, targets=targets, notes=notes)


def _as_submitted(competition: Competition, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes in the order of the submission's numbers, which are the grades of a weighted kappa.

    The class of `ProbabilityOf` comes last: of two classes, metrics score the second.
    """
    form = competition.submission
    if isinstance(form, ProbabilityOf):
        return tuple(sorted(classes, key=lambda name: name == form.label))
    if isinstance(form, ClassNumber) and grades_of(classes) is None and set(form.labels) == set(classes):
        return tuple(form.labels)
    return classes


def must_be_here(competition: Competition, folder: Path) -> None:
    """Raise DataError where a competition's files are not in their folder."""
    if not holds_files(folder):
        name = competition.name
        # For a competition made by `comp new --data`, the slug may be unknown.
        or_linked = (
            f", or link those in a folder with `comp new {name} --data DIR`" if competition.kaggle == name else ""
        )
        raise DataError(f"The data of {name} are not here; run `comp download {name}` first{or_linked}.")


def read_test_tables(competition: Competition, folder: Path, classes: Sequence[str]) -> Tables:
    """Read the tables of the test images, with an empty ``train``; raises like `read_tables`."""
    path, form = folder / competition.sample_submission, competition.submission
    sample_submission = read_sample_submission(path, competition.id_column, form)
    test = competition.test.read(folder)
    if "answer" not in test and not set(sample_submission.asked) <= set(test["id"]):
        test = named_as_asked(test, sample_submission.asked.unique().tolist(), folder)
    if isinstance(competition.test, TestImages):
        test = competition.test.with_missing(test, sample_submission.asked.unique().tolist(), folder)
    one = combined(competition, np.full((2, len(classes)), 1 / len(classes)), np.array(["", ""]))
    answers = answers_of(test)
    must_fit(
        competition,
        classes,
        sample_submission,
        answers.iloc[first_rows(test)].to_list(),
        untuned(competition, classes)(one),
    )
    asked = test[answers.isin(sample_submission.asked)].reset_index(drop=True)
    if competition.columns is not None:
        asked = competition.columns.joined(asked, folder / competition.columns.test)
    nothing = asked.iloc[:0].assign(label="")
    targets = targets_of(nothing, classes, competition.target)
    notes = test.attrs.get("notes", ())
    return Tables(nothing, asked, sample_submission, tuple(classes), targets, len(test) - len(asked), notes)


def split_of(tables: Tables, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """True for the validation rows (N,), drawn by `draw_split` from those that may validate."""
    return _drawn(tables, False, draw_split, share, seed)


def folds_of(tables: Tables, count: int, seed: int) -> npt.NDArray[np.int64]:
    """The fold (N,), 0 to ``count`` - 1, in which each row validates, by `draw_folds`; -1 for rows that may not."""
    return _drawn(tables, -1, draw_folds, count, seed)


def _drawn(tables: Tables, of_others: int, draw: Callable[..., npt.NDArray[Any]], *how: float) -> npt.NDArray[Any]:
    """The draw for the rows (N,) that may validate, and ``of_others`` for the rest; raises DataError if none may."""
    able = tables.may_validate
    if not able.any():
        raise DataError(
            f"All {len(able)} labelled images only train (`validates` is false for them, or for others of their "
            "groups), so none can validate; leave it empty for some, or train with --all-data."
        )
    together = (None if numbers is None else numbers[able] for numbers in tables.kept_together)
    drawn = np.full(len(able), of_others)
    drawn[able] = draw(tables.targets[able], *how, *together)
    return drawn


def with_prior(tables: Tables, probabilities: npt.NDArray[Any], shares: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The probabilities (T, C) of all answers, from those (R, C) of the answers with a readable test image.

    The other answers get the classes' shares (C,) in the training images.
    """
    asked = tables.answers.test["id"]
    filled = np.tile(shares.astype(probabilities.dtype), (len(asked), 1))
    filled[asked.isin(answers_of(tables.test)[tables.readable])] = probabilities
    return filled


def _rare(classes: Sequence[str], targets: npt.NDArray[Any]) -> list[str]:
    single = np.flatnonzero(class_counts(targets, len(classes)) == 1)
    if not len(single) or targets.dtype.kind == "f":
        return []
    named = first_few(repr(classes[place]) for place in single.tolist())
    of_all = f"{len(single)} of {len(classes)} {'classes' if targets.ndim == 1 else 'tags'}"
    return [f"{of_all} have a single image, which can't both train and validate: {named}"]
