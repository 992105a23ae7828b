"""Unpack Kaggle's archives and the archives inside them: all of it or nothing, and nothing outside the folder.

Archives may be zip, tar with any of its compressions, or 7z. They are not trusted: the names and kinds of members are
checked before the first byte is written, and their announced sizes against the free space; no member is written beyond
its announced size. Symbolic links and absolute paths are refused; tarfile's "data" filter would let some of them pass.
"""

from __future__ import annotations

import io
import re
import shutil
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from comp.declare.labels.files import walked
from comp.errors import CompError, DataError, counted
from comp.kaggle.downloads import must_fit
from comp.kaggle.parts import DEFLATE64, PART, Deflate64File, join_parts

Kind = Literal["zip", "tar", "7z"]

NESTED_SUFFIXES = (".zip", ".7z", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
DEEPEST_NESTING = 5
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without any
SEVEN_ZIP_STARTS = b"7z\xbc\xaf\x27\x1c"
UTF8_FLAG, LOCKED_FLAG = 0x800, 0x1  # a zip member's flags: its name is UTF-8, its content needs a password
ZIP_END = (1 << 16) + 98  # bytes: the largest comment, and the records before it
TAR_BLOCK = 512  # bytes
CHUNK_BYTES = 1 << 20
BY_HAND = "unpack it yourself, without what doesn't belong there, and link its folder with `comp new NAME --data DIR`"


class DamagedError(DataError):
    """An archive is damaged; downloading it again may help."""


class LockedError(DataError):
    """An archive needs a password, or is packed by a method that Python can't read."""


def extract(archive: Path, folder: Path, reserved: Collection[str] = ()) -> list[str]:
    """Unpack ``archive`` into ``folder``, and replace each archive inside it by that archive's content.

    An inner archive is unpacked into the folder that holds it: ``train.zip`` with ``train/cat.0.jpg`` becomes
    ``train/cat.0.jpg``. If it holds several things, or one whose name is taken, they go into a folder of the
    archive's name. A file alone in a folder of the same name (``train_v2.csv/train_v2.csv``) replaces the folder.
    If ``archive`` is no archive, it is copied. Files in ``folder`` with the same names are replaced.

    Everything happens in a hidden folder beside ``folder`` first: a failure leaves ``folder`` as it was. No file at the
    top may have one of the ``reserved`` names. Returns notes about the archive for the user, a line each.

    Raises:
        DamagedError: the archive, or one in it, is damaged.
        DataError: the archive would write outside ``folder``, holds links, or doesn't fit on the disk.
    """
    with _staged(archive, folder, reserved) as (staging, notes):
        if kind := kind_of(archive):
            notes += unpack(archive, kind, staging)
        else:
            shutil.copyfile(archive, staging / archive.name)
    return notes


def link(source: Path, folder: Path, reserved: Collection[str] = ()) -> list[str]:
    """Link the files of the folder ``source`` into ``folder``, laid out as `extract` would leave them.

    A folder is linked as a whole where nothing in it has to move; archives are unpacked. Nothing in ``source`` is
    changed. Arguments, returns and raises as `extract`.
    """
    with _staged(source, folder, reserved) as (staging, notes):
        _mirror(source.absolute(), staging)
    return notes


def kind_of(path: Path) -> Kind | None:
    """The kind of the archive ``path``, read from its bytes, not from its name; None for any other file."""
    with path.open("rb") as file:
        start = file.read(len(SEVEN_ZIP_STARTS))
    if start == SEVEN_ZIP_STARTS:
        return "7z"
    if start.startswith(ZIP_STARTS):
        return "zip"
    try:
        # Before the zip test, which looks at the file's end: a tar may hold a zip there.
        if tarfile.is_tarfile(path):
            return "tar"
    except Exception:  # a damaged compressed tar
        return "tar"
    return "zip" if zipfile.is_zipfile(path) else None


def unpack(archive: Path, kind: Kind, folder: Path) -> list[str]:
    """Write the archive's members to ``folder``; as `extract`, but a failure leaves part of them there.

    Raises OSError, too: the disk is full, or can't be written.
    """
    listed: dict[Kind, Callable[[Any], Iterator[_Member]]] = {"zip": _in_zip, "tar": _in_tar, "7z": _in_7z}
    try:
        with archive.open("rb") as file, _opened(file, kind) as source:
            members = list(_checked(archive, kind, listed[kind](source), folder))
            places = Counter(_place(folder, member.name) for member in members if not member.is_folder)
            twice = [place.name for place, count in places.items() if count > 1]
            if kind != "7z":
                for member in members:
                    _write(member, _place(folder, member.name))
            elif not twice:
                source.max_extract_size = sum(member.size for member in members)
                source.extractall(folder)
                allowed = folder.stat().st_mode & 0o777  # by the user's umask
                for path in folder.rglob("*"):
                    path.chmod(allowed if path.is_dir() else allowed & 0o666)
    except CompError:
        raise
    except Exception as error:
        # A disk error has an errno; a decoder's error about bad bytes has none, and may be of any class.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if type(error).__name__ == "PasswordRequired":  # py7zr's, where the list of files is encrypted
            raise _locked(archive) from error
        if isinstance(error, NotImplementedError) or type(error).__name__ == "UnsupportedCompressionMethodError":
            raise _locked(archive, "is packed by a method that 7-Zip reads, not Python") from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedError(
            f"{archive.name} is damaged or of a kind that can't be read ({reason}); run the same command again to "
            "download it anew."
        ) from error
    if not twice:
        return []
    if kind == "7z":
        raise _refused(archive, twice[0], "is in it more than once")
    return [
        f"{archive.name} holds {counted(len(twice), 'file')} more than once, like {twice[0]}; the last one was taken"
    ]


@dataclass(frozen=True)
class _Member:
    """A file or folder in an archive: its announced size in bytes, why it is refused if it is, how to open it."""

    name: str
    size: int
    is_folder: bool
    refused: str
    open: Callable[[], IO[bytes] | io.BufferedIOBase | None] = lambda: None


def _opened(file: IO[bytes], kind: Kind) -> Any:
    if kind == "zip":
        return zipfile.ZipFile(file)
    if kind == "tar":
        return tarfile.open(fileobj=file)
    import py7zr  # not installed in Kaggle's notebooks

    # The open file, not its name, so that no threads of py7zr outlive an interrupt.
    return py7zr.SevenZipFile(file)


def _in_zip(source: zipfile.ZipFile) -> Iterator[_Member]:
    members = source.infolist()
    _must_be_all(source, len(members))
    if any(member.flag_bits & LOCKED_FLAG for member in members):
        raise _locked(Path(source.filename or ""))
    for member in members:
        # Some Windows tools write backslashes where the format asks for slashes.
        member.filename = _name_in_zip(member).replace("\\", "/")
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        wrong = "is a link" if is_link else "is a folder with content" if member.is_dir() and member.file_size else ""
        opens = partial(Deflate64File, source) if member.compress_type == DEFLATE64 else source.open
        yield _Member(member.filename, member.file_size, member.is_dir(), wrong, partial(opens, member))


def _name_in_zip(member: zipfile.ZipInfo) -> str:
    """A member's name; a name that isn't marked as UTF-8 is often UTF-8 all the same, otherwise cp437."""
    if member.flag_bits & UTF8_FLAG:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _must_be_all(source: zipfile.ZipFile, found: int) -> None:
    """Raise BadZipFile unless the directory lists as many files as the archive's end says; zipfile doesn't check."""
    assert source.fp is not None
    source.fp.seek(-min(source.fp.seek(0, 2), ZIP_END), 2)
    end = source.fp.read()
    at = end.rfind(b"PK\x05\x06")
    announced = int.from_bytes(end[at + 10 : at + 12], "little")
    if announced == 0xFFFF and (large := end.rfind(b"PK\x06\x06", 0, at)) >= 0:
        announced = int.from_bytes(end[large + 32 : large + 40], "little")
    # In an archive of a writer without zip64, the count overflows at 65,536.
    if announced not in {found, found % 0x10000}:
        raise zipfile.BadZipFile(f"its directory lists {found} of {announced} files")


def _in_tar(source: tarfile.TarFile) -> Iterator[_Member]:
    files: dict[Path, tarfile.TarInfo] = {}
    for member in source:
        # A hard link is another name of an earlier file.
        content = files.get(_place(Path(), member.linkname), member) if member.islnk() else member
        wrong = "" if content.isfile() or content.isdir() else "is a link or a device"
        if content.isfile():
            files[_place(Path(), member.name)] = content
        yield _Member(member.name, content.size, member.isdir(), wrong, partial(source.extractfile, content))
    # tarfile takes a damaged header for the end, and never reads up to the compression's checksum.
    file = source.fileobj
    assert file is not None
    file.seek(source.offset)
    if file.read(TAR_BLOCK) != bytes(TAR_BLOCK):
        raise tarfile.ReadError("it ends without an end mark")
    while file.read(CHUNK_BYTES):
        pass


def _in_7z(source: Any) -> Iterator[_Member]:
    if source.needs_password():
        raise _locked(Path(source.filename or ""))
    for member in source.files:
        wrong = "is a link or a device" if member.is_symlink or member.is_junction or member.is_socket else ""
        yield _Member(member.filename, member.uncompressed, member.is_directory, wrong)


def _checked(archive: Path, kind: Kind, members: Iterable[_Member], folder: Path) -> Iterator[_Member]:
    """Yield the members; raise DataError at the first that may not be written."""
    total = 0
    for member in members:
        slashed = member.name.replace("\\", "/")
        if not slashed or "\0" in slashed or slashed.startswith("/") or re.match(r"[A-Za-z]:", slashed):
            raise _refused(archive, member.name, "is not a path inside a folder")
        if ".." in PurePosixPath(slashed).parts:
            raise _refused(archive, member.name, "leads out of the folder")
        if member.refused:
            raise _refused(archive, member.name, member.refused)
        total += member.size
        if kind == "tar":  # per member: the next one may lie behind terabytes of zeros
            must_fit(f"{archive.name} unpacks to at least", total, folder.parent)
        yield member
    must_fit(f"{archive.name} unpacks to", total, folder.parent)


def _refused(archive: Path, name: str, why: str) -> DataError:
    return DataError(f"{archive.name} is refused, nothing was unpacked: {name!r} in it {why}; {BY_HAND}.")


def _locked(archive: Path, why: str = "is protected by a password") -> LockedError:
    return LockedError(f"{archive.name} {why}; {BY_HAND}.")


def _place(folder: Path, name: str) -> Path:
    return folder.joinpath(*(part for part in name.split("/") if part not in {"", "."}))


def _write(member: _Member, place: Path) -> None:
    (place if member.is_folder else place.parent).mkdir(parents=True, exist_ok=True)
    if member.is_folder or (content := member.open()) is None:
        return
    written = 0
    with content, place.open("wb") as file:
        while chunk := content.read(CHUNK_BYTES):
            written += len(chunk)
            if written > member.size:
                break
            file.write(chunk)
    if written != member.size:
        raise zipfile.BadZipFile(f"{place.name} doesn't have the {member.size} bytes that it announces")


@contextmanager
def _staged(source: Path, folder: Path, reserved: Collection[str]) -> Iterator[tuple[Path, list[str]]]:
    """A hidden folder beside ``folder``, and a list for notes.

    If the block ends without an error, archives in the hidden folder are unpacked, and its content is moved into
    ``folder``.
    """
    staging, notes = folder.with_name(f".{folder.name}.partial"), list[str]()
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging, notes
        notes += _unpack_nested(staging, depth=1)
        _lift_lone_files(staging)
        for name in reserved:
            if (staging / name).exists():
                raise DataError(f"{source.name} holds {name}, a name that comp keeps for itself; {BY_HAND}.")
        folder.mkdir(parents=True, exist_ok=True)
        _move_into(staging, folder)
    except OSError as error:
        raise DataError(
            f"{source.name} can't be unpacked into {folder}: {error.strerror or error}; mend that and run the same "
            "command again."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _mirror(source: Path, folder: Path) -> None:
    """Link everything in ``source`` into ``folder``; a folder in which something will move becomes a real one."""
    opened = {source}
    for base, folders, files in walked(source):
        packed = any(name.lower().endswith(NESTED_SUFFIXES) or PART.fullmatch(name) for name in files)
        if packed or (not folders and files == [Path(base).name]):
            place = Path(base)
            while place not in opened:
                opened.add(place)
                place = place.parent
    for place in sorted(opened):
        mirrored = folder / place.relative_to(source)
        mirrored.mkdir(exist_ok=True)
        for thing in place.iterdir():
            if thing not in opened and thing.name[0] != ".":
                (mirrored / thing.name).symlink_to(thing)


def _unpack_nested(folder: Path, depth: int) -> list[str]:
    notes = []
    join_parts(folder)
    for archive in sorted(path for path in folder.rglob("*") if path.name.lower().endswith(NESTED_SUFFIXES)):
        kind = kind_of(archive) if archive.is_file() else None
        if kind is None:
            continue
        if depth > DEEPEST_NESTING:
            raise DataError(f"{archive.name} lies {depth} archives deep; {BY_HAND}.")
        inner = archive.with_name(f".{archive.name}.partial")
        inner.mkdir()
        try:
            notes += unpack(archive, kind, inner)
        except LockedError as error:
            shutil.rmtree(inner)
            notes.append(f"left as it is: {error}")
            continue
        archive.unlink()
        notes += _unpack_nested(inner, depth + 1)
        _lift_lone_files(inner)
        things = list(inner.iterdir())
        place = archive.parent
        if len(things) != 1 or (place / things[0].name).exists():
            suffix = next(suffix for suffix in NESTED_SUFFIXES if archive.name.lower().endswith(suffix))
            place /= archive.name[: -len(suffix)] or archive.name
            place.mkdir(exist_ok=True)
            _open_link(place)
        for thing in things:
            if (place / thing.name).exists():
                raise DataError(f"{archive.name} holds {thing.name}, which is there already; {BY_HAND}.")
            thing.replace(place / thing.name)
        inner.rmdir()
    return notes


def _lift_lone_files(folder: Path) -> None:
    """Replace each folder with only a file of its own name by that file; some of Kaggle's listings have them."""
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
        if thing.is_dir() and place.is_dir():
            _open_link(thing)
            _open_link(place)
            _move_into(thing, place)
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        elif thing.is_dir():
            place.unlink(missing_ok=True)
        thing.replace(place)


def _open_link(folder: Path) -> None:
    """Replace a link to a folder by a folder of links, so that the linked folder is never changed."""
    if folder.is_symlink():
        things = list(folder.resolve().iterdir())
        folder.unlink()
        folder.mkdir()
        for thing in things:
            (folder / thing.name).symlink_to(thing)
