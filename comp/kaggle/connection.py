"""Which Kaggle is meant, the real one or one on this machine, and Kaggle's own client signed in to it.

The ``kaggle`` package is used as it is, with three precautions: importing it must not sign in, nothing it prints or
exits with may get through, and its requests must end in finite time.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import os
import re
import sys
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter

from comp.errors import CredentialsError, KaggleError
from comp.kaggle.credentials import must_be_whole
from comp.local_kaggle import LOCAL_TOKEN_PREFIX, LOCAL_USER

KAGGLE_URL = "https://api.kaggle.com"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, to wait for the next bytes
TOKEN_REMEDY = (
    "make a new token at https://www.kaggle.com/settings/api and put it into the file ~/.kaggle/access_token or into "
    "the environment variable KAGGLE_API_TOKEN"
)


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and whether that is this machine, to which no real credentials are ever sent."""

    url: str
    is_local: bool

    def competition(self, slug: str) -> Subject:
        page = f"{self.url}/c/{slug}" if self.is_local else f"https://www.kaggle.com/competitions/{slug}"
        return Subject(f"competition {slug!r}", page, self)

    def dataset(self, handle: str) -> Subject:
        page = f"{self.url}/" if self.is_local else f"https://www.kaggle.com/datasets/{handle}"
        return Subject(f"data set {handle!r}", page, self, has_owner=True)

    def notebook(self, handle: str) -> Subject:
        page = f"{self.url}/" if self.is_local else f"https://www.kaggle.com/code/{handle}"
        return Subject(f"notebook {handle!r}", page, self, has_owner=True)

    def session(self) -> requests.Session:
        """For requests beside the official client's; no proxy reaches this machine's loopback."""
        session = requests.Session()
        session.trust_env = not self.is_local
        return session


@dataclass(frozen=True)
class Subject:
    """What is being asked about, as a sentence names it, and the page where a person can look at it.

    has_owner: it is somebody's, who decides who may see it.
    """

    what: str
    page: str
    endpoint: Endpoint
    has_owner: bool = False

    def __str__(self) -> str:
        return self.what


def endpoint_at(url: str | None = None) -> Endpoint:
    """The Kaggle at an address; without one, at what ``COMP_KAGGLE_URL`` says, or Kaggle itself.

    Only two kinds of host are spoken to: Kaggle's over https, with the user's credentials, and this machine's, with
    none. A third would either be handed the user's token or refuse every request: it raises KaggleError.
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
    # Somebody may have put a ``user:password@`` into it.
    shown = re.sub(r"^([^/]*//)?[^/]*@", r"\1", given)
    raise KaggleError(
        f"COMP_KAGGLE_URL is {shown!r}, which is neither Kaggle over https nor this machine, and your "
        "credentials are sent nowhere else; unset it, or set it to what `comp serve` prints."
    )


def sign_in(endpoint: Endpoint) -> Any:
    """The official ``KaggleApi``, talking to ``endpoint``; for one on this machine no credential is read.

    Raises:
        CredentialsError: Kaggle is meant and there are no credentials, or spoilt ones, or it refuses them.
        KaggleError: the package can't be imported, for example because its settings folder can't be made.
    """
    api = _imported_without_signing_in().KaggleApi()
    # On this machine a token of ours, because without one the HTTP client looks for the user's.
    local_token = LOCAL_TOKEN_PREFIX + quote(local_user()) if endpoint.is_local else None
    api.build_kaggle_client = partial(_client_of, api, endpoint, local_token)
    if endpoint.is_local:
        return api
    must_be_whole(TOKEN_REMEDY)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            api.authenticate()
    except SystemExit:
        raise CredentialsError(
            f"Kaggle wants to know who is asking and there are no valid credentials here: {TOKEN_REMEDY}."
        ) from None
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code in {400, 401, 403}:
            raise CredentialsError(f"Kaggle does not accept the credentials found here: {TOKEN_REMEDY}.") from None
        raise
    return api


def local_user() -> str:
    return os.environ.get("KAGGLE_USERNAME", "").strip() or LOCAL_USER


class _PatientAdapter(HTTPAdapter):
    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT_SECONDS
        return super().send(request, *args, **kwargs)


def _client_of(api: Any, endpoint: Endpoint, local_token: str | None) -> Any:
    """kagglesdk's client that asks ``endpoint``, with the credentials that ``api`` found or the local token alone."""
    user, password, token = None, None, local_token
    if local_token is None:
        names = (api.CONFIG_NAME_USER, api.CONFIG_NAME_KEY, api.CONFIG_NAME_TOKEN)
        user, password, token = map(api.config_values.get, names)
    # args stays empty: with VERBOSE set the official client would print the Authorization header.
    client = api.build_kaggle_client_with_params(args=[], username=user, password=password, api_token=token)
    http = client.http_client()
    http._endpoint = endpoint.url
    http._init_session()
    http._session.trust_env = not endpoint.is_local
    for scheme in ("https://", "http://"):
        http._session.mount(scheme, _PatientAdapter())
    return client


@cache
def _imported_without_signing_in() -> Any:
    """The module of ``KaggleApi``.

    The package's ``__init__`` signs in: it asks Kaggle about the token, deletes sign-ins that have run out and prints
    a page of help, whichever endpoint is meant. A bare stand-in for the package lets its modules be imported alone.
    """
    name = "kaggle.api.kaggle_api_extended"
    if "kaggle" in sys.modules:
        return importlib.import_module(name)
    spec = importlib.util.find_spec("kaggle")
    if spec is None:
        raise KaggleError("The kaggle package is not installed; run `make setup`.")
    package = importlib.util.module_from_spec(spec)
    package.__version__ = importlib.metadata.version("kaggle")  # type: ignore[attr-defined]
    sys.modules["kaggle"] = package
    try:
        return importlib.import_module(name)
    except OSError as error:
        raise KaggleError(
            f"Kaggle's client can't make its settings folder ({error.strerror}: {error.filename}); set "
            "KAGGLE_CONFIG_DIR to a folder that can be written."
        ) from error
    finally:
        del sys.modules["kaggle"]
