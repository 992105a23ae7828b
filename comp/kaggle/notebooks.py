"""The user's notebooks that Kaggle executes, and the private data sets that they read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import requests

from comp.errors import KaggleError
from comp.kaggle import connection, failures
from comp.kaggle.client import Kaggle
from comp.kaggle.connection import Subject
from comp.kaggle.downloads import Progress, download, unwatched
from comp.kaggle.failures import ForbiddenError, MissingError, in_one_sentence, patiently

Status = Literal["queued", "running", "complete", "error", "cancelled"]
STATUSES: dict[str, Status] = {
    "NEW_SCRIPT": "queued",
    "QUEUED": "queued",
    "RUNNING": "running",
    "COMPLETE": "complete",
    "ERROR": "error",
    "CANCEL_REQUESTED": "cancelled",
    "CANCEL_ACKNOWLEDGED": "cancelled",
}
# The settings of all pushed notebooks; Kaggle's torch has no kernels for its other GPU, the P100.
SETTINGS = {
    "language": "python",
    "kernel_type": "notebook",
    "is_private": True,
    "enable_gpu": True,
    "machine_shape": "NvidiaTeslaT4",
}
LICENSE = "other"
POLL_SECONDS = 3.0
LONGEST_SECONDS = 1800.0  # for a data set to become ready


@dataclass(frozen=True)
class Notebook:
    """A notebook to be executed.

    name: its slug, which is its title with dashes. source: the .ipynb as text. competitions, datasets: the mounted
    ones, by slug and ``owner/name``. internet: whether it has internet access.
    """

    name: str
    source: str
    competitions: Sequence[str]
    datasets: Sequence[str]
    internet: bool

    @property
    def title(self) -> str:
        return self.name.replace("-", " ")

    def metadata(self, owner: str, file: str) -> dict[str, Any]:
        """kernel-metadata.json, for Kaggle's own command line."""
        return {
            "id": f"{owner}/{self.name}",
            "title": self.title,
            "code_file": file,
            **SETTINGS,
            "enable_internet": self.internet,
            "competition_sources": list(self.competitions),
            "dataset_sources": list(self.datasets),
            "kernel_sources": [],
            "model_sources": [],
        }


@dataclass(frozen=True)
class Execution:
    """The status of a notebook's latest version; ``failure`` in Kaggle's words, empty where there is none."""

    status: Status
    failure: str = ""


@dataclass(frozen=True)
class Output:
    """An execution's output: its log as text, and the addresses of its files by their paths."""

    log: str
    files: dict[str, str]


def push(kaggle: Kaggle, notebook: Notebook) -> str:
    """Have Kaggle execute the notebook on a GPU; return its ``owner/name``.

    An existing notebook of that name is not pushed again, so that repeating an interrupted call is safe.
    """
    handle = f"{kaggle.user}/{notebook.name}"
    subject = kaggle.endpoint.notebook(handle)

    def pushed() -> None:
        # Kaggle may have accepted an earlier try whose answer was lost.
        if execution(kaggle, handle) is not None:
            return
        answer = kaggle.ask_once(
            subject,
            "kernels.save_kernel",
            slug=handle,
            new_title=notebook.title,
            text=notebook.source,
            **SETTINGS,
            enable_internet=notebook.internet,
            competition_data_sources=list(notebook.competitions),
            dataset_data_sources=list(notebook.datasets),
        )
        if answer.error:
            raise KaggleError(f"Kaggle did not take the {subject}: {answer.error}")
        for slug in answer.invalid_competition_sources:
            raise KaggleError(
                f"Kaggle does not give {slug!r} to the {subject}: join that competition and accept its rules at "
                f"{kaggle.endpoint.competition(slug).page}, then run the same command again."
            )
        for name in answer.invalid_dataset_sources:
            dataset = kaggle.endpoint.dataset(name)
            raise KaggleError(f"Kaggle does not give the {dataset} to the {subject}; look at {dataset.page}.")

    patiently(pushed, kaggle.say)
    return handle


def execution(kaggle: Kaggle, handle: str) -> Execution | None:
    """The status of the notebook ``handle``; None where there is no such notebook."""
    user, _, slug = handle.partition("/")
    subject, method = kaggle.endpoint.notebook(handle), "kernels.get_kernel_session_status"
    answer = _if_there(kaggle, subject, method, user_name=user, kernel_slug=slug)
    return None if answer is None else Execution(STATUSES[answer.status.name], answer.failure_message or "")


def output(kaggle: Kaggle, handle: str) -> Output:
    """The log and files that the notebook wrote so far."""
    user, _, slug = handle.partition("/")
    log, files = "", dict[str, str]()
    method = "kernels.list_kernel_session_output"
    for page in kaggle.pages(kaggle.endpoint.notebook(handle), method, user_name=user, kernel_slug=slug):
        log = log or _text_of(page.log or "")
        files |= {file.file_name: file.url for file in page.files}
    return Output(log, files)


def download_output(kaggle: Kaggle, handle: str, name: str, path: Path, progress: Progress = unwatched) -> None:
    """Download the file ``name`` that the notebook wrote; raises KaggleError if it wrote none."""
    subject = kaggle.endpoint.notebook(handle)

    def ask() -> requests.Response:
        # The address is valid for minutes, so each try asks for a new one.
        address = output(kaggle, handle).files.get(name)
        if address is None:
            raise KaggleError(f"The {subject} ended without writing {name}; see its log at {subject.page}.")
        with in_one_sentence(subject):
            return kaggle.endpoint.session().get(address, stream=True, timeout=connection.TIMEOUT_SECONDS)

    download(ask, path, subject, progress, kaggle.say)


def create_dataset(kaggle: Kaggle, name: str, files: Iterable[Path], uploaded: Callable[[Path], None]) -> str:
    """Create a private data set of these files; return its ``owner/name`` once notebooks can read it.

    An existing data set of that name is left as it is, so that repeating an interrupted call is safe. ``uploaded`` is
    called with each file after its upload.
    """
    handle = f"{kaggle.user}/{name}"
    subject = kaggle.endpoint.dataset(handle)
    if _dataset_status(kaggle, handle) is None:
        from kagglesdk.blobs.types.blob_api_service import ApiBlobType

        tokens = []
        for file in files:
            start = {"type": ApiBlobType.DATASET, "name": file.name}
            upload = partial(kaggle.upload, subject, file, "blobs.start_blob_upload", **start)
            tokens.append(patiently(upload, kaggle.say))
            uploaded(file)
        # An earlier try whose answer was lost may have created it.
        patiently(lambda: _dataset_status(kaggle, handle) or _create(kaggle, name, tokens, subject), kaggle.say)
    deadline = time.monotonic() + LONGEST_SECONDS
    while (status := _dataset_status(kaggle, handle)) != "READY":
        if status == "FAILED":
            raise KaggleError(f"Kaggle could not read the files of {subject}; look at {subject.page}.")
        if time.monotonic() > deadline:
            raise KaggleError(
                f"Kaggle has not read the files of {subject} after {LONGEST_SECONDS / 60:.0f} minutes; run the same "
                f"command again to keep waiting, or look at {subject.page}."
            )
        failures.wait(POLL_SECONDS)
    return handle


def _if_there(kaggle: Kaggle, subject: Subject, method: str, **fields: Any) -> Any:
    """The answer; None where Kaggle says that it is missing or forbidden, as for anything that doesn't exist."""
    try:
        return kaggle.ask(subject, method, **fields)
    except (MissingError, ForbiddenError):
        return None


def _text_of(log: str) -> str:
    """The printed text of Kaggle's log, a JSON list of printed pieces with their times."""
    try:
        return "".join(str(entry["data"]) for entry in json.loads(log))
    except (ValueError, TypeError, KeyError):
        return log


def _dataset_status(kaggle: Kaggle, handle: str) -> str | None:
    """Kaggle's status of a data set; None where there is no such data set."""
    owner, _, name = handle.partition("/")
    subject, method = kaggle.endpoint.dataset(handle), "datasets.get_dataset_status"
    answer = _if_there(kaggle, subject, method, owner_slug=owner, dataset_slug=name)
    return None if answer is None else str(answer.status.name)


def _create(kaggle: Kaggle, name: str, tokens: Sequence[str], subject: Subject) -> str:
    from kagglesdk.datasets.types.dataset_api_service import ApiDatasetNewFile

    answer = kaggle.ask_once(
        subject,
        "datasets.create_dataset",
        owner_slug=kaggle.user,
        slug=name,
        title=name.replace("-", " "),
        license_name=LICENSE,
        is_private=True,
        files=[ApiDatasetNewFile.from_dict({"token": token}) for token in tokens],
    )
    if answer.error:
        raise KaggleError(f"Kaggle did not make {subject}: {answer.error}")
    return str(answer.status)
