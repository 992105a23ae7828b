"""Looking at a competition without downloading it: what Kaggle says of it, its folders, single files."""

import zipfile

import pytest
import requests
from remotezip import RemoteZip

from comp.errors import KaggleError
from comp.kaggle import client

SLUG = "two-digits"


def test_what_kaggle_says_of_a_competition(kaggle):
    found = kaggle.competition(SLUG)
    assert (found.title, found.metric, found.only_notebooks) == ("Two Digits", "accuracy", False)


def test_a_folder_lists_what_is_right_in_it(kaggle, served):
    top = kaggle.competition_folder(SLUG)
    assert [file.name for file in top.files] == ["sample_submission.csv", "train.zip"]
    assert (top.folders, top.whole) == (("notes",), True)
    notes = kaggle.competition_folder(SLUG, "notes")
    assert [(file.name, file.size) for file in notes.files] == [("notes/read me.txt", 5)]
    assert notes.folders == ()


def test_of_a_large_folder_no_more_is_listed_than_was_asked_for(kaggle, served, monkeypatch):
    monkeypatch.setattr(client, "PAGE_SIZE", 10)
    (served / SLUG / "train").mkdir()
    for number in range(35):
        (served / SLUG / "train" / f"{number:03}.png").touch()
    some = kaggle.competition_folder(SLUG, "train", at_least=15)
    assert ([file.name for file in some.files], some.whole) == ([f"train/{n:03}.png" for n in range(20)], False)
    every = kaggle.competition_folder(SLUG, "train", at_least=35)
    assert (len(every.files), every.whole) == (35, True)


def test_one_file_is_downloaded_alone(kaggle, tmp_path):
    got = kaggle.download_file(SLUG, "notes/read me.txt", tmp_path)
    assert got.path == tmp_path / "read me.txt"
    assert got.path.read_text() == "hello"
    assert not list(tmp_path.glob("*.zip"))


def test_an_archive_s_contents_are_read_from_its_address(kaggle, served):
    address = kaggle.file_address(SLUG, "train.zip")
    with RemoteZip(address, session=requests.Session()) as archive:
        assert archive.namelist() == zipfile.ZipFile(served / SLUG / "train.zip").namelist()
        assert archive.read("train/1.b.png") == b"one"


def test_what_is_not_there_is_one_sentence(kaggle, tmp_path):
    calls = [
        lambda: kaggle.competition("nowhere"),
        lambda: kaggle.competition_folder("nowhere"),
        lambda: kaggle.download_file("nowhere", "a.csv", tmp_path),
        lambda: kaggle.file_address("nowhere", "a.csv"),
    ]
    for call in calls:
        with pytest.raises(KaggleError, match="no competition 'nowhere'"):
            call()
