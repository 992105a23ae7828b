"""Which Kaggle is meant: the real one, or one on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from comp.errors import KaggleError

KAGGLE_URL = "https://api.kaggle.com"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and whether that is this machine, to which no real credentials are ever sent."""

    url: str
    is_local: bool

    def competition_page(self, slug: str) -> str:
        return f"{self.url}/c/{slug}" if self.is_local else f"https://www.kaggle.com/competitions/{slug}"

    def dataset_page(self, handle: str) -> str:
        return f"{self.url}/" if self.is_local else f"https://www.kaggle.com/datasets/{handle}"

    def notebook_page(self, handle: str) -> str:
        return f"{self.url}/" if self.is_local else f"https://www.kaggle.com/code/{handle}"


def endpoint_from_environment() -> Endpoint:
    """Kaggle's own address, or what ``COMP_KAGGLE_URL`` says, as `endpoint_at` has it."""
    given = os.environ.get("COMP_KAGGLE_URL", "").strip()
    return endpoint_at(given) if given else Endpoint(KAGGLE_URL, is_local=False)


def endpoint_at(url: str) -> Endpoint:
    """The Kaggle at an address.

    Only two kinds of host are spoken to: Kaggle's over https, with the user's credentials, and this machine's, with
    none. A third would either be handed the user's token or refuse every request.

    Raises:
        KaggleError: it is no http(s) address, or of a third kind.
    """
    given = url.rstrip("/")
    try:
        parts = urlsplit(given)
        scheme, host, _ = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme = host = ""
    if host in LOOPBACK_HOSTS and scheme in {"http", "https"}:
        return Endpoint(given, is_local=True)
    if scheme == "https" and (host == "kaggle.com" or host.endswith(".kaggle.com")):
        return Endpoint(given, is_local=False)
    raise KaggleError(
        f"COMP_KAGGLE_URL is {without_user(given)!r}, which is neither Kaggle over https nor this machine, and your "
        "credentials are sent nowhere else; unset it, or set it to what `comp serve` prints."
    )


def without_user(url: str) -> str:
    """The address without a ``user:password@`` someone may have put into it."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"
