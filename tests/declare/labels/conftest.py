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


def rows_of(frame):
    """The rows, with their paths as such."""
    columns = (map(Path, frame[name]) if name == "path" else frame[name] for name in frame)
    return list(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A function that gives a new empty folder at every call; hypothesis runs a test many times."""
    return lambda: tmp_path_factory.mktemp("data")
