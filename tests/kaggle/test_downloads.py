import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from comp.errors import DataError
from comp.kaggle.client import connect

SLUG = "two-digits"
DATASET = "someone/more-digits"
BIG = os.urandom(1 << 20)


@pytest.fixture
def big(served) -> Path:
    """The data set's own archive, large enough for several chunks."""
    path = served / "more-digits" / "more-digits.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("big.bin", BIG)
    return path


class Calls(list):
    def __call__(self, done, total):
        self.append((done, total))


def cut(kaggle, folder):
    """Interrupt a download after its first chunk, as Ctrl-C does; the number of bytes it left."""

    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kaggle.download_dataset(DATASET, folder, interrupt)
    assert not (folder / "more-digits.zip").exists()
    return (folder / "more-digits.zip.part").stat().st_size


def test_a_download_arrives_whole_tells_its_progress_and_is_not_repeated(kaggle, big, tmp_path):
    calls, size = Calls(), big.stat().st_size
    got = kaggle.download_dataset(DATASET, tmp_path / "here", calls)
    assert got.path.read_bytes() == big.read_bytes()
    assert (got.size, got.md5) == (size, hashlib.md5(big.read_bytes()).hexdigest())
    assert (calls[0], calls[-1]) == ((0, size), (size, size))
    assert calls == sorted(calls)
    part, before = got.path.with_name("more-digits.zip.part"), got.path.stat().st_ino
    assert not part.exists()
    again = Calls()
    kaggle.download_dataset(DATASET, tmp_path / "here", again)
    assert again == [(size, size)]
    got.path.rename(part)  # as left by a process killed before the rename
    kaggle.download_dataset(DATASET, tmp_path / "here", again)
    assert again == [(size, size)]
    assert got.path.stat().st_ino == before


def test_an_empty_file_arrives(kaggle, served, tmp_path):
    (served / SLUG / "empty.csv").touch()
    assert kaggle.download_file(SLUG, "empty.csv", tmp_path).path.read_bytes() == b""


def test_a_part_that_was_spoilt_on_disk_is_noticed_and_the_file_downloaded_anew(kaggle, big, tmp_path, waits):
    assert 0 < cut(kaggle, tmp_path) < big.stat().st_size
    part = tmp_path / "more-digits.zip.part"
    part.write_bytes(b"!" + part.read_bytes()[1:])
    assert kaggle.download_dataset(DATASET, tmp_path).path.read_bytes() == big.read_bytes()
    assert len(waits) == 1


def test_a_part_of_unknown_origin_is_not_resumed(kaggle, big, tmp_path):
    for note in ("{", "[]", '{"validator": null, "size": null}'):
        (tmp_path / "more-digits.zip.part").write_bytes(b"of something else")
        (tmp_path / "more-digits.zip.origin.json").write_text(note)
        got = kaggle.download_dataset(DATASET, tmp_path)
        assert got.path.read_bytes() == big.read_bytes(), note
        got.path.unlink()


def test_a_206_of_other_bytes_than_asked_for_is_not_appended(answering, tmp_path):
    def answer(handler):
        if handler.command == "POST":
            handler.send(302, headers={"Location": f"http://{handler.headers['Host']}/all.zip"})
        elif "Range" in handler.headers:
            handler.send(206, b"abcd", {"Content-Range": "bytes 0-3/8"})
        else:
            handler.send(200, b"abcdefgh", {"ETag": '"v"'})

    (tmp_path / f"{SLUG}.zip.part").write_bytes(b"abcd")
    (tmp_path / f"{SLUG}.zip.origin.json").write_text(json.dumps({"validator": '"v"', "size": 8}))
    with answering(answer):
        assert connect().download_competition(SLUG, tmp_path).path.read_bytes() == b"abcdefgh"


def test_a_folder_without_room_or_that_cannot_be_written_is_one_sentence(kaggle, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="can't be written"):
        kaggle.download_competition(SLUG, tmp_path / "file")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(DataError, match=r"two-digits\.zip needs .* make room and run the same command again"):
        kaggle.download_competition(SLUG, tmp_path)
    assert not list(tmp_path.glob("*.part"))
