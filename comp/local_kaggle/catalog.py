"""The folders of a directory as competitions and data sets, each with its files and one archive of them."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from comp.errors import DataError

ANSWERS = ".answers"
TEAMS = "teams"
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)
_LARGEST_DIGESTED_BYTES = 1 << 30


@dataclass(frozen=True)
class CatalogFile:
    """A listed file: its path inside the entry, its size in bytes, its date in naive UTC.

    path: on disk; None for a member of an archive that is the folder's only file.
    """

    name: str
    size: int
    date: dt.datetime
    path: Path | None = None


class Catalog:
    """The entries of a served directory. A context manager: archives that it makes are in a temporary folder.

    Every folder whose name is a slug is served as a competition and, under any owner, as a data set. Names that begin
    with a dot are not served, nor are links into ``.answers``.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"There is no folder {root} to serve; name one that holds a folder for each competition.")
        self.root = root
        self._hidden = (root / ANSWERS).resolve()
        self._made = Path(tempfile.mkdtemp(prefix="comp-serve-"))
        self._making = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._made, ignore_errors=True)

    def slugs(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if self.has(path.name))

    def has(self, slug: str) -> bool:
        folder = self.root / slug
        return bool(_SLUG.fullmatch(slug)) and folder.is_dir() and not self._is_hidden(folder)

    def contents(self, slug: str) -> list[Path]:
        """The visible files and folders directly in an entry."""
        return sorted(path for path in (self.root / slug).iterdir() if not self._is_hidden(path))

    def answers(self, slug: str) -> Path | None:
        """The hidden answers, for grading only."""
        path = self._hidden / f"{slug}.csv"
        return path if self.has(slug) and path.is_file() else None

    def facts(self, slug: str) -> dict[str, str]:
        """The title, the description and the metric in Kaggle's words, if the hidden folder has them."""
        try:
            content = json.loads((self._hidden / f"{slug}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {name: str(value) for name, value in content.items()} if isinstance(content, dict) else {}

    def teams(self, slug: str) -> list[Path]:
        """Submissions of other teams, hidden like the answers; each file is named after its team."""
        return sorted((self._hidden / TEAMS / slug).glob("*.csv"))

    def files(self, slug: str) -> list[CatalogFile]:
        """Every visible file, sorted by name; the archive's members if the folder holds just an archive."""
        own = self._own_archive(slug)
        found = _inside(own) if own is not None else self._on_disk(self.root / slug)
        return sorted(found, key=lambda file: file.name)

    def file(self, slug: str, name: str) -> Path | None:
        """The path on disk of a listed file; None if it isn't listed."""
        found = next((file for file in self.files(slug) if file.name == name), None)
        own = self._own_archive(slug)
        if found is None or found.path is not None or own is None:
            return found.path if found else None

        def extract(path: Path) -> None:
            with zipfile.ZipFile(own) as source, source.open(name) as member, path.open("wb") as out:
                shutil.copyfileobj(member, out)

        when = own.stat().st_mtime_ns
        return self._once(_digest(slug, name, str(when)), when, extract)

    def archive(self, slug: str) -> Path:
        """The whole entry as one zip: the folder's own ``<slug>.zip`` if that is all it holds, or one made here.

        The latter is uncompressed and has the same bytes and date for the same files, so that an interrupted download
        can be resumed after a restart of the server.
        """
        if own := self._own_archive(slug):
            return own
        members = [(file.name, file.path, file.path.stat()) for file in self.files(slug) if file.path]

        def pack(path: Path) -> None:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
                for name, source, stat in members:
                    info = zipfile.ZipInfo(name, _EPOCH_OF_ZIP)
                    info.file_size = stat.st_size  # zipfile must know of files over 4 GB in advance
                    info.external_attr = 0o644 << 16
                    with source.open("rb") as read, out.open(info, "w") as write:
                        shutil.copyfileobj(read, write, 1 << 20)

        digest = _digest(slug, *(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, _, stat in members))
        return self._once(f"{digest}.zip", max((stat.st_mtime_ns for _, _, stat in members), default=0), pack)

    def md5(self, path: Path) -> str | None:
        """The MD5 of a file, in base64; None for a large file, for which it would take long."""
        facts = path.stat()
        return _md5_of(path, facts.st_mtime_ns) if facts.st_size <= _LARGEST_DIGESTED_BYTES else None

    def _own_archive(self, slug: str) -> Path | None:
        match self.contents(slug):
            case [only] if only.name == f"{slug}.zip" and only.is_file() and zipfile.is_zipfile(only):
                return only
        return None

    def _once(self, name: str, when_ns: int, write: Callable[[Path], None]) -> Path:
        """The file of this name in the temporary folder, written with this date unless it is there."""
        path = self._made / name
        with self._making:
            if not path.exists():
                beside = path.with_name(f"{name}.part")
                write(beside)
                os.utime(beside, ns=(when_ns, when_ns))
                beside.replace(path)
        return path

    def _on_disk(self, folder: Path) -> Iterator[CatalogFile]:
        for base, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for path in (Path(base, name) for name in names):
                if path.is_file() and not self._is_hidden(path):
                    stat = path.stat()
                    name = path.relative_to(folder).as_posix()
                    yield CatalogFile(name, stat.st_size, _naive_utc(stat.st_mtime), path)

    def _is_hidden(self, path: Path) -> bool:
        leads_to_answers = path.is_symlink() and path.resolve().is_relative_to(self._hidden)
        return path.name.startswith(".") or leads_to_answers


def _inside(archive: Path) -> Iterator[CatalogFile]:
    date = _naive_utc(archive.stat().st_mtime)
    with zipfile.ZipFile(archive) as source:
        for info in source.infolist():
            if not info.is_dir() and not any(part.startswith(".") for part in info.filename.split("/")):
                yield CatalogFile(info.filename, info.file_size, date)


@lru_cache
def _md5_of(path: Path, _changed_ns: int) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return base64.b64encode(digest).decode()


def _digest(*facts: str) -> str:
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]


def _naive_utc(timestamp: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(timestamp, dt.UTC).replace(tzinfo=None)
