import csv
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from comp.declare.labels import (
    CsvLabels,
    FileNames,
    Folders,
    LabelFunction,
    TestImages,
    classes_of,
    in_order,
    read_csv,
    read_ids,
)
from comp.declare.labels.files import images_in
from comp.errors import DataError

# Odd but legal: spaces, quotes, commas, glob and regex characters, letters of other scripts.
ODD = "ab YZ09_-+()[]{}^$,;'\"&%#@!~é犬🐶"
CLASS_NAMES = st.text(ODD, min_size=1, max_size=12)
CSV = CsvLabels("train.csv", image="id", label="label", folder="train", suffix=".png")
TAGS = CsvLabels("train.csv", image="id", label="tags", folder="train", suffix=".png", separator=" ")


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def write_csv(folder, rows, label="label"):
    touch(folder, "train.csv")
    pd.DataFrame(rows, columns=["id", label]).to_csv(folder / "train.csv", index=False)
    return folder


def rows_of(frame):
    """The rows, with their paths as such."""
    columns = (map(Path, frame[name]) if name == "path" else frame[name] for name in frame)
    return list(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A function that gives a new empty folder at every call; hypothesis runs a test many times."""
    return lambda: tmp_path_factory.mktemp("data")


# File names


def test_file_names_give_the_class_and_the_id(tmp_path):
    touch(tmp_path, "train/cat.0.jpg", "train/dog.1.jpg")
    frame = FileNames("train/{label}.*.jpg").read(tmp_path)
    assert rows_of(frame) == [
        ("cat.0", tmp_path / "train/cat.0.jpg", "cat"),
        ("dog.1", tmp_path / "train/dog.1.jpg", "dog"),
    ]


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(CLASS_NAMES, min_size=1, max_size=6))
def test_file_names_round_trip(fresh, labels):
    folder = fresh()
    names = [f"{label}.{number}.jpg" for number, label in enumerate(labels)]
    touch(folder, *(f"train/{name}" for name in names))
    frame = FileNames("train/{label}.*.jpg").read(folder)
    assert dict(zip(frame["id"], frame["label"], strict=True)) == {
        name.removesuffix(".jpg"): label for name, label in zip(names, labels, strict=True)
    }
    assert [Path(path).stem for path in frame["path"]] == list(frame["id"])


@settings(max_examples=50, deadline=None)
@given(label=CLASS_NAMES, before=st.text("xy.+(*[", max_size=4), after=st.text("_.$)+", min_size=1, max_size=4))
def test_every_character_of_a_pattern_but_the_placeholders_stands_for_itself(fresh, label, before, after):
    before, fixed = before.replace("*", ""), f"1{after}"
    assume(fixed[0] not in label and before + label != "." and not before.startswith("."))
    folder = touch(fresh(), f"train/{before}{label}{fixed}2.png")
    assert list(FileNames(f"train/{before}{{label}}{fixed}*.png").read(folder)["label"]) == [label]


def test_a_file_name_that_does_not_fit_the_pattern_is_named(tmp_path):
    touch(tmp_path, "train/cat.0.jpg", "train/fish.jpg")
    with pytest.raises(DataError, match=r"fish\.jpg has no label"):
        FileNames("train/{label}.*.jpg").read(tmp_path)


def test_a_pattern_of_any_suffix_takes_every_kind_of_image(tmp_path):
    touch(tmp_path, "train/cat.0.jpg", "train/dog.1.png", "train/notes.txt")
    assert list(FileNames("train/{label}.*").read(tmp_path)["label"]) == ["cat", "dog"]


def test_other_files_beside_the_images_are_no_images(tmp_path):
    touch(tmp_path, "train/cat.0.jpg", "train/readme.txt", "train/.cat.1.jpg", "train/dog.3.jpeg")
    assert list(FileNames("train/{label}.*.jpg").read(tmp_path)["id"]) == ["cat.0"]


# Folders


@settings(max_examples=50, deadline=None)
@given(classes=st.dictionaries(CLASS_NAMES, st.integers(1, 3), min_size=1, max_size=4))
def test_folders_round_trip(fresh, classes):
    folder = fresh()
    touch(folder, *(f"train/{name}/{n}.jpg" for name, count in classes.items() for n in range(count)))
    frame = Folders("train").read(folder)
    assert frame["label"].value_counts().to_dict() == classes
    assert list(frame["id"]) == sorted(f"{path.parent.name}/{path.stem}" for path in map(Path, frame["path"]))
    assert all(Path(path).parent.name == label for path, label in zip(frame["path"], frame["label"], strict=True))


def test_an_image_outside_the_class_folders_is_named(tmp_path):
    touch(tmp_path, "train/cat/0.jpg", "train/lost.jpg")
    with pytest.raises(DataError, match=r"lost\.jpg has no label"):
        Folders("train").read(tmp_path)


def test_a_class_folder_without_images_is_named(tmp_path):
    touch(tmp_path, "train/cat/0.jpg", "train/dog/readme.txt")
    with pytest.raises(DataError, match="dog holds no image files, so it is no class; add some, or"):
        Folders("train").read(tmp_path)


def test_a_folder_without_class_folders_is_named(tmp_path):
    touch(tmp_path, "train/.hidden/0.jpg")
    with pytest.raises(DataError, match="train holds no class folders"):
        Folders("train").read(tmp_path)


@pytest.mark.parametrize("source", [Folders("train"), FileNames("train/{label}.jpg"), TestImages("train")])
def test_a_folder_that_is_not_there_is_named(tmp_path, source):
    with pytest.raises(DataError, match=r"train doesn't exist"):
        source.read(tmp_path)


# CSV


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(CLASS_NAMES | st.sampled_from(["NA", "nan", "None", "007", "1e3", "True"]), min_size=1))
def test_a_csv_round_trips_classes_as_the_text_they_are(fresh, labels):
    labels = [label for label in labels if label.strip()]
    assume(labels)
    folder = write_csv(fresh(), [(f"{number:03}", label) for number, label in enumerate(labels)])
    touch(folder, *(f"train/{number:03}.png" for number in range(len(labels))))
    frame = CSV.read(folder)
    assert rows_of(frame) == [
        (f"{number:03}", folder / f"train/{number:03}.png", label.strip()) for number, label in enumerate(labels)
    ]


@settings(max_examples=50, deadline=None)
@given(
    separator=st.sampled_from([" ", ",", ";", "|", ", ", "::"]),
    rows=st.lists(st.sets(CLASS_NAMES, max_size=4), min_size=1, max_size=6),
)
def test_a_csv_round_trips_tags_with_any_separator(fresh, separator, rows):
    rows = [{tag.strip() for tag in tags} - {""} for tags in rows]
    assume(not any(set(separator) & set(tag) for tags in rows for tag in tags))
    folder = write_csv(fresh(), [(f"{n}", separator.join(tags)) for n, tags in enumerate(rows)], label="tags")
    touch(folder, *(f"train/{number}.png" for number in range(len(rows))))
    source = CsvLabels("train.csv", image="id", label="tags", folder="train", suffix=".png", separator=separator)
    assert source.target == "multi"
    frame = source.read(folder)
    assert dict(zip(frame["id"], frame["label"], strict=True)) == {
        f"{number}": tuple(sorted(tags)) for number, tags in enumerate(rows)
    }


def test_tags_are_each_counted_once_whatever_their_order_and_spacing(tmp_path):
    write_csv(tmp_path, [("0", " haze  clear haze ")], label="tags")
    assert list(TAGS.read(touch(tmp_path, "train/0.png"))["label"]) == [("clear", "haze")]


def test_a_label_without_its_image_is_named(tmp_path):
    write_csv(tmp_path, [("0", "cat"), ("1", "dog")])
    with pytest.raises(DataError, match=r"1 of 2 rows of train\.csv have no image, the first .*1\.png"):
        CSV.read(touch(tmp_path, "train/0.png"))


def test_an_image_without_a_label_is_named(tmp_path):
    write_csv(tmp_path, [("0", "cat")])
    with pytest.raises(DataError, match=r"1 images have no row in train\.csv, the first .*1\.png"):
        CSV.read(touch(tmp_path, "train/0.png", "train/1.png"))


def test_an_empty_label_is_named(tmp_path):
    write_csv(tmp_path, [("0", "cat"), ("1", "")])
    with pytest.raises(DataError, match="image '1' an empty 'label'"):
        CSV.read(touch(tmp_path, "train/0.png", "train/1.png"))


def test_an_image_with_two_rows_is_named(tmp_path):
    write_csv(tmp_path, [("0", "cat"), ("0", "dog")])
    with pytest.raises(DataError, match="the first '0'"):
        CSV.read(touch(tmp_path, "train/0.png"))


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    write_csv(tmp_path, [("0", "cat")], label="breed")
    with pytest.raises(DataError, match="has no column 'label'; its columns are id, breed"):
        CSV.read(touch(tmp_path, "train/0.png"))


def test_names_that_have_their_suffix_need_none(tmp_path):
    write_csv(tmp_path, [("a.jpg", "cat"), ("b.png", "dog")])
    touch(tmp_path, "train/a.jpg", "train/b.png")
    frame = CsvLabels("train.csv", image="id", label="label", folder="train").read(tmp_path)
    assert list(frame["id"]) == ["a.jpg", "b.png"]
    assert [Path(path).name for path in frame["path"]] == ["a.jpg", "b.png"]


def test_names_may_lead_to_folders_below(tmp_path):
    write_csv(tmp_path, [("x/0", "cat"), ("y/0", "dog")])
    frame = CSV.read(touch(tmp_path, "train/x/0.png", "train/y/0.png"))
    assert list(frame["path"]) == [str(tmp_path / "train/x/0.png"), str(tmp_path / "train/y/0.png")]


@pytest.mark.parametrize("text", ["", '"id,label\n1', "id,label\n1,a\n2,b,c,d\n"])
def test_a_file_that_is_no_csv_is_named(tmp_path, text):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(DataError, match=r"train\.csv can't be read as a CSV"):
        read_csv(tmp_path / "train.csv")


def test_rows_with_more_values_than_columns_are_not_shifted(tmp_path):
    (tmp_path / "train.csv").write_text("id,label\n1,a,x\n2,b,y\n")
    with pytest.raises(DataError, match=r"train\.csv can't be read as a CSV"):
        read_csv(tmp_path / "train.csv")


def test_a_csv_in_another_encoding_is_named(tmp_path):
    (tmp_path / "train.csv").write_bytes("id,label\n1,é\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.csv can't be read as a CSV"):
        read_csv(tmp_path / "train.csv")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "train.csv").write_bytes("\ufeffid,label\n1,a\n".encode())
    assert list(read_csv(tmp_path / "train.csv", columns=["id"]).columns) == ["id", "label"]


def test_a_csv_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"train\.csv doesn't exist"):
        CSV.read(tmp_path)


def test_a_csv_gives_the_group_of_each_image(tmp_path):
    touch(tmp_path, "train/0.png", "train/1.png")
    (tmp_path / "train.csv").write_text("patient,id,label\n07,1,cat\n7,0,dog\n")
    frame = replace(CSV, group="patient").read(tmp_path)
    assert list(frame.columns) == ["id", "path", "label", "group"]
    assert list(zip(frame["id"], frame["group"], strict=True)) == [("0", "7"), ("1", "07")]
    assert list(CSV.read(tmp_path).columns) == ["id", "path", "label"]


@pytest.mark.parametrize("source", [CSV, TAGS], ids=["single", "multi"])
def test_an_image_without_a_group_is_named(tmp_path, source):
    touch(tmp_path, "train/0.png", "train/1.png")
    (tmp_path / "train.csv").write_text(f"id,{source.label},patient\n0,cat,7\n1,dog,\n")
    with pytest.raises(DataError, match="gives image '1' an empty 'patient'; fill it in or remove the row"):
        replace(source, group="patient").read(tmp_path)


def test_a_group_column_that_is_not_there_is_named(tmp_path):
    touch(write_csv(tmp_path, [("0", "cat")]), "train/0.png")
    with pytest.raises(DataError, match="has no column 'patient'; its columns are id, label"):
        replace(CSV, group="patient").read(tmp_path)


# Functions


def test_a_function_gives_the_table(tmp_path):
    touch(tmp_path, "1.png", "0.png")

    def read(folder):
        return pd.DataFrame({"id": [1, 0], "path": [folder / "1.png", str(folder / "0.png")], "label": [3, 4]})

    assert rows_of(LabelFunction(read).read(tmp_path)) == [
        ("0", tmp_path / "0.png", "4"),
        ("1", tmp_path / "1.png", "3"),
    ]


def test_a_function_gives_tags(tmp_path):
    touch(tmp_path, "0.png")

    def read(folder):
        return pd.DataFrame({"id": ["0"], "path": [folder / "0.png"], "label": [["b", "a", "b"]]})

    assert list(LabelFunction(read, target="multi").read(tmp_path)["label"]) == [("a", "b")]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["0"], "path": ["0.png"]}, "label is missing"),
        ({"name": ["0"]}, "id, label, path are missing"),
        ({"id": ["0"], "path": ["absent.png"], "label": ["a"]}, r"read names 1 images that don't exist.*absent\.png"),
        ({"id": ["0", "0"], "path": ["0.png"] * 2, "label": ["a", "b"]}, "ids occur more than once, the first '0'"),
        ({"id": ["0", "1"], "path": ["0.png"] * 2, "label": ["a", None]}, "image '1' has the label"),
        ({"id": ["0", "1"], "path": ["0.png"] * 2, "label": ["a", ""]}, "image '1' has the label"),
        ({"id": ["0", "1"], "path": ["0.png"] * 2, "label": ["a", ["b"]]}, "image '1' has the label"),
        ({"id": ["0", "1"], "path": ["0.png"] * 2, "label": [1, float("nan")]}, "image '1' has the label"),
    ],
)
def test_a_table_that_is_not_one_is_named(tmp_path, monkeypatch, columns, said):
    monkeypatch.chdir(touch(tmp_path, "0.png"))

    def read(folder):
        return pd.DataFrame(columns)

    with pytest.raises(DataError, match=said):
        LabelFunction(read).read(tmp_path)


def test_a_function_gives_groups_as_text(tmp_path):
    touch(tmp_path, "1.png", "0.png")

    def read(folder):
        paths = [folder / "1.png", folder / "0.png"]
        return pd.DataFrame({"id": ["1", "0"], "path": paths, "label": ["a", "b"], "group": [12, 7]})

    frame = LabelFunction(read).read(tmp_path)
    assert list(zip(frame["id"], frame["group"], strict=True)) == [("0", "7"), ("1", "12")]


@pytest.mark.parametrize("group", [None, float("nan"), ""])
def test_a_function_s_image_without_a_group_is_named(tmp_path, group):
    touch(tmp_path, "1.png", "0.png")

    def read(folder):
        paths = [folder / "0.png", folder / "1.png"]
        return pd.DataFrame({"id": ["0", "1"], "path": paths, "label": ["a", "b"], "group": ["x", group]})

    with pytest.raises(DataError, match="image '1' has no group; give it one, or leave out the column"):
        LabelFunction(read).read(tmp_path)


@pytest.mark.parametrize("result", [None, [("0", "0.png", "a")], {"id": ["0"]}])
def test_a_function_that_gives_no_table_is_named(tmp_path, result):
    with pytest.raises(DataError, match="should return a DataFrame with the columns id, path and label"):
        LabelFunction(lambda folder: result).read(tmp_path)


@pytest.mark.parametrize("tags", ["clear haze", None, 3])
def test_tags_that_are_no_list_are_named(tmp_path, tags):
    touch(tmp_path, "0.png")

    def read(folder):
        return pd.DataFrame({"id": ["0"], "path": [folder / "0.png"], "label": pd.Series([tags], dtype=object)})

    with pytest.raises(DataError, match=r"image '0' has the label .*a list of its tags"):
        LabelFunction(read, target="multi").read(tmp_path)


# Test images, classes, order


@pytest.mark.parametrize(("with_suffix", "ids"), [(False, ["1", "10", "2"]), (True, ["1.jpg", "10.jpg", "2.jpg"])])
def test_test_images_have_the_ids_of_the_sample_submission(tmp_path, with_suffix, ids):
    touch(tmp_path, "test/10.jpg", "test/2.jpg", "test/1.jpg", "test/labels.csv")
    frame = TestImages("test", with_suffix=with_suffix).read(tmp_path)
    assert list(frame.columns) == ["id", "path"]
    assert list(frame["id"]) == ids
    assert [Path(path).name for path in frame["path"]] == ["1.jpg", "10.jpg", "2.jpg"]


def test_a_suffix_of_two_parts_is_no_part_of_the_id(tmp_path):
    touch(tmp_path, "test/a.full.jpg", "test/a.half.jpg", "test/b.FULL.JPG")
    assert list(TestImages("test", suffix=".full.jpg").read(tmp_path)["id"]) == ["a", "b"]


def test_two_test_images_of_one_id_are_named(tmp_path):
    with pytest.raises(DataError, match="the first 'a'"):
        TestImages("test").read(touch(tmp_path, "test/a.jpg", "test/a.png"))


def test_images_are_sorted_and_hidden_files_are_none(tmp_path):
    touch(tmp_path, "b.JPG", "a.jpg", ".c.jpg", "d.txt", "e.full.jpg")
    assert images_in(tmp_path) == ["a.jpg", "b.JPG", "e.full.jpg"]
    assert images_in(tmp_path, ".full.jpg") == ["e.full.jpg"]
    assert images_in(tmp_path, ".jpg") == ["a.jpg", "b.JPG", "e.full.jpg"]
    assert images_in(tmp_path, ".png", required=False) == []
    with pytest.raises(DataError, match=r"holds no \.png files"):
        images_in(tmp_path, ".png")


def test_classes_come_from_the_data():
    single = pd.DataFrame({"label": ["dog", "cat", "dog"]})
    multi = pd.DataFrame({"label": [("haze",), (), ("clear", "haze")]})
    assert classes_of(single, "single") == ("cat", "dog")
    assert classes_of(multi, "multi") == ("clear", "haze")


@pytest.mark.parametrize(
    ("labels", "target", "said"),
    [
        (["cat", "cat"], "single", "'cat'; there is nothing to learn"),
        (["", ""], "single", "no labels at all"),
        ([(), ()], "multi", "no labels at all"),
        ([("a",), ("a",)], "multi", "'a'; there is nothing to learn"),
    ],
)
def test_a_table_without_two_classes_is_refused(labels, target, said):
    with pytest.raises(DataError, match=said):
        classes_of(pd.DataFrame({"label": pd.Series(labels, dtype=object)}), target)


def test_numbers_are_ordered_as_numbers_and_all_else_as_text():
    assert in_order(["10", "9", "-1", "0"]) == ("-1", "0", "9", "10")
    assert in_order(["10", "9", "a"]) == ("10", "9", "a")
    assert in_order(["1.5", "10", "9"]) == ("1.5", "10", "9")


@given(names=st.sets(CLASS_NAMES | st.integers().map(str) | st.sampled_from(["01", "1", "-0", "²", "٣"])))
def test_the_order_does_not_depend_on_where_names_came_from(names):
    assert in_order(sorted(names)) == in_order(sorted(names, reverse=True))
    assert set(in_order(names)) == names


# What people's files are like


def from_text(folder, text, source=CSV, encoding="utf-8"):
    """The table of a train.csv with just these bytes, its images beside it."""
    (folder / "train.csv").write_bytes(text.encode(encoding))
    return source.read(folder)


@pytest.mark.parametrize(
    "text", ["\ufeffid,label\n007,cat\n", "id,label\r\n007,cat\r\n", '"id","label"\r"007","cat"\r']
)
def test_a_mark_of_the_encoding_and_any_line_ends_and_quotes_leave_no_trace(tmp_path, text):
    frame = from_text(touch(tmp_path, "train/007.png"), text)
    assert rows_of(frame) == [("007", tmp_path / "train/007.png", "cat")]
    assert frame.attrs["notes"] == []


@pytest.mark.parametrize("name", ["NA", "N/A", "null", "NULL", "None", "nan", "NaN", "", "#N/A"])
def test_a_class_may_have_the_name_of_nothing(tmp_path, name):
    touch(tmp_path, "train/0.png", "train/NA.png")
    if not name:
        with pytest.raises(DataError, match="gives image 'NA' an empty 'label'"):
            from_text(tmp_path, "id,label\n0,cat\nNA,\n")
    else:
        assert list(from_text(tmp_path, f"id,label\n0,cat\nNA,{name}\n")["label"]) == ["cat", name]


def test_spaces_around_values_and_names_of_columns_are_left_out_and_said(tmp_path):
    touch(tmp_path, "train/0.png", "train/1.png", "train/2.png")
    frame = from_text(tmp_path, 'id , label\n0, "cat, tame" \n1 ,cat\n2,\tdog\n')
    assert list(frame["id"]) == ["0", "1", "2"]
    assert list(frame["label"]) == ["cat, tame", "cat", "dog"]
    assert frame.attrs["notes"] == [
        "train.csv: spaces around 1 values of id are left out, the first '1 '",
        "train.csv: spaces around 2 values of label are left out, the first 'cat, tame '",
    ]


def test_a_file_s_own_name_may_begin_and_end_with_spaces(tmp_path):
    touch(tmp_path, "train/ 0 .png", "train/1.png")
    frame = from_text(tmp_path, 'id,label\n" 0 ",cat\n1 ,dog\n')
    assert list(frame["id"]) == [" 0 ", "1"]


def test_a_doubled_row_counts_once_and_is_said(tmp_path):
    touch(tmp_path, "train/0.png", "train/1.png")
    frame = from_text(tmp_path, "id,label\n0,cat\n1,dog\n0,cat\n0 ,cat\n")
    assert list(frame["id"]) == ["0", "1"]
    assert frame.attrs["notes"][-1] == "2 rows are doubled and count once, the first of '0'"
    tags = from_text(tmp_path, "id,tags\n0,a b\n1,c\n0,b a\n", TAGS)
    assert list(tags["label"]) == [("a", "b"), ("c",)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label\n0,cat\n1,dog\n0,dog\n", "first '0' with the label 'cat' and 'dog'; every image needs its own id"),
        ("id,label\n0,cat\n ,dog\n", "train.csv has a row with an empty 'id'; name its image or remove the row"),
        ("id,label\n0,cat\n1\n", "gives image '1' an empty 'label'; fill it in or remove the row"),
        ("id,label\n0,cat\n1,dog,tame\n", r"train\.csv can't be read as a CSV: .*line 3"),
        ("id,label,label\n0,cat,cat\n", "has the column 'label' twice; remove one or rename it"),
        ("id;label\n0;cat\n", "has no column 'id'; its columns are id;label"),
        ("id,label\n0,cat\n", "1 images have no row in train.csv, the first .*1.png; add their labels or move them"),
        (
            "id,label\n0,cat\n1,dog\n2,dog\n",
            "1 of 3 rows of train.csv have no image, the first .*2.png; check `folder`",
        ),
        (f"id,label\n0,cat\n1,dog\n{'x' * 300}/1,dog\n", "1 of 3 rows of train.csv have no image"),
        ("id,label\n0,cat\n1,dog\nno/1,dog\n", "1 of 3 rows of train.csv have no image, the first .*no/1.png"),
        ('id,label\n0,cat\n1,"dog\n', r"train\.csv can't be read as a CSV: .*EOF inside string"),
        ("id,label\n", "train.csv has no rows; download the data again"),
    ],
)
def test_each_mistake_of_a_label_file_is_one_sentence(tmp_path, text, said):
    with pytest.raises(DataError, match=said) as raised:
        from_text(touch(tmp_path, "train/0.png", "train/1.png"), text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252", "utf-32"])
def test_a_label_file_in_another_encoding_says_which_is_right(tmp_path, encoding):
    with pytest.raises(DataError, match="it is no UTF-8 text; save it as UTF-8"):
        from_text(touch(tmp_path, "train/0.png"), "id,label\n0,é\n", encoding=encoding)


def test_images_of_another_suffix_are_left_out_and_said(tmp_path):
    touch(tmp_path, "train/0.png", "train/1.jpeg", "train/notes.txt", "test/2.png", "test/3.jpg")
    said = f"1 images do not end in '.png' and are left out, the first '{tmp_path}"
    assert from_text(tmp_path, "id,label\n0,cat\n").attrs["notes"] == [f"{said}/train/1.jpeg'"]
    assert FileNames("train/{label}.png").read(tmp_path).attrs["notes"] == [f"{said}/train/1.jpeg'"]
    assert TestImages("test", suffix=".png").read(tmp_path).attrs["notes"] == [f"{said}/test/3.jpg'"]
    assert TestImages("test").read(tmp_path).attrs["notes"] == []


def test_two_files_of_one_id_are_both_named(tmp_path):
    touch(tmp_path, "train/cat/0.jpg", "train/cat/0.png")
    with pytest.raises(DataError, match=r"the first 'cat/0' with the path '.*0\.jpg' and '.*0\.png'"):
        Folders("train").read(tmp_path)


def test_a_function_that_lost_the_class_na_is_told_how_to_keep_it(tmp_path):
    touch(tmp_path, "0.png")

    def read(folder):
        return pd.DataFrame({"id": ["0"], "path": [folder / "0.png"], "label": [float("nan")]})

    with pytest.raises(
        DataError, match=r"label nan, .*; read it with comp\.labels\.read_csv if its name is NA or None"
    ):
        LabelFunction(read).read(tmp_path)


def test_file_names_may_have_spaces_line_ends_and_markup(tmp_path):
    names = ["a b", "a\nb", "[red]a", "ü犬", "%s {x}", "'\"", "-rf"]
    touch(tmp_path, *(f"train/cat.{name}.jpg" for name in names), *(f"folders/{name}/{name}.jpg" for name in names))
    assert sorted(FileNames("train/{label}.*.jpg").read(tmp_path)["id"]) == sorted(f"cat.{name}" for name in names)
    assert sorted(Folders("folders").read(tmp_path)["label"]) == sorted(names)


def test_a_file_name_that_is_no_unicode_is_named(tmp_path):
    touch(tmp_path, "train/cat.0.jpg", b"train/cat.\xff.jpg".decode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"cat\.\\udcff\.jpg' is no UTF-8; rename the file"):
        FileNames("train/{label}.*.jpg").read(tmp_path)


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(',"\n\r; \t\ufeff\0abé0123.', max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("latin-1")),
    head=st.sampled_from(["", "id,label\n", "id,tags\n", "\ufeffid , label\r\n"]),
    source=st.sampled_from([CSV, TAGS, replace(CSV, group="label")]),
    encoding=st.sampled_from(["utf-8", "utf-16", "latin-1"]),
)
def test_any_label_file_is_a_table_of_all_images_or_one_sentence(fresh, text, head, source, encoding):
    folder = touch(fresh(), "train/0.png", "train/1.png")
    (folder / "train.csv").write_bytes((head + text).encode(encoding, errors="replace"))
    try:
        frame = source.read(folder)
    except DataError:
        return
    assert list(frame["id"]) == ["0", "1"]
    assert all(frame["label"].map(bool)) or source is TAGS


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.text('ab0 "\n,é', max_size=3), min_size=1, max_size=4), max_size=6),
    names=st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True),
)
def test_only_the_ids_are_looked_at_where_only_they_are_wanted(rows, names, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "ids.csv"
    # A line of spaces alone is no row.
    rows = [row for row in rows if "".join(row).strip() or len(row) > 1]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    columns, ids = read_ids(path)
    assert columns == tuple(names)
    assert ids.to_list() == [row[0] for row in rows]
    assert ids.name == names[0]
    assert list(ids.index) == list(range(len(rows)))
