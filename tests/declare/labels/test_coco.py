"""Labels in JSON files of images, annotations and categories."""

import json

import pytest

from comp.declare.labels.coco import Coco
from comp.errors import DataError
from tests.declare.labels.conftest import by_id, rows_of, touch

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]

ANNOTATIONS = [{"image_id": 7, "category_id": 1}, {"image_id": 8, "category_id": 2}]


def written(folder, content, *files):
    touch(folder, *files)
    (folder / "train.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "content",
    [
        {
            "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "x/b.jpg"}],
            "annotations": ANNOTATIONS,
            "categories": CATEGORIES,
        },
        {
            "images": [{"image_id": 7, "file_name": "a.jpg"}, {"image_id": 8, "file_name": "b.jpg"}],
            "annotations": ANNOTATIONS,
            "categories": CATEGORIES,
        },
        {
            "images": [{"image_id": "a", "url": ["https://a/x.jpg"]}, {"image_id": "b", "url": ["https://a/y.jpg"]}],
            "annotations": [{"image_id": "a", "label_id": "cat"}, {"image_id": "b", "label_id": "dog"}],
        },
        [{"image_id": "a", "label": "cat"}, {"image_id": "b", "label": "dog"}],
    ],
)
def test_each_image_has_the_name_of_its_category(tmp_path, content):
    folder = written(tmp_path, content, "train/a.jpg", "train/x/b.jpg")
    found = [row[1:] for row in rows_of(Coco("train.json", "train").read(folder))]
    assert found == [(folder / "train/a.jpg", "cat"), (folder / "train/x/b.jpg", "dog")]


def test_an_image_of_several_categories_has_them_as_tags(tmp_path):
    both = [{"image_id": "a", "category_id": 1}, {"image_id": "a", "category_id": 2}]
    folder = written(tmp_path, {"annotations": both, "categories": CATEGORIES}, "train/a.jpg")
    assert list(Coco("train.json", "train", target="multi").read(folder)["label"]) == [("cat", "dog")]
    with pytest.raises(DataError, match="2 categories"):
        Coco("train.json", "train").read(folder)


def test_a_list_of_an_image_s_categories_has_its_tags(tmp_path):
    content = {
        "images": [{"imageId": "a", "url": "https://a/x.jpg"}, {"imageId": "b", "url": "https://a/y.jpg"}],
        "annotations": [{"imageId": "a", "labelId": ["66", "105"]}, {"imageId": "b", "labelId": []}],
    }
    folder = written(tmp_path, content, "train/a.jpg", "train/b.jpg")
    assert by_id(Coco("train.json", "train", target="multi").read(folder)) == {"a": ("105", "66"), "b": ()}


@pytest.mark.parametrize("content", [{}, [], {"annotations": [{}]}, {"annotations": [1]}, 3, {"annotations": "x"}])
def test_another_json_and_a_missing_image_are_named(tmp_path, content):
    folder = written(tmp_path, content, "train/a.jpg")
    try:
        assert Coco("train.json", "train").read(folder).empty
    except DataError as error:
        assert "train.json" in str(error)  # noqa: PT017, an empty list is a table without rows
    written(tmp_path, [{"image_id": "gone", "label": "cat"}])
    with pytest.raises(DataError, match="'gone'"):
        Coco("train.json", "train").read(folder)


def test_images_without_a_category_have_no_tags_and_else_are_left_out_and_counted(tmp_path):
    names = {7: "a.jpg", 8: "b.jpg", 9: "x/c.jpg", 10: "elsewhere.jpg"}
    images = [{"id": image, "file_name": name} for image, name in names.items()]
    content = {"images": images, "annotations": ANNOTATIONS, "categories": CATEGORIES}
    folder = written(tmp_path, content, "train/a.jpg", "train/b.jpg", "train/x/c.jpg", "test/elsewhere.jpg")
    tags = Coco("train.json", "train", target="multi").read(folder)
    assert by_id(tags) == {"7": ("cat",), "8": ("dog",), "9": ()}
    classes = Coco("train.json", "train").read(folder)
    assert by_id(classes) == {"7": "cat", "8": "dog"}
    for frame in (tags, classes):
        (note,) = frame.attrs["notes"]
        assert "train.json" in note
        assert "1 image," in note
        assert "c.jpg" in note


def test_images_of_one_group_are_told_by_what_their_records_say(tmp_path):
    images = [{"id": 7, "file_name": "a.jpg", "location": 3}, {"id": 8, "file_name": "b.jpg", "location": "x"}]
    content = {"images": images, "annotations": ANNOTATIONS, "categories": CATEGORIES}
    folder = written(tmp_path, content, "train/a.jpg", "train/b.jpg")
    assert list(Coco("train.json", "train", group="location").read(folder)["group"]) == ["3", "x"]
    with pytest.raises(DataError, match=r"'a\.jpg' no 'seq_id'"):
        Coco("train.json", "train", group="seq_id").read(folder)
