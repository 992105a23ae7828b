"""A run's submission, sent once and no more, and what Kaggle says to it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from comp.errors import KaggleError, RunError
from comp.files import alone
from comp.kaggle.sources import kaggle_of
from comp.kaggle.standing import standing_of
from comp.kaggle.uploads import tag_of
from comp.submission.submission import check_submission, read_sample_submission

if TYPE_CHECKING:
    from comp.console import Console
    from comp.declare.competition import Competition
    from comp.kaggle.client import Kaggle
    from comp.kaggle.rows import LeaderboardRow, SubmissionRow
    from comp.runs import Run, Workspace


def send(
    competition: Competition, run: Run, workspace: Workspace, console: Console, message: str | None
) -> SubmissionRow:
    """Send the run's submission unless Kaggle has that very file, wait for its score, say where it stands.

    submitted.json is written as soon as Kaggle has the file, and again with the score. Of several processes one at a
    time looks whether Kaggle has its file and sends it.

    Raises:
        SubmissionError: it doesn't fit the sample submission.
        RunError: there is none.
        KaggleError: Kaggle takes it not, not today, or can't score it.
    """
    must_fit_the_sample(competition, run, workspace)
    slug = competition.kaggle
    with kaggle_of(competition, workspace, console.say) as connect:
        kaggle = connect()
        with alone(run.folder.parent / ".submitting", lambda: console.say("waiting for another submission to be sent")):
            reference = _sent_once(kaggle, slug, run, console, message)
        graded = kaggle.wait_for_score(slug, reference)
        _record(run, kaggle, reference, graded)
        if graded.status == "error":
            raise KaggleError(
                f"Kaggle could not score submission {reference} ({graded.file_name}): "
                f"{graded.error or 'it gave no reason.'}"
            )
        try:
            place = _place(competition, graded, kaggle.leaderboard(slug))
        except KaggleError as error:
            # The submission is made and scored all the same.
            place = f", but its place is not known: {error}"
    console.say(f"leaderboard: {_in_words(competition, graded)}{place}")
    return graded


def _sent_once(kaggle: Kaggle, slug: str, run: Run, console: Console, message: str | None) -> int:
    """The number of the submission at Kaggle, sent now or before.

    sending.json is there from before the upload until its answer: what is found after a process died in between may
    have been taken and not be listed yet.
    """
    this = {"file": tag_of(run.submission)}
    unanswered = run.has("sending") and run.record("sending") == this
    if unanswered:
        console.say("an upload of this file ended without an answer; looking whether it was taken")
    answered = run.record("submitted") if run.has("submitted") else {}
    was_taken = answered.get("file") == this["file"] and answered["status"] != "error"
    sent = kaggle.sent(slug, run.submission, shows_late=unanswered or was_taken)
    if sent is not None:
        when = f" on {sent.date:%Y-%m-%d %H:%M} UTC" if sent.date else ""
        console.say(f"{slug} has this very file, submitted{when}; it is not sent again")
        reference = sent.ref
    else:
        kaggle.must_take_files(slug)
        console.say(f"submitting {run.name}: {_left_today(kaggle, slug)}")
        run.write_record("sending", this)
        reference = kaggle.submit(slug, run.submission, message or _words(run))
        console.say(f"submitted {run.submission.name} to {slug}")
    _record(run, kaggle, reference, sent)
    run.remove_record("sending")
    return reference


def must_fit_the_sample(competition: Competition, run: Run, workspace: Workspace) -> None:
    """Raise RunError without a submission, SubmissionError where it doesn't fit the sample submission."""
    if not run.submission.is_file():
        raise RunError(f"The run {run.name} has no submission.csv; make it with `comp predict {run.name}`.")
    sample = read_sample_submission(workspace.data(competition.name) / competition.sample_submission)
    classes = run.record("config")["classes"]
    check_submission(run.submission, classes, sample, competition.submission, competition.target)


def record(run: Run, kaggle: Kaggle, row: SubmissionRow) -> None:
    """Keep what Kaggle says to the run's submission."""
    _record(run, kaggle, row.ref, row)


def _record(run: Run, kaggle: Kaggle, reference: int, row: SubmissionRow | None) -> None:
    known = {
        "reference": reference,
        "kaggle": kaggle.endpoint.url,
        "file": tag_of(run.submission),
        "status": row.status if row else "pending",
        "score": row.public_score if row else None,
        "private_score": row.private_score if row else None,
    }
    run.write_record("submitted", known | ({"error": row.error} if row and row.error else {}))


def _words(run: Run) -> str:
    scores = run.record("scores")
    return f"{run.name} {scores['metric']} {scores.get('tuned', '')}".strip()


def _left_today(kaggle: Kaggle, slug: str) -> str:
    try:
        allowance = kaggle.allowance(slug)
    except KaggleError as error:
        return f"how many submissions are left today is not known: {error}"
    if allowance.left_today:
        return f"{allowance.left_today} submissions left today, this one included"
    now = dt.datetime.now(dt.UTC)
    minutes = 24 * 60 - (60 * now.hour + now.minute)
    raise KaggleError(
        f"No submission to {slug} is left today, {allowance.made_today} were made; the next day begins at 00:00 UTC, "
        f"in {minutes // 60} h {minutes % 60} min."
    )


def _in_words(competition: Competition, row: SubmissionRow) -> str:
    if row.public_score is None:
        return f"no score: {row.error}" if row.error else "Kaggle gives no score"
    private = "" if row.private_score is None else f" public, {row.private_score:.5f} private"
    return f"{competition.metric} {row.public_score:.5f}{private}"


def _place(competition: Competition, row: SubmissionRow, board: list[LeaderboardRow]) -> str:
    if row.public_score is None:
        return ""
    better = competition.scoring.higher_is_better
    return f", place {standing_of(row.public_score, board, row.team, higher_is_better=better)}"
