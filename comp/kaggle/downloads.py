"""One file from Kaggle to disk: resumed where it was cut, checked, and whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from comp.errors import DataError, KaggleError
from comp.kaggle.refusals import in_one_sentence, not_data, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import requests

    from comp.kaggle.progress import Progress
    from comp.kaggle.refusals import Subject

CHUNK_BYTES = 1 << 16  # what a drop may cost
ATTEMPTS = 4  # that bring nothing, in a row


@dataclass(frozen=True)
class Origin:
    """What a file is a copy of: ``validator`` is the server's ETag or Last-Modified, ``size`` is in bytes."""

    validator: str | None
    size: int | None


class _DroppedError(Exception):
    """The connection ended before the file did."""


def download(ask: Callable[[], requests.Response], path: Path, subject: Subject, progress: Progress) -> Origin:
    """Bring what ``ask`` answers to ``path``.

    The bytes go to ``<path>.part``. A part that is there is gone on with if it is of the same file, known by its
    validator in ``<path>.origin.json``; otherwise it starts afresh. A whole ``path`` of the same file is left as it
    is. A connection that drops is taken up again, with pauses of seconds, as long as that brings bytes.

    Args:
        ask: sends the official client's request and gives its streaming response, already redirected to the file.
        path: where the file will lie; its folder is made.
        subject: for sentences.
        progress: told the bytes that are there.

    Raises:
        KaggleError: Kaggle refused, went away, or sent less than it promised.
        DataError: the disk is full or can't be written.
    """
    part = _part(path)
    failures = 0
    while True:
        before = _size(part)
        try:
            with _disk_in_one_sentence(path):
                return _attempt(ask, path, subject, progress)
        except _DroppedError as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures == ATTEMPTS:
                raise KaggleError(
                    f"The connection to {subject.endpoint.url} dropped while {path.name} was being downloaded; run "
                    "the same command again to go on from there."
                ) from error
            time.sleep(2.0 ** (failures - 1))


def _attempt(ask: Callable[[], requests.Response], path: Path, subject: Subject, progress: Progress) -> Origin:
    # Not the official download_file: it reports no progress, appends without looking at Content-Range, and never
    # flushes to disk.
    part = _part(path)
    note = path.with_name(path.name + ".origin.json")
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
            _write(note, origin)
        _must_fit(path, origin, start)
        if start != origin.size:
            _stream(response, part, start, origin.size, progress)
    finally:
        response.close()

    size = _size(part)
    if origin.size is not None and size != origin.size:
        part.unlink()
        raise KaggleError(
            f"{path.name} came with {size} bytes instead of the {origin.size} that were promised; run the same "
            "command again."
        )
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
    if rest.status_code == 206 and rest.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        whole.close()
        return rest, start
    rest.close()
    return whole, 0


def _stream(response: requests.Response, part: Path, start: int, total: int | None, progress: Progress) -> None:
    import requests

    done = start
    progress(done, total)
    try:
        with part.open("ab") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    except requests.RequestException as error:
        raise _DroppedError from error


def _must_be_data(response: requests.Response, subject: Subject) -> None:
    if response.status_code >= 400:
        raise refusal(response, subject)
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise not_data(subject)


def _must_fit(path: Path, origin: Origin, start: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if origin.size is not None and origin.size - start > free:
        raise DataError(
            f"{path.name} needs {(origin.size - start) / 1e9:.2f} GB and {path.parent} has {free / 1e9:.2f} GB free; "
            "make room and run the same command again."
        )


def _origin(response: requests.Response) -> Origin:
    length = response.headers.get("Content-Length", "")
    # an encoded body is unpacked on the way, so its length says nothing about the file's
    size = int(length) if length.isdecimal() and "Content-Encoding" not in response.headers else None
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    return Origin(validator if size is not None else None, size)


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
