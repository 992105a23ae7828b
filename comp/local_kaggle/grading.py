"""How the local Kaggle scores a submission against the hidden answers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from comp.errors import CompError, SubmissionError

log = logging.getLogger(__name__)

USAGE, PUBLIC = "Usage", "Public"  # as in the solution files that Kaggle's competition hosts upload


@dataclass(frozen=True)
class Grader:
    """A competition's metric on tables.

    score: called with the answers and the submission, both tables of text (an empty field is ""); gives the score, or
        raises CompError with the reason why the submission doesn't fit.
    """

    metric: str
    higher_is_better: bool
    score: Callable[[pd.DataFrame, pd.DataFrame], float]


@dataclass(frozen=True)
class Scores:
    """A submission's, finite numbers; ``private`` is None where the answers have no private part."""

    public: float
    private: float | None


def grade(grader: Grader, answers: Path, submission: Path) -> Scores:
    """The scores of the CSV ``submission``.

    Where the answers have a column ``Usage``, the rows marked Public there make the public score and all others the
    private one; without it every row is public.

    Raises:
        SubmissionError: it can't be scored; the message never quotes the answers.
    """
    truth = _read(answers)
    given = _read(submission)
    if USAGE not in truth:
        return Scores(_score(grader, truth, given, submission), None)
    is_public = truth.pop(USAGE) == PUBLIC
    _score(grader, truth, given, submission)  # is it a submission of all rows?
    id_column = truth.columns[0]
    public, private = (
        _score(grader, part, given[given[id_column].isin(part[id_column])], submission)
        for part in (truth[is_public], truth[~is_public])
    )
    return Scores(public, private)


def _score(grader: Grader, truth: pd.DataFrame, given: pd.DataFrame, submission: Path) -> float:
    try:
        score = float(grader.score(truth, given))
    except CompError as error:
        raise SubmissionError(str(error)) from error
    except Exception as error:
        log.exception("the grader for %s failed on %s", grader.metric, submission.name)
        raise SubmissionError(f"The submission could not be scored ({type(error).__name__}).") from error
    if not math.isfinite(score):
        raise SubmissionError(f"The submission's {grader.metric} is {score}; check it for missing or infinite values.")
    return score


def _read(csv: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(csv, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SubmissionError(f"The submission can't be read as a CSV: {reason}") from error
