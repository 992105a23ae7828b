"""A submission, its score and their records; faults are in tests/reliability/test_submissions.py."""

import pytest

from comp.errors import KaggleError
from comp.kaggle.client import connect
from comp.kaggle.submitting import has_score, sent, submit, wait_for_score
from comp.local_kaggle.grading import DeclaredGraders
from comp.local_kaggle.server import running
from comp.runs import Workspace, create_run, tag_of

SLUG = "two-digits"
REAL, HERE, ALSO_HERE = "https://api.kaggle.com", "http://127.0.0.1:8008", "http://127.0.0.1:9"


@pytest.fixture
def csv(tmp_path):
    """A submission with half of the answers right."""
    path = tmp_path / "half.csv"
    path.write_text("id,label\n1,7\n2,3\n")
    return path


def graded(kaggle, csv, message=""):
    return wait_for_score(kaggle, SLUG, submit(kaggle, SLUG, csv, message), timeout_seconds=5)


def test_a_submission_is_graded_known_again_and_stands_on_the_leaderboard(kaggle, csv, tmp_path, monkeypatch):
    assert sent(kaggle, SLUG, csv) is None
    row = graded(kaggle, csv, "a first try #000000000000")
    assert (row.status, row.public_score, row.file_name) == ("complete", 0.5, "half.csv")
    assert row.message == f"a first try #000000000000 {tag_of(csv)}"
    assert row.date.utcoffset().total_seconds() == 0

    # The file is recognised under another name, by its content only.
    copy = csv.rename(tmp_path / "other name.csv")
    assert sent(kaggle, SLUG, copy).ref == row.ref
    copy.write_bytes(copy.read_bytes() + b"\n")
    assert sent(kaggle, SLUG, copy) is None

    whole = tmp_path / "whole.csv"
    whole.write_text("id,label\n2,NA\n1,7\n")
    monkeypatch.setenv("KAGGLE_USERNAME", "Åda <b>")
    other = connect()
    assert other.submissions(SLUG) == []
    submit(other, SLUG, whole, "")
    board = other.leaderboard(SLUG)
    assert [(row.rank, row.team, row.score) for row in board] == [(1, "Åda <b>", 1.0), (2, "you", 0.5)]
    assert [row.public_score for row in kaggle.submissions(SLUG)] == [0.5]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"id,digit\n1,7\n", "columns"),
        (b"id,label\n1,7\n", "ids are not those"),
        (b"\n", "can't be read as a CSV"),
        (b'id,label\n1,"7\n', "can't be read as a CSV"),
        (b"id,label\n1,7,8,9\n1,2,3,4,5\n", "can't be read as a CSV"),
        (b"\xff\xfe\x00\x81" * 10, ""),
    ],
)
def test_a_malformed_submission_gets_an_error_with_the_reason_and_may_be_sent_again(kaggle, csv, content, reason):
    csv.write_bytes(content)
    row = graded(kaggle, csv)
    assert (row.status, row.public_score) == ("error", None)
    assert reason in row.error
    assert kaggle.leaderboard(SLUG) == []
    assert sent(kaggle, SLUG, csv) is None


def test_what_was_submitted_before_its_competition_was_declared_is_graded_afterwards(shades, tmp_path):
    source = shades.declaration.read_text()
    shades.declaration.unlink()
    csv = tmp_path / "submission.csv"
    csv.write_text("id,colour\n" + "".join(f"q{number:02},red\n" for number in range(12)))
    with running(shades.served, DeclaredGraders([shades.plugins]), tmp_path / "state") as url:
        kaggle = connect(url)
        ref = submit(kaggle, "shades", csv, "")
        row = wait_for_score(kaggle, "shades", ref)
        assert (row.status, row.public_score) == ("complete", None)
        assert row.error.startswith("no competition is declared with kaggle='shades'")
        assert kaggle.leaderboard("shades") == []
        shades.declaration.write_text("this is being wr")
        assert wait_for_score(kaggle, "shades", ref).public_score is None
        shades.declaration.write_text(source)
        assert 0 < wait_for_score(kaggle, "shades", ref).public_score < 1
        assert kaggle.competition("shades").metric == "accuracy"


def test_what_is_left_today_is_counted_without_those_that_failed_or_were_refused(kaggle, csv):
    def limits():
        subject, method = kaggle.endpoint.competition(SLUG), "competitions.get_submission_limits"
        answer = kaggle.ask(subject, method, competition_name=SLUG)
        return answer.num_today, answer.num_allowed_now

    assert limits() == (0, 100)
    for content in ("id,label\n1,7\n2,3\n", "id,label\n1,7\n2,4\n", "id,label\n1,7\n"):
        csv.write_text(content)
        submit(kaggle, SLUG, csv, "")
    csv.write_text("")
    with pytest.raises(KaggleError, match="between 1 and"):
        submit(kaggle, SLUG, csv, "")
    assert limits() == (2, 98)


@pytest.mark.parametrize(
    ("meant", "at", "done"),
    [(REAL, REAL, True), (REAL, HERE, False), (HERE, HERE, True), (ALSO_HERE, HERE, True), (HERE, REAL, False)],
)
def test_a_score_counts_for_its_file_where_it_is_of_the_kaggle_that_is_meant(
    shades, tmp_path, monkeypatch, meant, at, done
):
    monkeypatch.setenv("COMP_KAGGLE_URL", meant)
    run = create_run(Workspace(tmp_path), "shades", "quick")

    def write(at, status="complete"):
        run.submission.write_text("id\n")
        run.write_record("submitted", {"status": status, "file": tag_of(run.submission), "kaggle": at})

    goal = has_score(shades.competition, Workspace(tmp_path))
    assert not goal(run)
    write(at, "pending")
    assert not goal(run)
    write(at)
    assert goal(run) is done
    run.submission.write_text("id\n1\n")
    assert not goal(run)
