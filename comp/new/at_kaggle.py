"""Look at what Kaggle lists, without downloading the images."""

from __future__ import annotations

import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import requests
from remotezip import RemoteZip, RemoteZipError

from comp.declare.labels.files import READ_BY
from comp.errors import CredentialsError, KaggleError
from comp.kaggle.archives import NESTED_SUFFIXES
from comp.kaggle.client import CompetitionFacts, Kaggle, RemoteFile
from comp.kaggle.connection import TIMEOUT_SECONDS
from comp.kaggle.failures import Say
from comp.kaggle.parts import PART
from comp.new.look import LARGEST_TABLE, Look, Told, is_image, pixels_of, tells

LARGE_TABLE = 64 << 20  # bytes above which a table's download is announced
MOST_FOLDERS = 200  # folders that Kaggle is asked to list, one by one
READ_FROM_AFAR = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
FILES_OF_A_FOLDER = 2000  # listing of a folder stops after this many files: they show how its images are called


class OpaqueError(Exception):
    """An archive whose contents can't be listed without downloading it."""


@dataclass(frozen=True)
class _Seen:
    """A file at Kaggle, by itself or in an archive.

    path: its path once unpacked. size: in bytes. archive: the address of the zip that it is a member of.
    """

    path: str
    name: str
    size: int
    archive: str | None = None


def look_at_kaggle(
    kaggle: Kaggle, slug: str, facts: CompetitionFacts, tick: Callable[[], None], say: Say, *, whole: bool = False
) -> Look:
    """A look at what Kaggle lists of a competition, and at its tables; zip archives are listed without a download.

    tick: called about once per request. say: called with lines for the user. whole: list every file, however many
    requests that takes. Raises OpaqueError for an archive that can't be listed.
    """
    listed, folders, complete = _listed(kaggle, slug, tick, whole=whole)
    names = [remote.name for remote in listed]
    if part := next(filter(PART.fullmatch, names), None):
        raise OpaqueError(part)
    packed = {name for name in names if name.lower().endswith(NESTED_SUFFIXES)}
    seen = [_Seen(remote.name, remote.name, remote.size) for remote in listed if remote.name not in packed]
    # In the order of unpacking: where a member goes depends on what other archives left.
    for name in sorted(packed, key=PurePosixPath):
        tick()
        members = _members(kaggle, slug, name, names)
        names += {"/".join(member.path.split("/")[: name.count("/") + 1]) for member in members}
        seen += members
    paths = lifted([file.path for file in seen])
    seen = [replace(file, path=path) for file, path in zip(seen, paths, strict=True)]
    with tempfile.TemporaryDirectory() as place:
        told = Told()
        for file in (file for file in seen if tells(file.path)):
            if LARGE_TABLE < file.size <= LARGEST_TABLE:
                say(f"downloading {file.path} ({file.size >> 20:,} MB) to look at it")
            told.add(file.path, file.size, partial(_downloaded, kaggle, slug, file, Path(place)))
            tick()
        images = [file for file in seen if is_image(file.path)]
        # Ordinary images first: the others can't be opened here.
        image = min(images, key=lambda file: PurePosixPath(file.path).suffix.lower() in READ_BY, default=None)
        pixels = None if image is None else pixels_of(_downloaded(kaggle, slug, image, Path(place)))
    return Look(paths, folders=folders, whole=complete, pixels=pixels, **vars(told), **asdict(facts))


def _listed(
    kaggle: Kaggle, slug: str, tick: Callable[[], None], *, whole: bool
) -> tuple[list[RemoteFile], list[str], bool]:
    """Files, folders, and whether the list is complete: folder by folder, or all files if Kaggle lists no folders."""
    files: list[RemoteFile] = []
    folders, complete = [""], True
    try:
        for number, place in enumerate([] if whole else folders):
            if files and number >= MOST_FOLDERS:
                return files, folders[1:], False
            content = kaggle.competition_folder(slug, place, at_least=FILES_OF_A_FOLDER)
            tick()
            files += content.files
            folders += content.folders
            complete = complete and content.whole
    except CredentialsError:
        raise
    except KaggleError:
        whole = True  # some competitions list files only; any other error comes up again there
    return (kaggle.competition_files(slug), [], True) if whole else (files, folders[1:], complete)


def _members(kaggle: Kaggle, slug: str, name: str, there: Sequence[str]) -> list[_Seen]:
    """The files in an archive; there: the names that unpacking it will find."""
    place = PurePosixPath(name).parent
    within = [PurePosixPath(other) for other in there if PurePosixPath(other).is_relative_to(place)]
    address = kaggle.file_address(slug, name)
    try:
        with _remote_zip(kaggle, address) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, RemoteZipError, requests.RequestException) as error:
        raise OpaqueError(name) from error
    for member in members:
        if member.compress_type not in READ_FROM_AFAR or member.filename.lower().endswith(NESTED_SUFFIXES):
            raise OpaqueError(f"{member.filename} in {name}")
    beside = {path.relative_to(place).parts[0] for path in within}
    paths = unpacked(name, [member.filename for member in members], sorted(beside))
    return [
        _Seen(path, member.filename, member.file_size, address) for path, member in zip(paths, members, strict=True)
    ]


def unpacked(archive: str, members: Sequence[str], beside: Sequence[str]) -> list[str]:
    """The paths of an archive's members once unpacked: beside it, or in a folder of its name.

    beside: the names of the files and folders beside the archive.
    """
    path = PurePosixPath(archive)
    tops = {PurePosixPath(member).parts[0] for member in members}
    apart = len(tops) != 1 or tops & set(beside)
    place = path.with_suffix("") if apart else path.parent
    return lifted([str(place / member) for member in members])


def lifted(paths: Sequence[str]) -> list[str]:
    """The paths, with ``train.csv/train.csv`` made ``train.csv`` where the file is alone, as unpacking does."""
    alone = Counter(str(PurePosixPath(path).parent) for path in paths)
    whole = []
    for path in map(PurePosixPath, paths):
        only = len(path.parts) > 1 and path.name == path.parent.name and alone[str(path.parent)] == 1
        whole.append(str(path.parent if only else path))
    return whole


def _downloaded(kaggle: Kaggle, slug: str, file: _Seen, place: Path) -> Path:
    """Download the file."""
    folder = Path(tempfile.mkdtemp(dir=place))
    if file.archive is not None:
        with _remote_zip(kaggle, file.archive) as archive:
            return Path(archive.extract(file.name, folder))
    downloaded = kaggle.download_file(slug, file.name, folder).path
    if not zipfile.is_zipfile(downloaded):
        return downloaded
    # Kaggle zips large files on the way.
    with zipfile.ZipFile(downloaded) as archive:
        return Path(archive.extract(archive.namelist()[0], folder / "unpacked"))


def _remote_zip(kaggle: Kaggle, address: str) -> RemoteZip:
    return RemoteZip(address, session=kaggle.endpoint.session(), timeout=TIMEOUT_SECONDS)
