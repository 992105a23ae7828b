"""Notebooks of one's own that Kaggle executes: push one, follow it, list what it wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from comp.errors import KaggleError
from comp.kaggle.downloads import download
from comp.kaggle.patience import ATTEMPTS, wait_after
from comp.kaggle.progress import silent
from comp.kaggle.refusals import ForbiddenError, MissingError, PassingError, about_notebook

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from comp.kaggle.client import Kaggle
    from comp.kaggle.progress import Progress

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
# Kaggle's torch has no kernels for its other GPU, the P100.
MACHINE = "NvidiaTeslaT4"


@dataclass(frozen=True)
class Notebook:
    """A notebook as it is to be executed.

    name: its slug, which is its title with dashes. source: the .ipynb as text. competitions, datasets: what is mounted,
    by slug and ``owner/name``. internet: whether it may reach any other address.
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
            "language": "python",
            "kernel_type": "notebook",
            "is_private": True,
            "enable_gpu": True,
            "machine_shape": MACHINE,
            "enable_internet": self.internet,
            "competition_sources": list(self.competitions),
            "dataset_sources": list(self.datasets),
            "kernel_sources": [],
            "model_sources": [],
        }


@dataclass(frozen=True)
class Execution:
    """How far the latest version of a notebook is; ``failure`` in Kaggle's words, empty where it says none."""

    status: Status
    failure: str = ""


@dataclass(frozen=True)
class Output:
    """What an execution left: its log as text, and the addresses of its files by their paths."""

    log: str
    files: dict[str, str]


def push(kaggle: Kaggle, notebook: Notebook) -> str:
    """Have the notebook executed on a GPU, once; ``owner/name``.

    One of that name that is there is not pushed again, so that the same call goes on where it was interrupted.
    """
    handle = f"{kaggle.user}/{notebook.name}"
    failures = 0
    while execution(kaggle, handle) is None:
        try:
            _save(kaggle, notebook, handle)
            break
        except PassingError as error:
            # It may have been taken, and its answer lost.
            failures += 1
            if failures >= ATTEMPTS:
                raise
            wait_after(error, failures, kaggle.say)
    return handle


def execution(kaggle: Kaggle, handle: str) -> Execution | None:
    """How far it is; None where there is no such notebook."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

    request = ApiGetKernelSessionStatusRequest()
    request.user_name, request.kernel_slug = handle.split("/")
    subject = about_notebook(handle, kaggle.endpoint)
    try:
        answer = kaggle.ask(
            subject, lambda client: client.kernels.kernels_api_client.get_kernel_session_status(request)
        )
    except (MissingError, ForbiddenError):
        # Kaggle says either of what isn't there.
        return None
    return Execution(STATUSES[answer.status.name], answer.failure_message or "")


def output(kaggle: Kaggle, handle: str) -> Output:
    """What it wrote so far."""
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

    request = ApiListKernelSessionOutputRequest()
    request.user_name, request.kernel_slug = handle.split("/")
    log, files = "", dict[str, str]()
    for page in kaggle.pages(
        about_notebook(handle, kaggle.endpoint),
        request,
        lambda client: client.kernels.kernels_api_client.list_kernel_session_output,
    ):
        log = log or _text_of(page.log or "")
        files |= {file.file_name: file.url for file in page.files}
    return Output(log, files)


def download_output(kaggle: Kaggle, handle: str, name: str, path: Path, progress: Progress = silent) -> None:
    """One file that it wrote; raises KaggleError where it didn't."""
    subject = about_notebook(handle, kaggle.endpoint)
    if name not in output(kaggle, handle).files:
        raise KaggleError(f"The {subject} ended without writing {name}; see its log at {subject.page}.")

    def ask() -> Any:
        import requests

        from comp.kaggle.official import TIMEOUT_SECONDS

        session = requests.Session()
        session.trust_env = not kaggle.endpoint.is_local
        # The address is good for minutes, so it is asked for anew with each try.
        return session.get(output(kaggle, handle).files[name], stream=True, timeout=TIMEOUT_SECONDS)

    download(ask, path, subject, progress, kaggle.say)


def _save(kaggle: Kaggle, notebook: Notebook, handle: str) -> None:
    from kagglesdk.kernels.types.kernels_api_service import ApiSaveKernelRequest

    subject = about_notebook(handle, kaggle.endpoint)
    request = ApiSaveKernelRequest()
    request.slug, request.new_title, request.text = handle, notebook.title, notebook.source
    request.language, request.kernel_type = "python", "notebook"
    request.is_private = True
    request.enable_gpu, request.machine_shape = True, MACHINE
    request.enable_internet = notebook.internet
    request.competition_data_sources = list(notebook.competitions)
    request.dataset_data_sources = list(notebook.datasets)
    answer = kaggle.ask_once(subject, lambda client: client.kernels.kernels_api_client.save_kernel(request))
    if answer.error:
        raise KaggleError(f"Kaggle did not take the {subject}: {answer.error}")
    for slug in answer.invalid_competition_sources:
        raise KaggleError(
            f"Kaggle does not give {slug!r} to the {subject}: join that competition and accept its rules at "
            f"{kaggle.endpoint.competition_page(slug)}, then run the same command again."
        )
    for name in answer.invalid_dataset_sources:
        page = kaggle.endpoint.dataset_page(name)
        raise KaggleError(f"Kaggle does not give the data set {name!r} to the {subject}; look at {page}.")


def _text_of(log: str) -> str:
    """Kaggle's log is a list of what was printed and when, as JSON."""
    try:
        return "".join(str(entry["data"]) for entry in json.loads(log))
    except (ValueError, TypeError, KeyError):
        return log
