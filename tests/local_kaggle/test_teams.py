import pytest
import requests

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.errors import SubmissionError
from comp.kaggle.client import connect
from comp.local_kaggle.grading import graders
from comp.local_kaggle.server import running

TEAMS = ["support vector machine", "random forest", "k-nearest neighbours", "logistic regression", "decision tree"]


def test_other_teams_are_on_the_leaderboard_from_the_start_and_once(digits_served, tmp_path):
    digits = competition_named("digits", REPOSITORY_COMPETITIONS)
    for _ in range(2):
        with running(digits_served, graders([digits]), tmp_path / "state") as url:
            board = connect(url).leaderboard("digits")
            assert [row.team for row in board] == TEAMS
            page = requests.get(f"{url}/c/digits", timeout=10).text
        assert page.count("support vector machine") == 1
        assert board == sorted(board, key=lambda row: -row.score)


def test_a_team_that_can_t_be_scored_is_named(shades, serving):
    team = shades.served / ".answers" / "teams" / "shades" / "sloppy.csv"
    team.parent.mkdir(parents=True)
    team.write_text("id,label\n")
    says = r"sloppy\.csv can't be scored: .* Mend it, or delete it\."
    with pytest.raises(SubmissionError, match=says), serving(shades):
        pass
