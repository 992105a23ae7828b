import json
import os
import signal
import socket
import tempfile
import threading
import time

import pytest
import requests

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.errors import DataError, KaggleError, SubmissionError
from comp.kaggle.client import connect
from comp.local_kaggle.grading import graders
from comp.local_kaggle.server import running, without_answers


def test_it_listens_on_this_machine_only(served, tmp_path):
    with running(served, {}, tmp_path / "state") as url:
        assert url.startswith("http://127.0.0.1:")
        elsewhere = {address[4][0] for address in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        port = int(url.rpartition(":")[2])
        for address in elsewhere - {"127.0.0.1"}:
            with socket.socket() as connection:
                connection.settimeout(1)
                assert connection.connect_ex((address, port)) or address.startswith("127."), address


def test_an_answer_on_a_connection_that_was_used_before_is_sent_at_once(served, tmp_path):
    """The body doesn't wait for the client to acknowledge the headers, which takes 40 ms."""
    seconds = []
    with running(served, {}, tmp_path / "state") as url, requests.Session() as session:
        session.get(url, timeout=5)
        for _ in range(20):
            began = time.perf_counter()
            session.get(url, timeout=5)
            seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.03


@pytest.mark.parametrize(("port", "says"), [(None, "taken.*--port"), (-1, "--port"), (70000, "--port")])
def test_a_port_in_use_or_that_can_t_be_is_one_sentence(served, tmp_path, port, says):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = port or taken.getsockname()[1]
        with pytest.raises(KaggleError, match=f"{port}.*{says}"), running(served, {}, tmp_path, port=port):
            pass


def test_folders_that_are_missing_or_can_t_be_written_are_one_sentence(served, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"no folder .*nowhere"), running(tmp_path / "nowhere", {}, tmp_path / "state"):
        pass
    with pytest.raises(DataError, match="writable"), running(served, {}, tmp_path / "file" / "state"):
        pass


def test_when_the_block_ends_the_server_is_gone(served, tmp_path):
    with running(served, {}, tmp_path / "state") as url:
        assert requests.get(url, timeout=5).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
    assert "local Kaggle" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("folders", "file", "named"),
    [
        ("ab", "sample_submission.csv", ": a, b"),
        ("abcdef", "sample_submission.csv", ": a, b, c, …"),
        ("a", "image.jpg", None),
    ],
)
def test_competitions_without_answers_are_named_and_data_sets_not(served, folders, file, named):
    for name in folders:
        (served / name).mkdir()
        (served / name / file).touch()
    line = without_answers(served)
    assert line is None if named is None else line.endswith(named)


def test_serving_says_where_it_is_then_what_gets_no_score_and_ends_quietly(served, forked, tmp_path):
    (served / "unanswered").mkdir()
    (served / "unanswered" / "sample_submission.csv").touch()
    process = forked("serve", served, "--port", 0, before=lambda: setattr(tempfile, "tempdir", str(tmp_path)))
    assert requests.get(process.says("export COMP_KAGGLE_URL="), timeout=5).status_code == 200
    assert list(tmp_path.glob("comp-serve-*"))
    assert process.says("without ").endswith(": unanswered")
    os.kill(process.pid, signal.SIGINT)
    ended = process.ends(15)
    assert (ended.status, ended.err) == (0, "")
    assert not list(tmp_path.glob("comp-serve-*"))


def test_a_competition_says_what_stands_beside_its_answers(served, tmp_path):
    (served / ".answers").mkdir(exist_ok=True)
    facts = {"title": "Two Digits", "description": "Which digit?", "metric": "Quadratic Weighted Kappa"}
    (served / ".answers" / "two-digits.json").write_text(json.dumps(facts))
    (served / ".answers" / "more-digits.json").write_text("no JSON")
    with running(served, {}, tmp_path / "state") as url:
        found = connect(url).competition("two-digits")
        assert (found.title, found.description, found.metric) == tuple(facts.values())
        assert connect(url).competition("more-digits").title == "More Digits"


TEAMS = ["support vector machine", "random forest", "k-nearest neighbours", "logistic regression", "decision tree"]


def test_other_teams_are_on_the_leaderboard_from_the_start_and_once(digits_served, tmp_path):
    digits = competition_named("digits", REPOSITORY_COMPETITIONS)
    for _ in range(2):
        with running(digits_served, graders([digits]), tmp_path / "state") as url:
            board = connect(url).leaderboard("digits")
            assert [row.team for row in board] == TEAMS
        assert board == sorted(board, key=lambda row: -row.score)


def test_a_team_that_can_t_be_scored_is_named(shades, serving):
    team = shades.served / ".answers" / "teams" / "shades" / "sloppy.csv"
    team.parent.mkdir(parents=True)
    team.write_text("id,label\n")
    says = r"sloppy\.csv can't be scored: .* Mend it, or delete it\."
    with pytest.raises(SubmissionError, match=says), serving(shades):
        pass
