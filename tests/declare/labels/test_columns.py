"""Labels in columns of 0 and 1, images in folders that a column names, and folders that hold test images too."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.labels import CsvColumns, CsvLabels, CsvNumbers, classes_of
from comp.errors import DataError
from tests.declare.labels.conftest import touch

LINES = CsvColumns("train.csv", image="id", labels=["a", "b c"], folder="train", suffix=".png", target="multi")
ONE_HOT = CsvColumns("train.csv", image="id", labels=["a", "b c"], folder="train", suffix=".png")
PLACED = CsvLabels("train.csv", image="id", label="kind", folder="train/{kind}/{side}", suffix=".png")


def laid_out(folder, header, *rows, images=()):
    (folder / "train.csv").write_text("\n".join([header, *rows]) + "\n")
    return touch(folder, *images)


def labels_of(frame):
    return dict(zip(frame["id"], frame["label"], strict=True))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.sampled_from(["a", "b c", "d"])), min_size=1, max_size=8))
def test_columns_of_0_and_1_round_trip(fresh, rows):
    folder = fresh()
    columns = ["d", "a", "b c"]
    frame = pd.DataFrame([{column: int(column in tags) for column in columns} for tags in rows])
    frame.insert(0, "id", [f"{number:02}" for number in range(len(rows))])
    touch(folder, *(f"{name}.png" for name in frame["id"]))
    frame.to_csv(folder / "train.csv", index=False)
    source = CsvColumns("train.csv", image="id", labels=columns, folder=".", suffix=".png", target="multi")
    assert [set(tags) for tags in source.read(folder)["label"]] == rows


def test_one_column_of_a_row_is_its_class(tmp_path):
    laid_out(tmp_path, "id,a,b c", "1,0,1", "2,1.0,0.0", images=["train/1.png", "train/2.png"])
    assert labels_of(ONE_HOT.read(tmp_path)) == {"1": "b c", "2": "a"}


@pytest.mark.parametrize(("row", "count"), [("1,1,1", 2), ("1,0,0", 0)])
def test_a_row_that_has_not_one_class_is_named(tmp_path, row, count):
    laid_out(tmp_path, "id,a,b c", row, images=["train/1.png"])
    with pytest.raises(DataError, match=f"image '1' {count} classes.*target='multi'"):
        ONE_HOT.read(tmp_path)
    assert len(labels_of(LINES.read(tmp_path))["1"]) == count


def test_a_value_that_is_not_0_or_1_is_named(tmp_path):
    laid_out(tmp_path, "id,a,b c", "1,0,-1", images=["train/1.png"])
    with pytest.raises(DataError, match="image '1' '-1' in column 'b c', but it should be 0 or 1"):
        LINES.read(tmp_path)


def test_two_rows_of_an_image_that_differ_are_named(tmp_path):
    laid_out(tmp_path, "id,a,b c", "1,0,1", "1,0,0", images=["train/1.png"])
    with pytest.raises(DataError, match="'1' with the label"):
        LINES.read(tmp_path)


def test_columns_have_groups_too(tmp_path):
    laid_out(tmp_path, "id,a,b c,who", "1,0,1,x", "2,1,0,x", images=["train/1.png", "train/2.png"])
    source = CsvColumns("train.csv", image="id", labels=["a", "b c"], folder="train", suffix=".png", group="who")
    assert list(source.read(tmp_path)["group"]) == ["x", "x"]


def test_a_column_may_name_the_folder_that_an_image_lies_in(tmp_path):
    images = ["train/cat/left/1.png", "train/dog/right/2.png"]
    laid_out(tmp_path, "id,kind,side", "1,cat,left", "2,dog,right", images=images)
    frame = PLACED.read(tmp_path)
    assert labels_of(frame) == {"1": "cat", "2": "dog"}
    assert list(frame["path"]) == [str(tmp_path / image) for image in images]


def test_an_image_in_another_folder_than_its_row_says_is_named(tmp_path):
    laid_out(
        tmp_path,
        "id,kind,side",
        "1,cat,left",
        "2,dog,right",
        "3,cat,left",
        images=["train/cat/left/1.png", "train/dog/right/2.png", "train/dog/right/3.png"],
    )
    with pytest.raises(DataError, match=r"1 of 3 rows of train.csv have no image, the first .*cat/left/3.png"):
        PLACED.read(tmp_path)


def test_a_column_of_the_folder_that_is_not_there_is_named(tmp_path):
    laid_out(tmp_path, "id,kind", "1,cat", images=["train/cat/left/1.png"])
    with pytest.raises(DataError, match="no column 'side'"):
        PLACED.read(tmp_path)


def test_images_without_a_row_are_an_error_but_in_a_shared_folder(tmp_path):
    laid_out(tmp_path, "id,kind", "1,cat", "2,dog", images=["all/1.png", "all/2.png", "all/test.png"])
    source = CsvLabels("train.csv", image="id", label="kind", folder="all", suffix=".png")
    with pytest.raises(DataError, match=r"all/test.png; .*shared=True"):
        source.read(tmp_path)
    shared = CsvLabels("train.csv", image="id", label="kind", folder="all", suffix=".png", shared=True)
    assert labels_of(shared.read(tmp_path)) == {"1": "cat", "2": "dog"}


NUMBERS = CsvNumbers("train.csv", image="id", values=["b c", "a"], folder="train", suffix=".png", bounds=(-1, 9))
SHARES = CsvColumns("train.csv", "id", ["a", "b c"], folder="train", suffix=".png", target="shares")


def test_numbers_are_read_by_the_names_of_their_columns(tmp_path):
    laid_out(tmp_path, "id,a,b c", "1, 0.5 ,-1", "2,1e0,9", images=["train/1.png", "train/2.png"])
    frame = NUMBERS.read(tmp_path)
    assert labels_of(frame) == {"1": (("b c", -1.0), ("a", 0.5)), "2": (("b c", 9.0), ("a", 1.0))}
    assert classes_of(frame, "number") == ("b c", "a")


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "9.5"])
def test_what_is_no_number_within_the_bounds_is_named(tmp_path, value):
    laid_out(tmp_path, "id,a,b c", f"1,{value},0", images=["train/1.png"])
    with pytest.raises(DataError, match=f"image '1' '{value}' in column 'a', .*a number from -1 to 9"):
        NUMBERS.read(tmp_path)


def test_numbers_that_are_all_the_same_teach_nothing(tmp_path):
    laid_out(tmp_path, "id,a,b c", "1,2,3", "2,2,3", images=["train/1.png", "train/2.png"])
    with pytest.raises(DataError, match="the same label, 3, 2"):
        classes_of(NUMBERS.read(tmp_path), "number")


def test_shares_sum_to_one_and_fractions_need_not(tmp_path):
    laid_out(tmp_path, "id,a,b c", "1,0.25,0.75", images=["train/1.png"])
    assert labels_of(SHARES.read(tmp_path)) == {"1": (("a", 0.25), ("b c", 0.75))}
    laid_out(tmp_path, "id,a,b c", "1,0.5,0.75")
    with pytest.raises(DataError, match=r"image '1' shares that sum to 1\.25.*target='fractions'"):
        SHARES.read(tmp_path)
    assert labels_of(replace(SHARES, target="fractions").read(tmp_path)) == {"1": (("a", 0.5), ("b c", 0.75))}


def test_a_row_that_names_no_class_and_columns_that_join_nothing_are_named(tmp_path):
    laid_out(tmp_path, "id,y", "1_a,1", "1_c,0", images=["train/1.png"])
    source = replace(LINES, row="{id}_{class}", value="y")
    with pytest.raises(DataError, match="id has '1_c'"):
        source.read(tmp_path)
    (tmp_path / "more.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"more.csv has a column of the other.*id, y and x, z"):
        CsvLabels("train.csv", "id", "y", folder="train", join="more.csv").read(tmp_path)


def test_an_image_of_two_answers_is_an_image_of_each(tmp_path):
    laid_out(tmp_path, "id,who", "1,p", "1,q", "2,q", images=["train/1.png", "train/2.png"])
    (tmp_path / "labels.csv").write_text("who,y\np,cat\nq,dog\n")
    source = CsvLabels("train.csv", "id", "y", folder="train", suffix=".png", join="labels.csv", answer="who")
    assert labels_of(source.read(tmp_path)) == {"p/1": "cat", "q/1": "dog", "2": "dog"}
