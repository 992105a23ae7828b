"""Score submissions to the local Kaggle by the hidden answers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from comp.declare.competition import Competition, find_competitions, load_competition
from comp.errors import CompError, SubmissionError
from comp.submission.grading import grader

log = logging.getLogger(__name__)

USAGE, PUBLIC = "Usage", "Public"  # as in the solution files that Kaggle's competition hosts upload


@dataclass(frozen=True)
class Grader:
    """A competition's metric on tables.

    score: takes the answers and the submission, both tables of text (an empty field is ""); returns the score, or
        raises CompError with the reason why the submission doesn't fit.
    id_column: of the answers; empty for the first. guessed: whether `comp new` guessed the metric.
    """

    metric: str
    higher_is_better: bool
    score: Callable[[pd.DataFrame, pd.DataFrame], float]
    id_column: str = ""
    guessed: bool = False


def graders(competitions: Iterable[Competition]) -> Mapping[str, Grader]:
    """The grader of each competition, by slug."""
    return {
        competition.kaggle: Grader(
            competition.scoring.name,
            competition.scoring.higher_is_better,
            grader(competition),
            competition.id_column,
        )
        for competition in competitions
    }


class DeclaredGraders(Mapping[str, Grader]):
    """As `graders`, of all competitions declared in some folders at the time of each look-up.

    A declaration that can't be loaded, because it is just being written, is left out.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders

    def __getitem__(self, slug: str) -> Grader:
        return self._found()[slug]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())

    def _found(self) -> Mapping[str, Grader]:
        found: dict[str, Grader] = {}
        for declaration in find_competitions(*self.folders).values():
            with suppress(CompError):
                for slug, grader in graders([load_competition(declaration)]).items():
                    found[slug] = replace(grader, guessed=_is_guessed(declaration))
        return found


def _is_guessed(declaration: Path) -> bool:
    """Whether the metric is still listed as a guess of `comp new` in the README beside the declaration."""
    try:
        return "\n- metric: " in declaration.with_name("README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Scores:
    """A submission's scores, finite numbers; ``private`` is None where the answers have no private part."""

    public: float
    private: float | None


def grade(grader: Grader, answers: Path, submission: Path) -> Scores:
    """The scores of the CSV ``submission``; raises SubmissionError, which never quotes the answers.

    If the answers have a column ``Usage``, its rows marked Public make the public score and all others the private one;
    without it every row is public. If no row is public, the score of all rows is both.
    """
    truth = _read(answers)
    given = _read(submission)
    if grader.guessed:
        log.warning(
            "graded by %s, which comp new guessed: confirm it in competition.py, and remove its line from README.md",
            grader.metric,
        )
    is_public = (truth.pop(USAGE) if USAGE in truth else pd.Series(PUBLIC, truth.index)) == PUBLIC
    whole = _score(grader, truth, given, submission)  # also checks that all rows are there
    if is_public.all() or not is_public.any():
        return Scores(whole, None if is_public.all() else whole)
    id_column = grader.id_column or truth.columns[0]
    public, private = (
        _score(grader, part, given[given[id_column].isin(part[id_column])], submission)
        for part in (truth[is_public], truth[~is_public])
    )
    return Scores(public, private)


def _score(grader: Grader, truth: pd.DataFrame, given: pd.DataFrame, submission: Path) -> float:
    try:
        score = float(grader.score(truth, given))
    except SubmissionError:
        raise
    # Any other error, like a custom metric's, may quote the answers.
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
