"""Where a score stands on a leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comp.kaggle.rows import LeaderboardRow


@dataclass(frozen=True)
class Standing:
    """A place, 1 being the first, among ``of`` teams, the one with the score included."""

    place: int
    of: int

    def __str__(self) -> str:
        return f"{self.place:,} of {self.of:,}"


def standing_of(score: float, board: Sequence[LeaderboardRow], own: str | None, *, higher_is_better: bool) -> Standing:
    """Where this score puts the team ``own`` among the others, whatever its best one is; equal scores share a place.

    own: None for a team that is not on the board.
    """
    others = [row.score for row in board if row.team != own]
    better = sum((other > score) if higher_is_better else (other < score) for other in others if other is not None)
    return Standing(better + 1, len(others) + 1)
