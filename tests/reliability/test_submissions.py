"""Submissions with faults: `comp submit` against a local Kaggle with planned faults, and what Kaggle has then."""

import json

import pytest

from tests.faults import Fault

UPLOADING = ("GetCompetition", "ListSubmissions", "StartSubmissionUpload", "uploads", "CreateSubmission")


@pytest.fixture
def run(submittable):
    return submittable()


@pytest.fixture
def sent_once(run, kaggle_has):
    """Asserts that Kaggle has the run's submission once, and the run has its score."""

    def check():
        (row,) = kaggle_has()
        record = run.record("submitted")
        assert (record["reference"], record["status"], record["score"]) == (row.id, "complete", round(row.score, 5))

    return check


@pytest.fixture
def not_sent(kaggle_has, run):
    def check():
        assert kaggle_has() == []
        assert not run.has("submitted")

    return check


@pytest.mark.parametrize(("status", "times"), [(0, None), (502, 1)])
def test_an_answer_that_was_lost_is_found_in_the_list_and_nothing_sent_twice(sending, run, sent_once, status, times):
    ended = sending(run, Fault("CreateSubmission", "lose", times=times, status=status))
    assert ended.status == 0
    assert "looking whether the submission was taken" in ended.out
    assert "leaderboard: accuracy" in ended.out
    sent_once()


def test_a_submission_that_shows_up_late_is_waited_for(sending, run, sent_once, waits):
    # The list is read twice before sending; the first reading after that fails.
    plan = [Fault("CreateSubmission", "lose"), Fault("ListSubmissions", "refuse", skip=2, status=503)]
    assert sending(run, *plan).status == 0
    assert waits[:2] == [2, 1]
    sent_once()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("CreateSubmission", "refuse", times=None, status=500), "it looks there first, so that nothing"),
        (Fault("uploads", "drop", times=None), "run the same command again"),
    ],
    ids=["submission", "upload"],
)
def test_what_never_arrives_is_one_sentence_and_sent_after_a_look(
    sending, run, not_sent, sent_once, waits, fault, says
):
    assert says in sending(run, fault).sentence
    not_sent()
    waits.clear()
    assert "submitted submission.csv to shades" in sending(run).out
    assert waits[:3] == [2, 4, 8]
    sent_once()


@pytest.mark.parametrize("fault", [{"what": "refuse", "status": 503}, {"what": "drop"}], ids=["503", "drop"])
def test_what_fails_for_a_while_at_any_request_is_tried_again(sending, run, sent_once, waits, fault):
    assert sending(run, *(Fault(at, **fault) for at in UPLOADING)).status == 0
    # The request for the address and the upload are one attempt.
    assert waits.count(1) >= len(UPLOADING) - 1
    sent_once()


def test_a_server_that_falls_silent_is_tried_again(sending, run, sent_once, impatient):
    assert sending(run, *(Fault(at, "stall") for at in ("uploads", "CreateSubmission"))).status == 0
    sent_once()


def test_an_address_that_has_run_out_is_asked_for_anew(sending, run, not_sent, sent_once):
    refused = "address for the upload of submission.csv was refused (404); "
    told = sending(run, Fault("uploads", "expire", times=None)).sentence
    assert f"{refused}run the same command again" in told
    not_sent()
    assert sending(run, Fault("uploads", "expire", times=2)).out.count(f"{refused}trying again") == 2
    sent_once()


def test_a_proxy_s_page_is_never_taken_for_an_answer(sending, run, not_sent):
    for at in ("GetCompetition", "uploads", "CreateSubmission"):
        assert "with a web page instead of data" in sending(run, Fault(at, "page", times=None)).sentence, at
        not_sent()


def test_a_refusal_is_one_sentence_with_its_remedy(sending, run, not_sent):
    remedies = [
        (Fault("StartSubmissionUpload", "refuse", status=401), "~/.kaggle/access_token"),
        (Fault("CreateSubmission", "refuse", status=403), "accept its rules at http://127.0.0.1"),
        (Fault("GetCompetition", "set", fields={"submissionsDisabled": True}), "it takes no more submissions"),
        (Fault("GetCompetition", "set", fields={"isKernelsSubmissionsOnly": True}), "takes notebooks, not files"),
        (Fault("ListSubmissions", "refuse", times=None, status=404), "There is no competition 'shades'"),
    ]
    uploading = Fault("uploads", "refuse", status=500)  # would be printed
    for fault, remedy in remedies:
        ended = sending(run, fault, uploading)
        assert remedy in ended.sentence
        assert ("(500)" in ended.out) == (fault.at == "CreateSubmission")
        not_sent()


def test_the_submissions_left_today_are_shown_and_without_any_nothing_is_uploaded(
    sending, submittable, kaggle_has, monkeypatch
):
    monkeypatch.setattr("comp.local_kaggle.protocol.DAILY_SUBMISSIONS", 2)
    runs = [submittable(seed=seed) for seed in range(3)]
    assert "2 submissions left today, this one included" in sending(runs[0]).out
    assert "1 submission left today" in sending(runs[1]).out
    told = sending(runs[2], Fault("uploads", "refuse", status=500)).sentence
    assert "No submission to shades is left today, 2 were made; the next day begins at 00:00 UTC, in " in told
    assert len(kaggle_has()) == 2


def test_that_the_day_s_limit_is_not_known_stops_nothing(sending, run, sent_once):
    ended = sending(run, Fault("GetSubmissionLimits", "refuse", times=None, status=404))
    assert "the number of submissions left today is not known" in ended.out
    sent_once()


def test_too_many_requests_are_waited_out_when_that_is_short(sending, run, not_sent, sent_once, waits):
    plan = Fault("CreateSubmission", "refuse", times=None, status=429, retry_after=600)
    assert "wait 10 minutes" in sending(run, plan).sentence
    not_sent()
    waits.clear()
    ended = sending(run, Fault("CreateSubmission", "refuse", status=429, retry_after=20))
    assert waits == [2, 4, 8, 20]  # searches for the previous submission, then the wait
    assert ended.status == 0
    sent_once()


def test_a_score_is_waited_for_through_bad_minutes_and_by_a_clock_that_jumps(
    sending, run, sent_once, waits, jumping_clock
):
    pending = Fault("ListSubmissions", "pending", times=4, skip=2)
    bad = Fault("ListSubmissions", "refuse", times=2, skip=4, status=503)
    assert sending(run, bad, pending).status == 0
    assert len(waits) == 4
    sent_once()


def test_a_score_that_doesn_t_come_is_one_sentence_and_the_same_command_goes_on_waiting(
    sending, run, sent_once, kaggle_has, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("comp.kaggle.submitting.POLL_SECONDS", (601.0, 601.0))
        told = sending(run, Fault("ListSubmissions", "pending", times=None)).sentence
    assert "Submission 1 is uploaded and has no score after 600 seconds; run the same command again" in told
    assert run.record("submitted")["status"] == "pending"
    with_news = sending(run)
    assert "has this very file, submitted" in with_news.out
    assert "left today" not in with_news.out
    sent_once()
    assert len(kaggle_has()) == 1


@pytest.mark.parametrize("end", ["interrupt", "kill"])
def test_an_end_while_waiting_sends_nothing_twice(
    shades, serving, process, interrupted, sending, run, until, sent_once, end
):
    with serving(shades, Fault("ListSubmissions", "pending", times=None)):
        waiting = process("--competitions", shades.plugins, "submit", run.folder)
        until(lambda: run.has("submitted"))
        if end == "kill":
            waiting.kill()
        ended = waiting.ends() if end == "kill" else interrupted(waiting)
    assert ended.status == (-9 if end == "kill" else 130)
    assert sending(run).status == 0
    sent_once()


def test_a_kill_before_kaggle_s_answer_sends_nothing_twice(
    shades, serving, process, sending, run, until, sent_once, tmp_path
):
    with serving(shades, Fault("CreateSubmission", "stall")):
        uploading = process("--competitions", shades.plugins, "submit", run.folder)
        until(lambda: list((tmp_path / "state" / "uploads").glob("*")))
        uploading.kill()
        uploading.ends()
    assert not run.has("submitted")
    assert sending(run).status == 0
    sent_once()


def test_a_submission_that_was_taken_unseen_and_is_listed_late_is_looked_for_before_the_file_is_sent_again(
    sending, run, sent_once, waits
):
    never_listed = Fault("ListSubmissions", "refuse", skip=2, times=None, status=503)
    assert sending(run, Fault("CreateSubmission", "lose"), never_listed).sentence
    waits.clear()
    again = sending(run, Fault("ListSubmissions", "late", times=3))
    assert "an upload of this file ended without an answer; looking whether it was taken" in again.out
    assert "it is not sent again" in again.out
    assert waits[:3] == [2, 4, 8]
    sent_once()


def test_a_submission_that_was_answered_is_not_sent_again_when_it_is_listed_late_or_its_record_lost(
    sending, run, sent_once
):
    sending(run)
    assert "it is not sent again" in sending(run, Fault("ListSubmissions", "late", times=2)).out
    sent_once()
    record = json.loads((run.folder / "submitted.json").read_text())
    assert set(record) == {"reference", "kaggle", "file", "status", "score", "private_score"}
    assert record["kaggle"].startswith("http://127.0.0.1:")
    assert len(record["file"]) == 13
    (run.folder / "submitted.json").unlink()
    assert "it is not sent again" in sending(run).out
    sent_once()


def test_a_local_kaggle_without_answers_says_so_and_scores_once_they_are_there(shades, sending, run):
    answers = shades.served / ".answers" / "shades.csv"
    aside = answers.rename(answers.with_name("aside"))
    ended = sending(run)
    assert ended.status == 0
    assert "leaderboard: no score: this local Kaggle has no .answers/shades.csv to grade by\n" in ended.out
    assert run.record("submitted")["score"] is None
    aside.rename(answers)
    assert "leaderboard: accuracy" in sending(run).out


def test_two_that_submit_the_same_run_at_once_send_it_once(shades, serving, process, run, sent_once):
    with serving(shades, Fault("StartSubmissionUpload", "stall", seconds=1)):
        two = [process("--competitions", shades.plugins, "submit", run.folder) for _ in range(2)]
        ended = [one.ends() for one in two]
    assert [one.status for one in ended] == [0, 0]
    assert sorted("it is not sent again" in one.out for one in ended) == [False, True]
    sent_once()


def test_an_identical_file_is_not_sent_twice_not_even_from_another_run(sending, submittable, kaggle_has):
    first, same, other = submittable(seed=1), submittable(seed=1), submittable(seed=2)
    assert first.submission.read_bytes() == same.submission.read_bytes() != other.submission.read_bytes()
    sending(first)
    ended = sending(same)
    assert "shades has this very file, submitted" in ended.out
    assert "leaderboard: accuracy" in ended.out
    assert same.record("submitted")["reference"] == first.record("submitted")["reference"]
    sending(other)
    assert len(kaggle_has()) == 2


def test_a_submission_that_doesn_t_fit_the_sample_is_refused_before_anybody_is_asked(on_shades, run, monkeypatch):
    run.submission.write_text("".join(run.submission.read_text().splitlines(keepends=True)[:-1]))
    monkeypatch.setenv("COMP_KAGGLE_URL", "http://127.0.0.1:9")
    ended = on_shades("submit", run.folder)
    assert "There are 11 rows, but the sample submission has 12" in ended.sentence


def test_a_submission_that_kaggle_can_t_score_says_why_and_may_be_mended(sending, shades, run, kaggle_has):
    shades.answers(["id,colour", "q00,red"])
    assert "could not score submission 1 (submission.csv): The column 'id' should hold" in sending(run).sentence
    assert (run.record("submitted")["status"], run.record("submitted")["score"]) == ("error", None)
    shades.answers(["id,colour", *(f"q{number:02},red" for number in range(12))])
    assert sending(run).status == 0
    assert [row.status for row in kaggle_has()] == ["complete", "error"]


def test_a_record_that_can_t_be_written_is_one_sentence_and_nothing_is_sent_twice(
    sending, run, sent_once, disk, kaggle_has, tmp_path
):
    kept = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    unwritable = disk(run.folder, size=2_000_000)
    for name, content in kept.items():
        (run.folder / name).write_bytes(content)
    (run.folder / "log.txt").touch()
    unwritable("ro")
    assert "Read-only file system" in sending(run).sentence
    unwritable("rw")
    assert sending(run).status == 0
    sent_once()
