"""A competition and its data sets in one folder: downloaded, resumed, unpacked again where files are gone."""

import json
import shutil

import pytest

from comp.errors import DataError
from comp.kaggle.archives import DamagedError
from comp.kaggle.client import connect
from comp.kaggle.fetch import fetch
from comp.new.adopting import adopted
from tests.kaggle.conftest import contents, never

SLUG = "two-digits"
BOTH = [SLUG, "someone/more-digits"]
ALL = ["labels.csv", "more/2.png", "notes/read me.txt", "sample_submission.csv", "train/0.a.png", "train/1.b.png"]


def archives(folder):
    return {path.name: path.stat().st_ino for path in (folder / ".archives").rglob("*.zip")}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "digits"


@pytest.fixture
def bring(url, folder):
    """Calls `fetch`; returns the lines that it printed."""

    def call(connect=connect, sources=BOTH, **more):
        lines = []
        fetch(connect, sources, folder, say=lines.append, **more)
        return lines

    return call


def test_a_competition_and_its_data_sets_end_in_one_folder_and_a_second_fetch_does_nothing(bring, folder):
    assert bring() == [f"downloaded two-digits.zip, more-digits.zip to {folder}"]
    assert sorted(contents(folder)) == ALL
    record = json.loads((folder / ".complete.json").read_text())
    assert record["sources"] == BOTH
    assert sorted(archives(folder)) == ["more-digits.zip", "two-digits.zip"]
    # Only missing files matter, not added or changed ones.
    (folder / "mine.csv").write_text("mine")
    (folder / "labels.csv").write_text("mended")
    assert bring(never) == []
    assert (folder / "labels.csv").read_text() == "mended"
    del record["files"]  # as in records of earlier versions
    (folder / ".complete.json").write_text(json.dumps(record))
    (folder / "labels.csv").unlink()
    assert bring(never) == []


def test_archives_are_deleted_on_request_at_once_or_later(bring, folder):
    for deleting in (True, False):
        bring(delete_archives=deleting)
        bring(never, delete_archives=True)
        assert sorted(contents(folder)) == ALL
        assert not (folder / ".archives").exists()
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "gone",
    [["labels.csv"], ["train"], ["labels.csv", "more", "notes", "train"], ["labels.csv", ".complete.json"]],
)
def test_what_is_gone_is_unpacked_again_from_archives_that_were_kept_and_nobody_is_asked(bring, folder, gone):
    bring()
    before, record = archives(folder), (folder / ".complete.json").read_text()
    for name in gone:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    missing = len(ALL) - len(contents(folder))
    line, *_ = bring(never)
    if ".complete.json" not in gone:
        assert line.startswith(f"{missing} of 6 files in {folder}")
    assert sorted(contents(folder)) == ALL
    assert (archives(folder), (folder / ".complete.json").read_text()) == (before, record)
    assert bring(never) == []


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_gone_is_downloaded_again_where_no_whole_archive_was_kept(bring, folder, kept):
    bring(delete_archives=not kept)
    shutil.rmtree(folder / "train")
    asked = ["two-digits.zip", "more-digits.zip"]
    if kept:
        (archive,) = (folder / ".archives").rglob("two-digits.zip")
        archive.write_bytes(archive.read_bytes()[:-1])
        asked = asked[:1]
    for _ in range(2):
        with pytest.raises(AssertionError):
            bring(never)
    lost, downloaded = bring(delete_archives=not kept)
    assert sorted(contents(folder)) == ALL
    assert lost.startswith(f"2 of 6 files in {folder} are gone")
    assert downloaded == f"downloaded {', '.join(asked)} to {folder}"


def test_the_later_of_two_sources_stays_also_when_it_is_the_earlier_that_is_missing(bring, served, folder):
    (served / SLUG / "labels.csv").write_text("of the competition")
    bring()
    of_the_dataset = (folder / "labels.csv").read_text()
    (folder / ".complete.json").unlink()
    (folder / ".archives" / "two-digits" / "two-digits.zip").unlink()
    bring()
    assert (folder / "labels.csv").read_text() == of_the_dataset != "of the competition"


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"archives": [1]}', f'{{"sources": ["{SLUG}"], "files": {{}}}}'])
def test_a_record_that_says_nothing_or_is_of_other_sources_is_no_record(bring, folder, record):
    folder.mkdir(parents=True)
    (folder / ".complete.json").write_text(record)
    bring()
    assert sorted(contents(folder)) == ALL


def test_data_that_were_on_this_machine_are_whole_whatever_the_slug_becomes(bring, folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "labels.csv").write_text("mine")
    with adopted(tmp_path / "mine", ["a-guess"], folder, print):
        pass
    assert bring(never, [SLUG]) == []
    # A new data set still has to be fetched.
    with pytest.raises(AssertionError):
        bring(never)


def test_an_interrupted_fetch_resumes_with_what_is_missing(bring, folder):
    def interrupt(name):
        def stop(done, total):
            if name == "more-digits.zip":
                raise KeyboardInterrupt

        return stop

    with pytest.raises(KeyboardInterrupt):
        bring(progress=interrupt)
    assert not (folder / ".complete.json").exists()
    asked = []
    bring(progress=lambda name: asked.append(name) or (lambda done, total: None))
    assert asked == ["more-digits.zip"]
    assert sorted(contents(folder)) == ALL


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="COMP_HOME"):
        fetch(never, [SLUG], tmp_path / "file" / "digits")


def test_what_is_damaged_twice_alike_is_not_answered_with_another_download_again(bring, served, folder):
    (served / SLUG / "broken.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DamagedError, match="anew"):
        bring()
    with pytest.raises(DataError, match=r"broken\.zip is damaged .*so was the previous download") as caught:
        bring()
    assert "anew" not in str(caught.value)
    assert "--data" in str(caught.value)
    (served / SLUG / "broken.zip").unlink()
    bring()
    assert (folder / "labels.csv").is_file()
