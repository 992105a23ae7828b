"""The folders of a directory, as competitions and data sets with files and one whole archive each."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
import re
import shutil
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

ANSWERS = ".answers"
RIVALS = "rivals"
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)
_LARGEST_DIGESTED_BYTES = 1 << 30


@dataclass(frozen=True)
class CatalogFile:
    """A file as it is listed: its path inside the entry with ``/``, its size in bytes, its date in naive UTC."""

    name: str
    size: int
    date: dt.datetime


@dataclass(frozen=True)
class _Member:
    """A file on disk, or one inside the archive that stands for the folder."""

    listed: CatalogFile
    path: Path | None


class Catalog:
    """What a directory serves. A context manager: archives it has to make live in a temporary folder until it ends.

    Every folder whose name is a slug can be asked for as a competition or, under any owner, as a data set. Names that
    begin with a dot are served by nobody, nor is anything that a link leads to in ``.answers``.

    Raises:
        DataError: there is no such directory.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"There is no folder {root} to serve; name one that holds a folder for each competition.")
        self.root = root
        self._hidden = (root / ANSWERS).resolve()
        self._made = Path(tempfile.mkdtemp(prefix="comp-serve-"))
        self._making = threading.Lock()
        self._revised: dict[str, Path] = {}
        self._md5s: dict[tuple[Path, int, int], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._made, ignore_errors=True)

    def slugs(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if self.has(path.name))

    def has(self, slug: str) -> bool:
        folder = self.root / slug
        return bool(_SLUG.fullmatch(slug)) and folder.is_dir() and not self._is_hidden(folder)

    def things(self, slug: str) -> list[Path]:
        """The files and folders right in an entry that anybody may see."""
        return sorted(
            path for path in (self.root / slug).iterdir() if not path.name.startswith(".") and not self._is_hidden(path)
        )

    def answers(self, slug: str) -> Path | None:
        """The hidden answers, for grading only."""
        path = self.root / ANSWERS / f"{slug}.csv"
        return path if self.has(slug) and path.is_file() else None

    def unanswered(self) -> list[str]:
        """The competitions that nothing can be graded of: entries with a sample submission and no hidden answers."""
        return [slug for slug in self.slugs() if self.answers(slug) is None and self._has_sample(slug)]

    def rivals(self, slug: str) -> list[Path]:
        """Submissions of other teams, hidden like the answers; each is named for its team."""
        return sorted((self._hidden / RIVALS / slug).glob("*.csv"))

    def files(self, slug: str) -> list[CatalogFile]:
        """Every visible file, sorted by name; of a folder that is one archive, what the archive holds."""
        return [member.listed for member in self._members(slug).values()]

    def file(self, slug: str, name: str) -> Path | None:
        """Where the bytes of a listed file are, or None if it isn't listed."""
        member = self._members(slug).get(name)
        if member is None or member.path is not None:
            return None if member is None else member.path
        archive = self._own_archive(slug)
        if archive is None:
            return None
        with self._making:
            path = self._made / _digest(slug, name, str(archive.stat().st_mtime_ns))
            if not path.exists():
                beside = path.with_name(path.name + ".part")
                with zipfile.ZipFile(archive) as source, source.open(name) as member_file, beside.open("wb") as out:
                    shutil.copyfileobj(member_file, out)
                _date_like(archive, beside)
                beside.replace(path)
            return path

    def archive(self, slug: str) -> Path:
        """The whole entry as one zip: the folder's own ``<slug>.zip`` if that is all it holds, else one made here.

        A made one is stored uncompressed, the same bytes and date for the same files, so that a download that was cut
        can be resumed after the server was started anew.
        """
        if slug in self._revised:
            return self._revised[slug]
        own = self._own_archive(slug)
        if own is not None:
            return own
        with self._making:
            members = [(member.listed.name, member.path) for member in self._members(slug).values() if member.path]
            facts = [(name, path, path.stat()) for name, path in members]
            digest = _digest(slug, *(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, _, stat in facts))
            path = self._made / f"{digest}.zip"
            if not path.exists():
                beside = path.with_name(path.name + ".part")
                with zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as out:
                    for name, source, stat in facts:
                        info = zipfile.ZipInfo(name, _EPOCH_OF_ZIP)
                        info.file_size = stat.st_size  # zipfile must know of files over 4 GB beforehand
                        info.external_attr = 0o644 << 16
                        with source.open("rb") as read, out.open(info, "w") as write:
                            shutil.copyfileobj(read, write, 1 << 20)
                newest = max((stat.st_mtime_ns for _, _, stat in facts), default=0)
                os.utime(beside, ns=(newest, newest))
                beside.replace(path)
            return path

    def revise(self, slug: str) -> None:
        """Serve another version of the archive from now on: with a file more at its beginning, so that every byte
        after it lies elsewhere."""
        before = self.archive(slug)
        path = self._made / f"{before.stem}-revised.zip"
        with zipfile.ZipFile(before) as source, zipfile.ZipFile(path, "w") as out:
            out.writestr(zipfile.ZipInfo("VERSION", _EPOCH_OF_ZIP), "another\n")
            for member in source.infolist():
                out.writestr(member, source.read(member))
        self._revised[slug] = path

    def md5(self, path: Path) -> str | None:
        """The MD5 of a file, in base64; None of one so large that asking for it would take long."""
        facts = path.stat()
        if facts.st_size > _LARGEST_DIGESTED_BYTES:
            return None
        key = (path, facts.st_size, facts.st_mtime_ns)
        if key not in self._md5s:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
            self._md5s[key] = base64.b64encode(digest).decode()
        return self._md5s[key]

    def _own_archive(self, slug: str) -> Path | None:
        visible = [path for path in (self.root / slug).iterdir() if not path.name.startswith(".")]
        alone = len(visible) == 1 and visible[0].name == f"{slug}.zip" and visible[0].is_file()
        return visible[0] if alone and not self._is_hidden(visible[0]) and zipfile.is_zipfile(visible[0]) else None

    def _has_sample(self, slug: str) -> bool:
        return any("sample_submission" in name for name in self._members(slug))

    def _members(self, slug: str) -> dict[str, _Member]:
        own = self._own_archive(slug)
        found = self._inside(own) if own is not None else self._on_disk(self.root / slug)
        return {member.listed.name: member for member in sorted(found, key=lambda member: member.listed.name)}

    def _inside(self, archive: Path) -> Iterator[_Member]:
        date = _naive_utc(archive.stat().st_mtime)
        with zipfile.ZipFile(archive) as source:
            for info in source.infolist():
                if not info.is_dir() and not any(part.startswith(".") for part in info.filename.split("/")):
                    yield _Member(CatalogFile(info.filename, info.file_size, date), None)

    def _on_disk(self, folder: Path) -> Iterator[_Member]:
        for base, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(base, name)
                if not name.startswith(".") and path.is_file() and not self._is_hidden(path):
                    stat = path.stat()
                    listed = CatalogFile(path.relative_to(folder).as_posix(), stat.st_size, _naive_utc(stat.st_mtime))
                    yield _Member(listed, path)

    def _is_hidden(self, path: Path) -> bool:
        return path.is_symlink() and path.resolve().is_relative_to(self._hidden)


def _digest(*facts: str) -> str:
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:32]


def _date_like(model: Path, path: Path) -> None:
    when = model.stat().st_mtime_ns
    os.utime(path, ns=(when, when))


def _naive_utc(timestamp: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(timestamp, dt.UTC).replace(tzinfo=None)
