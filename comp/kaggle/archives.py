"""Unpacking what Kaggle serves: archives inside archives, all of it or nothing, and nothing outside the folder."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from comp.errors import DataError
from comp.kaggle.formats import kind_of, unpack

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

NESTED_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z")
DEEPEST_NESTING = 5


def extract(archive: Path, folder: Path, reserved: Collection[str] = ()) -> list[str]:
    """Unpack ``archive`` into ``folder``, archives inside it too, each in place of itself.

    An inner archive is unpacked beside where it lay: ``train.zip`` with ``train/cat.0.jpg`` becomes
    ``train/cat.0.jpg``. If it holds several things, or one whose place is taken, they go into a folder of the
    archive's name. A file alone in a folder of its own name (``train_v2.csv/train_v2.csv``) takes the folder's place.
    A file that is no archive is copied as it is. What lies in ``folder`` under the same name is replaced.

    Everything happens in a hidden folder beside ``folder`` first: a failure leaves ``folder`` as it was.

    Args:
        archive: of any kind that `comp.kaggle.formats` reads.
        folder: made if missing.
        reserved: names in ``folder`` that no file of the archive may have.

    Returns:
        What a person should know of the archive, a line each.

    Raises:
        DamagedError: the archive, or one in it, is damaged.
        DataError: it would write outside ``folder``, holds links, or doesn't fit on the disk.
    """
    with _staged(archive, folder, reserved) as staging:
        kind = kind_of(archive)
        if kind is None:
            shutil.copyfile(archive, staging / archive.name)
            notes = []
        else:
            notes = unpack(archive, kind, staging)
        notes += _unpack_nested(staging, depth=1)
        _lift_lone_files(staging)
    return notes


def link(source: Path, folder: Path, reserved: Collection[str] = ()) -> list[str]:
    """Let the files in the folder ``source`` lie in ``folder`` as `extract` would leave them, without a copy of them.

    They are links, of whole folders where nothing in one has to move; archives among them are unpacked. Nothing in
    ``source`` is changed. Arguments, returns and raises as `extract`.
    """
    with _staged(source, folder, reserved) as staging:
        _mirror(source.absolute(), staging)
        notes = _unpack_nested(staging, depth=1)
        _lift_lone_files(staging)
    return notes


@contextmanager
def _staged(source: Path, folder: Path, reserved: Collection[str]) -> Iterator[Path]:
    """A hidden folder beside ``folder``, whose contents are moved into that when the block ends well."""
    staging = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        for name in reserved:
            if (staging / name).exists():
                raise DataError(f"{source.name} holds {name}, a name that comp keeps for itself; unpack it by hand.")
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
    """Links in ``folder`` to all that is in ``source``; folders of its own where something in them will move."""
    opened = {source}
    for base, folders, files in os.walk(source, followlinks=True):
        packed = any(name.lower().endswith(NESTED_SUFFIXES) for name in files)
        if packed or (not folders and files == [Path(base).name]):
            place = Path(base)
            while place not in opened:
                opened.add(place)
                place = place.parent
    for place in sorted(opened):
        mirrored = folder / place.relative_to(source)
        mirrored.mkdir(exist_ok=True)
        for thing in place.iterdir():
            if thing not in opened:
                (mirrored / thing.name).symlink_to(thing)


def _unpack_nested(folder: Path, depth: int) -> list[str]:
    notes = []
    for archive in sorted(path for path in folder.rglob("*") if path.name.lower().endswith(NESTED_SUFFIXES)):
        kind = kind_of(archive) if archive.is_file() else None
        if kind is None:
            continue
        if depth > DEEPEST_NESTING:
            raise DataError(f"{archive.name} lies {depth} archives deep; that is no competition's data.")
        inner = archive.with_name(f".{archive.name}.partial")
        inner.mkdir()
        notes += unpack(archive, kind, inner)
        archive.unlink()
        notes += _unpack_nested(inner, depth + 1)
        _lift_lone_files(inner)
        things = list(inner.iterdir())
        place = archive.parent
        if len(things) != 1 or (place / things[0].name).exists():
            place /= _without_suffix(archive.name)
            place.mkdir(exist_ok=True)
            _open_link(place)
        for thing in things:
            if (place / thing.name).exists():
                raise DataError(f"{archive.name} holds {thing.name}, which is there already; unpack them by hand.")
            thing.replace(place / thing.name)
        inner.rmdir()
    return notes


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
        if thing.is_dir() and place.is_dir():
            _open_link(thing)
            _open_link(place)
            _move_into(thing, place)
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        elif place.exists() and thing.is_dir():
            place.unlink()
        thing.replace(place)


def _open_link(folder: Path) -> None:
    """Where it is a link, a folder of links in its place, so that nothing happens where it leads to."""
    if folder.is_symlink():
        things = list(folder.resolve().iterdir())
        folder.unlink()
        folder.mkdir()
        for thing in things:
            (folder / thing.name).symlink_to(thing)


def _without_suffix(name: str) -> str:
    suffix = next(suffix for suffix in sorted(NESTED_SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix))
    return name[: -len(suffix)] or name
