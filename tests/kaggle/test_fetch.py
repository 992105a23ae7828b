import json

import pytest

from comp.errors import DataError, KaggleError
from comp.kaggle.client import connect
from comp.kaggle.fetch import fetch

SLUG = "two-digits"
DATASET = "someone/more-digits"
DATA = "digits"


def never():
    raise AssertionError("nobody should be connected to")


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


ALL = [
    ".complete.json",
    ".lock",
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

    report = fetch(connect, SLUG, [DATASET], tmp_path / "data" / "digits", progress)
    assert files(report.folder) == ALL
    assert not report.was_there
    assert names == ["two-digits.zip", "more-digits.zip"]
    record = json.loads((report.folder / ".complete.json").read_text())
    assert record["sources"] == [SLUG, DATASET]
    assert [archive["name"] for archive in record["archives"]] == names
    assert all(archive["size"] and archive["validator"] for archive in record["archives"])
    assert record["archives_kept"] is False


def test_a_second_fetch_does_nothing(url, tmp_path):
    first = fetch(connect, SLUG, [DATASET], tmp_path / DATA)
    second = fetch(never, SLUG, [DATASET], tmp_path / DATA)
    assert second.was_there
    assert second.archives == first.archives


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
        if name == "more-digits.zip":
            raise KeyboardInterrupt
        return lambda done, total: None

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
