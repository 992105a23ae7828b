"""The submission: exactly the ids, order and columns of the sample submission, checked before it is written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from comp.errors import SubmissionError
from comp.files import replacing
from comp.forms import SubmissionForm
from comp.labels import read_csv
from comp.metrics import Metric, Target

ROUNDING = 1e-3


def read_sample(path: Path) -> pd.DataFrame:
    """The sample submission as text; its first column is the id. Raises SubmissionError if it can't be one."""
    sample = read_csv(path)
    if sample.shape[1] < 2 or sample.empty:
        raise SubmissionError(
            f"{path} has {sample.shape[1]} columns and {len(sample)} rows; it is no sample submission."
        )
    doubled = sample.iloc[:, 0][sample.iloc[:, 0].duplicated()]
    if len(doubled):
        raise SubmissionError(f"{path} has the id {doubled.iloc[0]!r} more than once.")
    return sample


def build_submission(
    ids: Sequence[str],
    predictions: npt.NDArray[Any],
    classes: Sequence[str],
    sample: pd.DataFrame,
    form: SubmissionForm,
    target: Target,
) -> pd.DataFrame:
    """Predictions by id, in the sample's rows and columns; raises SubmissionError where they don't fit it."""
    id_column, *columns = sample.columns
    values = form.encode(predictions, classes, columns)
    submission = values.iloc[places_of(sample, ids)].reset_index(drop=True)
    submission.insert(0, id_column, sample[id_column].array)
    check_submission(submission, classes, sample, form, target)
    return submission


def must_fit(
    ids: Sequence[str],
    prediction: npt.NDArray[Any],
    classes: Sequence[str],
    sample: pd.DataFrame,
    form: SubmissionForm,
    target: Target,
) -> None:
    """Raise SubmissionError where no submission could be built for these ids, each with the same prediction (1, …)."""
    id_column, *columns = sample.columns
    submission = form.encode(prediction, classes, columns)
    places_of(sample, ids)
    submission.insert(0, id_column, sample[id_column].array[:1])
    check_submission(submission, classes, sample[:1], form, target)


def places_of(sample: pd.DataFrame, ids: Sequence[str]) -> npt.NDArray[np.intp]:
    """Where in ``ids`` each id of the sample is; raises SubmissionError where one isn't, or one is there twice."""
    asked, known = sample.iloc[:, 0], pd.Index(ids)
    if not known.is_unique:
        if (missing := asked[~asked.isin(known)]).empty:
            raise SubmissionError(f"The id {known[known.duplicated()][0]!r} was predicted more than once.")
    else:
        places = known.get_indexer(pd.Index(asked))
        if (missing := asked[places < 0]).empty:
            return places
    raise SubmissionError(
        f"{len(missing)} of the sample submission's {len(sample)} ids have no prediction, "
        f"the first {missing.iloc[0]!r}."
    )


def check_submission(
    submission: pd.DataFrame, classes: Sequence[str], sample: pd.DataFrame, form: SubmissionForm, target: Target
) -> None:
    """Raise SubmissionError unless the columns and ids are the sample's and every value can be what the form says."""
    if list(submission.columns) != list(sample.columns):
        raise SubmissionError(
            f"The columns are {', '.join(submission.columns[:5])}, "
            f"but the sample's are {', '.join(sample.columns[:5])}."
        )
    id_column = sample.columns[0]
    if not np.array_equal(submission[id_column].astype(str).to_numpy(object), sample[id_column].to_numpy(object)):
        raise SubmissionError("The ids are not the sample submission's, each once and in its order.")
    decoded = form.decode(submission.drop(columns=id_column), classes)
    if form.takes == "probabilities" and target == "single":
        sums = decoded.sum(axis=1)
        worst = np.abs(sums - 1).argmax()
        if abs(sums[worst] - 1) > ROUNDING:
            raise SubmissionError(
                f"The probabilities of a row should sum to one, but those of {submission[id_column].iloc[worst]!r} "
                f"sum to {sums[worst]:.4f}."
            )


def grader(form: SubmissionForm, metric: Metric, target: Target) -> Callable[[pd.DataFrame, pd.DataFrame], float]:
    """A function that scores a submission against the answers, both as text in the sample submission's columns.

    It raises SubmissionError for a submission that doesn't have the answers' columns and ids, in any order of rows.
    """

    def score(answers: pd.DataFrame, submission: pd.DataFrame) -> float:
        return metric(*compared(form, target, answers, submission))

    return score


def compared(
    form: SubmissionForm, target: Target, answers: pd.DataFrame, submission: pd.DataFrame
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Targets and predictions as metrics take them, in the answers' order, of both as text; raises SubmissionError."""
    id_column, *columns = answers.columns
    if list(submission.columns) != list(answers.columns):
        raise SubmissionError(f"The columns should be {', '.join(answers.columns[:5])}.")
    if sorted(submission[id_column]) != sorted(answers[id_column]):
        raise SubmissionError(f"The column {id_column!r} should hold each of the {len(answers)} ids once.")
    theirs = submission.set_index(id_column).loc[answers[id_column]].reset_index(drop=True)
    truth = answers[columns]
    classes = form.classes_in(truth, theirs)
    decoded = form.decode(truth, classes)
    predicted = form.decode(theirs, classes)
    if form.takes == "probabilities" and target == "single":
        # As Kaggle does, and with the same clipping: a sure mistake costs much, not everything.
        decoded, clipped = decoded.argmax(axis=1), predicted.clip(1e-15, 1 - 1e-15)
        predicted = clipped / clipped.sum(axis=1, keepdims=True)
    return decoded, predicted


def write_submission(submission: pd.DataFrame, path: Path) -> None:
    with replacing(path) as unfinished:
        submission.to_csv(unfinished, index=False, float_format="%.9g", lineterminator="\n")
