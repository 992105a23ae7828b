"""Errors of requests to Kaggle: one sentence each with its remedy, and whether another try may help."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import requests
from urllib3.exceptions import NewConnectionError

from comp.errors import CredentialsError, KaggleError, counted
from comp.kaggle.connection import Subject
from comp.kaggle.credentials import REMEDY

# requests' messages where the trusted certificates are missing, empty or don't include Kaggle's.
UNTRUSTED = r"CA certificate bundle|NO_CERTIFICATE_OR_CRL|self.signed cert|unable to get (local )?issuer"
ATTEMPTS = 4  # in a row that bring nothing
LONGEST_WAIT_SECONDS = 60.0

Answer = TypeVar("Answer")
Say = Callable[[str], None]  # called with one line for the user


class PassingError(KaggleError):
    """A failure that may pass, like a server error; ``wait_seconds`` is the wait that Kaggle asked for, if any."""

    def __init__(self, cause: str, remedy: str, wait_seconds: float | None = None) -> None:
        super().__init__(f"{cause}; {remedy}.")
        self.cause = cause
        self.wait_seconds = wait_seconds


class ForbiddenError(KaggleError):
    """Kaggle denies this user access (403)."""


class MissingError(KaggleError):
    """Kaggle doesn't have it, or doesn't show it to this user (404)."""


def patiently(call: Callable[[], Answer], say: Say) -> Answer:
    """Call ``call``, and repeat it after each `PassingError` that waiting may mend; it must be safe to repeat."""
    failures = 0
    while True:
        try:
            return call()
        except PassingError as error:
            failures += 1
            wait_after(error, failures, say)


def wait_after(error: PassingError, failures: int, say: Say) -> None:
    """Wait before the next try after ``failures`` failed ones in a row, or raise ``error`` where none is left.

    Wait as long as Kaggle asked for, else 1, 2 and 4 seconds; raise ``error`` where it asked for over a minute.
    """
    seconds = 2.0 ** (failures - 1) if error.wait_seconds is None else error.wait_seconds
    if failures >= ATTEMPTS or seconds > LONGEST_WAIT_SECONDS:
        raise error
    say(f"{error.cause}; trying again in {seconds:.0f} s")
    wait(seconds)


def wait(seconds: float) -> None:
    time.sleep(seconds)


@contextmanager
def in_one_sentence(subject: Subject) -> Iterator[None]:
    """Turn the exceptions of requests and of the official client into a KaggleError about ``subject``."""
    url = subject.endpoint.url
    try:
        yield
    except requests.HTTPError as error:
        raise refusal(error.response, subject) from error
    except (json.JSONDecodeError, requests.JSONDecodeError) as error:
        raise not_data(subject) from error
    except requests.RequestException as error:
        if wrong := _wrong_setting(error):
            raise KaggleError(wrong) from error
        reason = getattr(error.args[0], "reason", None) if error.args else None
        if subject.endpoint.is_local and isinstance(reason, NewConnectionError):
            raise KaggleError(
                f"Nothing answers at {url}; start it with `comp serve`, or unset COMP_KAGGLE_URL."
            ) from error
        cause = f"The exchange with {url} about {subject} broke off"
        remedy = "check the connection and run the same command again"
        if isinstance(error, requests.ConnectionError):
            cause = f"Nothing answers at {url}"
        if isinstance(error, requests.Timeout):
            cause = f"{url} did not answer in time"
        if isinstance(error, requests.exceptions.ProxyError):
            cause = f"{_proxy()} can't be reached"
            remedy = "correct it, unset it, or run the same command again later"
        raise PassingError(cause, remedy) from error
    except OSError as error:
        # requests' own error about a missing certificate bundle has no errno; a disk error has one.
        if error.errno is None and (wrong := _wrong_setting(error)):
            raise KaggleError(wrong) from error
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise KaggleError(
            f"The answer of {url} about {subject} is not one that the installed kaggle package understands "
            f"({type(error).__name__}); update it with `make setup`."
        ) from error


def _wrong_setting(error: OSError) -> str:
    """An error about the setting of this machine that makes every try fail; empty if the cause is no setting."""
    said = str(error)
    if re.search(UNTRUSTED, said):
        bundle = _set_variable("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        return bundle and f"{bundle} names no certificates that vouch for Kaggle's; correct it or unset it."
    if "Missing dependencies for SOCKS" in said:
        return f"{_proxy()} needs the package PySocks; install it with `.venv/bin/pip install PySocks`."
    # Our own address was checked before, so an invalid one is the proxy's; 407: the proxy wants a password.
    unusable = isinstance(error, requests.exceptions.InvalidURL) or "failed: 407" in said
    return f"{_proxy()} can't be used; correct it or unset it." if unusable else ""


def _proxy() -> str:
    return f"The proxy {_set_variable('HTTPS_PROXY', 'ALL_PROXY') or 'of this machine'}"


def _set_variable(*names: str) -> str:
    """The first of these environment variables that is set, in either case, as ``NAME=value`` without a password."""
    for name in (spelling for known in names for spelling in (known.lower(), known)):
        if value := os.environ.get(name, ""):
            # A proxy's address may hold a password.
            return f"{name}={value.rpartition('@')[2] if name.lower().endswith('_proxy') else value!r}"
    return ""


def not_data(subject: Subject) -> KaggleError:
    return KaggleError(
        f"{subject.endpoint.url} answered about {subject} with a web page instead of data; check that "
        "COMP_KAGGLE_URL and the network's sign-in page are not in the way."
    )


def refusal(response: requests.Response, subject: Subject) -> KaggleError:
    """The error for a response of 400 or more."""
    status = response.status_code
    if status == 401:
        return CredentialsError(f"Kaggle does not accept the credentials for {subject} (401): {REMEDY}.")
    if status == 403:
        remedy = (
            f"it may be private; ask its owner at {subject.page}"
            if subject.has_owner
            else f"join it and accept its rules at {subject.page}, then run the same command again"
        )
        return ForbiddenError(f"Kaggle keeps {subject} from you (403): {remedy}.")
    if status == 404:
        return MissingError(
            f"There is no {subject} at {subject.endpoint.url}, or it is not visible to you (404); check its name."
        )
    if status == 429:
        return _too_many(response.headers.get("Retry-After", "").strip())
    if status >= 500:
        return PassingError(
            f"{subject.endpoint.url} failed on {subject} ({status})", "run the same command again in a few minutes"
        )
    return KaggleError(f"Kaggle refused the request about {subject} ({status}): {_reason(response)}")


def _too_many(retry_after: str) -> KaggleError:
    cause = "Kaggle has had too many requests from you (429)"
    if not retry_after.isdecimal():
        return KaggleError(f"{cause}; wait a few minutes and run the same command again.")
    seconds = int(retry_after)
    long = counted(seconds, "second") if seconds < 120 else f"{-(-seconds // 60)} minutes"
    return PassingError(cause, f"wait {long} and run the same command again", float(seconds))


def _reason(response: requests.Response) -> str:
    try:
        words = " ".join(response.json()["message"].split())[:300]
    except (ValueError, KeyError, TypeError, AttributeError):
        words = ""
    return words if words.endswith((".", "!", "?")) else f"{words or 'it gave no reason'}."
