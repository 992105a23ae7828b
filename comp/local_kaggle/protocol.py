"""Kaggle's wire protocol: kagglesdk's own request messages in, its response messages out.

A message that would give a file gives the address to be redirected to, as Kaggle's does.
"""

# ruff: noqa: ARG002 - every call has the same shape, whether or not it asks who asks
from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from kagglesdk.competitions.types import competition_api_service as competitions
from kagglesdk.competitions.types.competition_enums import SubmissionGroup
from kagglesdk.competitions.types.submission_status import SubmissionStatus
from kagglesdk.datasets.databundles.types import databundle_api_types as databundles
from kagglesdk.datasets.types import dataset_api_service as datasets
from kagglesdk.kaggle_object import KaggleObject, ListSerializer
from kagglesdk.security.types import oauth_service as oauth

from comp.errors import SubmissionError
from comp.local_kaggle.catalog import ANSWERS, CatalogFile
from comp.local_kaggle.grading import grade

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from comp.local_kaggle.catalog import Catalog
    from comp.local_kaggle.grading import Grader
    from comp.local_kaggle.store import Store, Submission

    Item = TypeVar("Item")

LARGEST_SUBMISSION_BYTES = 512 << 20


@dataclass(frozen=True)
class Terms:
    """What a competition allows.

    daily_submissions: how many a team may make a day of UTC. closed: it takes none any more. notebooks_only: it takes
        notebooks, not files. joined: whether those who ask have accepted its rules. newcomers_until: when that ended,
        in naive UTC.
    """

    daily_submissions: int = 100
    closed: bool = False
    notebooks_only: bool = False
    joined: bool = True
    newcomers_until: dt.datetime | None = None


class RefusedError(Exception):
    """A request that gets an error status and a sentence, in the form in which Kaggle sends them."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Redirect:
    """The path, on this server, of the file that was asked for."""

    path: str


@dataclass(frozen=True)
class Asker:
    """Who asks, and by which address of this server (without a closing slash)."""

    team: str
    base_url: str


# The message of a request, and what answers it with one.
Call = tuple[Any, "Callable[[Any, Asker], Any]"]


class LocalKaggle:
    """What the API can be asked, over the catalog, the store and the graders; ``more`` of it by service and name."""

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        graders: Mapping[str, Grader],
        uploads: Path,
        terms: Mapping[str, Terms] | None = None,
        more: Mapping[tuple[str, str], Call] | None = None,
    ) -> None:
        self.catalog = catalog
        self._terms = terms or {}
        self.store = store
        self.graders = graders
        self.uploads = uploads
        competition, dataset = "competitions.CompetitionApiService", "datasets.DatasetApiService"
        self._calls: dict[tuple[str, str], Call] = {
            (competition, "GetCompetition"): (competitions.ApiGetCompetitionRequest, self._competition),
            (competition, "GetSubmissionLimits"): (competitions.ApiGetSubmissionLimitsRequest, self._limits),
            (competition, "ListDataFiles"): (competitions.ApiListDataFilesRequest, self._list_competition),
            (competition, "ListDataTreeFiles"): (competitions.ApiListDataTreeFilesRequest, self._list_folder),
            (competition, "DownloadDataFiles"): (competitions.ApiDownloadDataFilesRequest, self._download_competition),
            (competition, "DownloadDataFile"): (competitions.ApiDownloadDataFileRequest, self._download_file),
            (competition, "StartSubmissionUpload"): (competitions.ApiStartSubmissionUploadRequest, self._announce),
            (competition, "CreateSubmission"): (competitions.ApiCreateSubmissionRequest, self._submit),
            (competition, "ListSubmissions"): (competitions.ApiListSubmissionsRequest, self._list_submissions),
            (competition, "GetSubmission"): (competitions.ApiGetSubmissionRequest, self._get_submission),
            (competition, "GetLeaderboard"): (competitions.ApiGetLeaderboardRequest, self._leaderboard),
            (dataset, "ListDatasetFiles"): (datasets.ApiListDatasetFilesRequest, self._list_dataset),
            (dataset, "DownloadDataset"): (datasets.ApiDownloadDatasetRequest, self._download_dataset),
            ("security.OAuthService", "IntrospectToken"): (oauth.IntrospectTokenRequest, self._introspect),
            **(more or {}),
        }

    def answer(self, service: str, name: str, body: Any, asker: Asker) -> dict[str, Any] | Redirect:
        """The JSON of the response to the JSON ``body`` of the request ``service/name``, or where its file is.

        Raises:
            RefusedError: with the status to send.
        """
        if (service, name) not in self._calls:
            raise RefusedError(501, f"The local Kaggle doesn't know {service}/{name}.")
        message, call = self._calls[service, name]
        try:
            request = message.from_dict(body)
            _must_be_typed(request)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RefusedError(400, f"The request is not a {message.__name__}.") from error
        response = call(request, asker)
        return response if isinstance(response, Redirect) else response.to_dict()

    def higher_is_better(self, slug: str) -> bool:
        return self.graders[slug].higher_is_better if slug in self.graders else True

    def _competition(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        grader, terms = self.graders.get(slug), self._terms_of(slug)
        response = competitions.ApiCompetition()
        response.ref, response.title = slug, slug.replace("-", " ").title()
        response.url = f"{asker.base_url}/c/{slug}"
        response.evaluation_metric = grader.metric if grader else ""
        response.max_daily_submissions = terms.daily_submissions
        response.submissions_disabled = terms.closed
        response.is_kernels_submissions_only = terms.notebooks_only
        response.user_has_entered = terms.joined
        response.new_entrant_deadline = terms.newcomers_until
        return response

    def _limits(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        response = competitions.ApiSubmissionLimits()
        response.num_today = self._made_today(slug, asker)
        response.num_total = self.store.made(slug, asker.team, dt.datetime.min)
        response.num_allowed_now = max(0, self._terms_of(slug).daily_submissions - response.num_today)
        return response

    def _list_competition(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        page, token = page_of(self.catalog.files(slug), request)
        response = competitions.ApiListDataFilesResponse()
        response.next_page_token = token
        for file in page:
            row = competitions.ApiDataFile()
            row.ref = row.name = file.name
            row.total_bytes = file.size
            row.creation_date = file.date
            response.files.append(row)
        return response

    def _list_folder(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        inside = f"{request.path.strip('/')}/" if request.path.strip("/") else ""
        below = [file for file in self.catalog.files(slug) if file.name.startswith(inside)]
        files = [file for file in below if "/" not in file.name.removeprefix(inside)]
        deeper = {file.name.removeprefix(inside).partition("/") for file in below}
        folders = sorted({first for first, slash, _ in deeper if slash})
        children: list[str | CatalogFile] = [*folders, *files]
        page, token = page_of(children, request)
        response = databundles.ApiDirectoryContent()
        response.next_page_token = token or ""
        response.total_files, response.total_directories = len(files), len(folders)
        response.total_children = len(files) + len(folders)
        for child in page:
            if isinstance(child, CatalogFile):
                row = databundles.ApiFile()
                row.name = child.name.removeprefix(inside)
                row.total_bytes = child.size
                row.creation_date = child.date
                response.files.append(row)
            else:
                directory = databundles.ApiDirectory()
                directory.name = child
                response.directories.append(directory)
        return response

    def _download_competition(self, request: Any, asker: Asker) -> Redirect:
        slug = self._known(request.competition_name)
        if not self._terms_of(slug).joined:
            raise RefusedError(403, "You must accept this competition's rules before you can download its files.")
        return Redirect(f"/archives/{slug}.zip")

    def _download_file(self, request: Any, asker: Asker) -> Redirect:
        return self._file(self._known(request.competition_name), request.file_name)

    def _list_dataset(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.dataset_slug)
        page, token = page_of(self.catalog.files(slug), request)
        response = datasets.ApiListDatasetFilesResponse()
        response.next_page_token = token
        for file in page:
            row = datasets.ApiDatasetFile()
            row.ref = row.name = file.name
            row.total_bytes = file.size
            row.creation_date = file.date
            response.dataset_files.append(row)
        return response

    def _download_dataset(self, request: Any, asker: Asker) -> Redirect:
        slug = self._known(request.dataset_slug)
        return self._file(slug, request.file_name) if request.file_name else Redirect(f"/archives/{slug}.zip")

    def _announce(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        if not 0 < request.content_length <= LARGEST_SUBMISSION_BYTES:
            raise RefusedError(400, f"A submission has between 1 and {LARGEST_SUBMISSION_BYTES} bytes.")
        upload = self.store.announce(slug, asker.team, request.file_name or "submission.csv", request.content_length)
        response = competitions.ApiStartSubmissionUploadResponse()
        response.token = upload.token
        response.create_url = f"{asker.base_url}/uploads/{upload.token}"
        return response

    def _submit(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        upload = self.store.upload(request.blob_file_tokens)
        if upload is None or upload.slug != slug or not (self.uploads / upload.token).is_file():
            raise RefusedError(400, "There is no such upload for this competition; upload the file again.")
        if not self._terms_of(slug).joined:
            raise RefusedError(403, "You must accept this competition's rules before you can submit to it.")
        if self._terms_of(slug).closed:
            raise RefusedError(400, "This competition takes no more submissions.")
        if self._made_today(slug, asker) >= self._terms_of(slug).daily_submissions:
            raise RefusedError(400, "You have made all of today's submissions.")
        ref = self.store.submit(upload, request.submission_description or "")
        if ref is None:
            raise RefusedError(400, "This upload was submitted already.")
        kept = self.uploads / f"{ref}.csv"
        (self.uploads / upload.token).replace(kept)
        self._grade(slug, ref, kept)
        response = competitions.ApiCreateSubmissionResponse()
        response.message = f"Successfully submitted to {slug}"
        response.ref = ref
        return response

    def _grade(self, slug: str, ref: int, csv: Path) -> None:
        answers, grader = self.catalog.answers(slug), self.graders.get(slug)
        try:
            scores = grade(grader, answers, csv) if answers and grader else None
            self.store.score(ref, *((scores.public, scores.private) if scores else (None, None)))
        except SubmissionError as error:
            self.store.fail(ref, str(error))

    def _list_submissions(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        if self.catalog.answers(slug) and slug in self.graders:
            # What was submitted before there were answers, or a declaration to grade by.
            for row in self.store.submissions(slug, asker.team):
                if row.status == "complete" and row.score is None:
                    self._grade(slug, row.id, self.uploads / f"{row.id}.csv")
        rows = self.store.submissions(slug, asker.team)
        if request.group == SubmissionGroup.SUBMISSION_GROUP_SUCCESSFUL:
            rows = [row for row in rows if row.status == "complete"]
        page, token = page_of(rows, request)
        response = competitions.ApiListSubmissionsResponse()
        response.next_page_token = token or ""
        response.submissions = [self._row(row) for row in page]
        return response

    def _get_submission(self, request: Any, asker: Asker) -> Any:
        row = self.store.submission(request.ref)
        if row is None or row.team != asker.team:
            raise RefusedError(404, "There is no such submission.")
        return self._row(row)

    def _row(self, row: Submission) -> Any:
        message = _submission(row)
        if row.status == "complete" and row.score is None:
            message.error_description = (
                f"this local Kaggle has no {ANSWERS}/{row.slug}.csv to grade by"
                if self.catalog.answers(row.slug) is None
                else f"no competition is declared with kaggle={row.slug!r} where this local Kaggle was started"
            )
        return message

    def _leaderboard(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        better = self.higher_is_better(slug)
        # As Kaggle: the private leaderboard where there is one, unless the public one is asked for.
        private = [] if request.override_public else self.store.leaderboard(slug, higher_is_better=better, private=True)
        page, token = page_of(private or self.store.leaderboard(slug, higher_is_better=better), request)
        response = competitions.ApiGetLeaderboardResponse()
        response.next_page_token = token or ""
        for standing in page:
            row = competitions.ApiLeaderboardSubmission()
            row.team_id = standing.team_id
            row.team_name = standing.team
            row.score = score_text(standing.score)
            row.submission_date = standing.date
            response.submissions.append(row)
        return response

    def _introspect(self, request: Any, asker: Asker) -> Any:
        response = oauth.IntrospectTokenResponse()
        response.active = True
        response.username = asker.team
        return response

    def _terms_of(self, slug: str) -> Terms:
        return self._terms.get(slug, Terms())

    def _made_today(self, slug: str, asker: Asker) -> int:
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        return self.store.made(slug, asker.team, now.replace(hour=0, minute=0, second=0, microsecond=0))

    def _known(self, slug: str | None) -> str:
        if not slug or not self.catalog.has(slug):
            raise RefusedError(404, "Not found")
        return slug

    def _file(self, slug: str, name: str) -> Redirect:
        if not any(file.name == name for file in self.catalog.files(slug)):
            raise RefusedError(404, "Not found")
        return Redirect(f"/files/{slug}/{quote(name)}")


def _must_be_typed(request: Any) -> None:
    """kagglesdk takes whatever JSON has; a server can't."""
    for field in request._fields:
        value = getattr(request, field.private_field_name)
        values = value if isinstance(field.serializer, ListSerializer) else [value]
        for one in values if isinstance(values, list) else [values]:
            if one is not None and not isinstance(one, field.field_type):
                raise TypeError(field.json_name)
            if isinstance(one, KaggleObject):
                _must_be_typed(one)


def score_text(score: float) -> str:
    """As Kaggle shows scores: five decimals."""
    return f"{score:.5f}"


def _submission(row: Submission) -> Any:
    message = competitions.ApiSubmission()
    message.ref = row.id
    message.total_bytes = row.size
    message.date = row.date
    message.description = row.message
    message.file_name = row.file_name
    message.status = SubmissionStatus[row.status.upper()]
    message.submitted_by = message.submitted_by_ref = message.team_name = row.team
    if row.score is not None:
        message.public_score = score_text(row.score)
    if row.private_score is not None:
        message.private_score = score_text(row.private_score)
    if row.error is not None:
        message.error_description = row.error
    return message


def page_of(rows: Sequence[Item], request: Any) -> tuple[Sequence[Item], str | None]:
    """The rows of the page that the request asks for, and the token of the next: the position it begins at."""
    size = min(max(request.page_size or 20, 1), 1000)
    token = request.page_token or ""
    number = getattr(request, "page", None) or 1
    if token and not token.isdecimal():
        raise RefusedError(400, "The page token is not one of this server.")
    start = int(token) if token else (max(number, 1) - 1) * size
    end = start + size
    return rows[start:end], str(end) if end < len(rows) else None
