"""From what goes wrong between here and Kaggle to one sentence with its remedy."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comp.errors import CredentialsError, KaggleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from comp.kaggle.endpoint import Endpoint


class PassingError(KaggleError):
    """What may be over in a while: too many requests, a failing server, a connection that dropped.

    cause: what happened, without the remedy. wait_seconds: how long Kaggle asked to wait, where it did.
    """

    def __init__(self, cause: str, remedy: str, wait_seconds: float | None = None) -> None:
        super().__init__(f"{cause}; {remedy}.")
        self.cause = cause
        self.wait_seconds = wait_seconds


class ForbiddenError(KaggleError):
    """Kaggle keeps something from this user (403)."""


class MissingError(KaggleError):
    """Kaggle has no such thing, or doesn't show it to this user (404)."""


@dataclass(frozen=True)
class Subject:
    """What is being asked about, as a sentence names it, and the page where a person can look at it."""

    what: str
    page: str
    endpoint: Endpoint
    is_dataset: bool = False

    def __str__(self) -> str:
        return self.what


def about_competition(slug: str, endpoint: Endpoint) -> Subject:
    return Subject(f"competition {slug!r}", endpoint.competition_page(slug), endpoint)


def about_dataset(handle: str, endpoint: Endpoint) -> Subject:
    return Subject(f"data set {handle!r}", endpoint.dataset_page(handle), endpoint, is_dataset=True)


def about_notebook(handle: str, endpoint: Endpoint) -> Subject:
    return Subject(f"notebook {handle!r}", endpoint.notebook_page(handle), endpoint, is_dataset=True)


def about_signing_in(endpoint: Endpoint) -> Subject:
    return Subject("the sign-in", endpoint.url, endpoint)


@contextmanager
def in_one_sentence(subject: Subject) -> Iterator[None]:
    """Turn the exceptions of requests and of the official client into a KaggleError about ``subject``."""
    import requests

    url = subject.endpoint.url
    try:
        yield
    except requests.HTTPError as error:
        raise refusal(error.response, subject) from error
    except requests.JSONDecodeError as error:
        raise not_data(subject) from error
    except requests.Timeout as error:
        raise PassingError(
            f"{url} did not answer in time", "check the connection and run the same command again"
        ) from error
    except requests.ConnectionError as error:
        if subject.endpoint.is_local and _never_connected(error):
            raise KaggleError(
                f"Nothing answers at {url}; start it with `comp serve`, or unset COMP_KAGGLE_URL."
            ) from error
        raise PassingError(
            f"Nothing answers at {url}", "check the connection and run the same command again"
        ) from error
    except requests.RequestException as error:
        raise PassingError(f"The exchange with {url} about {subject} broke off", "run the same command again") from (
            error
        )
    except json.JSONDecodeError as error:
        raise not_data(subject) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise KaggleError(
            f"The answer of {url} about {subject} is not one that the installed kaggle package understands "
            f"({type(error).__name__}); update it with `make setup`."
        ) from error


def not_data(subject: Subject) -> KaggleError:
    return KaggleError(
        f"{subject.endpoint.url} answered about {subject} with a web page instead of data; check that "
        "COMP_KAGGLE_URL and the network's sign-in page are not in the way."
    )


def refusal(response: requests.Response | None, subject: Subject) -> KaggleError:
    """The error for a response of 400 or more."""
    status = 0 if response is None else response.status_code
    if status == 401:
        return CredentialsError(
            f"Kaggle does not accept the credentials for {subject} (401): make a new token at "
            "https://www.kaggle.com/settings/api and put it into the file ~/.kaggle/access_token or into the "
            "environment variable KAGGLE_API_TOKEN."
        )
    if status == 403:
        return ForbiddenError(
            f"Kaggle keeps {subject} from you (403): it may be private; ask its owner at {subject.page}."
            if subject.is_dataset
            else f"Kaggle keeps {subject} from you (403): join it and accept its rules at {subject.page}, then run "
            "the same command again."
        )
    if status == 404:
        return MissingError(
            f"There is no {subject} at {subject.endpoint.url}, or it is not visible to you (404); check its name."
        )
    if status == 429:
        return _too_many("" if response is None else response.headers.get("Retry-After", ""))
    if status >= 500:
        return PassingError(
            f"{subject.endpoint.url} failed on {subject} ({status})", "run the same command again in a few minutes"
        )
    return KaggleError(f"Kaggle refused the request about {subject} ({status}): {_reason(response)}")


def _too_many(retry_after: str) -> KaggleError:
    cause = "Kaggle has had too many requests from you (429)"
    if not retry_after.strip().isdecimal():
        return KaggleError(f"{cause}; wait a few minutes and run the same command again.")
    seconds = int(retry_after)
    long = f"{seconds} seconds" if seconds < 120 else f"{-(-seconds // 60)} minutes"
    return PassingError(cause, f"wait {long} and run the same command again", float(seconds))


def _never_connected(error: requests.ConnectionError) -> bool:
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _reason(response: requests.Response | None) -> str:
    try:
        message = response.json()["message"] if response is not None else None
    except (ValueError, KeyError, TypeError):
        message = None
    if not isinstance(message, str) or not message.strip():
        return "it gave no reason."
    words = " ".join(message.split())[:300]
    return words if words.endswith((".", "!", "?")) else f"{words}."
