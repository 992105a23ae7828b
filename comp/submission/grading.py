"""Grading: a submission and the answers, both as tables of text, become what a metric compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.declare.competition import Competition
from comp.declare.forms import ProbabilityOf
from comp.declare.labels.csv import pivoted
from comp.declare.metrics import names_weighted
from comp.errors import SubmissionError
from comp.submission.submission import in_class_order, parts_of


def grader(competition: Competition) -> Callable[[pd.DataFrame, pd.DataFrame], float]:
    """Return a function that scores a submission against the answers, both as text in the sample submission's columns.

    The function raises SubmissionError for a submission without the answers' columns and ids; rows may be in any order.
    It knows the classes that the tables show, and of `ProbabilityOf` the other class if the metric weighs it.
    """
    form, classes = competition.submission, tuple[str, ...]()
    if isinstance(form, ProbabilityOf):
        others = {*names_weighted(competition.scoring)} - {form.label}
        classes = (*others, form.label) if len(others) == 1 else ()
    return lambda answers, submission: competition.scoring(*compared(competition, answers, submission, classes))


def compared(
    competition: Competition, answers: pd.DataFrame, submission: pd.DataFrame, known: Sequence[str] = ()
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], tuple[str, ...]]:
    """The targets, predictions and classes for the metric, in the answers' order, from both tables as text.

    known: the classes, where they are known; by default those that the form finds. Raises SubmissionError.
    """
    id_column = competition.id_column or answers.columns[0]
    columns = [column for column in answers.columns if column != id_column]
    if list(submission.columns) != list(answers.columns):
        raise SubmissionError(f"The columns should be {', '.join(answers.columns[:5])}.")
    if sorted(submission[id_column]) != sorted(answers[id_column]):
        raise SubmissionError(f"The column {id_column!r} should hold each of the {len(answers)} ids once.")
    form = competition.submission
    if hasattr(form, "parts"):
        answers, submission = (
            pivoted(rows, parts, parts[1].unique().tolist(), id_column, columns[0])
            for rows in (answers, submission)
            for parts in [parts_of(form, rows[id_column].str.strip())]
        )
        columns = list(answers.columns[1:])
    theirs = submission.set_index(id_column).loc[answers[id_column]].reset_index(drop=True)
    classes = tuple(known) or form.classes_in(answers[columns], theirs[columns])
    columns = in_class_order(pd.Series(columns), classes)
    targets, predictions = form.decode(answers[columns], classes), form.decode(theirs[columns], classes)
    if form.takes in ("ranking", "confidence"):
        return targets[:, 0].astype(np.intp), predictions, classes
    if competition.target == "multi":
        return targets.astype(np.intp), predictions, classes
    if form.takes == "probabilities" and competition.target == "single":
        # Kaggle's clipping: a confident mistake costs much, but not an infinite loss.
        clipped = predictions.clip(1e-15, 1 - 1e-15)
        return targets.argmax(axis=1), clipped / clipped.sum(axis=1, keepdims=True), classes
    return targets, predictions, classes
