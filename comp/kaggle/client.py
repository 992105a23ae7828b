"""A connection to Kaggle, over its official client: list, download, submit, read back scores."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar, cast

from comp.errors import KaggleError
from comp.kaggle import patience, uploads
from comp.kaggle.downloads import download
from comp.kaggle.endpoint import Endpoint, endpoint_at, endpoint_from_environment
from comp.kaggle.official import local_user, sign_in
from comp.kaggle.patience import patiently
from comp.kaggle.progress import silent, unheard
from comp.kaggle.refusals import (
    ForbiddenError,
    Subject,
    about_competition,
    about_dataset,
    about_signing_in,
    in_one_sentence,
)
from comp.kaggle.rows import LeaderboardRow, SubmissionRow, leaderboard_row, submission_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from comp.kaggle.progress import Progress, Say

Answer = TypeVar("Answer")

PAGE_SIZE = 200
POLL_SECONDS = (1.0, 10.0)  # at first, at most


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
    """An archive that was brought here.

    size: in bytes. validator: Kaggle's ETag or Last-Modified of it. md5: in hexadecimal, where Kaggle says it.
    """

    path: Path
    size: int
    validator: str | None
    md5: str | None


@dataclass(frozen=True)
class Allowance:
    """How many submissions were made today, and how many more may be; a day is one of UTC."""

    made_today: int
    left_today: int


def connect(url: str | None = None, say: Say = unheard) -> Kaggle:
    """Sign in to the Kaggle at ``url``; without one, to where ``COMP_KAGGLE_URL`` points, or to Kaggle itself.

    Credentials are taken as Kaggle's own client takes them (``KAGGLE_API_TOKEN``, ``KAGGLE_USERNAME`` with
    ``KAGGLE_KEY``, the files in ``~/.kaggle`` or ``KAGGLE_CONFIG_DIR``). A Kaggle on this machine gets none of them,
    only a user name: ``KAGGLE_USERNAME`` or "you". ``say`` is called with a line when something is waited for.

    Raises:
        CredentialsError: there are none, or Kaggle doesn't accept them.
        KaggleError: Kaggle can't be reached.
    """
    endpoint = endpoint_from_environment() if url is None else endpoint_at(url)
    subject = about_signing_in(endpoint)
    return patiently(lambda: _signed_in(endpoint, subject, say), say)


def _signed_in(endpoint: Endpoint, subject: Subject, say: Say) -> Kaggle:
    with in_one_sentence(subject):
        return Kaggle(endpoint, sign_in(endpoint), say)


class Kaggle:
    """A live connection; make one with `connect`.

    What fails for a while is asked again, see `comp.kaggle.patience`. Every method raises KaggleError, in one sentence
    with the remedy, when Kaggle refuses or is away for longer.
    """

    def __init__(self, endpoint: Endpoint, api: Any, say: Say = unheard) -> None:
        self.endpoint = endpoint
        self.say = say
        self._api = api

    @property
    def user(self) -> str:
        """Who is signed in, as the names of their data sets and notebooks begin."""
        if self.endpoint.is_local:
            return local_user()
        return str(self._api.config_values[self._api.CONFIG_NAME_USER])

    def ask(self, subject: Subject, call: Callable[[Any], Answer]) -> Answer:
        """What ``call`` makes of the official client, asked again where that may help; it must be safe to repeat."""
        return patiently(lambda: self.ask_once(subject, call), self.say)

    def ask_once(self, subject: Subject, call: Callable[[Any], Answer]) -> Answer:
        """What ``call`` makes of the official client."""
        with in_one_sentence(subject), self._api.build_kaggle_client() as client:
            return call(client)

    def competition_files(self, slug: str) -> list[RemoteFile]:
        """Every file of a competition, however many pages Kaggle lists them on."""
        from kagglesdk.competitions.types.competition_api_service import ApiListDataFilesRequest

        request = ApiListDataFilesRequest()
        request.competition_name = slug
        pages = self.pages(
            about_competition(slug, self.endpoint),
            request,
            lambda client: client.competitions.competition_api_client.list_data_files,
        )
        return [RemoteFile(file.name, file.total_bytes) for page in pages for file in page.files]

    def competition(self, slug: str) -> CompetitionFacts:
        """What Kaggle says of a competition."""
        found = self._facts(slug)
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
        request = ApiListDataTreeFilesRequest()
        request.competition_name, request.path = slug, folder
        for page in self.pages(
            about_competition(slug, self.endpoint),
            request,
            lambda client: client.competitions.competition_api_client.list_data_tree_files,
        ):
            files += [RemoteFile(inside + PurePosixPath(file.name).name, file.total_bytes) for file in page.files]
            folders += [inside + PurePosixPath(found.name).name for found in page.directories]
            whole = not page.next_page_token
            if len(files) >= at_least:
                break
        return RemoteFolder(tuple(files), tuple(dict.fromkeys(folders)), whole)

    def dataset_files(self, handle: str) -> list[RemoteFile]:
        """Every file of the data set ``owner/name``."""
        from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetFilesRequest

        request = ApiListDatasetFilesRequest()
        request.owner_slug, request.dataset_slug = _owner_and_name(handle)
        subject = about_dataset(handle, self.endpoint)
        files = []
        for page in self.pages(subject, request, lambda client: client.datasets.dataset_api_client.list_dataset_files):
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

        subject = about_competition(slug, self.endpoint)
        with self._closed_to_newcomers(slug):
            return self._download(ask, folder / f"{slug}.zip", subject, progress)

    def download_file(self, slug: str, name: str, folder: Path, progress: Progress = silent) -> Download:
        """One file of a competition, by its path inside it, in ``folder`` under its own name."""
        path = folder / PurePosixPath(name).name
        return self._download(self._asking_for(slug, name), path, about_competition(slug, self.endpoint), progress)

    def file_address(self, slug: str, name: str) -> str:
        """Where the bytes of one file are, for requests of some of them; the address is good for minutes."""

        def address() -> str:
            with in_one_sentence(about_competition(slug, self.endpoint)):
                response = self._asking_for(slug, name)()
                response.close()
                return cast("str", response.url)

        return patiently(address, self.say)

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

        subject = about_dataset(handle, self.endpoint)
        return self._download(ask, folder / f"{request.dataset_slug}.zip", subject, progress)

    def must_take_files(self, slug: str) -> None:
        """Raise KaggleError if a competition takes no submissions any more, or notebooks only."""
        facts = self._facts(slug)
        page = self.endpoint.competition_page(slug)
        if facts.submissions_disabled:
            raise KaggleError(f"Competition {slug!r} is closed: it takes no more submissions; see {page}.")
        if facts.is_kernels_submissions_only:
            raise KaggleError(
                f"Competition {slug!r} takes notebooks, not files; submit one that writes the file, at {page}."
            )

    def allowance(self, slug: str) -> Allowance:
        """How many submissions one's own team may still make today."""
        from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionLimitsRequest

        request = ApiGetSubmissionLimitsRequest()
        request.competition_name = slug
        limits = self.ask(
            about_competition(slug, self.endpoint),
            lambda client: client.competitions.competition_api_client.get_submission_limits(request),
        )
        return Allowance(limits.num_today, limits.num_allowed_now)

    def submit(self, slug: str, csv: Path, message: str) -> int:
        """Upload a submission; the number by which Kaggle knows it.

        The message gets the file's fingerprint at its end. By that the submission is recognised when Kaggle took it
        and its answer was lost, so that it is not made twice.

        Raises:
            DataError: there is no file ``csv``.
        """
        return uploads.submit(self, slug, csv, message)

    def sent(self, slug: str, csv: Path, *, shows_late: bool = False) -> SubmissionRow | None:
        """The submission of this very file that Kaggle has already, if there is one that it could read.

        shows_late: it may have been made a moment ago, so that the list is asked again for some seconds.
        """
        tag = uploads.tag_of(csv)

        def is_it(row: SubmissionRow) -> bool:
            return row.message.endswith(tag) and row.status != "error"

        found = next(filter(is_it, self.submissions(slug)), None)
        return uploads.search(self, slug, is_it) if found is None and shows_late else found

    def submissions(self, slug: str) -> list[SubmissionRow]:
        """The submissions of one's own team, the latest first."""
        from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsRequest

        request = ApiListSubmissionsRequest()
        request.competition_name = slug
        pages = self.pages(
            about_competition(slug, self.endpoint),
            request,
            lambda client: client.competitions.competition_api_client.list_submissions,
        )
        return [submission_row(row) for page in pages for row in page.submissions]

    def wait_for_score(self, slug: str, ref: int, timeout_seconds: float = 600.0) -> SubmissionRow:
        """Wait until the submission ``ref`` is scored; one that Kaggle could not score is given with its error.

        Raises:
            KaggleError: Kaggle has not scored it within ``timeout_seconds``.
        """
        page = self.endpoint.competition_page(slug)
        deadline = time.monotonic() + timeout_seconds
        pause, longest = POLL_SECONDS
        while True:
            row = next((row for row in self.submissions(slug) if row.ref == ref), None)
            if row is not None and row.status != "pending":
                return row
            if time.monotonic() + pause > deadline:
                raise KaggleError(
                    f"Submission {ref} is uploaded and has no score after {timeout_seconds:.0f} seconds; run the same "
                    f"command again to go on waiting, or look at {page}."
                )
            patience.wait(pause)
            pause = min(2 * pause, longest)

    def leaderboard(self, slug: str, *, private: bool = False) -> list[LeaderboardRow]:
        """A leaderboard, best first; the private one is there when the competition is over."""
        from kagglesdk.competitions.types.competition_api_service import ApiGetLeaderboardRequest

        request = ApiGetLeaderboardRequest()
        request.competition_name = slug
        request.override_public = not private
        pages = self.pages(
            about_competition(slug, self.endpoint),
            request,
            lambda client: client.competitions.competition_api_client.get_leaderboard,
        )
        rows = [row for page in pages for row in page.submissions]
        return [leaderboard_row(rank, row) for rank, row in enumerate(rows, start=1)]

    def _facts(self, slug: str) -> Any:
        from kagglesdk.competitions.types.competition_api_service import ApiGetCompetitionRequest

        request = ApiGetCompetitionRequest()
        request.competition_name = slug
        return self.ask(
            about_competition(slug, self.endpoint),
            lambda client: client.competitions.competition_api_client.get_competition(request),
        )

    @contextmanager
    def _closed_to_newcomers(self, slug: str) -> Iterator[None]:
        """Say of a competition that keeps its files whether accepting its rules can still help."""
        try:
            yield
        except ForbiddenError as refused:
            try:
                facts = self._facts(slug)
            except KaggleError:
                raise refused from None
            closed = facts.new_entrant_deadline or facts.deadline
            if facts.user_has_entered or closed is None or closed > dt.datetime.now(dt.UTC).replace(tzinfo=None):
                raise
            raise ForbiddenError(
                f"Competition {slug!r} is closed to newcomers since {closed:%Y-%m-%d} and you had not joined it (403); "
                f"if it still takes late submissions, accept its rules at {self.endpoint.competition_page(slug)}."
            ) from None

    def _download(self, ask: Any, path: Path, subject: Subject, progress: Progress) -> Download:
        origin = download(ask, path, subject, progress, self.say)
        return Download(path, path.stat().st_size, origin.validator, origin.md5)

    def pages(self, subject: Subject, request: Any, method: Callable[[Any], Any]) -> Iterator[Any]:
        """Every page of a list; the same token twice would be a server going round in circles."""
        request.page_size = PAGE_SIZE
        seen = set()
        while True:
            page = self.ask(subject, lambda client: method(client)(request))
            yield page
            token = page.next_page_token
            if not token or token in seen:
                return
            seen.add(token)
            request.page_token = token


def _owner_and_name(handle: str) -> tuple[str, str]:
    owner, _, name = handle.partition("/")
    if not owner or not name or "/" in name:
        raise KaggleError(f"A Kaggle data set is named owner/name; {handle!r} is not.")
    return owner, name
