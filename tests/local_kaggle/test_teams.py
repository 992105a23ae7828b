import pytest
import requests

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.errors import SubmissionError
from comp.kaggle.client import connect
from comp.local_kaggle.grading import graders
from comp.local_kaggle.server import running

TEAMS = ["support vector machine", "random forest", "k-nearest neighbours", "logistic regression", "decision tree"]


@pytest.fixture
def serving_digits(digits_served, tmp_path):
    return lambda: running(
        digits_served, graders([competition_named("digits", REPOSITORY_COMPETITIONS)]), tmp_path / "state"
    )


def test_other_teams_are_on_the_leaderboard_from_the_start_and_once(serving_digits):
    for _ in range(2):
        with serving_digits() as url:
            board = connect(url).leaderboard("digits")
            assert [row.team for row in board] == TEAMS
            page = requests.get(f"{url}/c/digits", timeout=10).text
        assert page.count("support vector machine") == 1
        assert board == sorted(board, key=lambda row: -row.score)


def test_other_teams_submissions_are_not_served(serving_digits):
    with serving_digits() as url:
        for path in ("files/digits/../.answers", "files/.answers", "files/digits/.answers"):
            answer = requests.get(f"{url}/{path}/teams/digits/decision tree.csv", timeout=10)
            assert answer.status_code == 404


def test_a_team_that_can_t_be_scored_is_named(shades, serving):
    team = shades.served / ".answers" / "teams" / "shades" / "sloppy.csv"
    team.parent.mkdir(parents=True)
    team.write_text("id,label\n")
    says = r"sloppy\.csv can't be scored: .* Mend it, or delete it\."
    with pytest.raises(SubmissionError, match=says), serving(shades):
        pass
