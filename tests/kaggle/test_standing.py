from hypothesis import given
from hypothesis import strategies as st

from comp.kaggle.client import LeaderboardRow, standing_of


def board(*scores):
    return [LeaderboardRow(rank, f"t{rank}", score, None) for rank, score in enumerate(scores, start=1)]


def test_a_score_stands_behind_all_that_are_better():
    up = board(0.9, 0.8, 0.8, 0.7, None)
    places = [standing_of(score, up, None, higher_is_better=True).place for score in (1.0, 0.9, 0.85, 0.8, 0.75, 0.1)]
    assert places == [1, 1, 2, 2, 4, 5]
    down = board(0.1, 0.2, 0.3)
    assert [standing_of(score, down, None, higher_is_better=False).place for score in (0.05, 0.2, 0.9)] == [1, 2, 4]


def test_it_is_said_as_a_place():
    standing = standing_of(0.5, board(*(1 - number / 2000 for number in range(2000))), "t9", higher_is_better=True)
    assert str(standing) == "1,000 of 2,000"


def test_one_s_own_best_does_not_count_beside_the_score():
    teams = board(0.9, 0.8, 0.7)
    assert str(standing_of(0.75, teams, "t1", higher_is_better=True)) == "2 of 3"
    assert str(standing_of(0.75, teams, "t2", higher_is_better=True)) == "2 of 3"
    assert str(standing_of(0.75, teams, None, higher_is_better=True)) == "3 of 4"


@given(scores=st.lists(st.floats(0, 1), max_size=30), score=st.floats(0, 1), up=st.booleans())
def test_every_place_is_on_the_board_or_just_behind_it(scores, score, up):
    standing = standing_of(score, board(*sorted(scores, reverse=up)), None, higher_is_better=up)
    assert 1 <= standing.place <= standing.of == len(scores) + 1
