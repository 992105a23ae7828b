"""Where a score stands on a leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comp.kaggle.rows import LeaderboardRow


@dataclass(frozen=True)
class Standing:
    """A place, 1 being the first, among ``of`` teams."""

    place: int
    of: int

    def __str__(self) -> str:
        return f"{self.place:,} of {self.of:,}"


def standing_of(score: float, board: Sequence[LeaderboardRow], *, higher_is_better: bool) -> Standing:
    """Where a team with this score stands; teams of equal scores share a place."""
    scores = [row.score for row in board if row.score is not None]
    better = sum((other > score) if higher_is_better else (other < score) for other in scores)
    return Standing(better + 1, max(len(board), better + 1))
