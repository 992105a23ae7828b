"""One file from Kaggle to disk: resumed where it was cut, checked, and whole or not there at all."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from comp.errors import DataError
from comp.kaggle.patience import wait_after
from comp.kaggle.progress import amount, unheard
from comp.kaggle.refusals import PassingError, in_one_sentence, not_data, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import requests

    from comp.kaggle.progress import Progress, Say
    from comp.kaggle.refusals import Subject

CHUNK_BYTES = 1 << 16  # what a drop may cost
WEB_PAGE = (b"<!doctype html", b"<html")


@dataclass(frozen=True)
class Origin:
    """What a file is a copy of.

    validator: the server's ETag or Last-Modified. size: in bytes. md5: in hexadecimal, where the server says it;
    Kaggle's storage does for most files.
    """

    validator: str | None
    size: int | None
    md5: str | None = None


class _DamagedError(PassingError):
    """What arrived is not what was sent."""


def download(
    ask: Callable[[], requests.Response], path: Path, subject: Subject, progress: Progress, say: Say = unheard
) -> Origin:
    """Bring what ``ask`` answers to ``path``.

    The bytes go to ``<path>.part``. A part that is there is gone on with if it is of the same file, known by its
    validator in ``<path>.origin.json``; otherwise it starts afresh. A whole ``path`` of the same file is left as it
    is. A connection that drops or falls silent is taken up again, with pauses of seconds, as long as that brings
    bytes. What arrived gets its name only when its length and, where the server says it, its MD5 are right.

    Args:
        ask: sends the official client's request and gives its streaming response, already redirected to the file.
        path: where the file will lie; its folder is made.
        subject: for sentences.
        progress: told the bytes that are there; what it raises ends the download, before another byte is written.
        say: told what is waited for.

    Raises:
        KaggleError: Kaggle refused, went away, or sent something else than it promised.
        DataError: the disk is full or can't be written.
    """
    part = _part(path)
    failures = 0
    while True:
        before = _size(part)
        try:
            with _disk_in_one_sentence(path):
                return _attempt(ask, path, subject, progress)
        except PassingError as error:
            # What arrived damaged is fetched anew once only: it may be many gigabytes.
            failed = 2 if isinstance(error, _DamagedError) else 1
            failures = failed if _size(part) > before else failures + failed
            wait_after(error, failures, say)


def forget(path: Path) -> None:
    """Remove a download, so that the next one begins anew."""
    for trace in (path, _part(path), _note(path)):
        trace.unlink(missing_ok=True)


def _attempt(ask: Callable[[], requests.Response], path: Path, subject: Subject, progress: Progress) -> Origin:
    # Not the official download_file: it reports no progress, appends without looking at Content-Range, and never
    # flushes to disk.
    part, note = _part(path), _note(path)
    with in_one_sentence(subject):
        response = ask()
    try:
        _must_be_data(response, subject)
        origin = _origin(response)
        known = _read(note)
        same = origin.validator is not None and known == origin
        if same and _size(path) == origin.size:
            progress(_size(path), origin.size)
            return origin

        path.parent.mkdir(parents=True, exist_ok=True)
        start = _size(part) if same else 0
        if origin.size is not None and start > origin.size:
            start = 0
        if start and start != origin.size:
            response, start = _from_byte(start, response, origin, subject)
        if not start:
            part.unlink(missing_ok=True)
            # What is there is of another version, and would be taken for this one by its length.
            path.unlink(missing_ok=True)
            _write(note, origin)
        _must_fit(path, origin, start)
        digest = hashlib.md5(usedforsecurity=False)
        if start and origin.md5:
            _digest_what_is_there(part, digest)
        if start != origin.size:
            _stream(response, part, start, origin.size, subject, progress, digest)
    finally:
        response.close()

    _must_be_whole(path, origin, digest.hexdigest())
    _flush(part)
    part.replace(path)
    _flush(path.parent)
    return origin


def _from_byte(start: int, whole: requests.Response, origin: Origin, subject: Subject) -> tuple[requests.Response, int]:
    """The rest of the file from ``start`` on, or all of it from 0 where the server won't or it has changed."""
    import requests

    from comp.kaggle.official import TIMEOUT_SECONDS

    if whole.request.method != "GET" or not origin.validator or origin.validator.startswith("W/"):
        return whole, 0
    # The headers of the request that was redirected: the signed-in session would add the user's token, which the
    # redirect to a storage host has rightly taken off.
    headers = {**whole.request.headers, "Range": f"bytes={start}-", "If-Range": origin.validator}
    session = requests.Session()
    session.trust_env = not subject.endpoint.is_local
    with in_one_sentence(subject):
        request = requests.Request("GET", whole.url, headers=headers).prepare()
        settings = session.merge_environment_settings(whole.url, {}, True, None, None)
        rest = session.send(request, timeout=TIMEOUT_SECONDS, **settings)
    if _is_the_rest(rest, start, origin):
        whole.close()
        return rest, start
    rest.close()
    if rest.status_code >= 500 or rest.status_code == 429:
        raise refusal(rest, subject)  # what is there stays, for the next try
    return whole, 0


def _is_the_rest(response: requests.Response, start: int, origin: Origin) -> bool:
    """Whether these are the bytes from ``start`` on, of the same file."""
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    promised = f"bytes {start}-{(origin.size or 0) - 1}/{origin.size}"
    return (
        response.status_code == 206
        and response.headers.get("Content-Range") == promised
        and validator in (None, origin.validator)
    )


def _stream(
    response: requests.Response,
    part: Path,
    start: int,
    total: int | None,
    subject: Subject,
    progress: Progress,
    digest: hashlib._Hash,
) -> None:
    import requests

    done = start
    try:
        with part.open("ab") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                if not done and chunk.lstrip()[:20].lower().startswith(WEB_PAGE):
                    raise not_data(subject)
                progress(done, total)
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
        progress(done, total)
    except requests.RequestException as error:
        raise PassingError(
            f"The connection to {subject.endpoint.url} dropped while {part.stem} was being downloaded",
            "run the same command again to go on from there",
        ) from error


def _digest_what_is_there(part: Path, digest: hashlib._Hash) -> None:
    with part.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)


def _must_be_whole(path: Path, origin: Origin, md5: str) -> None:
    size = _size(_part(path))
    if origin.size is not None and size != origin.size:
        wrong = f"{path.name} came with {size} bytes instead of the {origin.size} that were promised"
    elif origin.md5 is not None and md5 != origin.md5:
        wrong = f"{path.name} came with other bytes than were promised"
    else:
        return
    forget(path)
    raise _DamagedError(wrong, "run the same command again to download it anew")


def _must_be_data(response: requests.Response, subject: Subject) -> None:
    if response.status_code >= 400:
        raise refusal(response, subject)
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise not_data(subject)


def _must_fit(path: Path, origin: Origin, start: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if origin.size is not None and origin.size - start > free:
        raise DataError(
            f"{path.name} needs {amount(origin.size - start)} and {path.parent} has {amount(free)} free; "
            "make room and run the same command again."
        )


def _origin(response: requests.Response) -> Origin:
    length = response.headers.get("Content-Length", "")
    # an encoded body is unpacked on the way, so its length and digest say nothing about the file's
    encoded = "Content-Encoding" in response.headers
    size = int(length) if length.isdecimal() and not encoded else None
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    md5 = None if encoded else _md5(response.headers.get("x-goog-hash", ""))
    return Origin(validator if size is not None else None, size, md5)


def _md5(hashes: str) -> str | None:
    """The MD5 in hexadecimal, of ``crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==`` as Google's storage says it."""
    for entry in hashes.split(","):
        kind, _, value = entry.strip().partition("=")
        if kind == "md5":
            with contextlib.suppress(binascii.Error):
                return base64.b64decode(value, validate=True).hex()
    return None


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".origin.json")


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(note: Path) -> Origin | None:
    try:
        found: Any = json.loads(note.read_text())
        return Origin(**found)
    except (OSError, TypeError, ValueError):
        return None


def _write(note: Path, origin: Origin) -> None:
    note.write_text(json.dumps(asdict(origin)))


def _flush(path: Path) -> None:
    """To disk; a folder's too, so that a rename in it outlives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _disk_in_one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        raise DataError(
            f"{path} can't be written: {reason}; give it room or rights and run the same command again."
        ) from error
