"""Rows of Kaggle's lists, with scores as numbers and dates in UTC."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal, cast

Status = Literal["pending", "complete", "error"]


@dataclass(frozen=True)
class SubmissionRow:
    """A submission as Kaggle lists it; ``date`` is in UTC, ``size`` in bytes, ``error`` says why it has no score."""

    ref: int
    team: str
    file_name: str
    size: int
    date: dt.datetime | None
    message: str
    status: Status
    public_score: float | None
    private_score: float | None
    error: str | None


@dataclass(frozen=True)
class LeaderboardRow:
    """A team's best score, 1 being the first rank; ``date`` is in UTC."""

    rank: int
    team: str
    score: float | None
    date: dt.datetime | None


def submission_row(row: Any) -> SubmissionRow:
    """From kagglesdk's ApiSubmission."""
    return SubmissionRow(
        ref=row.ref,
        team=row.team_name,
        file_name=row.file_name or "",
        size=row.total_bytes or 0,
        date=_in_utc(row.date),
        message=row.description or "",
        status=cast("Status", row.status.name.lower()),
        public_score=_score(row.public_score),
        private_score=_score(row.private_score),
        error=row.error_description or None,
    )


def leaderboard_row(rank: int, row: Any) -> LeaderboardRow:
    """From kagglesdk's ApiLeaderboardSubmission."""
    return LeaderboardRow(rank, row.team_name or "", _score(row.score), _in_utc(row.submission_date))


def _score(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _in_utc(date: dt.datetime | None) -> dt.datetime | None:
    return date.replace(tzinfo=dt.UTC) if date is not None else None
