"""The address of Kaggle, the real one or a local one, and Kaggle's official client for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from comp.errors import KaggleError

KAGGLE_URL = "https://api.kaggle.com"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
TIMEOUT_SECONDS = (10.0, 60.0)  # for connecting, for the next bytes


@dataclass(frozen=True)
class Endpoint:
    """The address that requests go to, and whether it is this machine, which is never sent real credentials."""

    url: str
    is_local: bool

    def competition(self, slug: str) -> Subject:
        return Subject(f"competition {slug!r}", self._page(f"competitions/{slug}"), self)

    def dataset(self, handle: str) -> Subject:
        return Subject(f"data set {handle!r}", self._page(f"datasets/{handle}"), self, has_owner=True)

    def notebook(self, handle: str) -> Subject:
        return Subject(f"notebook {handle!r}", self._page(f"code/{handle}"), self, has_owner=True)

    def _page(self, path: str) -> str:
        return f"{self.url}/" if self.is_local else f"https://www.kaggle.com/{path}"

    def session(self) -> requests.Session:
        """A session for requests without the official client; no proxy reaches this machine's loopback."""
        session = requests.Session()
        session.trust_env = not self.is_local
        return session


@dataclass(frozen=True)
class Subject:
    """The subject of a request, as error messages name it, and its web page.

    has_owner: it belongs to a user, who decides who may see it.
    """

    what: str
    page: str
    endpoint: Endpoint
    has_owner: bool = False

    def __str__(self) -> str:
        return self.what


def endpoint_at(url: str | None = None) -> Endpoint:
    """The Kaggle at ``url``; without one, at ``COMP_KAGGLE_URL``, or Kaggle itself.

    Only two kinds of host are allowed: Kaggle over https, which gets the user's credentials, and this machine, which
    gets none. Raises KaggleError for any other, which would be handed the user's token or refuse every request.
    """
    given = (url or os.environ.get("COMP_KAGGLE_URL", "")).strip().rstrip("/") or KAGGLE_URL
    try:
        parts = urlsplit(given)
        scheme, host, _ = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme = host = ""
    if host in LOOPBACK_HOSTS and scheme in {"http", "https"}:
        return Endpoint(given, is_local=True)
    if scheme == "https" and (host == "kaggle.com" or host.endswith(".kaggle.com")):
        return Endpoint(given, is_local=False)
    # The address may hold a ``user:password@``.
    shown = re.sub(r"^([^/]*//)?[^/]*@", r"\1", given)
    raise KaggleError(
        f"COMP_KAGGLE_URL is {shown!r}, which is neither Kaggle over https nor this machine, and your "
        "credentials are sent nowhere else; unset it, or set it to what `comp serve` prints."
    )


class _PatientAdapter(HTTPAdapter):
    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT_SECONDS
        return super().send(request, *args, **kwargs)


def client_of(endpoint: Endpoint, auth: Any = None) -> Any:
    """Kaggle's official client for ``endpoint``, a context manager, with only this ``auth`` for requests."""
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_env import KaggleEnv

    client = KaggleClient(KaggleEnv.PROD)
    http = client.http_client()
    http._endpoint, http._signed_in = endpoint.url, True  # otherwise it looks for the user's credentials itself
    http._init_session()
    http._session.auth = auth
    http._session.trust_env = not endpoint.is_local
    for scheme in ("https://", "http://"):
        http._session.mount(scheme, _PatientAdapter())
    return client
