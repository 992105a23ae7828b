"""The kinds of archive: zip, tar with any of its compressions, 7z. Nobody vouches for what is in one.

Names and kinds of the members are checked before the first byte is written, and their announced sizes against the free
space; while writing, no member gets more room than it announced.
"""

from __future__ import annotations

import re
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Literal

from comp.errors import CompError, DataError
from comp.kaggle.progress import amount

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["zip", "tar", "7z"]

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without any
SEVEN_ZIP_STARTS = b"7z\xbc\xaf\x27\x1c"
ZIP_END = (1 << 16) + 98  # bytes: the largest comment, and the records before it
TAR_BLOCK = 512  # bytes
CHUNK_BYTES = 1 << 20


class DamagedError(DataError):
    """An archive is not what was packed; another copy of it may be."""


def kind_of(path: Path) -> Kind | None:
    """What kind of archive the bytes of ``path`` are, whatever its name; None if they are none."""
    with path.open("rb") as file:
        start = file.read(len(SEVEN_ZIP_STARTS))
    if start == SEVEN_ZIP_STARTS:
        return "7z"
    if start.startswith(ZIP_STARTS):
        return "zip"
    try:
        # Before asking for zip's directory, which is looked for at the end: there a tar may hold a zip.
        if tarfile.is_tarfile(path):
            return "tar"
    except Exception:  # compressed, and damaged
        return "tar"
    return "zip" if zipfile.is_zipfile(path) else None


def unpack(archive: Path, kind: Kind, folder: Path) -> list[str]:
    """Write what ``archive`` holds to ``folder``; what a person should know of it, a line each.

    A failure leaves part of it there.

    Raises:
        DamagedError: it can't be read to its end, or a checksum in it is wrong.
        DataError: a member would leave the folder, is a link or a device, or there is too little room.
        OSError: the disk is full, or refuses.
    """
    try:
        return {"zip": _unpack_zip, "tar": _unpack_tar, "7z": _unpack_7z}[kind](archive, folder)
    except CompError:
        raise
    except Exception as error:
        # What the disk says has a number; what a decoder says of bad bytes has none, and may be of any class.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedError(
            f"{archive.name} is damaged or of a kind that can't be read ({_said(error)}); run the same command again "
            "to download it anew."
        ) from error


def _unpack_zip(archive: Path, folder: Path) -> list[str]:
    with zipfile.ZipFile(archive) as source:
        members = source.infolist()
        _must_be_all(archive, len(members))
        # A backslash comes from Windows tools that take it for the slash that the format asks for.
        names = [member.filename.replace("\\", "/") for member in members]
        for member, name in zip(members, names, strict=True):
            _must_stay_inside(archive, name)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _refused(archive, name, "is a link")
            if name.endswith("/") and member.file_size:
                raise _refused(archive, name, "is a folder with content")
        _must_fit(archive, (member.file_size for member in members), folder)
        doubled = _Names(archive)
        for member, name in zip(members, names, strict=True):
            place = _place(folder, name)
            if name.endswith("/"):
                place.mkdir(parents=True, exist_ok=True)
                continue
            doubled.add(place)
            with source.open(member) as content:
                _write(content, place, member.file_size)
    return doubled.notes


def _must_be_all(archive: Path, found: int) -> None:
    """zipfile doesn't compare the length of the directory it read with the number of files at the archive's end."""
    with archive.open("rb") as file:
        file.seek(-min(archive.stat().st_size, ZIP_END), 2)
        end = file.read()
    at = end.rfind(b"PK\x05\x06")
    announced = int.from_bytes(end[at + 10 : at + 12], "little")
    if announced == 0xFFFF and (large := end.rfind(b"PK\x06\x06", 0, at)) >= 0:
        announced = int.from_bytes(end[large + 32 : large + 40], "little")
    # Writers that know no zip64 count on from zero.
    if announced not in {found, found % 0x10000}:
        raise zipfile.BadZipFile(f"its directory lists {found} of {announced} files")


def _unpack_tar(archive: Path, folder: Path) -> list[str]:
    with tarfile.open(archive) as source:
        members, free = [], shutil.disk_usage(folder).free
        for member in source:
            _must_stay_inside(archive, member.name)
            if not (member.isfile() or member.isdir()):
                raise _refused(archive, member.name, "is a link or a device")
            members.append(member)
            # At once, because the next member may lie behind terabytes of zeros.
            free -= member.size
            if free < 0:
                _must_fit(archive, (member.size for member in members), folder)
        _must_have_ended(source)
        doubled = _Names(archive)
        for member in members:
            place = _place(folder, member.name)
            content = source.extractfile(member)
            if content is None:
                place.mkdir(parents=True, exist_ok=True)
                continue
            doubled.add(place)
            with content:
                _write(content, place, member.size)
    return doubled.notes


def _must_have_ended(source: tarfile.TarFile) -> None:
    """tarfile takes a damaged header for the end, and never reads to where compression keeps its checksum."""
    file = source.fileobj
    assert file is not None
    file.seek(source.offset)
    if file.read(TAR_BLOCK) != bytes(TAR_BLOCK):
        raise tarfile.ReadError("it ends without an end mark")
    while file.read(CHUNK_BYTES):
        pass


def _unpack_7z(archive: Path, folder: Path) -> list[str]:
    import py7zr

    # By the open file, not by its name, so that no threads of py7zr's outlive an interrupt.
    with archive.open("rb") as file, py7zr.SevenZipFile(file) as source:
        members = list(source.files)
        for member in members:
            _must_stay_inside(archive, member.filename)
            if member.is_symlink or member.is_junction or member.is_socket:
                raise _refused(archive, member.filename, "is a link or a device")
        sizes = [member.uncompressed for member in members]
        _must_fit(archive, sizes, folder)
        source.max_extract_size = sum(sizes)
        doubled = _Names(archive)
        for member in members:
            if not member.is_directory:
                doubled.add(_place(folder, member.filename))
        if doubled.notes:
            raise _refused(archive, doubled.first, "is in it more than once")
        source.extractall(folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return []


class _Names:
    """The files that an archive holds, to notice one that is in it twice."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._places: set[Path] = set()
        self._doubled: set[Path] = set()
        self.first = ""

    def add(self, place: Path) -> None:
        if place in self._places:
            self.first = self.first or place.name
            self._doubled.add(place)
        self._places.add(place)

    @property
    def notes(self) -> list[str]:
        if not self._doubled:
            return []
        count = f"{len(self._doubled)} files" if len(self._doubled) > 1 else "a file"
        return [f"{self._archive.name} holds {count} more than once, like {self.first}; the last one was taken"]


def _write(content: IO[bytes], place: Path, announced: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with place.open("wb") as file:
        while chunk := content.read(CHUNK_BYTES):
            written += len(chunk)
            if written > announced:
                break
            file.write(chunk)
    if written != announced:
        raise zipfile.BadZipFile(f"{place.name} has not the {announced} bytes that it announces")


def _place(folder: Path, name: str) -> Path:
    return folder.joinpath(*(part for part in name.split("/") if part not in {"", "."}))


def _must_stay_inside(archive: Path, name: str) -> None:
    slashed = name.replace("\\", "/")
    if not name or "\0" in name or slashed.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _refused(archive, name, "is not a path inside a folder")
    if ".." in PurePosixPath(slashed).parts:
        raise _refused(archive, name, "leads out of the folder")


def _refused(archive: Path, name: str, why: str) -> DataError:
    return DataError(f"{archive.name} is refused, nothing was unpacked: {name!r} in it {why}.")


def _must_fit(archive: Path, sizes: Iterable[int], folder: Path) -> None:
    needed, free = sum(sizes), shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{archive.name} unpacks to {amount(needed)} and {folder.parent} has {amount(free)} free; make "
            "room and run the same command again."
        )


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
