"""Send a run's submission only once, even if a connection drops or the process dies, and record Kaggle's answer.

A submission takes three requests: for an address to upload to, the upload, and the submission itself. The first two
may be repeated; Kaggle may have accepted a third one whose answer was lost. So every submission's message ends with the
fingerprint of its file, and the list of submissions is searched for it before the third request is repeated.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from comp.console import Console
from comp.declare.competition import Competition
from comp.declare.custom import key_of
from comp.errors import KaggleError, RunError, counted
from comp.files import alone
from comp.kaggle import failures
from comp.kaggle.client import Kaggle, SubmissionRow, standing_of
from comp.kaggle.connection import endpoint_at
from comp.kaggle.failures import ATTEMPTS, PassingError, patiently, wait_after
from comp.kaggle.sources import is_here, kaggle_of
from comp.runs import Run, Workspace, tag_of
from comp.submission.submission import check_submission, read_sample_submission

SEARCHES_SECONDS = (2.0, 4.0, 8.0)
POLL_SECONDS = (1.0, 10.0)  # at first, at most


def send(
    competition: Competition, run: Run, workspace: Workspace, console: Console, message: str | None
) -> SubmissionRow:
    """Send the run's submission unless Kaggle has that very file, wait for its score, print its place.

    submitted.json is written as soon as Kaggle has the file, and again with the score. Several processes search for
    their file and send it one after the other.

    Raises:
        SubmissionError: the submission doesn't fit the sample submission.
        RunError: the run has no submission.
        KaggleError: Kaggle doesn't take the submission, at all or today, or can't score it.
    """
    if not run.submission.is_file():
        raise RunError(f"The run {run.name} has no submission.csv; make it with `comp predict {run.name}`.")
    path = workspace.data(competition.name) / competition.sample_submission
    sample = read_sample_submission(path, competition.id_column, competition.submission)
    check_submission(competition, run.record("config")["classes"], sample, run.submission)
    _say_what_changed(competition, run, console)
    slug = competition.kaggle
    with kaggle_of(competition, workspace, console.say) as connect:
        kaggle = connect()
        with alone(run.folder.parent / ".submitting", lambda: console.say("waiting for another submission to be sent")):
            reference = _sent_once(kaggle, slug, run, console, message)
        graded = wait_for_score(kaggle, slug, reference)
        record(run, kaggle, reference, graded)
        if graded.status == "error":
            raise KaggleError(
                f"Kaggle could not score submission {reference} ({graded.file_name}): "
                f"{graded.error or 'it gave no reason.'}"
            )
        if graded.public_score is None:
            news = f"no score: {graded.error}" if graded.error else "Kaggle gives no score"
        else:
            private = "" if graded.private_score is None else f" public, {graded.private_score:.5f} private"
            news = f"{competition.scoring.name} {graded.public_score:.5f}{private}"
            try:
                board, better = kaggle.leaderboard(slug), competition.scoring.higher_is_better
                standing = standing_of(graded.public_score, board, graded.team, higher_is_better=better)
                news += f", place {standing}"
            except KaggleError as error:
                # The submission is scored, so a missing place is no failure.
                news += f", but its place is not known: {error}"
    console.say(f"leaderboard: {news}")
    return graded


def _say_what_changed(competition: Competition, run: Run, console: Console) -> None:
    """Print whether the submission was edited, or `postprocess` changed since the run was predicted."""
    config = run.record("config")
    made_by = config.get("command") or "the command that made it"
    # Folds are often joined by the command that trained them; after an edited rule, it would train them again.
    made_by = f"comp join {' '.join(run.members)}" if config.get("kind") == "folds" else made_by
    anew = f"`{made_by if run.without_weights else f'comp predict {run.name}'}`"
    if run.edited:
        console.say(f"{run.submission} was edited, so its score is not taken for the run's; {anew} undoes it")
    now = None if competition.postprocess is None else key_of(competition.postprocess)
    if (run.known("scores") or {"postprocess": now}).get("postprocess") != now:
        console.say(f"`postprocess` has changed since {run.name} was predicted; {anew} applies it")


def record(run: Run, kaggle: Kaggle, reference: int, row: SubmissionRow | None) -> None:
    """Record Kaggle's answer to the run's submission; without a row, as pending."""
    known = {
        "reference": reference,
        "kaggle": kaggle.endpoint.url,
        "file": tag_of(run.submission),
        "status": row.status if row else "pending",
        "score": row.public_score if row else None,
        "private_score": row.private_score if row else None,
    }
    known |= {"edited": True} if run.edited else {}
    run.write_record("submitted", known | ({"error": row.error} if row and row.error else {}))


def answer_to(run: Run, here: bool) -> dict[str, Any]:
    """The answer to the run's current submission that is recorded from Kaggle itself, or ``here`` from a local one.

    Empty where there is none. All local Kaggles count as the same one, because their addresses change.
    """
    known = run.known("submitted") if run.submission.is_file() else {}
    is_meant = known and known["file"] == tag_of(run.submission) and endpoint_at(known["kaggle"]).is_local == here
    return known if is_meant else {}


def has_score(competition: Competition, workspace: Workspace) -> Callable[[Run], bool]:
    """Return a function that says whether a run's current submission has a score from its Kaggle, real or local."""
    here = is_here(competition, workspace)
    return lambda run: answer_to(run, here).get("status") == "complete"


def submit(kaggle: Kaggle, slug: str, csv: Path, message: str) -> int:
    """Upload a submission, with its file's fingerprint at the end of the message; return its number at Kaggle."""
    subject = kaggle.endpoint.competition(slug)
    tagged = f"{message} {tag_of(csv)}".lstrip()
    known = {row.ref for row in kaggle.submissions(slug)}

    def is_new(row: SubmissionRow) -> bool:
        return row.ref not in known and row.message == tagged

    # Each try asks for a new address, because the previous one may have expired.
    start = {"competition_name": slug, "file_name": csv.name}
    token = patiently(lambda: kaggle.upload(subject, csv, "competitions.start_submission_upload", **start), kaggle.say)
    failed = 0
    while True:
        try:
            return kaggle.ask_once(
                subject,
                "competitions.create_submission",
                competition_name=slug,
                blob_file_tokens=token,
                submission_description=tagged,
            ).ref
        except PassingError as error:
            if error.wait_seconds is None:  # where Kaggle asks to wait, it hasn't taken the submission
                kaggle.say(f"{error.cause}; looking whether the submission was taken")
                if found := _found(kaggle, slug, is_new):
                    return found.ref
            failed += 1
            if failed >= ATTEMPTS:
                raise KaggleError(
                    f"{error.cause} when {csv.name} was submitted, and the list of submissions doesn't have it; run "
                    "the same command again: it looks there first, so that nothing is submitted twice."
                ) from error
            wait_after(error, failed, kaggle.say)
        except KaggleError:
            # A repeated request fails if this upload was submitted already.
            if failed and (found := _found(kaggle, slug, is_new)):
                return found.ref
            raise


def sent(kaggle: Kaggle, slug: str, csv: Path, *, shows_late: bool = False) -> SubmissionRow | None:
    """Kaggle's submission of this very file, unless it has an error; ``shows_late``: search again after pauses."""
    tag = tag_of(csv)
    pauses = (0.0, *SEARCHES_SECONDS) if shows_late else (0.0,)
    return _found(kaggle, slug, lambda row: row.message.endswith(tag) and row.status != "error", pauses)


def wait_for_score(kaggle: Kaggle, slug: str, reference: int, timeout_seconds: float = 600.0) -> SubmissionRow:
    """Wait until a submission is scored or has an error; raises KaggleError after ``timeout_seconds``."""
    deadline = time.monotonic() + timeout_seconds
    pause, longest = POLL_SECONDS
    while True:
        row = next((row for row in kaggle.submissions(slug) if row.ref == reference), None)
        if row is not None and row.status != "pending":
            return row
        if time.monotonic() + pause > deadline:
            raise KaggleError(
                f"Submission {reference} is uploaded and has no score after {timeout_seconds:.0f} seconds; run the "
                f"same command again to keep waiting, or look at {kaggle.endpoint.competition(slug).page}."
            )
        failures.wait(pause)
        pause = min(2 * pause, longest)


def _sent_once(kaggle: Kaggle, slug: str, run: Run, console: Console, message: str | None) -> int:
    """Send the submission unless Kaggle has it; return its number at Kaggle.

    sending.json exists from before the upload until its answer. If a process died in between, Kaggle may have taken
    the submission and not list it yet.
    """
    this = {"file": tag_of(run.submission)}
    unanswered = run.known("sending") == this
    if unanswered:
        console.say("an upload of this file ended without an answer; looking whether it was taken")
    was_taken = answer_to(run, kaggle.endpoint.is_local).get("status", "error") != "error"
    row = sent(kaggle, slug, run.submission, shows_late=unanswered or was_taken)
    if row is not None:
        when = f" on {row.date:%Y-%m-%d %H:%M} UTC" if row.date else ""
        console.say(f"{slug} has this very file, submitted{when}; it is not sent again")
        reference = row.ref
    else:
        console.say(f"submitting {run.name}: {_left_today(kaggle, slug)}")
        run.write_record("sending", this)
        scores = run.record("scores")
        of_run = "edited" if run.edited else f"{scores['metric']} {scores.get('tuned', '')}"
        words = f"{run.name} {of_run}".strip()
        reference = submit(kaggle, slug, run.submission, message or words)
        console.say(f"submitted {run.submission.name} to {slug}")
    record(run, kaggle, reference, row)
    run.remove_record("sending")
    return reference


def _left_today(kaggle: Kaggle, slug: str) -> str:
    """The number of submissions left today, in words; raises KaggleError where none can be made."""
    facts, subject = kaggle.facts(slug), kaggle.endpoint.competition(slug)
    if facts.submissions_disabled:
        raise KaggleError(f"Competition {slug!r} is closed: it takes no more submissions; see {subject.page}.")
    if facts.is_kernels_submissions_only:
        raise KaggleError(
            f"Competition {slug!r} takes notebooks, not files; submit one that writes the file, at {subject.page}."
        )
    try:
        limits = kaggle.ask(subject, "competitions.get_submission_limits", competition_name=slug)
    except KaggleError as error:
        return f"the number of submissions left today is not known: {error}"
    if limits.num_allowed_now:
        return f"{counted(limits.num_allowed_now, 'submission')} left today, this one included"
    now = dt.datetime.now(dt.UTC)
    minutes = 24 * 60 - (60 * now.hour + now.minute)
    raise KaggleError(
        f"No submission to {slug} is left today, {limits.num_today} were made; the next day begins at 00:00 UTC, "
        f"in {minutes // 60} h {minutes % 60} min."
    )


def _found(
    kaggle: Kaggle, slug: str, is_it: Callable[[SubmissionRow], bool], pauses: Sequence[float] = SEARCHES_SECONDS
) -> SubmissionRow | None:
    """The first submission that ``is_it`` accepts; searched for after each pause, as Kaggle may list it late."""
    for seconds in pauses:
        if seconds:
            failures.wait(seconds)
        if found := next(filter(is_it, kaggle.submissions(slug)), None):
            return found
    return None
