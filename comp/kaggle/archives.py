"""Unpacking what Kaggle serves: zip and tar, archives inside archives, and nothing outside the folder."""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from comp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

NESTED_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
DEEPEST_NESTING = 5
_UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # an encrypted zip, or (NotImplementedError) a compression zipfile doesn't know
    ValueError,  # a name that no file system takes
)


def extract(archive: Path, folder: Path) -> None:
    """Unpack ``archive`` into ``folder``, archives inside it too, each in place of itself.

    An inner archive is unpacked beside where it lay: ``train.zip`` with ``train/cat.0.jpg`` becomes
    ``train/cat.0.jpg``. If it holds several things, or one whose place is taken, they go into a folder of the
    archive's name. A file alone in a folder of its own name (``train_v2.csv/train_v2.csv``) takes the folder's place.
    A file that is no archive is copied as it is. What lies in ``folder`` under the same name is replaced.

    Everything happens in a hidden folder beside ``folder`` first: a failure leaves ``folder`` as it was.

    Raises:
        DataError: the archive is damaged, would write outside ``folder``, holds links, or doesn't fit on the disk.
    """
    staging = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        if _kind(archive) is None:
            _must_fit(archive, [archive.stat().st_size], staging)
            shutil.copyfile(archive, staging / archive.name)
        else:
            _unpack(archive, staging)
        _unpack_nested(staging, depth=1)
        _lift_lone_files(staging)
        folder.mkdir(parents=True, exist_ok=True)
        _move_into(staging, folder)
    except OSError as error:
        raise DataError(
            f"{archive.name} can't be unpacked into {folder}: {error.strerror or error}; mend that and run the same "
            "command again."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        else:
            _unpack_tar(archive, folder)
    except _UNREADABLE as error:
        raise DataError(
            f"{archive.name} is damaged or of a kind that can't be read ({error}); delete it and download it again."
        ) from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as source:
        members = source.infolist()
        for member in members:
            _must_stay_inside(archive, member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _refused(archive, member.filename, "is a link")
        _must_fit(archive, (member.file_size for member in members), folder)
        source.extractall(folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as source:
        members = source.getmembers()
        for member in members:
            _must_stay_inside(archive, member.name)
            if not (member.isfile() or member.isdir()):
                raise _refused(archive, member.name, "is a link or a device")
        _must_fit(archive, (member.size for member in members), folder)
        source.extractall(folder, filter="data")


def _unpack_nested(folder: Path, depth: int) -> None:
    for archive in sorted(path for path in folder.rglob("*") if path.name.lower().endswith(NESTED_SUFFIXES)):
        if not archive.is_file() or _kind(archive) is None:
            continue
        if depth > DEEPEST_NESTING:
            raise DataError(f"{archive.name} lies {depth} archives deep; that is no competition's data.")
        inner = archive.with_name(f".{archive.name}.partial")
        inner.mkdir()
        _unpack(archive, inner)
        archive.unlink()
        _unpack_nested(inner, depth + 1)
        _lift_lone_files(inner)
        things = list(inner.iterdir())
        place = archive.parent
        if len(things) != 1 or (place / things[0].name).exists():
            place /= _without_suffix(archive.name)
            place.mkdir(exist_ok=True)
        for thing in things:
            if (place / thing.name).exists():
                raise DataError(f"{archive.name} holds {thing.name}, which is there already; unpack them by hand.")
            thing.replace(place / thing.name)
        inner.rmdir()


def _lift_lone_files(folder: Path) -> None:
    """Put ``train_v2.csv/train_v2.csv`` in place of its folder, as some of Kaggle's listings have it."""
    for outer in [path for path in folder.rglob("*") if path.is_dir()]:
        inner = outer / outer.name
        if inner.is_file() and len(list(outer.iterdir())) == 1:
            aside = outer.with_name(f".{outer.name}.partial")
            inner.replace(aside)
            outer.rmdir()
            aside.replace(outer)


def _move_into(source: Path, folder: Path) -> None:
    for thing in sorted(source.iterdir()):
        place = folder / thing.name
        if thing.is_dir() and place.is_dir() and not place.is_symlink():
            _move_into(thing, place)
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        elif place.exists() and thing.is_dir():
            place.unlink()
        thing.replace(place)


def _kind(path: Path) -> str | None:
    if zipfile.is_zipfile(path):
        return "zip"
    try:
        return "tar" if tarfile.is_tarfile(path) else None
    except (EOFError, zlib.error, lzma.LZMAError):
        return "tar"


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
            f"{archive.name} unpacks to {needed / 1e9:.2f} GB and {folder.parent} has {free / 1e9:.2f} GB free; make "
            "room and run the same command again."
        )


def _without_suffix(name: str) -> str:
    suffix = next(suffix for suffix in sorted(NESTED_SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix))
    return name[: -len(suffix)] or name
