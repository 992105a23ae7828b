"""Tables that name images differently from their files."""

from dataclasses import replace

import pytest

from comp.declare.labels.columns import CsvImages, CsvLabels, tags_in
from comp.declare.labels.files import TestImages
from comp.declare.labels.naming import named_as_asked
from comp.errors import DataError
from tests.declare.labels.conftest import by_id, table_of, touch

BARE = CsvLabels("train.csv", image="id", label="label", folder="train")


@pytest.mark.parametrize(
    ("called", "file"),
    [
        ("a", "train/a.png"),
        ("a.jpg", "train/a.JPG"),
        ("a.jpg", "train/a.png"),
        ("A", "train/a.jpeg"),
        ("a", "train/0/1/a.jpg"),
        ("0/a", "train/0/a.jpg"),
        ("train/a.jpg", "train/a.jpg"),
        ("train\\0\\a.jpg", "train/0/a.jpg"),
        ("101", "train/0101.jpg"),
        ("101.0", "train/101.jpg"),
        ("1.00", "train/0001.jpg"),
        ("Lo\u0308we", "train/L\u00f6we.png"),
        ("1.2.840.7", "train/1.2.840.7.png"),
    ],
)
def test_a_row_finds_its_image_by_what_people_call_it(tmp_path, called, file):
    frame = table_of(BARE, tmp_path, "id,label", f"{called},cat", "other,dog", images=[file, "train/other.png"])
    assert by_id(frame, "path") == {called: str(tmp_path / file), "other": str(tmp_path / "train/other.png")}
    assert any(f"{called!r} is {file}" in note for note in frame.attrs["notes"])


@pytest.mark.parametrize(
    ("suffix", "images", "rows", "said"),
    [
        # A name shared by two images means neither, and a file is the image of one row.
        ("", ["train/x/a.png", "train/y/a.png"], ["a"], "1 of 1 rows .*train/a"),
        (".png", ["train/007.png"], ["007", "7"], "1 of 2 rows .*train/7"),
        ("", ["train/img_001.png"], ["im_001"], "train/im_001, where the nearest name is 'img_001.png'"),
        ("", ["train/img_001.png"], ["1"], "train/1, where the nearest name is 'img_001.png'"),
        ("", ["train/img_001.png"], ["0"], "train/0, where images are called like 'img_001.png'"),
    ],
)
def test_a_row_that_names_no_image_is_told_what_is_near(tmp_path, suffix, images, rows, said):
    with pytest.raises(DataError, match=said):
        table_of(replace(BARE, suffix=suffix), tmp_path, "id,label", *(f"{one},cat" for one in rows), images=images)


def test_rows_that_lack_a_label_or_an_image_are_left_out_and_counted_if_that_is_said(tmp_path):
    source = replace(BARE, suffix=".png", incomplete=True)
    lines = ["id,label", "a,cat", "b,dog", ".DS_Store,", "gone,cat", "unlabelled,"]
    images = ["train/a.png", "train/b.png", "train/unlabelled.png"]
    frame = table_of(source, tmp_path, *lines, images=images)
    assert list(frame["id"]) == ["a", "b"]
    assert any("3 of 5 rows" in note for note in frame.attrs["notes"])
    with pytest.raises(DataError, match="1 image has no row"):
        table_of(source, tmp_path, *lines, images=["train/without_a_row.png"])


def test_images_to_predict_may_lie_in_folders_of_folders_and_in_several_and_a_loop_of_links_ends(tmp_path):
    touch(tmp_path, "test/0/1/t1.jpg", "test/0/2/t2.jpg", "more/t3.jpg")
    (tmp_path / "test/0/again").symlink_to(tmp_path / "test")
    assert list(TestImages("test").read(tmp_path)["id"]) == ["t1", "t2"]
    assert list(TestImages(["more", "test/0/1"]).read(tmp_path)["id"]) == ["t1", "t3"]
    touch(tmp_path, "test/1/t1.jpg")
    assert list(TestImages("test").read(tmp_path)["id"]) == ["test/0/1/t1", "test/0/2/t2", "test/1/t1"]


def test_images_of_another_kind_lie_in_folders_below_too(tmp_path):
    images = ["train/0/a.dcm", "train/0/b.dcm"]
    frame = table_of(replace(BARE, suffix=".dcm"), tmp_path, "id,label", "a,cat", "b,dog", images=images)
    assert list(frame["path"]) == [str(tmp_path / image) for image in images]


@pytest.mark.parametrize("asked", [["test/7.jpg", "test/10.jpg"], ["07", "010"], ["7.JPG", "10.JPG"]])
def test_images_to_predict_are_called_as_the_sample_submission_does(tmp_path, asked):
    touch(tmp_path, "test/7.jpg", "test/10.jpg", "test/unasked.jpg")
    frame = named_as_asked(TestImages("test", suffix=".jpg").read(tmp_path), asked, tmp_path)
    assert list(frame["id"]) == sorted([*asked, "unasked"])
    assert by_id(frame, "path")[asked[0]] == str(tmp_path / "test/7.jpg")
    assert any(repr(asked[0]) in note for note in frame.attrs["notes"])


def test_rows_of_another_part_don_t_count_and_rows_of_one_image_are_its_tags(tmp_path):
    source = replace(BARE, separator="|", shared=True, where=["split", "train"])
    lines = ["id,split,label", "a,train,big cat", "a,train,red", "b,train,red", "c,test,"]
    frame = table_of(source, tmp_path, *lines, images=["train/a.png", "train/b.png", "train/c.png"])
    assert list(frame["label"]) == [("big cat", "red"), ("red",)]
    test = CsvImages("train.csv", image="id", folder="train", where=["split", "test"])
    assert list(test.read(tmp_path)["id"]) == ["c"]


@pytest.mark.parametrize("text", ["['big cat', 'red']", '["red","big cat"]', "big cat, red"])
def test_tags_may_be_a_list_as_python_writes_it(text):
    assert tags_in(text, ",") == {"big cat", "red"}
