"""Listing, looking and reading leaderboards, with the local Kaggle at the other end."""

import zipfile

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
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
    for handle in ("digits", "a/b/c", "/b", "a/", ""):
        with pytest.raises(KaggleError, match="owner/name"):
            kaggle.download_dataset(handle, tmp_path)


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


def board(*scores):
    return [LeaderboardRow(rank, f"t{rank}", score, None) for rank, score in enumerate(scores, start=1)]


def test_a_score_stands_behind_all_that_are_better():
    up = board(0.9, 0.8, 0.8, 0.7, None)
    places = [standing_of(score, up, None, higher_is_better=True).place for score in (1.0, 0.9, 0.85, 0.8, 0.75, 0.1)]
    assert places == [1, 1, 2, 2, 4, 5]
    down = board(0.1, 0.2, 0.3)
    assert [standing_of(score, down, None, higher_is_better=False).place for score in (0.05, 0.2, 0.9)] == [1, 2, 4]


def test_one_s_own_best_does_not_count_beside_the_score():
    teams = board(0.9, 0.8, 0.7)
    standings = [standing_of(0.75, teams, own, higher_is_better=True) for own in ("t1", "t2", None)]
    assert [str(standing) for standing in standings] == ["2 of 3", "2 of 3", "3 of 4"]


@given(scores=st.lists(st.floats(0, 1), max_size=30), score=st.floats(0, 1), up=st.booleans())
def test_every_place_is_on_the_board_or_just_behind_it(scores, score, up):
    standing = standing_of(score, board(*sorted(scores, reverse=up)), None, higher_is_better=up)
    assert 1 <= standing.place <= standing.of == len(scores) + 1
