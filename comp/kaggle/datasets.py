"""A private data set of one's own, for notebooks to read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from comp.errors import KaggleError
from comp.kaggle import patience
from comp.kaggle.patience import patiently
from comp.kaggle.refusals import ForbiddenError, MissingError, Subject, about_dataset
from comp.kaggle.uploads import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from comp.kaggle.client import Kaggle

LICENSE = "other"
POLL_SECONDS = 3.0
LONGEST_SECONDS = 1800.0


def create(kaggle: Kaggle, name: str, files: Iterable[Path], uploaded: Callable[[Path], None]) -> str:
    """A data set of one's own, seen by nobody else, with these files; ``owner/name``, once notebooks can read it.

    One of that name that is there is left as it is, so that the same call goes on where it was interrupted.

    uploaded: called with each file that is at Kaggle.
    """
    handle = f"{kaggle.user}/{name}"
    subject = about_dataset(handle, kaggle.endpoint)
    if _status(kaggle, handle, subject) is None:
        tokens = []
        for file in files:
            tokens.append(patiently(lambda file=file: _upload(kaggle, file, subject), kaggle.say))  # type: ignore[misc]
            uploaded(file)
        # Where an answer was lost, it is there already.
        patiently(lambda: _status(kaggle, handle, subject) or _create(kaggle, name, tokens, subject), kaggle.say)
    _wait_until_ready(kaggle, handle, subject)
    return handle


def _status(kaggle: Kaggle, handle: str, subject: Subject) -> str | None:
    """In Kaggle's word; None where there is no such data set."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetStatusRequest

    request = ApiGetDatasetStatusRequest()
    request.owner_slug, request.dataset_slug = handle.split("/")
    try:
        answer = kaggle.ask(subject, lambda client: client.datasets.dataset_api_client.get_dataset_status(request))
    except (MissingError, ForbiddenError):
        # Kaggle says either of what isn't there.
        return None
    return str(answer.status.name)


def _upload(kaggle: Kaggle, file: Path, subject: Subject) -> str:
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

    facts = file.stat()
    start = ApiStartBlobUploadRequest()
    start.type = ApiBlobType.DATASET
    start.name = file.name
    start.content_length = facts.st_size
    start.last_modified_epoch_seconds = int(facts.st_mtime)
    ticket: Any = kaggle.ask_once(subject, lambda client: client.blobs.blob_api_client.start_blob_upload(start))
    kaggle.ask_once(subject, lambda _: put(file, ticket.create_url, subject))
    return str(ticket.token)


def _create(kaggle: Kaggle, name: str, tokens: list[str], subject: Subject) -> str:
    from kagglesdk.datasets.types.dataset_api_service import ApiCreateDatasetRequest, ApiDatasetNewFile

    request = ApiCreateDatasetRequest()
    request.owner_slug, request.slug = kaggle.user, name
    request.title = name.replace("-", " ")
    request.license_name = LICENSE
    request.is_private = True
    request.files = []
    for token in tokens:
        new = ApiDatasetNewFile()
        new.token = token
        request.files.append(new)
    answer = kaggle.ask_once(subject, lambda client: client.datasets.dataset_api_client.create_dataset(request))
    if answer.error:
        raise KaggleError(f"Kaggle did not make {subject}: {answer.error}")
    return str(answer.status)


def _wait_until_ready(kaggle: Kaggle, handle: str, subject: Subject) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while (status := _status(kaggle, handle, subject)) != "READY":
        if status == "FAILED":
            raise KaggleError(f"Kaggle could not read the files of {subject}; look at {subject.page}.")
        if time.monotonic() > deadline:
            raise KaggleError(
                f"Kaggle has not read the files of {subject} after {LONGEST_SECONDS / 60:.0f} minutes; run the same "
                f"command again to go on waiting, or look at {subject.page}."
            )
        patience.wait(POLL_SECONDS)
