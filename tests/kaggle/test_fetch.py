import json
import re
import shutil
import time
from threading import Barrier

import pytest

from comp.errors import DataError, KaggleError
from comp.kaggle.client import connect
from comp.kaggle.fetch import fetch
from comp.local_kaggle.server import running

SLUG = "two-digits"
DATASET = "someone/more-digits"
DATA = "digits"


def never():
    raise AssertionError("nobody should be connected to")


def files(folder):
    """But for what begins with a dot."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.startswith("."))


def archives(folder):
    return sorted(path.name for path in (folder / ".archives").rglob("*.zip"))


ALL = [
    "labels.csv",
    "more/2.png",
    "notes/read me.txt",
    "sample_submission.csv",
    "train/0.a.png",
    "train/1.b.png",
]


def test_a_competition_and_its_data_sets_end_in_one_folder(url, tmp_path):
    names = []

    def progress(name):
        names.append(name)
        return lambda done, total: None

    folder = tmp_path / "data" / "digits"
    fetched = fetch(connect, SLUG, [DATASET], folder, progress)
    assert files(folder) == ALL
    assert not fetched.was_there
    assert names == ["two-digits.zip", "more-digits.zip"]
    record = json.loads((folder / ".complete.json").read_text())
    assert record["sources"] == [SLUG, DATASET]
    assert [archive["name"] for archive in record["archives"]] == names
    assert all(archive["size"] and archive["validator"] for archive in record["archives"])
    assert archives(folder) == ["more-digits.zip", "two-digits.zip"]


def test_a_second_fetch_does_nothing(url, tmp_path):
    first = fetch(connect, SLUG, [DATASET], tmp_path / DATA)
    second = fetch(never, SLUG, [DATASET], tmp_path / DATA)
    assert second.was_there
    assert second.archives == first.archives


def test_archives_are_deleted_on_request_at_once_or_later(url, tmp_path):
    fetch(connect, SLUG, [DATASET], tmp_path / "a", delete_archives=True)
    fetch(connect, SLUG, [DATASET], tmp_path / "b")
    assert fetch(never, SLUG, [DATASET], tmp_path / "b", delete_archives=True).was_there
    for folder in (tmp_path / "a", tmp_path / "b"):
        assert files(folder) == ALL
        assert not (folder / ".archives").exists()


def test_what_lies_unpacked_is_made_anew_from_archives_that_were_kept(url, tmp_path):
    folder = tmp_path / DATA
    fetch(connect, SLUG, [DATASET], folder)
    (folder / "labels.csv").unlink()
    (folder / ".complete.json").unlink()
    before = {path: path.stat().st_ino for path in (folder / ".archives").rglob("*.zip")}
    fetch(connect, SLUG, [DATASET], folder)
    assert files(folder) == ALL
    assert {path: path.stat().st_ino for path in (folder / ".archives").rglob("*.zip")} == before


@pytest.mark.parametrize("gone", [["labels.csv"], ["train"], ["labels.csv", "more", "notes", "train"]])
def test_files_that_are_gone_are_unpacked_again_from_archives_that_were_kept_and_nobody_is_asked(url, tmp_path, gone):
    folder = tmp_path / DATA
    first = fetch(connect, SLUG, [DATASET], folder)
    for name in gone:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    lines = []
    again = fetch(never, SLUG, [DATASET], folder, say=lines.append)
    assert files(folder) == ALL
    assert len(lines) == 1
    assert re.fullmatch(rf"[1-5] of 6 files in {folder} (is|are) gone; the kept archives are unpacked again", lines[0])
    assert again.archives == first.archives
    assert again.downloaded == ()
    assert fetch(never, SLUG, [DATASET], folder).was_there


def test_files_that_are_gone_are_downloaded_again_where_no_archive_was_kept(url, tmp_path):
    folder = tmp_path / DATA
    fetch(connect, SLUG, [DATASET], folder, delete_archives=True)
    shutil.rmtree(folder / "train")
    lines = []
    again = fetch(connect, SLUG, [DATASET], folder, say=lines.append, delete_archives=True)
    assert files(folder) == ALL
    assert lines == [f"2 of 6 files in {folder} are gone; two-digits.zip and more-digits.zip are downloaded again"]
    assert [archive.name for archive in again.downloaded] == ["two-digits.zip", "more-digits.zip"]


def test_a_kept_archive_that_was_cut_short_is_downloaded_again(url, tmp_path):
    folder = tmp_path / DATA
    fetch(connect, SLUG, [DATASET], folder)
    (archive,) = (folder / ".archives").rglob("two-digits.zip")
    archive.write_bytes(archive.read_bytes()[:-1])
    (folder / "labels.csv").unlink()
    lines = []
    again = fetch(connect, SLUG, [DATASET], folder, say=lines.append)
    assert files(folder) == ALL
    assert lines == [f"1 of 6 files in {folder} is gone; two-digits.zip is downloaded again"]
    assert [archive.name for archive in again.downloaded] == ["two-digits.zip"]


def test_files_that_are_gone_and_can_t_be_brought_are_missed_again_by_the_next_fetch(url, tmp_path):
    folder = tmp_path / DATA
    fetch(connect, SLUG, [], folder, delete_archives=True)
    shutil.rmtree(folder / "train")
    for _ in range(2):
        with pytest.raises(AssertionError):
            fetch(never, SLUG, [], folder)
    assert not fetch(connect, SLUG, [], folder).was_there


def test_files_that_were_added_or_changed_are_nobody_s_loss(url, tmp_path):
    folder = tmp_path / DATA
    fetch(connect, SLUG, [DATASET], folder)
    (folder / "mine.csv").write_text("mine")
    (folder / "labels.csv").write_text("mended")
    assert fetch(never, SLUG, [DATASET], folder).was_there
    assert (folder / "labels.csv").read_text() == "mended"


def test_a_record_of_before_files_were_listed_is_complete(url, tmp_path):
    folder = tmp_path / DATA
    fetch(connect, SLUG, [DATASET], folder)
    record = json.loads((folder / ".complete.json").read_text())
    del record["files"]
    (folder / ".complete.json").write_text(json.dumps(record))
    (folder / "labels.csv").unlink()
    assert fetch(never, SLUG, [DATASET], folder).was_there


def test_the_later_of_two_sources_stays_also_when_it_is_the_earlier_that_is_missing(url, served, tmp_path):
    (served / SLUG / "labels.csv").write_text("of the competition")
    folder = tmp_path / DATA
    fetch(connect, SLUG, [DATASET], folder)
    of_the_dataset = (folder / "labels.csv").read_text()
    (folder / ".complete.json").unlink()
    fetch(connect, SLUG, [DATASET], folder)
    assert (folder / "labels.csv").read_text() == of_the_dataset != "of the competition"


def test_archives_are_downloaded_at_once(served, graders, tmp_path, monkeypatch):
    waiting = Barrier(2, timeout=10)

    def progress(name):
        met = []

        def meet(done, total):
            if not met:
                met.append(waiting.wait())

        return meet

    with running(served, graders, tmp_path / "state") as url:
        fetch(lambda: connect(url), SLUG, [DATASET], tmp_path / DATA, progress)
    assert files(tmp_path / DATA) == ALL


def test_other_sources_are_fetched(url, tmp_path):
    fetch(connect, SLUG, [], tmp_path / DATA)
    assert not fetch(connect, SLUG, [DATASET], tmp_path / DATA).was_there
    assert files(tmp_path / DATA) == ALL


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"archives": [1]}', '{"archives": [{"name": "x"}]}'])
def test_a_record_that_says_nothing_is_no_record(url, tmp_path, record):
    (tmp_path / DATA).mkdir()
    (tmp_path / DATA / ".complete.json").write_text(record)
    assert not fetch(connect, SLUG, [], tmp_path / DATA).was_there


def test_an_interrupted_fetch_goes_on_with_what_is_missing(url, tmp_path):
    def interrupt(name):
        def stop(done, total):
            if name == "more-digits.zip":
                # not before the other one is unpacked
                deadline = time.monotonic() + 10
                while not receipts() and time.monotonic() < deadline:
                    time.sleep(0.01)
                raise KeyboardInterrupt

        return stop

    def receipts():
        return list((tmp_path / DATA / ".archives").glob("unpacked.json"))

    with pytest.raises(KeyboardInterrupt):
        fetch(connect, SLUG, [DATASET], tmp_path / DATA, interrupt)
    assert not (tmp_path / DATA / ".complete.json").exists()
    names = []

    def progress(name):
        names.append(name)
        return lambda done, total: None

    fetch(connect, SLUG, [DATASET], tmp_path / DATA, progress)
    assert names == ["more-digits.zip"]
    assert files(tmp_path / DATA) == ALL


def test_a_failed_fetch_leaves_no_record(url, tmp_path):
    with pytest.raises(KaggleError, match="someone/nowhere"):
        fetch(connect, SLUG, ["someone/nowhere"], tmp_path / DATA)
    with pytest.raises(AssertionError):
        fetch(never, SLUG, ["someone/nowhere"], tmp_path / DATA)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="COMP_HOME"):
        fetch(never, SLUG, [], tmp_path / "file" / "digits")
