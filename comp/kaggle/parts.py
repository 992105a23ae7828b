"""Archives that Python can't read: those in numbered parts, and zips packed by Deflate64, as Windows' Explorer does."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
import zlib
from collections import defaultdict
from copy import copy
from pathlib import Path

from comp.errors import DataError

DEFLATE64 = 9
# A numbered part of any archive, and a file of a spanned zip, which can't simply be appended to the others.
PART = re.compile(r"(?P<archive>.+\.(?:zip|7z|tar|tar\.gz|tgz))\.(?P<number>\d{3})", re.IGNORECASE)
SPANNED = re.compile(r"(?P<archive>.+)\.z\d\d", re.IGNORECASE)
CHUNK_BYTES = 1 << 16


def join_parts(folder: Path) -> None:
    """Replace ``train.zip.001``, ``train.zip.002``, … by ``train.zip``, in a folder and those below.

    Raises DataError where a part is missing, and for a spanned zip, which only zip's own tools can join.
    """
    parts: dict[Path, dict[int, Path]] = defaultdict(dict)
    for path in sorted(folder.rglob("*")):
        if match := PART.fullmatch(path.name):
            parts[path.with_name(match["archive"])][int(match["number"])] = path
        elif match := SPANNED.fullmatch(path.name):
            whole = f"{match['archive']}.zip"
            if path.with_name(whole).exists():
                raise DataError(
                    f"{whole} spans several files, like {path.name}; put them together with "
                    f"`zip -s 0 {whole} --out whole.zip` or 7-Zip, unpack that, and name its folder with --data."
                )
    for archive, found in parts.items():
        missing = sorted(set(range(1, max(found) + 1)) - set(found))
        if missing:
            raise DataError(f"{archive.name} lacks its part {archive.name}.{missing[0]:03}; put it beside the others.")
        with archive.open("wb") as whole_file:
            for number in sorted(found):
                with found[number].open("rb") as part:
                    shutil.copyfileobj(part, whole_file)
        for part_path in found.values():
            part_path.unlink()


class Deflate64File(io.BufferedIOBase):
    """A zip member packed by Deflate64, readable once from start to end.

    Raises NotImplementedError where inflate64 isn't installed, BadZipFile where its checksum is wrong.
    """

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        try:
            from inflate64 import Inflater  # not installed in Kaggle's notebooks
        except ImportError as error:
            raise NotImplementedError from error
        stored = copy(member)  # so that zipfile gives the packed bytes, and checks no checksum
        stored.compress_type, stored.file_size, stored.CRC = zipfile.ZIP_STORED, member.compress_size, None  # type: ignore[assignment]
        self._member, self._packed, self._inflater, self._checksum = member, archive.open(stored), Inflater(), 0

    def read(self, _: int | None = -1, /) -> bytes:
        """The next bytes, those of one chunk of the packed file; empty at the end."""
        while packed := self._packed.read(CHUNK_BYTES):
            if content := bytes(self._inflater.inflate(packed)):
                self._checksum = zlib.crc32(content, self._checksum)
                return content
        if self._checksum != self._member.CRC:
            raise zipfile.BadZipFile(f"the checksum of {self._member.filename} is wrong")
        return b""
