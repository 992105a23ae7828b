"""Download files from Kaggle: resumed after a drop, checked, and under their final name only when whole.

The official client's own download writes under the final name from the first byte on, compares no digest, appends
any range that a server answers with, and gives up after five drops, even if each try brought more bytes.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from comp.errors import DataError
from comp.kaggle import connection
from comp.kaggle.connection import Subject
from comp.kaggle.failures import PassingError, Say, in_one_sentence, not_data, refusal, wait_after

# Called as bytes arrive, with the number of bytes so far and in all (None where the server doesn't say).
Progress = Callable[[int, int | None], None]

CHUNK_BYTES = 1 << 16  # the most that a dropped connection loses
WEB_PAGE = (b"<!doctype html", b"<html")


@dataclass(frozen=True)
class Download:
    """A file at Kaggle that is downloaded to ``path``.

    size: in bytes, if the server says it. validator: its ETag or Last-Modified. md5: in hexadecimal; most have one.
    """

    path: Path
    size: int | None
    validator: str | None
    md5: str | None = None


class _DamagedError(PassingError):
    """The bytes that arrived are not those that were sent."""


def unwatched(done_bytes: int, total_bytes: int | None, /) -> None:
    """A `Progress` that does nothing."""


def amount(size: float) -> str:
    """A number of bytes in words, like 1.20 GB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def must_fit(what: str, size: int, folder: Path) -> None:
    """Raise DataError, its text beginning with ``what``, where the disk of ``folder`` has less than ``size`` free."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"{what} {amount(size)} and {folder} has {amount(free)} free; make room and run the same command again."
        )


def download(
    ask: Callable[[], requests.Response], path: Path, subject: Subject, progress: Progress, say: Say
) -> Download:
    """Download the response of ``ask``, a streaming one already redirected to the file, to ``path``.

    The bytes go to ``<path>.part``, which is resumed if ``<path>.origin.json`` has the same validator, and begun
    afresh otherwise. A whole ``path`` of the same file is left as it is. A connection that drops or falls silent is
    resumed, after pauses of seconds, as long as that brings bytes. The file gets its final name only when its length
    and, where the server says it, its MD5 are right.

    Raises:
        KaggleError: Kaggle refused, couldn't be reached any more, or sent other bytes than it promised.
        DataError: the disk is full or can't be written.
    """
    part = _part(path)
    failures = 0
    while True:
        before = _size(part)
        try:
            return _attempt(ask, path, subject, progress)
        except PassingError as error:
            # A damaged file is downloaded again only once: it may be many gigabytes.
            failed = 2 if isinstance(error, _DamagedError) else 1
            failures = failed if _size(part) > before else failures + failed
            wait_after(error, failures, say)
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
            raise DataError(
                f"{path} can't be written: {reason}; give it room or rights and run the same command again."
            ) from error


def downloaded_before(path: Path) -> bool:
    """Whether `download` wrote the file at ``path`` and it still has the length that it came with."""
    known = _read_note(path)
    return known is not None and path.is_file() and known.size in (None, _size(path))


def forget(path: Path) -> None:
    """Remove a download and its traces, so that the next one begins anew."""
    for trace in (path, _part(path), _note(path)):
        trace.unlink(missing_ok=True)


def _attempt(ask: Callable[[], requests.Response], path: Path, subject: Subject, progress: Progress) -> Download:
    response = ask()
    try:
        if response.status_code >= 400:
            raise refusal(response, subject)
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise not_data(subject)
        origin = _origin(response, path)
        same = origin.validator is not None and _read_note(path) == origin
        if same and _size(path) == origin.size:
            progress(_size(path), origin.size)
            return origin
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _part(path)
        start = _size(part) if same else 0
        if start and start != origin.size:
            response, start = _from_byte(start, response, origin, subject)
        if not start:
            part.unlink(missing_ok=True)
            # A different version there would be taken for this one by its length.
            path.unlink(missing_ok=True)
            _note(path).write_text(json.dumps({"size": origin.size, "validator": origin.validator, "md5": origin.md5}))
        must_fit(f"{path.name} needs", (origin.size or 0) - start, path.parent)
        part.touch()  # for an empty file, which has no bytes to write
        digest = hashlib.md5(usedforsecurity=False)
        if start and origin.md5:
            with part.open("rb") as arrived:
                hashlib.file_digest(arrived, lambda: digest)
        if start != origin.size:
            _stream(response, origin, start, digest, subject, progress)
    finally:
        response.close()
    wrong = ""
    if origin.size not in (None, _size(part)):
        wrong = f"{path.name} came with {_size(part)} bytes instead of the {origin.size} that were promised"
    elif origin.md5 not in (None, digest.hexdigest()):
        wrong = f"{path.name} came with other bytes than were promised"
    if wrong:
        forget(path)
        raise _DamagedError(wrong, "run the same command again to download it anew")
    with part.open("rb+") as arrived:
        os.fsync(arrived.fileno())
    part.replace(path)
    return origin


def _from_byte(
    start: int, whole: requests.Response, origin: Download, subject: Subject
) -> tuple[requests.Response, int]:
    """The rest of the file from ``start`` on; all of it, from 0, if the server can't or the file has changed."""
    validator = origin.validator or ""
    if whole.request.method != "GET" or validator.startswith("W/") or start > (origin.size or 0):
        return whole, 0
    # With the redirected request's headers: the signed-in session would add the user's token, which the redirect to
    # a storage host has rightly removed.
    headers = {**whole.request.headers, "Range": f"bytes={start}-", "If-Range": validator}
    session = subject.endpoint.session()
    with in_one_sentence(subject):
        request = requests.Request("GET", whole.url, headers=headers).prepare()
        settings = session.merge_environment_settings(whole.url, {}, True, None, None)
        rest = session.send(request, timeout=connection.TIMEOUT_SECONDS, **settings)
    promised = f"bytes {start}-{(origin.size or 0) - 1}/{origin.size}"
    if (
        rest.status_code == 206
        and rest.headers.get("Content-Range") == promised
        and _validator(rest) in (None, origin.validator)
    ):
        whole.close()
        return rest, start
    rest.close()
    if rest.status_code >= 500 or rest.status_code == 429:
        raise refusal(rest, subject)  # the bytes so far stay, for the next try
    return whole, 0


def _stream(
    response: requests.Response,
    origin: Download,
    start: int,
    digest: hashlib._Hash,
    subject: Subject,
    progress: Progress,
) -> None:
    done = start
    try:
        with _part(origin.path).open("ab") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                if not done and chunk.lstrip()[:20].lower().startswith(WEB_PAGE):
                    raise not_data(subject)
                progress(done, origin.size)
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
        progress(done, origin.size)
    except requests.RequestException as error:
        raise PassingError(
            f"The connection to {subject.endpoint.url} dropped while {origin.path.name} was being downloaded",
            "run the same command again to resume it",
        ) from error


def _origin(response: requests.Response, path: Path) -> Download:
    length = response.headers.get("Content-Length", "")
    # requests decodes an encoded body, so its length and digest are not the file's
    if "Content-Encoding" in response.headers or not length.isdecimal():
        return Download(path, None, None)
    return Download(path, int(length), _validator(response), _md5_in(response.headers.get("x-goog-hash", "")))


def _validator(response: requests.Response) -> str | None:
    return response.headers.get("ETag") or response.headers.get("Last-Modified")


def _md5_in(hashes: str) -> str | None:
    """The MD5, in hexadecimal, in Google storage's ``crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==``."""
    said = re.search(r"\bmd5=([A-Za-z0-9+/]{22}==)", hashes)
    return base64.b64decode(said[1]).hex() if said else None


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".origin.json")


def _read_note(path: Path) -> Download | None:
    try:
        return Download(path, **json.loads(_note(path).read_text()))
    except (OSError, TypeError, ValueError):
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
