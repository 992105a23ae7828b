"""A connection to Kaggle by its official client: list, download, upload, read the leaderboard."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_type_hints

from comp.errors import KaggleError
from comp.kaggle import connection
from comp.kaggle.connection import Endpoint, Subject, client_of, endpoint_at
from comp.kaggle.credentials import Credentials, sign_in
from comp.kaggle.downloads import Download, Progress, download, unwatched
from comp.kaggle.failures import (
    ForbiddenError,
    PassingError,
    Say,
    in_one_sentence,
    not_data,
    patiently,
    refusal,
)

Status = Literal["pending", "complete", "error"]

PAGE_SIZE = 200
# The official client's attribute for each of its parts.
SERVICES = {
    "blobs": "blob_api_client",
    "competitions": "competition_api_client",
    "datasets": "dataset_api_client",
    "kernels": "kernels_api_client",
}


@dataclass(frozen=True)
class RemoteFile:
    """A file at Kaggle: its path inside the competition or data set, its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class CompetitionFacts:
    """A competition in Kaggle's words, empty where it has none.

    only_notebooks: submissions come from notebooks at Kaggle and are not uploaded.
    """

    title: str
    description: str
    metric: str
    only_notebooks: bool


@dataclass(frozen=True)
class RemoteFolder:
    """A folder's files (only some unless ``whole``) and direct subfolders, by their paths in the competition."""

    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...]
    whole: bool


@dataclass(frozen=True)
class SubmissionRow:
    """A submission as Kaggle lists it; ``date`` is in UTC, ``error`` says why it has no score."""

    ref: int
    team: str
    file_name: str
    date: dt.datetime | None
    message: str
    status: Status
    public_score: float | None
    private_score: float | None
    error: str | None


@dataclass(frozen=True)
class LeaderboardRow:
    """A team's best score, 1 being the first rank; ``date`` is in UTC."""

    rank: int
    team: str
    score: float | None
    date: dt.datetime | None


def standing_of(score: float, board: Sequence[LeaderboardRow], own: str | None, *, higher_is_better: bool) -> str:
    """The place of ``score`` among the other teams' best scores, like ``2 of 1,203``; equal scores share a place.

    own: the user's team, whose best score is left out; None if it is not on the board.
    """
    others = [row.score for row in board if row.team != own]
    better = sum((other > score) if higher_is_better else (other < score) for other in others if other is not None)
    return f"{better + 1:,} of {len(others) + 1:,}"


def connect(url: str | None = None, say: Say = lambda _: None) -> Kaggle:
    """Sign in to the Kaggle at ``url``; without one, to where ``COMP_KAGGLE_URL`` points, or to Kaggle itself.

    Credentials are taken as Kaggle's own client takes them (``KAGGLE_API_TOKEN``, ``KAGGLE_USERNAME`` with
    ``KAGGLE_KEY``, the files in ``~/.kaggle`` or ``KAGGLE_CONFIG_DIR``). A Kaggle on this machine gets none of them,
    only a user name: ``KAGGLE_USERNAME`` or "you". ``say`` gets a line for each wait.

    Raises:
        CredentialsError: there are none, or Kaggle doesn't accept them.
        KaggleError: Kaggle can't be reached.
    """
    endpoint = endpoint_at(url)

    def signed_in() -> Kaggle:
        with in_one_sentence(Subject("the sign-in", endpoint.url, endpoint)):
            return Kaggle(endpoint, sign_in(endpoint), say)

    return patiently(signed_in, say)


@dataclass(frozen=True)
class Kaggle:
    """A live connection; make one with `connect`. Passing failures are retried; then KaggleError is raised."""

    endpoint: Endpoint
    credentials: Credentials
    say: Say

    @property
    def user(self) -> str:
        """The signed-in user's name, the ``owner`` in ``owner/name`` of their data sets and notebooks."""
        return self.credentials.user

    def ask(self, subject: Subject, method: str, **fields: Any) -> Any:
        """As `ask_once`, repeated where that may help; the request must be safe to repeat."""
        return patiently(lambda: self.ask_once(subject, method, **fields), self.say)

    def ask_once(self, subject: Subject, method: str, **fields: Any) -> Any:
        """The answer of the official client's ``method``, like ``competitions.list_data_files``, to ``fields``."""
        part, _, name = method.partition(".")
        with in_one_sentence(subject), client_of(self.endpoint, self.credentials.auth) as client:
            call = getattr(getattr(getattr(client, part), SERVICES[part]), name)
            request = get_type_hints(call)["request"]()
            for field, value in fields.items():
                setattr(request, field, value)
            return call(request)

    def pages(self, subject: Subject, method: str, **fields: Any) -> Iterator[Any]:
        """Yield every page of a list; stop where a token comes twice, so as not to loop for ever."""
        token, seen = "", set[str]()
        while token not in seen:
            seen.add(token)
            page = self.ask(subject, method, page_size=PAGE_SIZE, **fields, **({"page_token": token} if token else {}))
            yield page
            token = page.next_page_token or ""

    def competition(self, slug: str) -> CompetitionFacts:
        """A competition's title, description and metric."""
        found = self.facts(slug)
        return CompetitionFacts(
            title=found.title or "",
            description=found.description or "",
            metric=found.evaluation_metric or "",
            only_notebooks=bool(found.is_kernels_submissions_only),
        )

    def facts(self, slug: str) -> Any:
        """Kaggle's own record of a competition, kagglesdk's ApiCompetition."""
        return self.ask(self.endpoint.competition(slug), "competitions.get_competition", competition_name=slug)

    def competition_files(self, slug: str) -> list[RemoteFile]:
        """Every file of a competition, however many pages Kaggle lists them on."""
        return [
            RemoteFile(file.name, file.total_bytes)
            for page in self._of_competition(slug, "list_data_files")
            for file in page.files
        ]

    def competition_folder(self, slug: str, folder: str = "", at_least: int = 1000) -> RemoteFolder:
        """A folder of a competition, the top one by default; pages are read until ``at_least`` files are listed."""
        files: list[RemoteFile] = []
        folders: dict[str, None] = {}
        whole = True
        inside = f"{folder}/" if folder else ""
        for page in self._of_competition(slug, "list_data_tree_files", path=folder):
            files += [RemoteFile(inside + PurePosixPath(file.name).name, file.total_bytes) for file in page.files]
            folders |= {inside + PurePosixPath(found.name).name: None for found in page.directories}
            whole = not page.next_page_token
            if len(files) >= at_least:
                break
        return RemoteFolder(tuple(files), tuple(folders), whole)

    def download_competition(self, slug: str, folder: Path, progress: Progress = unwatched) -> Download:
        """All files of a competition as one archive in ``folder``, named after the slug."""
        subject = self.endpoint.competition(slug)
        ask = partial(self.ask_once, subject, "competitions.download_data_files", competition_name=slug)
        try:
            return download(ask, folder / f"{slug}.zip", subject, progress, self.say)
        except ForbiddenError as refused:
            # Accepting the rules can't help where the competition is closed.
            try:
                facts = self.facts(slug)
            except KaggleError:
                raise refused from None
            closed = facts.new_entrant_deadline or facts.deadline
            if facts.user_has_entered or closed is None or closed > dt.datetime.now(dt.UTC).replace(tzinfo=None):
                raise
            raise ForbiddenError(
                f"Competition {slug!r} is closed to newcomers since {closed:%Y-%m-%d} and you had not joined it (403); "
                f"if it still takes late submissions, accept its rules at {subject.page}."
            ) from None

    def download_file(self, slug: str, name: str, folder: Path) -> Download:
        """One file of a competition, by its path inside it, in ``folder`` under its own name."""
        subject, method = self.endpoint.competition(slug), "competitions.download_data_file"
        ask = partial(self.ask_once, subject, method, competition_name=slug, file_name=name)
        return download(ask, folder / PurePosixPath(name).name, subject, unwatched, self.say)

    def file_address(self, slug: str, name: str) -> str:
        """The address of a file, for requests of parts of it; it is valid for minutes."""
        method, subject = "competitions.download_data_file", self.endpoint.competition(slug)
        with self.ask(subject, method, competition_name=slug, file_name=name) as response:
            return response.url

    def download_dataset(self, handle: str, folder: Path, progress: Progress = unwatched) -> Download:
        """All files of the data set ``owner/name`` as one archive in ``folder``, named after the name."""
        subject, (owner, name) = self.endpoint.dataset(handle), handle.split("/")
        ask = partial(self.ask_once, subject, "datasets.download_dataset", owner_slug=owner, dataset_slug=name)
        return download(ask, folder / f"{name}.zip", subject, progress, self.say)

    def upload(self, subject: Subject, path: Path, method: str, **fields: Any) -> str:
        """Upload a file to the address that ``method`` returns, in one try; return Kaggle's token for the file."""
        facts = path.stat()
        size, changed = facts.st_size, int(facts.st_mtime)
        ticket = self.ask_once(subject, method, content_length=size, last_modified_epoch_seconds=changed, **fields)
        # Not the official upload_complete: it prints a failure instead of raising it, and waits without limit.
        with in_one_sentence(subject), path.open("rb") as file, self.endpoint.session() as session:
            # requests sends an empty file object in chunks, without the announced length
            content = file if size else b""
            response = session.put(ticket.create_url, data=content, timeout=connection.TIMEOUT_SECONDS)
        if response.status_code == 429 or response.status_code >= 500:
            raise refusal(response, subject)
        if response.status_code >= 400:
            raise PassingError(
                f"The address for the upload of {path.name} was refused ({response.status_code})",
                "run the same command again in a few minutes",
            )
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise not_data(subject)
        return ticket.token

    def submissions(self, slug: str) -> list[SubmissionRow]:
        """The submissions of the user's team, the latest first."""
        return [
            SubmissionRow(
                ref=row.ref,
                team=row.team_name,
                file_name=row.file_name or "",
                date=_in_utc(row.date),
                message=row.description or "",
                status=row.status.name.lower(),
                public_score=_score(row.public_score),
                private_score=_score(row.private_score),
                error=row.error_description or None,
            )
            for page in self._of_competition(slug, "list_submissions")
            for row in page.submissions
        ]

    def leaderboard(self, slug: str, *, private: bool = False) -> list[LeaderboardRow]:
        """A leaderboard, best first; the private one exists once the competition is over."""
        pages = self._of_competition(slug, "get_leaderboard", override_public=not private)
        rows = [row for page in pages for row in page.submissions]
        return [
            LeaderboardRow(rank, row.team_name or "", _score(row.score), _in_utc(row.submission_date))
            for rank, row in enumerate(rows, start=1)
        ]

    def _of_competition(self, slug: str, method: str, **fields: Any) -> Iterator[Any]:
        subject = self.endpoint.competition(slug)
        return self.pages(subject, f"competitions.{method}", competition_name=slug, **fields)


def _score(text: str | None) -> float | None:
    try:
        score = float(text or "nan")
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def _in_utc(date: dt.datetime | None) -> dt.datetime | None:
    return date.replace(tzinfo=dt.UTC) if date is not None else None
