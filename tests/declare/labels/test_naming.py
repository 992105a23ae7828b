"""Images that people call otherwise than their files."""

import pandas as pd
import pytest

from comp.declare.labels import CsvImages, CsvLabels, TestFunction, TestImages, named_as_asked
from comp.declare.labels.columns import tags_in
from comp.errors import DataError
from tests.declare.labels.conftest import rows_of, touch

BARE = CsvLabels("train.csv", image="id", label="label", folder="train")


def labelled(folder, *ids, source=BARE):
    rows = "".join(f"{called},{'cat' if number % 2 else 'dog'}\n" for number, called in enumerate(ids))
    (folder / "train.csv").write_text(f"id,label\n{rows}", encoding="utf-8")
    return source.read(folder)


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
        ("101", "train/0101.jpg"),
        ("101.0", "train/101.jpg"),
        ("1.00", "train/0001.jpg"),
        ("Lo\u0308we", "train/L\u00f6we.png"),
        ("1.2.840.7", "train/1.2.840.7.png"),
    ],
)
def test_a_row_finds_its_image_by_what_people_call_it(tmp_path, called, file):
    touch(tmp_path, file, "train/other.png")
    frame = labelled(tmp_path, called, "other")
    assert {(row[0], row[1]) for row in rows_of(frame)} == {
        (called, tmp_path / file),
        ("other", tmp_path / "train/other.png"),
    }
    assert any(f"{called!r} is {file}" in note for note in frame.attrs["notes"])


def test_a_name_of_two_images_is_none_of_them(tmp_path):
    touch(tmp_path, "train/x/a.png", "train/y/a.png")
    with pytest.raises(DataError, match=r"1 of 1 rows .*train/a"):
        labelled(tmp_path, "a")


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        ("im_001", "train/im_001, where the nearest name is 'img_001.png'"),
        ("1", "train/1, where the nearest name is 'img_001.png'"),
        ("0", "train/0, where images are called like 'img_001.png'"),
    ],
)
def test_the_nearest_name_is_shown_where_none_fits(tmp_path, called, shown):
    touch(tmp_path, "train/img_001.png")
    with pytest.raises(DataError, match=shown):
        labelled(tmp_path, called)


def test_rows_that_lack_a_label_or_an_image_are_left_out_and_counted_if_that_is_said(tmp_path):
    touch(tmp_path, "train/a.png", "train/b.png")
    source = CsvLabels("train.csv", image="id", label="label", folder="train", suffix=".png", incomplete=True)
    touch(tmp_path, "train/unlabelled.png")
    text = "id,label\na,cat\nb,dog\n.DS_Store,\ngone,cat\nunlabelled,\n"
    (tmp_path / "train.csv").write_text(text, encoding="utf-8")
    frame = source.read(tmp_path)
    assert list(frame["id"]) == ["a", "b"]
    assert any("3 of 5 rows" in note for note in frame.attrs["notes"])
    touch(tmp_path, "train/without_a_row.png")
    with pytest.raises(DataError, match="1 image has no row"):
        source.read(tmp_path)


def test_images_to_predict_may_lie_in_folders_of_folders_and_in_several(tmp_path):
    touch(tmp_path, "test/0/1/t1.jpg", "test/0/2/t2.jpg", "more/t3.jpg")
    assert list(TestImages("test").read(tmp_path)["id"]) == ["t1", "t2"]
    assert list(TestImages(["more", "test/0/1"]).read(tmp_path)["id"]) == ["t1", "t3"]
    touch(tmp_path, "test/1/t1.jpg")
    assert list(TestImages("test").read(tmp_path)["id"]) == ["test/0/1/t1", "test/0/2/t2", "test/1/t1"]


def test_a_file_is_the_image_of_one_row(tmp_path):
    touch(tmp_path, "train/007.png")
    with pytest.raises(DataError, match=r"1 of 2 rows .*train/7"):
        labelled(tmp_path, "007", "7", source=CsvLabels("train.csv", "id", "label", folder="train", suffix=".png"))


def test_images_of_another_kind_lie_in_folders_below_too(tmp_path):
    touch(tmp_path, "train/0/a.dcm", "train/0/b.dcm")
    frame = labelled(tmp_path, "a", "b", source=CsvLabels("train.csv", "id", "label", folder="train", suffix=".dcm"))
    assert [row[1] for row in rows_of(frame)] == [tmp_path / "train/0/a.dcm", tmp_path / "train/0/b.dcm"]


def test_a_loop_of_links_ends(tmp_path):
    touch(tmp_path, "test/0/t1.jpg")
    (tmp_path / "test/0/again").symlink_to(tmp_path / "test")
    assert list(TestImages("test").read(tmp_path)["id"]) == ["t1"]


@pytest.mark.parametrize("asked", [["test/7.jpg", "test/10.jpg"], ["07", "010"], ["7.JPG", "10.JPG"]])
def test_images_to_predict_are_called_as_the_sample_submission_does(tmp_path, asked):
    touch(tmp_path, "test/7.jpg", "test/10.jpg", "test/unasked.jpg")
    frame = named_as_asked(TestImages("test", suffix=".jpg").read(tmp_path), asked, tmp_path)
    assert set(frame["id"]) == {*asked, "unasked"}
    assert dict(zip(frame["id"], frame["path"], strict=True))[asked[0]] == str(tmp_path / "test/7.jpg")
    assert list(frame["id"]) == sorted(frame["id"])
    assert any(repr(asked[0]) in note for note in frame.attrs["notes"])


def test_a_function_may_say_where_the_images_to_predict_are(tmp_path):
    touch(tmp_path, "x.png")
    source = TestFunction(lambda folder: pd.DataFrame({"id": [1], "path": [folder / "x.png"]}))
    assert rows_of(source.read(tmp_path)) == [("1", tmp_path / "x.png")]
    with pytest.raises(DataError, match=r"TestFunction: .* path is missing"):
        TestFunction(lambda _: pd.DataFrame({"id": [1]})).read(tmp_path)


def test_rows_of_another_part_don_t_count_and_rows_of_one_image_are_its_tags(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    (tmp_path / "all.csv").write_text("image,split,tag\na,train,big cat\na,train,red\nb,train,red\nc,test,\n")
    source = CsvLabels(
        "all.csv", image="image", label="tag", folder="images", separator="|", shared=True, where=["split", "train"]
    )
    assert list(source.read(tmp_path)["label"]) == [("big cat", "red"), ("red",)]
    test = CsvImages("all.csv", image="image", folder="images", where=["split", "test"])
    assert list(test.read(tmp_path)["id"]) == ["c"]


@pytest.mark.parametrize("text", ["['big cat', 'red']", '["red","big cat"]', "big cat, red"])
def test_tags_may_be_a_list_as_python_writes_it(text):
    assert tags_in(text, ",") == {"big cat", "red"}
