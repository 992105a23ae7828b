"""Sending a submission once, whatever is lost on the way.

Kaggle takes a submission in three requests: an address to upload to, the bytes, and the submission itself. The first
two may be repeated; a third whose answer was lost may have been taken. So every submission's message ends with the
fingerprint of its file, and before a third request is repeated the list of submissions is searched for it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

from comp.errors import DataError, KaggleError
from comp.kaggle import patience
from comp.kaggle.patience import ATTEMPTS, patiently, wait_after
from comp.kaggle.refusals import PassingError, Subject, about_competition, in_one_sentence, not_data, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comp.kaggle.client import Kaggle
    from comp.kaggle.rows import SubmissionRow

SEARCHES_SECONDS = (2.0, 4.0, 8.0)


def tag_of(csv: Path) -> str:
    """The fingerprint of a submission's file, as it ends its message: 12 hexadecimal digits of SHA-256."""
    with csv.open("rb") as file:
        return f"#{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"


def submit(kaggle: Kaggle, slug: str, csv: Path, message: str) -> int:
    """Upload ``csv`` and make it a submission; its number. See `Kaggle.submit`."""
    if not csv.is_file():
        raise DataError(f"There is no submission {csv}; run `comp predict` first.")
    subject = about_competition(slug, kaggle.endpoint)
    tagged = f"{message} {tag_of(csv)}".lstrip()
    known = {row.ref for row in kaggle.submissions(slug)}
    # Each try to an address of its own, because the one before may have run out.
    token = patiently(lambda: _upload(kaggle, slug, csv, subject), kaggle.say)
    failures = 0
    while True:
        try:
            return _create(kaggle, slug, token, tagged, subject)
        except PassingError as error:
            if error.wait_seconds is None:  # Kaggle that asks to wait has not taken it
                kaggle.say(f"{error.cause}; looking whether the submission was taken")
                found = _taken(kaggle, slug, tagged, known)
                if found is not None:
                    return found
            failures += 1
            if failures >= ATTEMPTS:
                raise KaggleError(
                    f"{error.cause} when {csv.name} was submitted, and the list of submissions doesn't have it; run "
                    "the same command again: it looks there first, so that nothing is submitted twice."
                ) from error
            wait_after(error, failures, kaggle.say)
        except KaggleError:
            # That this upload was submitted already is what a repeated request may hear.
            found = _taken(kaggle, slug, tagged, known) if failures else None
            if found is None:
                raise
            return found


def _upload(kaggle: Kaggle, slug: str, csv: Path, subject: Subject) -> str:
    """Bring the bytes to Kaggle; the token by which it knows them."""
    from kagglesdk.competitions.types.competition_api_service import ApiStartSubmissionUploadRequest

    facts = csv.stat()
    start = ApiStartSubmissionUploadRequest()
    start.competition_name = slug
    start.file_name = csv.name
    start.content_length = facts.st_size
    start.last_modified_epoch_seconds = int(facts.st_mtime)
    ticket = kaggle.ask_once(
        subject, lambda client: client.competitions.competition_api_client.start_submission_upload(start)
    )
    with in_one_sentence(subject):
        put(csv, ticket.create_url, subject)
    return cast("str", ticket.token)


def put(path: Path, url: str, subject: Subject) -> None:
    """The bytes of a file to the address that Kaggle gave for them; raises as `comp.kaggle.refusals` says."""
    # Not the official upload_complete: it prints a failure instead of raising it, and waits without limit.
    import requests

    from comp.kaggle.official import TIMEOUT_SECONDS

    with path.open("rb") as file, requests.Session() as session:
        session.trust_env = not subject.endpoint.is_local
        # an empty file would go out in chunks, without the length that was announced
        response = session.put(url, data=file if path.stat().st_size else b"", timeout=TIMEOUT_SECONDS)
    if response.status_code == 429 or response.status_code >= 500:
        raise refusal(response, subject)
    if response.status_code >= 400:
        raise PassingError(
            f"The address for the upload of {path.name} was refused ({response.status_code})",
            "run the same command again in a few minutes",
        )
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise not_data(subject)


def _create(kaggle: Kaggle, slug: str, token: str, message: str, subject: Subject) -> int:
    from kagglesdk.competitions.types.competition_api_service import ApiCreateSubmissionRequest

    create = ApiCreateSubmissionRequest()
    create.competition_name = slug
    create.blob_file_tokens = token
    create.submission_description = message
    answer: Any = kaggle.ask_once(
        subject, lambda client: client.competitions.competition_api_client.create_submission(create)
    )
    return cast("int", answer.ref)


def search(kaggle: Kaggle, slug: str, is_it: Callable[[SubmissionRow], bool]) -> SubmissionRow | None:
    """The submission that was made a moment ago, if Kaggle has it: the list may show it a little later."""
    for seconds in SEARCHES_SECONDS:
        patience.wait(seconds)
        found = next(filter(is_it, kaggle.submissions(slug)), None)
        if found is not None:
            return found
    return None


def _taken(kaggle: Kaggle, slug: str, message: str, known: set[int]) -> int | None:
    """The submission with this message that was not there before."""
    found = search(kaggle, slug, lambda row: row.ref not in known and row.message == message)
    return found.ref if found else None
