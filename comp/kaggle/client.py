"""A connection to Kaggle, over its official client: list, download, submit, read back scores."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, cast

from comp.errors import DataError, KaggleError
from comp.kaggle.downloads import download
from comp.kaggle.endpoint import Endpoint, endpoint_at, endpoint_from_environment
from comp.kaggle.official import sign_in
from comp.kaggle.progress import silent
from comp.kaggle.refusals import (
    Subject,
    about_competition,
    about_dataset,
    about_signing_in,
    in_one_sentence,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from comp.kaggle.progress import Progress

PAGE_SIZE = 200
POLL_SECONDS = (1.0, 10.0)  # at first, at most

Status = Literal["pending", "complete", "error"]


@dataclass(frozen=True)
class RemoteFile:
    """A file at Kaggle: its path inside the competition or data set, its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class CompetitionFacts:
    """What Kaggle says of a competition; ``metric`` and ``description`` in its own words, empty where it has none.

    only_notebooks: submissions come from notebooks at Kaggle and are not uploaded.
    """

    title: str
    description: str
    metric: str
    only_notebooks: bool


@dataclass(frozen=True)
class RemoteFolder:
    """A folder's files, or some of them, and the folders right in it, by their paths inside the competition.

    whole: nothing is left out.
    """

    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class Download:
    """An archive that was brought here; ``validator`` is Kaggle's ETag or Last-Modified of it, ``size`` in bytes."""

    path: Path
    size: int
    validator: str | None


@dataclass(frozen=True)
class SubmissionRow:
    """A submission as Kaggle lists it; ``date`` is in UTC, ``error`` says why it was not scored."""

    ref: int
    file_name: str
    date: dt.datetime | None
    message: str
    status: Status
    public_score: float | None
    private_score: float | None
    error: str | None


@dataclass(frozen=True)
class LeaderboardRow:
    """A team's best public score, 1 being the first rank; ``date`` is in UTC."""

    rank: int
    team: str
    score: float | None
    date: dt.datetime | None


def connect(url: str | None = None) -> Kaggle:
    """Sign in to the Kaggle at ``url``; without one, to where ``COMP_KAGGLE_URL`` points, or to Kaggle itself.

    Credentials are taken as Kaggle's own client takes them (``KAGGLE_API_TOKEN``, ``KAGGLE_USERNAME`` with
    ``KAGGLE_KEY``, the files in ``~/.kaggle`` or ``KAGGLE_CONFIG_DIR``). A Kaggle on this machine gets none of them,
    only a user name: ``KAGGLE_USERNAME`` or "you".

    Raises:
        CredentialsError: there are none, or Kaggle doesn't accept them.
        KaggleError: Kaggle can't be reached.
    """
    endpoint = endpoint_from_environment() if url is None else endpoint_at(url)
    with in_one_sentence(about_signing_in(endpoint)):
        return Kaggle(endpoint, sign_in(endpoint))


class Kaggle:
    """A live connection; make one with `connect`.

    Every method raises KaggleError, in one sentence with the remedy, when Kaggle refuses or is away.
    """

    def __init__(self, endpoint: Endpoint, api: Any) -> None:
        self.endpoint = endpoint
        self._api = api

    def competition_files(self, slug: str) -> list[RemoteFile]:
        """Every file of a competition, however many pages Kaggle lists them on."""
        from kagglesdk.competitions.types.competition_api_service import ApiListDataFilesRequest

        subject = about_competition(slug, self.endpoint)
        with in_one_sentence(subject), self._api.build_kaggle_client() as client:
            request = ApiListDataFilesRequest()
            request.competition_name = slug
            pages = _pages(client.competitions.competition_api_client.list_data_files, request)
            return [RemoteFile(file.name, file.total_bytes) for page in pages for file in page.files]

    def competition(self, slug: str) -> CompetitionFacts:
        from kagglesdk.competitions.types.competition_api_service import ApiGetCompetitionRequest

        with in_one_sentence(about_competition(slug, self.endpoint)), self._api.build_kaggle_client() as client:
            request = ApiGetCompetitionRequest()
            request.competition_name = slug
            found = client.competitions.competition_api_client.get_competition(request)
            return CompetitionFacts(
                title=found.title or "",
                description=found.description or "",
                metric=found.evaluation_metric or "",
                only_notebooks=bool(found.is_kernels_submissions_only),
            )

    def competition_folder(self, slug: str, folder: str = "", at_least: int = 1000) -> RemoteFolder:
        """A folder of a competition, with at least so many of its files if it has them; the top one by default."""
        from kagglesdk.competitions.types.competition_api_service import ApiListDataTreeFilesRequest

        files: list[RemoteFile] = []
        folders: list[str] = []
        whole = True
        inside = f"{folder}/" if folder else ""
        with in_one_sentence(about_competition(slug, self.endpoint)), self._api.build_kaggle_client() as client:
            request = ApiListDataTreeFilesRequest()
            request.competition_name, request.path = slug, folder
            for page in _pages(client.competitions.competition_api_client.list_data_tree_files, request):
                files += [RemoteFile(inside + PurePosixPath(file.name).name, file.total_bytes) for file in page.files]
                folders += [inside + PurePosixPath(found.name).name for found in page.directories]
                whole = not page.next_page_token
                if len(files) >= at_least:
                    break
        return RemoteFolder(tuple(files), tuple(dict.fromkeys(folders)), whole)

    def dataset_files(self, handle: str) -> list[RemoteFile]:
        """Every file of the data set ``owner/name``."""
        from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetFilesRequest

        owner, name = _owner_and_name(handle)
        subject = about_dataset(handle, self.endpoint)
        files = []
        with in_one_sentence(subject), self._api.build_kaggle_client() as client:
            request = ApiListDatasetFilesRequest()
            request.owner_slug, request.dataset_slug = owner, name
            for page in _pages(client.datasets.dataset_api_client.list_dataset_files, request):
                if page.error_message:
                    raise KaggleError(f"Kaggle can't list {subject}: {page.error_message}")
                files += [RemoteFile(file.name, file.total_bytes) for file in page.files]
        return files

    def download_competition(self, slug: str, folder: Path, progress: Progress = silent) -> Download:
        """All files of a competition as one archive in ``folder``, named after the slug."""
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFilesRequest

        request = ApiDownloadDataFilesRequest()
        request.competition_name = slug

        def ask() -> Any:
            with self._api.build_kaggle_client() as client:
                return client.competitions.competition_api_client.download_data_files(request)

        return _download(ask, folder / f"{slug}.zip", about_competition(slug, self.endpoint), progress)

    def download_file(self, slug: str, name: str, folder: Path, progress: Progress = silent) -> Download:
        """One file of a competition, by its path inside it, in ``folder`` under its own name."""
        path = folder / PurePosixPath(name).name
        return _download(self._asking_for(slug, name), path, about_competition(slug, self.endpoint), progress)

    def file_address(self, slug: str, name: str) -> str:
        """Where the bytes of one file are, for requests of some of them; the address is good for minutes."""
        with in_one_sentence(about_competition(slug, self.endpoint)):
            response = self._asking_for(slug, name)()
            response.close()
            return cast("str", response.url)

    def _asking_for(self, slug: str, name: str) -> Callable[[], Any]:
        from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest

        request = ApiDownloadDataFileRequest()
        request.competition_name, request.file_name = slug, name

        def ask() -> Any:
            with self._api.build_kaggle_client() as client:
                return client.competitions.competition_api_client.download_data_file(request)

        return ask

    def download_dataset(self, handle: str, folder: Path, progress: Progress = silent) -> Download:
        """All files of the data set ``owner/name`` as one archive in ``folder``, named after the name."""
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        request = ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = _owner_and_name(handle)

        def ask() -> Any:
            with self._api.build_kaggle_client() as client:
                return client.datasets.dataset_api_client.download_dataset(request)

        return _download(ask, folder / f"{request.dataset_slug}.zip", about_dataset(handle, self.endpoint), progress)

    def submit(self, slug: str, csv: Path, message: str) -> int:
        """Upload a submission; the number by which Kaggle knows it.

        Raises:
            DataError: there is no file ``csv``.
        """
        from kagglesdk.competitions.types.competition_api_service import (
            ApiCreateSubmissionRequest,
            ApiStartSubmissionUploadRequest,
        )

        if not csv.is_file():
            raise DataError(f"There is no submission {csv}; run `comp predict` first.")
        facts = csv.stat()
        subject = about_competition(slug, self.endpoint)
        with in_one_sentence(subject), self._api.build_kaggle_client() as client:
            service = client.competitions.competition_api_client
            start = ApiStartSubmissionUploadRequest()
            start.competition_name = slug
            start.file_name = csv.name
            start.content_length = facts.st_size
            start.last_modified_epoch_seconds = int(facts.st_mtime)
            ticket = service.start_submission_upload(start)
            self._upload(csv, ticket.create_url, subject)
            create = ApiCreateSubmissionRequest()
            create.competition_name = slug
            create.blob_file_tokens = ticket.token
            create.submission_description = message
            return cast("int", service.create_submission(create).ref)

    def submissions(self, slug: str) -> list[SubmissionRow]:
        """The submissions of one's own team, the latest first."""
        from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

        subject = about_competition(slug, self.endpoint)
        with in_one_sentence(subject), self._api.build_kaggle_client() as client:
            request = ApiListSubmissionsRequest()
            request.competition_name = slug
            pages = _pages(client.competitions.competition_api_client.list_submissions, request)
            return [_submission_row(row) for page in pages for row in page.submissions]

    def wait_for_score(self, slug: str, ref: int, timeout_seconds: float = 600.0) -> SubmissionRow:
        """Wait until the submission ``ref`` is scored.

        Raises:
            KaggleError: Kaggle could not score it, or has not within ``timeout_seconds``.
        """
        page = self.endpoint.competition_page(slug)
        deadline = time.monotonic() + timeout_seconds
        pause, longest = POLL_SECONDS
        while True:
            row = next((row for row in self.submissions(slug) if row.ref == ref), None)
            if row is not None and row.status == "error":
                raise KaggleError(
                    f"Kaggle could not score submission {ref} ({row.file_name}): {row.error or 'it gave no reason.'}"
                )
            if row is not None and row.status == "complete":
                return row
            if time.monotonic() + pause > deadline:
                raise KaggleError(
                    f"Submission {ref} is uploaded and has no score after {timeout_seconds:.0f} seconds; "
                    f"look at {page} later."
                )
            time.sleep(pause)
            pause = min(2 * pause, longest)

    def leaderboard(self, slug: str) -> list[LeaderboardRow]:
        """The public leaderboard, best first."""
        from kagglesdk.competitions.types.competition_api_service import ApiGetLeaderboardRequest

        subject = about_competition(slug, self.endpoint)
        with in_one_sentence(subject), self._api.build_kaggle_client() as client:
            request = ApiGetLeaderboardRequest()
            request.competition_name = slug
            pages = _pages(client.competitions.competition_api_client.get_leaderboard, request)
            rows = [row for page in pages for row in page.submissions]
            return [
                LeaderboardRow(rank, row.team_name or "", _score(row.score), _in_utc(row.submission_date))
                for rank, row in enumerate(rows, start=1)
            ]

    def _upload(self, csv: Path, url: str, subject: Subject) -> None:
        # Not the official upload_complete: it prints a failure instead of raising it, and waits without limit.
        import requests

        from comp.kaggle.official import TIMEOUT_SECONDS

        with csv.open("rb") as file, requests.Session() as session:
            session.trust_env = not self.endpoint.is_local
            # an empty file would go out in chunks, without the length that was announced
            response = session.put(url, data=file if csv.stat().st_size else b"", timeout=TIMEOUT_SECONDS)
        if response.status_code >= 400:
            raise refusal(response, subject)


def _pages(call: Any, request: Any) -> Iterator[Any]:
    """Every page of a list; the same token twice would be a server going round in circles."""
    request.page_size = PAGE_SIZE
    seen = set()
    while True:
        page = call(request)
        yield page
        token = page.next_page_token
        if not token or token in seen:
            return
        seen.add(token)
        request.page_token = token


def _download(ask: Any, path: Path, subject: Subject, progress: Progress) -> Download:
    origin = download(ask, path, subject, progress)
    return Download(path, path.stat().st_size, origin.validator)


def _owner_and_name(handle: str) -> tuple[str, str]:
    owner, _, name = handle.partition("/")
    if not owner or not name or "/" in name:
        raise KaggleError(f"A Kaggle data set is named owner/name; {handle!r} is not.")
    return owner, name


def _submission_row(row: Any) -> SubmissionRow:
    return SubmissionRow(
        ref=row.ref,
        file_name=row.file_name or "",
        date=_in_utc(row.date),
        message=row.description or "",
        status=cast("Status", row.status.name.lower()),
        public_score=_score(row.public_score),
        private_score=_score(row.private_score),
        error=row.error_description or None,
    )


def _score(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _in_utc(date: dt.datetime | None) -> dt.datetime | None:
    return date.replace(tzinfo=dt.UTC) if date is not None else None
