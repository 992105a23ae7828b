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
    It knows the classes that the tables show, and of `ProbabilityOf` the other class if the metric weighs it. Where ids
    name an image and a column, and images lack some, it is the mean of the columns' scores.
    """
    form, classes = competition.submission, tuple[str, ...]()
    if isinstance(form, ProbabilityOf):
        others = {*names_weighted(competition.scoring)} - {form.label}
        classes = (*others, form.label) if len(others) == 1 else ()

    def score(answers: pd.DataFrame, submission: pd.DataFrame) -> float:
        if (columns := _columns_apart(competition, answers)) is None:
            return competition.scoring(*compared(competition, answers, submission, classes))
        id_column = _must_have_ids(competition, answers, submission)
        found = [
            (len(rows), competition.scoring(*compared(competition, rows, submission[submission[id_column].isin(ids)])))
            for _, rows in answers.groupby(columns, sort=False)
            for ids in [rows[id_column]]
        ]
        counts, scores = np.array([one for one in found if not np.isnan(one[1])]).reshape(-1, 2).T
        if competition.scoring.name == "rmse":  # over all values, however many a column has
            return float(np.sqrt(np.average(scores**2, weights=counts)))
        return float(scores.mean()) if len(scores) else float("nan")

    return score


def _columns_apart(competition: Competition, answers: pd.DataFrame) -> pd.Series[str] | None:
    """The column that each id names (N,), where some images lack columns, so that each is scored on its own images.

    None where all images have all columns. Raises SubmissionError for a metric that compares the columns of an image.
    """
    form, metric = competition.submission, competition.scoring
    if not hasattr(form, "parts"):
        return None
    parts = parts_of(form, answers[competition.id_column or answers.columns[0]].str.strip())
    if len(parts) == parts[0].nunique() * parts[1].nunique():
        return None
    if not metric.is_named or competition.target not in ("multi", "number", "fractions"):
        raise SubmissionError(
            f"Some images have no row of some columns in the answers, but {metric.name} compares all columns of an "
            "image; submit to Kaggle itself, or give the sample submission and the answers a row for each."
        )
    return parts[1]


def _must_have_ids(competition: Competition, answers: pd.DataFrame, submission: pd.DataFrame) -> str:
    """The name of the id column; raises SubmissionError where columns or ids of the submission aren't the answers'."""
    id_column = competition.id_column or answers.columns[0]
    if list(submission.columns) != list(answers.columns):
        raise SubmissionError(f"The columns should be {', '.join(answers.columns[:5])}.")
    if sorted(submission[id_column]) != sorted(answers[id_column]):
        raise SubmissionError(f"The column {id_column!r} should hold each of the {len(answers)} ids once.")
    return id_column


def compared(
    competition: Competition, answers: pd.DataFrame, submission: pd.DataFrame, known: Sequence[str] = ()
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], tuple[str, ...]]:
    """The targets, predictions and classes for the metric, in the answers' order, from both tables as text.

    known: the classes, where they are known; by default those that the form finds. Raises SubmissionError.
    """
    id_column = _must_have_ids(competition, answers, submission)
    columns = [column for column in answers.columns if column != id_column]
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
