"""Kaggle's wire protocol: kagglesdk's own request messages in, its response messages out.

A request for a file is redirected to its address, as Kaggle does; a refused request raises HTTPException.
"""

# ruff: noqa: ARG002 - every call has the same shape, whether or not it asks who asks
from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote

from kagglesdk.competitions.types import competition_api_service as competitions
from kagglesdk.competitions.types.submission_status import SubmissionStatus
from kagglesdk.datasets.databundles.types import databundle_api_types as databundles
from kagglesdk.datasets.types import dataset_api_service as datasets
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from comp.errors import SubmissionError
from comp.local_kaggle.catalog import ANSWERS, Catalog, CatalogFile
from comp.local_kaggle.grading import Grader, grade
from comp.local_kaggle.store import Store, Submission

LARGEST_SUBMISSION_BYTES = 512 << 20
DAILY_SUBMISSIONS = 100  # per team and UTC day
Item = TypeVar("Item")


@dataclass(frozen=True)
class Asker:
    """The team that sent a request, and the address of this server that it used (without a closing slash)."""

    team: str
    base_url: str


Answer = Callable[[Any, Asker], Any]
Calls = Mapping[tuple[str, str], tuple[Any, Answer]]


def calls_of(service: str, messages: ModuleType, **answers: Answer) -> Calls:
    """For each request, by service and name: its message class in kagglesdk's module, and the function to answer it."""
    return {(service, name): (getattr(messages, f"Api{name}Request"), answer) for name, answer in answers.items()}


def filled(message: Callable[[], Item], /, **fields: Any) -> Item:
    """A message of kagglesdk with its fields; a field of None stays unset."""
    made = message()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def page_of(rows: Sequence[Item], request: Any) -> tuple[Sequence[Item], str]:
    """The rows of the requested page, and the next page's token: the position of its first row, or "" at the end."""
    size = min(max(request.page_size or 20, 1), 1000)
    token = request.page_token or ""
    if token and not token.isdecimal():
        raise HTTPException(400, "The page token is not one of this server.")
    start = int(token or 0)
    return rows[start : start + size], str(start + size) if start + size < len(rows) else ""


@dataclass
class LocalKaggle:
    """The API's calls, on the catalog, the store and the graders; ``more``: further calls."""

    catalog: Catalog
    store: Store
    graders: Mapping[str, Grader]
    more: Calls

    def __post_init__(self) -> None:
        self._calls: Calls = {
            **calls_of(
                "competitions.CompetitionApiService",
                competitions,
                GetCompetition=self._competition,
                GetSubmissionLimits=self._limits,
                ListDataFiles=self._list_files,
                ListDataTreeFiles=self._list_folder,
                DownloadDataFiles=lambda request, asker: self._download(request.competition_name, None, asker),
                DownloadDataFile=lambda request, asker: self._download(
                    request.competition_name, request.file_name or "?", asker
                ),
                StartSubmissionUpload=self._announce,
                CreateSubmission=self._submit,
                ListSubmissions=self._list_submissions,
                GetLeaderboard=self._leaderboard,
            ),
            **calls_of(
                "datasets.DatasetApiService",
                datasets,
                DownloadDataset=lambda request, asker: self._download(request.dataset_slug, None, asker),
            ),
            **self.more,
        }

    def answer(self, service: str, name: str, body: Any, asker: Asker) -> Response:
        """The response to the JSON ``body`` of the request ``service/name``."""
        if (service, name) not in self._calls:
            raise HTTPException(501, f"The local Kaggle doesn't know {service}/{name}.")
        message, call = self._calls[service, name]
        try:
            request = message.from_dict(body)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise HTTPException(400, f"The request is not a {message.__name__}.") from error
        answer = call(request, asker)
        return answer if isinstance(answer, Response) else JSONResponse(answer.to_dict())

    def enter_teams(self) -> None:
        """Put the other teams on their competitions' leaderboards, unless they are there.

        Raises SubmissionError: a team's submission can't be scored.
        """
        for slug in self.catalog.slugs():
            new = [path for path in self.catalog.teams(slug) if not self.store.submissions(slug, path.stem)]
            answers, grader = self.catalog.answers(slug), self.graders.get(slug) if new else None
            if answers is None or grader is None:
                continue
            for path in new:
                try:
                    scores = grade(grader, answers, path)
                except SubmissionError as error:
                    raise SubmissionError(f"{path} can't be scored: {error} Mend it, or delete it.") from error
                self.store.enter(slug, path.stem, path.name, path.stat().st_size, scores)

    def _competition(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        grader, facts = self.graders.get(slug), self.catalog.facts(slug)
        return filled(
            competitions.ApiCompetition,
            ref=slug,
            title=facts.get("title", slug.replace("-", " ").title()),
            description=facts.get("description", ""),
            url=f"{asker.base_url}/",
            evaluation_metric=facts.get("metric", grader.metric if grader else ""),
            max_daily_submissions=DAILY_SUBMISSIONS,
            user_has_entered=True,
        )

    def _limits(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        today = self._made_today(slug, asker)
        return filled(
            competitions.ApiSubmissionLimits,
            num_today=today,
            num_total=self.store.made(slug, asker.team, dt.datetime.min),
            num_allowed_now=max(0, DAILY_SUBMISSIONS - today),
        )

    def _list_files(self, request: Any, asker: Asker) -> Any:
        page, token = page_of(self.catalog.files(self._known(request.competition_name)), request)
        files = [_file_row(competitions.ApiDataFile, file.name, file, ref=file.name) for file in page]
        return filled(competitions.ApiListDataFilesResponse, files=files, next_page_token=token)

    def _list_folder(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        inside = f"{request.path.strip('/')}/" if request.path.strip("/") else ""
        below = {
            file.name.removeprefix(inside): file for file in self.catalog.files(slug) if file.name.startswith(inside)
        }
        files = [name for name in below if "/" not in name]
        folders = sorted({name.partition("/")[0] for name in below if "/" in name})
        page, token = page_of([*((name, True) for name in folders), *((name, False) for name in files)], request)
        return filled(
            databundles.ApiDirectoryContent,
            next_page_token=token,
            total_files=len(files),
            total_directories=len(folders),
            total_children=len(files) + len(folders),
            directories=[filled(databundles.ApiDirectory, name=name) for name, is_folder in page if is_folder],
            files=[_file_row(databundles.ApiFile, name, below[name]) for name, is_folder in page if not is_folder],
        )

    def _download(self, slug: str | None, name: str | None, asker: Asker) -> Response:
        """A redirect to a file of an entry, or to the archive of all."""
        slug = self._known(slug)
        path = f"archives/{slug}.zip"
        if name:
            if not any(file.name == name for file in self.catalog.files(slug)):
                raise HTTPException(404, "Not found")
            path = f"files/{slug}/{quote(name)}"
        return RedirectResponse(f"{asker.base_url}/{path}", status_code=302)

    def _announce(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        if not 0 < request.content_length <= LARGEST_SUBMISSION_BYTES:
            raise HTTPException(400, f"A submission has between 1 and {LARGEST_SUBMISSION_BYTES} bytes.")
        upload = self.store.announce(slug, asker.team, request.file_name or "submission.csv", request.content_length)
        return filled(
            competitions.ApiStartSubmissionUploadResponse,
            token=upload.token,
            create_url=f"{asker.base_url}/uploads/{upload.token}",
        )

    def _submit(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        upload = self.store.arrived(request.blob_file_tokens)
        if upload is None or upload.slug != slug:
            raise HTTPException(400, "There is no such upload for this competition; upload the file again.")
        if self._made_today(slug, asker) >= DAILY_SUBMISSIONS:
            raise HTTPException(400, "You have made all of today's submissions.")
        ref = self.store.submit(upload, request.submission_description or "")
        if ref is None:
            raise HTTPException(400, "This upload was submitted already.")
        (self.store.uploads / upload.token).replace(self.store.uploads / f"{ref}.csv")
        self._grade(slug, ref)
        return filled(competitions.ApiCreateSubmissionResponse, message=f"Successfully submitted to {slug}", ref=ref)

    def _grade(self, slug: str, ref: int) -> None:
        answers, grader, csv = self.catalog.answers(slug), self.graders.get(slug), self.store.uploads / f"{ref}.csv"
        try:
            self.store.score(ref, grade(grader, answers, csv) if answers and grader else None)
        except SubmissionError as error:
            self.store.fail(ref, str(error))

    def _list_submissions(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        if self.catalog.answers(slug) and slug in self.graders:
            # Submissions from before there were answers, or a declaration to grade by.
            for row in self.store.submissions(slug, asker.team):
                if row.status == "complete" and row.score is None:
                    self._grade(slug, row.id)
        page, token = page_of(self.store.submissions(slug, asker.team), request)
        return filled(
            competitions.ApiListSubmissionsResponse,
            submissions=[self._row(row) for row in page],
            next_page_token=token,
        )

    def _row(self, row: Submission) -> Any:
        error = row.error
        if row.status == "complete" and row.score is None:
            error = (
                f"this local Kaggle has no {ANSWERS}/{row.slug}.csv to grade by"
                if self.catalog.answers(row.slug) is None
                else f"no competition is declared with kaggle={row.slug!r} where this local Kaggle was started"
            )
        return filled(
            competitions.ApiSubmission,
            ref=row.id,
            total_bytes=row.size,
            date=row.date,
            description=row.message,
            file_name=row.file_name,
            status=SubmissionStatus[row.status.upper()],
            submitted_by=row.team,
            submitted_by_ref=row.team,
            team_name=row.team,
            public_score=_score_text(row.score),
            private_score=_score_text(row.private_score),
            error_description=error,
        )

    def _leaderboard(self, request: Any, asker: Asker) -> Any:
        slug = self._known(request.competition_name)
        grader = self.graders.get(slug)
        better = grader is None or grader.higher_is_better
        # As at Kaggle: the private leaderboard if there is one, unless the request overrides that.
        private = [] if request.override_public else self.store.leaderboard(slug, higher_is_better=better, private=True)
        page, token = page_of(private or self.store.leaderboard(slug, higher_is_better=better), request)
        rows = [
            filled(
                competitions.ApiLeaderboardSubmission,
                team_id=standing.team_id,
                team_name=standing.team,
                score=_score_text(standing.score),
                submission_date=standing.date,
            )
            for standing in page
        ]
        return filled(competitions.ApiGetLeaderboardResponse, submissions=rows, next_page_token=token)

    def _made_today(self, slug: str, asker: Asker) -> int:
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        return self.store.made(slug, asker.team, now.replace(hour=0, minute=0, second=0, microsecond=0))

    def _known(self, slug: str | None) -> str:
        if not slug or not self.catalog.has(slug):
            raise HTTPException(404, "Not found")
        return slug


def _file_row(message: Callable[[], Item], name: str, file: CatalogFile, **fields: str) -> Item:
    return filled(message, name=name, total_bytes=file.size, creation_date=file.date, **fields)


def _score_text(score: float | None) -> str | None:
    return None if score is None else f"{score:.5f}"
