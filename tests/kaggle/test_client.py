"""Listing files, reading facts and leaderboards from the local Kaggle."""

import zipfile

import pytest
import requests
from remotezip import RemoteZip

from comp.errors import KaggleError
from comp.kaggle import client
from comp.kaggle.client import LeaderboardRow, RemoteFile, standing_of

SLUG = "two-digits"


def test_files_are_listed_with_their_sizes_however_many_pages_they_take(kaggle, served, monkeypatch):
    monkeypatch.setattr(client, "PAGE_SIZE", 10)
    for number in range(25):
        (served / SLUG / f"{number:03}.txt").touch()
    *empty, notes, sample, train = kaggle.competition_files(SLUG)
    assert empty == [RemoteFile(f"{number:03}.txt", 0) for number in range(25)]
    assert (notes, sample) == (RemoteFile("notes/read me.txt", 5), RemoteFile("sample_submission.csv", 17))
    assert train == RemoteFile("train.zip", (served / SLUG / "train.zip").stat().st_size)


def test_what_is_not_there_is_one_sentence(kaggle, tmp_path):
    calls = [
        lambda: kaggle.competition_files("nowhere"),
        lambda: kaggle.competition("nowhere"),
        lambda: kaggle.competition_folder("nowhere"),
        lambda: kaggle.download_file("nowhere", "a.csv", tmp_path),
        lambda: kaggle.file_address("nowhere", "a.csv"),
        lambda: kaggle.download_competition("nowhere", tmp_path),
        lambda: kaggle.download_dataset("someone/nowhere", tmp_path),
        lambda: kaggle.submissions("nowhere"),
        lambda: kaggle.leaderboard("nowhere"),
    ]
    for call in calls:
        with pytest.raises(KaggleError, match=r"There is no .*nowhere.*check its name"):
            call()


def test_a_competition_is_looked_at_folder_by_folder_and_file_by_file(kaggle, served, tmp_path):
    found = kaggle.competition(SLUG)
    assert (found.title, found.metric, found.only_notebooks) == ("Two Digits", "accuracy", False)
    top, notes = kaggle.competition_folder(SLUG), kaggle.competition_folder(SLUG, "notes")
    assert [file.name for file in top.files] == ["sample_submission.csv", "train.zip"]
    assert (top.folders, top.whole) == (("notes",), True)
    assert (notes.files, notes.folders) == ((RemoteFile("notes/read me.txt", 5),), ())
    got = kaggle.download_file(SLUG, "notes/read me.txt", tmp_path)
    assert (got.path, got.path.read_text()) == (tmp_path / "read me.txt", "hello")
    assert not list(tmp_path.glob("*.zip"))
    with RemoteZip(kaggle.file_address(SLUG, "train.zip"), session=requests.Session()) as archive:
        assert archive.namelist() == zipfile.ZipFile(served / SLUG / "train.zip").namelist()
        assert archive.read("train/1.b.png") == b"one"


def test_of_a_large_folder_no_more_is_listed_than_was_asked_for(kaggle, served, monkeypatch):
    monkeypatch.setattr(client, "PAGE_SIZE", 10)
    (served / SLUG / "train").mkdir()
    for number in range(35):
        (served / SLUG / "train" / f"{number:03}.png").touch()
    some = kaggle.competition_folder(SLUG, "train", at_least=15)
    assert ([file.name for file in some.files], some.whole) == ([f"train/{n:03}.png" for n in range(20)], False)
    every = kaggle.competition_folder(SLUG, "train", at_least=35)
    assert (len(every.files), every.whole) == (35, True)


@pytest.mark.parametrize(
    ("scores", "own", "higher_is_better", "places"),
    [
        (
            (0.9, 0.8, 0.8, 0.7, None),
            None,
            True,
            {1.0: "1 of 6", 0.9: "1 of 6", 0.8: "2 of 6", 0.75: "4 of 6", 0.1: "5 of 6"},
        ),
        ((0.1, 0.2, 0.3), None, False, {0.05: "1 of 4", 0.2: "2 of 4", 0.9: "4 of 4"}),
        ((0.9, 0.8, 0.7), "t1", True, {0.75: "2 of 3"}),
        ((0.9, 0.8, 0.7), "t2", True, {0.75: "2 of 3"}),
    ],
)
def test_a_score_stands_behind_all_of_others_that_are_better(scores, own, higher_is_better, places):
    board = [LeaderboardRow(rank, f"t{rank}", score, None) for rank, score in enumerate(scores, start=1)]
    for score, place in places.items():
        assert standing_of(score, board, own, higher_is_better=higher_is_better) == place
