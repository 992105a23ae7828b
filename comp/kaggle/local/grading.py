"""How the local Kaggle scores a submission against the hidden answers."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comp.errors import CompError, SubmissionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grader:
    """A competition's metric on tables.

    score: called with the answers and the submission, both tables of text (an empty field is ""); gives the score, or
        raises CompError with the reason why the submission doesn't fit.
    """

    metric: str
    higher_is_better: bool
    score: Callable[[pd.DataFrame, pd.DataFrame], float]


def grade(grader: Grader, answers: Path, submission: Path) -> float:
    """The score of the CSV ``submission``, a finite number.

    Raises:
        SubmissionError: it can't be scored; the message never quotes the answers.
    """
    truth = _read(answers)
    given = _read(submission)
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
    import pandas as pd

    try:
        return pd.read_csv(csv, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SubmissionError(f"The submission can't be read as a CSV: {reason}") from error
