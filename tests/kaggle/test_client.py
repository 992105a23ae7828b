import pytest

from comp.errors import DataError, KaggleError
from comp.kaggle.client import RemoteFile, connect
from comp.kaggle.submitting import sent, submit, tag_of, wait_for_score
from comp.local_kaggle.server import running

SLUG = "two-digits"


def test_a_local_kaggle_where_the_competition_is_not_declared_says_so(served, tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("id,label\n1,7\n2,NA\n")
    with running(served, {}, tmp_path / "state") as url:
        kaggle = connect(url)
        row = wait_for_score(kaggle, SLUG, submit(kaggle, SLUG, tmp_path / "mine.csv", ""))
    assert row.public_score is None
    assert row.error == f"no competition is declared with kaggle={SLUG!r} where this local Kaggle was started"


def test_files_are_listed_with_their_sizes(kaggle, served):
    assert kaggle.competition_files(SLUG) == [
        RemoteFile("notes/read me.txt", 5),
        RemoteFile("sample_submission.csv", 17),
        RemoteFile("train.zip", (served / SLUG / "train.zip").stat().st_size),
    ]


def test_a_list_of_many_pages_is_read_to_its_end(kaggle, served):
    for number in range(450):
        (served / SLUG / f"{number:03}.txt").touch()
    files = kaggle.competition_files(SLUG)
    assert len({file.name for file in files}) == len(files) == 453


def test_an_unknown_competition_and_data_set_are_said_to_be_unknown(kaggle, tmp_path):
    calls = [
        lambda: kaggle.competition_files("nowhere"),
        lambda: kaggle.download_competition("nowhere", tmp_path),
        lambda: kaggle.download_dataset("someone/nowhere", tmp_path),
        lambda: kaggle.submissions("nowhere"),
        lambda: kaggle.leaderboard("nowhere"),
    ]
    for call in calls:
        with pytest.raises(KaggleError, match=r"There is no .*nowhere.*check its name"):
            call()


def test_a_submission_is_graded_and_stands_on_the_leaderboard(kaggle, tmp_path, monkeypatch):
    half, whole = tmp_path / "half.csv", tmp_path / "whole.csv"
    half.write_text("id,label\n1,7\n2,3\n")
    whole.write_text("id,label\n2,NA\n1,7\n")
    row = wait_for_score(kaggle, SLUG, submit(kaggle, SLUG, half, "a first try"), timeout_seconds=5)
    assert (row.status, row.public_score, row.file_name) == ("complete", 0.5, "half.csv")
    assert row.message == f"a first try {tag_of(half)}"
    assert row.date is not None
    assert row.date.utcoffset().total_seconds() == 0

    monkeypatch.setenv("KAGGLE_USERNAME", "Åda <b>")
    other = connect()
    assert other.submissions(SLUG) == []
    submit(other, SLUG, whole, "")
    board = other.leaderboard(SLUG)
    assert [(row.rank, row.team, row.score) for row in board] == [(1, "Åda <b>", 1.0), (2, "you", 0.5)]
    assert [row.public_score for row in kaggle.submissions(SLUG)] == [0.5]


def test_a_malformed_submission_gets_an_error_with_the_reason(kaggle, tmp_path):
    csv = tmp_path / "wrong.csv"
    for content, reason in [
        ("id,digit\n1,7\n", "columns"),
        ("id,label\n1,7\n", "ids are not those"),
        ("\n", "can't be read as a CSV"),
        ('id,label\n1,"7\n', "can't be read as a CSV"),
        ("id,label\n1,7,8,9\n1,2,3,4,5\n", "can't be read as a CSV"),
    ]:
        csv.write_text(content)
        row = wait_for_score(kaggle, SLUG, submit(kaggle, SLUG, csv, ""), timeout_seconds=5)
        assert (row.status, row.public_score) == ("error", None)
        assert reason in row.error
    assert kaggle.leaderboard(SLUG) == []


def test_bytes_that_are_no_text_are_an_error_too(kaggle, tmp_path):
    csv = tmp_path / "wrong.csv"
    csv.write_bytes(b"\xff\xfe\x00\x81" * 10)
    submit(kaggle, SLUG, csv, "")
    assert kaggle.submissions(SLUG)[0].status == "error"


def test_without_answers_a_submission_is_complete_and_has_no_score(kaggle, served, tmp_path):
    (served / ".answers" / f"{SLUG}.csv").unlink()
    csv = tmp_path / "s.csv"
    csv.write_text("id,label\n1,7\n")
    row = wait_for_score(kaggle, SLUG, submit(kaggle, SLUG, csv, ""), timeout_seconds=5)
    assert (row.status, row.public_score) == ("complete", None)
    assert kaggle.leaderboard(SLUG) == []


def test_a_submission_that_is_not_there_or_empty_is_refused(kaggle, tmp_path):
    with pytest.raises(DataError, match="comp predict"):
        submit(kaggle, SLUG, tmp_path / "none.csv", "")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(KaggleError, match="between 1 and"):
        submit(kaggle, SLUG, tmp_path / "empty.csv", "")


def test_waiting_for_a_score_ends(kaggle):
    with pytest.raises(KaggleError, match="no score after 0 seconds"):
        wait_for_score(kaggle, SLUG, 99, timeout_seconds=0)


def test_what_is_left_today_is_counted_without_those_that_failed(kaggle, tmp_path):
    def limits():
        subject, method = kaggle.endpoint.competition(SLUG), "competitions.get_submission_limits"
        answer = kaggle.ask(subject, method, competition_name=SLUG)
        return answer.num_today, answer.num_allowed_now

    csv = tmp_path / "s.csv"
    assert limits() == (0, 100)
    for content in ("id,label\n1,7\n2,3\n", "id,label\n1,7\n2,4\n", "id,label\n1,7\n"):
        csv.write_text(content)
        submit(kaggle, SLUG, csv, "")
    assert limits() == (2, 98)


def test_a_file_is_known_again_whatever_was_said_about_it(kaggle, tmp_path):
    csv, copy = tmp_path / "s.csv", tmp_path / "other name.csv"
    csv.write_text("id,label\n1,7\n2,3\n")
    assert sent(kaggle, SLUG, csv) is None
    ref = submit(kaggle, SLUG, csv, "one #000000000000")
    copy.write_bytes(csv.read_bytes())
    assert sent(kaggle, SLUG, copy).ref == ref
    copy.write_bytes(csv.read_bytes() + b"\n")
    assert sent(kaggle, SLUG, copy) is None


def test_a_file_that_could_not_be_scored_may_be_sent_again(kaggle, tmp_path):
    csv = tmp_path / "s.csv"
    csv.write_text("id,label\n1,7\n")
    submit(kaggle, SLUG, csv, "")
    assert sent(kaggle, SLUG, csv) is None


def test_the_private_leaderboard_is_another(kaggle, served, tmp_path):
    (served / ".answers" / f"{SLUG}.csv").write_text("id,label,Usage\n1,7,Public\n2,NA,Private\n")
    csv = tmp_path / "s.csv"
    csv.write_text("id,label\n1,7\n2,3\n")
    row = wait_for_score(kaggle, SLUG, submit(kaggle, SLUG, csv, ""), timeout_seconds=5)
    assert (row.public_score, row.private_score) == (1.0, 0.0)
    assert [row.score for row in kaggle.leaderboard(SLUG)] == [1.0]
    assert [row.score for row in kaggle.leaderboard(SLUG, private=True)] == [0.0]
