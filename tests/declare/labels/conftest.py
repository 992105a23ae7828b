"""Folders of empty images, as label sources find them."""

from pathlib import Path

import pytest

# Odd but legal in names of classes: spaces, quotes, commas, glob and regex characters, letters of other scripts.
ODD = "ab YZ09_-+()[]{}^$,;'\"&%#@!~é犬🐶"


def touch(folder, *names):
    """The folder with empty files of these names in it."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def table_of(source, folder, *lines, images=("train/1.png", "train/2.png")):
    """The table that the source reads from a ``train.csv`` of these lines, with these images beside it."""
    touch(folder, *images)
    (folder / "train.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return source.read(folder)


def by_id(frame, column="label"):
    return dict(zip(frame["id"], frame[column], strict=True))


def rows_of(frame):
    """The rows, with `Path` objects."""
    columns = (map(Path, frame[name]) if name == "path" else frame[name] for name in frame)
    return list(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A function that returns a new empty folder at every call, because hypothesis runs a test many times."""
    return lambda: tmp_path_factory.mktemp("data")
