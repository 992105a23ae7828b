import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.files import replacing, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "deep" / "er" / "history.csv"
    with replacing(path) as unfinished:
        unfinished.write_text("new")
        assert not path.exists()
        assert unfinished.parent == path.parent
    assert path.read_text() == "new"
    assert names(path.parent) == ["history.csv"]


def test_the_old_content_is_there_until_the_new_is_whole(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("old")
    with replacing(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_exception_leaves_the_old_content_and_nothing_else(tmp_path, error, old):
    path = tmp_path / "weights"
    if old is not None:
        path.write_text(old)
    with pytest.raises(error), replacing(path) as unfinished:  # noqa: PT012
        unfinished.write_text("half")
        raise error
    assert names(tmp_path) == ([] if old is None else ["weights"])
    if old is not None:
        assert path.read_text() == old


def test_a_place_that_cannot_be_written_is_left_as_it_was(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_text(tmp_path / "report.html", "text")
    assert names(tmp_path) == ["report.html"]
    assert names(tmp_path / "report.html") == []


def test_two_writers_at_once_do_not_mix(tmp_path):
    path = tmp_path / "scores.json"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert names(tmp_path) == ["scores.json"]


def test_others_may_read_what_was_written(tmp_path):
    write_text(tmp_path / "a", "text")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) & 0o444 == 0o444


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_text_is_written_as_it_is(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "text"
    write_text(path, text)
    assert path.read_bytes() == text.replace("\n", os.linesep).encode()
