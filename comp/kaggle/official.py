"""Kaggle's own client, signed in and pointed at an endpoint.

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
import sys
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from comp.errors import CredentialsError, KaggleError
from comp.local_kaggle import LOCAL_TOKEN_PREFIX, LOCAL_USER

if TYPE_CHECKING:
    from comp.kaggle.endpoint import Endpoint

TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, to wait for the next bytes


def sign_in(endpoint: Endpoint) -> Any:
    """An instance of the official ``KaggleApi`` that talks to ``endpoint``.

    On this machine the user is ``KAGGLE_USERNAME`` or "you", and no credential is read.

    Raises:
        CredentialsError: Kaggle is meant and there are no credentials, or it refuses them.
        KaggleError: the package can't be imported, for example because its settings folder can't be made.
    """
    api = _api_class()(endpoint)
    if endpoint.is_local:
        return api
    import requests

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            api.authenticate()
    except SystemExit:
        raise CredentialsError(
            "Kaggle wants to know who is asking and there are no valid credentials here: make a token at "
            "https://www.kaggle.com/settings/api and put it into the file ~/.kaggle/access_token or into the "
            "environment variable KAGGLE_API_TOKEN."
        ) from None
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code in {400, 401, 403}:
            raise CredentialsError(
                "Kaggle does not accept the credentials found here: make a new token at "
                "https://www.kaggle.com/settings/api and put it into the file ~/.kaggle/access_token or into the "
                "environment variable KAGGLE_API_TOKEN."
            ) from None
        raise
    return api


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


@cache
def _api_class() -> Any:
    from requests.adapters import HTTPAdapter

    official: Any = _imported_without_signing_in().KaggleApi

    class PatientAdapter(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT_SECONDS
            return super().send(request, *args, **kwargs)

    class Api(official):  # type: ignore[misc]
        def __init__(self, endpoint: Endpoint) -> None:
            super().__init__()
            self.endpoint = endpoint
            self.local_token = _local_token()

        def build_kaggle_client(self) -> Any:
            local = self.endpoint.is_local
            # args stays empty: with VERBOSE set the official client would print the Authorization header
            client = self.build_kaggle_client_with_params(
                args=[],
                username=None if local else self.config_values.get(self.CONFIG_NAME_USER),
                password=None if local else self.config_values.get(self.CONFIG_NAME_KEY),
                # a token of ours, because without one the HTTP client looks for the user's
                api_token=self.local_token if local else self.config_values.get(self.CONFIG_NAME_TOKEN),
            )
            http = client.http_client()
            http._endpoint = self.endpoint.url
            http._init_session()
            http._session.trust_env = not local  # a proxy can't reach this machine's loopback
            http._session.mount("https://", PatientAdapter())
            http._session.mount("http://", PatientAdapter())
            return client

    return Api


def local_user() -> str:
    return os.environ.get("KAGGLE_USERNAME", "").strip() or LOCAL_USER


def _local_token() -> str:
    return LOCAL_TOKEN_PREFIX + quote(local_user())
