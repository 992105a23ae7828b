"""Store submissions in an SQLite file that outlives the server, and announced and finished uploads."""

from __future__ import annotations

import datetime as dt
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from comp.errors import DataError
from comp.local_kaggle.grading import Scores

_SCHEMA = """
CREATE TABLE IF NOT EXISTS submissions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, slug TEXT NOT NULL, team TEXT NOT NULL, file_name TEXT NOT NULL,
    size INTEGER NOT NULL, date TEXT NOT NULL, message TEXT NOT NULL, status TEXT NOT NULL, score REAL, error TEXT,
    private_score REAL
);
CREATE INDEX IF NOT EXISTS submissions_of_a_competition ON submissions (slug, team);
"""


@dataclass(frozen=True)
class Upload:
    """A file that was announced: ``size`` in bytes, which the upload must have."""

    token: str
    slug: str
    team: str
    file_name: str
    size: int


@dataclass(frozen=True)
class Submission:
    """``date``: naive UTC. ``status``: pending, complete or error. ``score``: the public one; None if not graded."""

    id: int
    slug: str
    team: str
    file_name: str
    size: int
    date: dt.datetime
    message: str
    status: str
    score: float | None
    error: str | None
    private_score: float | None


@dataclass(frozen=True)
class Standing:
    """A team's best score: ``date`` is that of its submission, ``entries`` the number of scored submissions."""

    team_id: int
    team: str
    score: float
    date: dt.datetime
    entries: int


Dated = TypeVar("Dated", Submission, Standing)


class Store:
    """The submissions and uploads; every call opens its own connection and commits, so any thread may call.

    announced: the uploads that may arrive and aren't submitted yet, by their tokens. uploads: the folder of uploaded
        files, named by their tokens; submitted files stay there, as ``<id>.csv``.

    Raises DataError: the file ``path`` can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.uploads = path, path.with_name("uploads")
        self.announced: dict[str, Upload] = {}
        with self._open() as connection:
            connection.executescript(_SCHEMA)

    def announce(self, slug: str, team: str, file_name: str, size: int) -> Upload:
        upload = Upload(secrets.token_urlsafe(24), slug, team, file_name, size)
        self.uploads.mkdir(exist_ok=True)
        self.announced[upload.token] = upload
        return upload

    def arrived(self, token: str) -> Upload | None:
        """The upload, if its file has arrived."""
        upload = self.announced.get(token)
        return upload if upload is not None and (self.uploads / token).is_file() else None

    def submit(self, upload: Upload, message: str) -> int | None:
        """Make the upload a pending submission; its id, or None if it was submitted already."""
        if self.announced.pop(upload.token, None) is None:
            return None
        (row,) = self._do(
            "INSERT INTO submissions (slug, team, file_name, size, date, message, status) "
            "VALUES (?, ?, ?, ?, ?, ?, 'pending') RETURNING id",
            *(upload.slug, upload.team, upload.file_name, upload.size, _now(), message),
        )
        return int(row["id"])

    def enter(self, slug: str, team: str, file_name: str, size: int, scores: Scores) -> None:
        """Add a team's scored submission, unless the team has one."""
        self._do(
            "INSERT INTO submissions (slug, team, file_name, size, date, message, status, score, private_score) "
            "SELECT ?1, ?2, ?3, ?4, ?5, '', 'complete', ?6, ?7 "
            "WHERE NOT EXISTS (SELECT 1 FROM submissions WHERE slug = ?1 AND team = ?2)",
            *(slug, team, file_name, size, _now(), scores.public, scores.private),
        )

    def score(self, submission_id: int, scores: Scores | None) -> None:
        """Mark a submission as complete, with its scores if it has any."""
        public, private = (scores.public, scores.private) if scores else (None, None)
        self._do(
            "UPDATE submissions SET status = 'complete', score = ?, private_score = ? WHERE id = ?",
            *(public, private, submission_id),
        )

    def fail(self, submission_id: int, error: str) -> None:
        self._do("UPDATE submissions SET status = 'error', error = ? WHERE id = ?", error, submission_id)

    def submissions(self, slug: str, team: str) -> list[Submission]:
        """A team's submissions, the latest first."""
        rows = self._do("SELECT * FROM submissions WHERE slug = ? AND team = ? ORDER BY id DESC", slug, team)
        return [_dated(Submission, row) for row in rows]

    def made(self, slug: str, team: str, since: dt.datetime) -> int:
        """The number of a team's submissions from ``since`` on, in naive UTC, without those that had an error."""
        return sum(row.date >= since for row in self.submissions(slug, team) if row.status != "error")

    def leaderboard(self, slug: str, *, higher_is_better: bool, private: bool = False) -> list[Standing]:
        """Each team's best public or private score, best first; of equal scores the earlier one ranks higher."""
        column = "private_score" if private else "score"
        order = f"{column} DESC, id" if higher_is_better else f"{column}, id"
        rows = self._do(
            f"""
            SELECT team_id, team, {column} AS score, date, entries FROM (
                SELECT *, ROW_NUMBER() OVER (PARTITION BY team ORDER BY {order}) AS rank,
                       MIN(id) OVER (PARTITION BY team) AS team_id, COUNT(*) OVER (PARTITION BY team) AS entries
                FROM submissions WHERE slug = ? AND status = 'complete' AND {column} IS NOT NULL
            ) WHERE rank = 1 ORDER BY {order}
            """,
            slug,
        )
        return [_dated(Standing, row) for row in rows]

    def _do(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._open() as connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Created here, by the user's umask: SQLite itself would make it writable by the user only.
            self._path.touch()
            with closing(sqlite3.connect(self._path, timeout=30.0)) as connection, connection:
                connection.row_factory = sqlite3.Row
                yield connection
        except (sqlite3.DatabaseError, OSError) as error:
            raise DataError(
                f"The local Kaggle can't keep its submissions in {self._path}: {error}; make it writable, or delete it "
                "to begin with an empty leaderboard."
            ) from error


def _now() -> str:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat()


def _dated(kind: type[Dated], row: sqlite3.Row) -> Dated:
    return kind(**{**row, "date": dt.datetime.fromisoformat(row["date"])})
