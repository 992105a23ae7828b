"""The scores of a competition's runs, and their places on the leaderboard."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from comp.console import Console
from comp.declare.competition import Competition
from comp.errors import KaggleError, RunError
from comp.files import replacing
from comp.kaggle.client import Kaggle, LeaderboardRow, standing_of
from comp.kaggle.sources import is_here, kaggle_of
from comp.kaggle.submitting import answer_to, record
from comp.runs import Run, Workspace, broken_runs, list_runs, tag_of


@dataclass(frozen=True)
class ScoredRun:
    """A run's known scores by the competition's metric.

    place: on the leaderboard, of the first known score of private, public and validation. Empty where there is no
        score, or no leaderboard.
    edited: the submitted file is not what the run predicted.
    other: the name of the metric that the validation score is of, where another one is declared now; else empty.
    """

    name: str
    validation: float | None
    public: float | None
    private: float | None
    place: str
    edited: bool
    other: str = ""

    @property
    def gap(self) -> float | None:
        """The public score minus the validation score of the same predictions."""
        if self.validation is None or self.public is None or self.edited or self.other:
            return None
        return self.public - self.validation


@dataclass(frozen=True)
class Board:
    """A downloaded leaderboard, the public or the private one; ``own`` is the user's team, if it is on it."""

    rows: Sequence[LeaderboardRow]
    own: str | None
    private: bool


def scores_of(competition: Competition, workspace: Workspace, console: Console) -> list[ScoredRun]:
    """The runs of a competition, oldest first, with their current scores at Kaggle; raises RunError if it has none.

    New scores are kept in the runs, and the leaderboard in ``runs/<competition>/leaderboard-public.csv`` or
    ``-private.csv``. Where Kaggle can't be asked, the last known ones are used, and the console says so.
    """
    runs = list_runs(workspace, competition.name)
    for broken in broken_runs(workspace, competition.name):
        console.say(str(broken.problem))
    if not runs:
        raise RunError(f"There is no run of {competition.name} yet; make one with `comp run {competition.name}`.")
    place = workspace.runs / competition.name
    try:
        with kaggle_of(competition, workspace, console.say) as connect:
            board = _news(connect(), competition, runs, place)
    except KaggleError as error:
        board = _read_board(place)
        console.say(f"showing the last known scores: {error}")
    here = is_here(competition, workspace)
    return [_scored(run, answer_to(run, here), board, competition) for run in runs]


def show(runs: Sequence[ScoredRun], metric: str, console: Console) -> None:
    """Print a table with a row per run; an unknown score is a dash."""

    def shown(value: float | None, form: str = ".5f") -> str:
        return "-" if value is None else format(value, form)

    table = Table(box=None, pad_edge=False)
    # A truncated name couldn't be typed.
    table.add_column("run", min_width=max(len(run.name) for run in runs))
    for column in ("validation", "public", "gap", "private", "place"):
        table.add_column(column, justify="right")
    for run in runs:
        place = f"{'~' if run.public is None else ''}{run.place}" if run.place else "-"
        public = f"{shown(run.public)}{'*' if run.edited else ''}"
        scores = (f"{shown(run.validation)} {run.other}".rstrip(), public, shown(run.gap, "+.5f"), shown(run.private))
        table.add_row(Text(run.name), *scores, place)
    console.table(table)
    by_validation = "; ~ by validation" if any(run.place and run.public is None for run in runs) else ""
    edited = "; * of a submission.csv that was edited" if any(run.edited for run in runs) else ""
    console.say(f"{metric}; gap: public minus validation{by_validation}{edited}")


def _news(kaggle: Kaggle, competition: Competition, runs: Sequence[Run], place: Path) -> Board:
    """Update the runs' records of their submissions, and download the leaderboard."""
    submissions = kaggle.submissions(competition.kaggle)
    for run in (run for run in runs if run.predicted):
        tag = tag_of(run.submission)
        if row := next((row for row in submissions if row.message.endswith(tag)), None):
            record(run, kaggle, row.ref, row)
    private = any(row.private_score is not None for row in submissions)
    own = submissions[0].team if submissions else None
    board = Board(kaggle.leaderboard(competition.kaggle, private=private), own, private)
    _write_board(place, board)
    return board


def _scored(run: Run, submitted: Mapping[str, Any], board: Board, competition: Competition) -> ScoredRun:
    scores = run.known("scores")
    validation, public, private = scores.get("tuned"), submitted.get("score"), submitted.get("private_score")
    metric, better, place = competition.scoring.name, competition.scoring.higher_is_better, ""
    other = name if (name := scores.get("metric", metric)) != metric else ""
    candidates = (private if board.private else None, public, None if other else validation)
    known = [score for score in candidates if score is not None]
    if known and board.rows:
        place = standing_of(known[0], board.rows, board.own, higher_is_better=better)
    return ScoredRun(run.name, validation, public, private, place, submitted.get("edited", False), other)


def _write_board(place: Path, board: Board) -> None:
    name = f"leaderboard-{'private' if board.private else 'public'}.csv"
    with replacing(place / name) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("rank", "team", "score", "date", "own"))
        writer.writeheader()
        for row in board.rows:
            date = row.date.isoformat() if row.date else ""
            writer.writerow({**asdict(row), "date": date, "own": "yes" if row.team == board.own else ""})


def _read_board(place: Path) -> Board:
    """The leaderboard downloaded last, the private one if there is one; empty if there is none."""
    for private in (True, False):
        try:
            name = f"leaderboard-{'private' if private else 'public'}.csv"
            with (place / name).open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            board = [
                LeaderboardRow(int(row["rank"]), row["team"], float(row["score"]) if row["score"] else None, None)
                for row in rows
            ]
            return Board(board, next((row["team"] for row in rows if row["own"]), None), private)
        except (OSError, KeyError, ValueError):
            continue
    return Board([], None, private=False)
