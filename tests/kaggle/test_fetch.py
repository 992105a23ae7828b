"""A competition and its data sets in one folder: downloaded, resumed, made anew where files are gone."""

import json
import shutil
import time
from threading import Barrier

import pytest

from comp.errors import DataError, KaggleError
from comp.kaggle.client import connect
from comp.kaggle.fetch import fetch

SLUG = "two-digits"
DATASET = "someone/more-digits"
BOTH = ["two-digits.zip", "more-digits.zip"]
ALL = ["labels.csv", "more/2.png", "notes/read me.txt", "sample_submission.csv", "train/0.a.png", "train/1.b.png"]


def never():
    raise AssertionError("nobody should be connected to")


def files(folder):
    """But for what begins with a dot."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.startswith("."))


def archives(folder):
    return {path.name: path.stat().st_ino for path in (folder / ".archives").rglob("*.zip")}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "digits"


@pytest.fixture
def names():
    """The archives that were downloaded, with ``progress`` given to `fetch`."""
    asked = []

    def progress(name):
        asked.append(name)
        return lambda done, total: None

    return asked, progress


def test_a_competition_and_its_data_sets_end_in_one_folder_and_a_second_fetch_does_nothing(url, folder, names):
    asked, progress = names
    first = fetch(connect, SLUG, [DATASET], folder, progress)
    assert files(folder) == ALL
    assert not first.was_there
    assert asked == BOTH
    record = json.loads((folder / ".complete.json").read_text())
    assert record["sources"] == [SLUG, DATASET]
    assert [archive["name"] for archive in record["archives"]] == BOTH
    assert all(archive["size"] and archive["validator"] for archive in record["archives"])
    assert sorted(archives(folder)) == sorted(BOTH)
    second = fetch(never, SLUG, [DATASET], folder)
    assert second.was_there
    assert second.archives == first.archives


def test_archives_are_deleted_on_request_at_once_or_later(url, tmp_path):
    fetch(connect, SLUG, [DATASET], tmp_path / "a", delete_archives=True)
    fetch(connect, SLUG, [DATASET], tmp_path / "b")
    assert fetch(never, SLUG, [DATASET], tmp_path / "b", delete_archives=True).was_there
    for folder in (tmp_path / "a", tmp_path / "b"):
        assert files(folder) == ALL
        assert not (folder / ".archives").exists()


def test_what_lies_unpacked_is_made_anew_from_archives_that_were_kept(url, folder):
    fetch(connect, SLUG, [DATASET], folder)
    (folder / "labels.csv").unlink()
    (folder / ".complete.json").unlink()
    before = archives(folder)
    fetch(connect, SLUG, [DATASET], folder)
    assert files(folder) == ALL
    assert archives(folder) == before


@pytest.mark.parametrize("gone", [["labels.csv"], ["train"], ["labels.csv", "more", "notes", "train"]])
def test_files_that_are_gone_are_unpacked_again_from_archives_that_were_kept_and_nobody_is_asked(url, folder, gone):
    first = fetch(connect, SLUG, [DATASET], folder)
    for name in gone:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    missing = len(ALL) - len(files(folder))
    lines = []
    again = fetch(never, SLUG, [DATASET], folder, say=lines.append)
    assert files(folder) == ALL
    (line,) = lines
    assert line.startswith(f"{missing} of 6 files in {folder}")
    assert "kept archives" in line
    assert again.archives == first.archives
    assert again.downloaded == ()
    assert fetch(never, SLUG, [DATASET], folder).was_there


def test_files_that_are_gone_are_downloaded_again_where_no_archive_was_kept(url, folder):
    fetch(connect, SLUG, [DATASET], folder, delete_archives=True)
    shutil.rmtree(folder / "train")
    for _ in range(2):
        with pytest.raises(AssertionError):
            fetch(never, SLUG, [DATASET], folder)
    lines = []
    again = fetch(connect, SLUG, [DATASET], folder, say=lines.append, delete_archives=True)
    assert files(folder) == ALL
    (line,) = lines
    assert all(words in line for words in ("2 of 6 files", "are gone", *BOTH, "downloaded again"))
    assert [archive.name for archive in again.downloaded] == BOTH


def test_a_kept_archive_that_was_cut_short_is_downloaded_again(url, folder):
    fetch(connect, SLUG, [DATASET], folder)
    (archive,) = (folder / ".archives").rglob("two-digits.zip")
    archive.write_bytes(archive.read_bytes()[:-1])
    (folder / "labels.csv").unlink()
    lines = []
    again = fetch(connect, SLUG, [DATASET], folder, say=lines.append)
    assert files(folder) == ALL
    assert "two-digits.zip is downloaded again" in lines[0]
    assert [archive.name for archive in again.downloaded] == ["two-digits.zip"]


def test_files_that_were_added_or_changed_or_never_listed_are_nobody_s_loss(url, folder):
    fetch(connect, SLUG, [DATASET], folder)
    (folder / "mine.csv").write_text("mine")
    (folder / "labels.csv").write_text("mended")
    assert fetch(never, SLUG, [DATASET], folder).was_there
    assert (folder / "labels.csv").read_text() == "mended"
    record = json.loads((folder / ".complete.json").read_text())
    del record["files"]  # as before files were listed
    (folder / ".complete.json").write_text(json.dumps(record))
    (folder / "labels.csv").unlink()
    assert fetch(never, SLUG, [DATASET], folder).was_there


def test_the_later_of_two_sources_stays_also_when_it_is_the_earlier_that_is_missing(url, served, folder):
    (served / SLUG / "labels.csv").write_text("of the competition")
    fetch(connect, SLUG, [DATASET], folder)
    of_the_dataset = (folder / "labels.csv").read_text()
    (folder / ".complete.json").unlink()
    (folder / ".archives" / "two-digits" / "two-digits.zip").unlink()
    fetch(connect, SLUG, [DATASET], folder)
    assert (folder / "labels.csv").read_text() == of_the_dataset != "of the competition"


def test_archives_are_downloaded_at_once(url, folder):
    waiting = Barrier(2, timeout=10)

    def progress(name):
        met = []

        def meet(done, total):
            if not met:
                met.append(waiting.wait())

        return meet

    fetch(connect, SLUG, [DATASET], folder, progress)
    assert files(folder) == ALL


def test_other_sources_are_fetched(url, folder):
    fetch(connect, SLUG, [], folder)
    assert not fetch(connect, SLUG, [DATASET], folder).was_there
    assert files(folder) == ALL


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"archives": [1]}', '{"archives": [{"name": "x"}]}'])
def test_a_record_that_says_nothing_is_no_record(url, folder, record):
    folder.mkdir(parents=True)
    (folder / ".complete.json").write_text(record)
    assert not fetch(connect, SLUG, [], folder).was_there


def test_an_interrupted_fetch_resumes_with_what_is_missing(url, folder, names):
    def interrupt(name):
        def stop(done, total):
            if name == "more-digits.zip":
                # not before the other one is unpacked
                deadline = time.monotonic() + 10
                while not (folder / ".archives" / "unpacked.json").exists() and time.monotonic() < deadline:
                    time.sleep(0.01)
                raise KeyboardInterrupt

        return stop

    with pytest.raises(KeyboardInterrupt):
        fetch(connect, SLUG, [DATASET], folder, interrupt)
    assert not (folder / ".complete.json").exists()
    asked, progress = names
    fetch(connect, SLUG, [DATASET], folder, progress)
    assert asked == ["more-digits.zip"]
    assert files(folder) == ALL


def test_a_failed_fetch_leaves_no_record(url, folder):
    with pytest.raises(KaggleError, match="someone/nowhere"):
        fetch(connect, SLUG, ["someone/nowhere"], folder)
    with pytest.raises(AssertionError):
        fetch(never, SLUG, ["someone/nowhere"], folder)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="COMP_HOME"):
        fetch(never, SLUG, [], tmp_path / "file" / "digits")
