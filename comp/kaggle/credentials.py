"""Find the credentials that Kaggle's official client would take, and say what is wrong with invalid ones."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from comp.errors import CredentialsError
from comp.kaggle.connection import Endpoint, client_of
from comp.local_kaggle import LOCAL_TOKEN_PREFIX, LOCAL_USER

REMEDY = (
    "make a new token at https://www.kaggle.com/settings/api and put it into the file ~/.kaggle/access_token or into "
    "the environment variable KAGGLE_API_TOKEN"
)
FIELDS = ("username", "key")
REFUSING = (400, 401, 403, 404)


@dataclass(frozen=True)
class Credentials:
    """A Kaggle user, and the ``auth`` for requests that signs them in."""

    user: str
    auth: Any = field(repr=False)


def sign_in(endpoint: Endpoint) -> Credentials:
    """The first valid credentials of: a token, a user name with its key, and those of `kaggle auth login`.

    For a Kaggle on this machine none of them is read: comp makes a token that holds the user's name.

    Raises CredentialsError: there are none, they are malformed, or Kaggle refuses them.
    """
    if endpoint.is_local:
        user = os.environ.get("KAGGLE_USERNAME", "").strip() or LOCAL_USER
        return _with_token(user, LOCAL_TOKEN_PREFIX + quote(user))
    refused = []
    for find in (_by_token, _by_key, _by_login):
        try:
            if found := find(endpoint):
                return found
        except CredentialsError as error:
            refused.append(error)
        except requests.HTTPError as error:
            if error.response.status_code not in REFUSING:
                raise
            refused.append(_wrong("Kaggle does not accept the credentials found here"))
    raise (refused or [_wrong("Kaggle wants to know who is asking and there are no valid credentials here")])[0]


def _by_token(endpoint: Endpoint) -> Credentials | None:
    from kagglesdk.kaggle_env import get_access_token_from_env
    from kagglesdk.security.types.oauth_service import IntrospectTokenRequest

    try:
        token, where = get_access_token_from_env()
    except (OSError, ValueError) as error:
        # The error's own text may hold the token, which was taken for a path.
        reason = error.strerror if isinstance(error, OSError) else "it isn't utf-8 text"
        raise _wrong(f"Kaggle's token can't be read ({reason})") from None
    if not token:
        return None
    request = IntrospectTokenRequest()
    request.token = _plain(token, where)
    with client_of(endpoint, _with_token("", token).auth) as client:
        answer = client.security.oauth_client.introspect_token(request)
    if not (answer.active and answer.username):
        raise _wrong("Kaggle does not accept the token found here")
    return _with_token(answer.username, token)


def _by_key(_: Endpoint) -> Credentials | None:
    """From the variables KAGGLE_USERNAME and KAGGLE_KEY; what they lack, from kaggle.json."""
    known = {name: value for name in FIELDS if (value := os.environ.get(f"KAGGLE_{name.upper()}"))}
    where = "KAGGLE_USERNAME or KAGGLE_KEY"
    configured = os.environ.get("KAGGLE_CONFIG_DIR")
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folders = [Path(configured)] if configured else [Path.home() / ".kaggle", settings / "kaggle"]
    file = next((path for folder in folders if (path := folder / "kaggle.json").is_file()), None)
    if len(known) < len(FIELDS):
        if file is None:
            return None
        where = str(file)
        try:
            # Some editors write a byte order mark first.
            content = json.loads(file.read_text(encoding="utf-8-sig"))
            read = {name: str(content.get(name) or "").strip() for name in FIELDS}
        except (OSError, ValueError, AttributeError) as error:
            raise _wrong(f"{file} is empty, cut off or not what Kaggle made ({error})") from error
        known = read | known
        if missing := [name for name in FIELDS if not known[name]]:
            raise _wrong(f"{file} has no {missing[0]!r}")
    user, key = (_plain(known[name], where) for name in FIELDS)
    return Credentials(user, (user, key))


def _by_login(endpoint: Endpoint) -> Credentials | None:
    from kagglesdk.kaggle_creds import KaggleCredentials

    with client_of(endpoint) as client:
        found = KaggleCredentials.load(client=client)
        token = found and found.get_access_token()
    return _with_token(found.get_username(), token) if token else None


def _with_token(user: str, token: str) -> Credentials:
    from kagglesdk.kaggle_http_client import KaggleHttpClient

    return Credentials(user, KaggleHttpClient.BearerAuth(token))


def _plain(text: str, where: str) -> str:
    """The text; raises CredentialsError where it has a character that no credential has."""
    odd = next((letter for letter in text if not letter.isascii() or not letter.isprintable()), "")
    if odd:
        raise _wrong(f"The credential in {where} has {odd!r}, which no credential has")
    return text


def _wrong(what: str) -> CredentialsError:
    return CredentialsError(f"{what}: {REMEDY}.")
