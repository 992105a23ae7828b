"""Credentials for Kaggle that are there but spoilt: which file or variable it is, and what is wrong in it."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path

from comp.errors import CredentialsError

VARIABLES = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY")
FILE, TOKEN = "kaggle.json", "access_token"
FIELDS = ("username", "key")


def must_be_whole(remedy: str) -> None:
    """Raise CredentialsError, with the remedy, where what Kaggle's client would take can't be right."""
    for name in VARIABLES:
        if wrong := _no_ascii(os.environ.get(name, "")):
            raise CredentialsError(f"The variable {name} has {wrong}; {remedy}.")
    if os.environ.get("KAGGLE_API_TOKEN") or all(os.environ.get(name) for name in VARIABLES[1:]):
        return
    configured = os.environ.get("KAGGLE_CONFIG_DIR")
    folders = [Path(configured)] if configured else [Path.home() / ".kaggle", Path.home() / ".config" / "kaggle"]
    there = [path for name in (TOKEN, FILE) for folder in folders if (path := folder / name).is_file()]
    wrong_in = {path: _wrong_in(path) for path in there}
    if wrong_in and all(wrong_in.values()):
        path, wrong = next(iter(wrong_in.items()))
        raise CredentialsError(f"{path} {wrong}; {remedy}.")


def _wrong_in(path: Path) -> str:
    """What is wrong in a file of credentials, in words; empty where nothing is."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        return f"can't be read: {error.strerror}"
    except UnicodeDecodeError:
        return "is no UTF-8"
    if content.startswith(codecs.BOM_UTF8):
        return "begins with a byte order mark, which some editors write; save it as UTF-8 without one"
    if not text.strip():
        return "is empty"
    if path.name == TOKEN:
        wrong = _no_ascii(text.strip())
        return wrong and f"has {wrong}"
    try:
        found = json.loads(text)
    except ValueError as error:
        return f"is no JSON, as if it were cut off ({error})"
    missing = [name for name in FIELDS if not isinstance(found, dict) or not str(found.get(name) or "").strip()]
    if missing:
        return f"has no {missing[0]!r}"
    wrong = next((f"in {name!r} {said}" for name in FIELDS if (said := _no_ascii(str(found[name])))), "")
    return wrong and f"has {wrong}"


def _no_ascii(text: str) -> str:
    odd = next((letter for letter in text if not letter.isascii() or not letter.isprintable()), "")
    return f"{odd!r}, which no credential has" if odd else ""
