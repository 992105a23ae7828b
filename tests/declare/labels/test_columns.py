"""Labels in columns, images in folders that a column names, and folders that hold test images too."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.labels.columns import CsvColumns, CsvLabels, CsvNumbers
from comp.declare.labels.table import classes_of
from comp.errors import DataError
from tests.declare.labels.conftest import by_id, table_of

PLACES = {"image": "id", "folder": "train", "suffix": ".png"}
ONE_HOT = CsvColumns("train.csv", labels=["a", "b c"], **PLACES)
TAGS = replace(ONE_HOT, target="multi")
SHARES = replace(ONE_HOT, target="shares")
FRACTIONS = replace(ONE_HOT, target="fractions")
LONG = replace(TAGS, row="{id}_{class}", value="y")
NUMBERS = CsvNumbers("train.csv", values=["b c", "a"], bounds=(-1, 9), **PLACES)
KINDS = CsvLabels("train.csv", label="kind", **PLACES)
PLACED = replace(KINDS, folder="train/{kind}/{side}")
IN_FOLDERS = ("train/cat/left/1.png", "train/dog/right/2.png")
JOINED = CsvLabels("train.csv", label="y", join="more.csv", answer="who", **PLACES)
HEAD = "id,a,b c"


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sets(st.sampled_from(["a", "b c", "d"])), min_size=1, max_size=8))
def test_columns_of_0_and_1_round_trip(fresh, rows):
    columns = ["d", "a", "b c"]
    lines = [
        ",".join([f"{number:02}", *(str(int(one in tags)) for one in columns)]) for number, tags in enumerate(rows)
    ]
    images = [f"train/{number:02}.png" for number in range(len(rows))]
    read = table_of(replace(TAGS, labels=columns), fresh(), "id,d,a,b c", *lines, images=images)
    assert [set(tags) for tags in read["label"]] == rows


@pytest.mark.parametrize(
    ("source", "lines", "images", "labels"),
    [
        (ONE_HOT, [HEAD, "1,0,1", "2,1.0,0.0"], 2, {"1": "b c", "2": "a"}),
        (TAGS, [HEAD, "1,1,1", "2,0,0"], 2, {"1": ("a", "b c"), "2": ()}),
        # Without zeros, -1 means no.
        (TAGS, [HEAD, "1,-1,1", "2,1,1.0"], 2, {"1": ("b c",), "2": ("a", "b c")}),
        (NUMBERS, [HEAD, "1, 0.5 ,-1", "2,1e0,9"], 2, {"1": (("b c", -1), ("a", 0.5)), "2": (("b c", 9), ("a", 1))}),
        (SHARES, [HEAD, "1,0.25,0.75"], 1, {"1": (("a", 0.25), ("b c", 0.75))}),
        # Rounded, they still sum to one.
        (SHARES, [HEAD, "1,0.333,0.666"], 1, {"1": (("a", 0.333 / (0.333 + 0.666)), ("b c", 0.666 / (0.333 + 0.666)))}),
        (FRACTIONS, [HEAD, "1,0.5,0.75"], 1, {"1": (("a", 0.5), ("b c", 0.75))}),
        (PLACED, ["id,kind,side", "1,cat,left", "2,dog,right"], IN_FOLDERS, {"1": "cat", "2": "dog"}),
        # Rows of one image have one group, with or without spaces.
        (replace(KINDS, separator=" ", group="w"), ["id,kind,w", "1,cat,p", "1,dog, p"], 1, {"1": ("cat", "dog")}),
        (replace(KINDS, shared=True), ["id,kind", "1,cat"], 2, {"1": "cat"}),
        # An image with two answers counts for each of them.
        (JOINED, ["id,who", "1,p", "1,q", "2,q"], 2, {"p/1": "cat", "q/1": "dog", "2": "dog"}),
    ],
)
def test_each_image_has_what_its_columns_say(tmp_path, source, lines, images, labels):
    (tmp_path / "more.csv").write_text("who,y\np,cat\nq,dog\n")
    images = [f"train/{number + 1}.png" for number in range(images)] if isinstance(images, int) else images
    read = table_of(source, tmp_path, *lines, images=images)
    assert by_id(read) == labels
    assert set(read["path"]) <= {str(tmp_path / image) for image in images}


@pytest.mark.parametrize(
    ("source", "lines", "said"),
    [
        (ONE_HOT, [HEAD, "1,1,1"], "image '1' 2 classes.*target='multi'"),
        (ONE_HOT, [HEAD, "1,0,0"], "image '1' 0 classes.*target='multi'"),
        (TAGS, [HEAD, "1,0,-1"], "image '1' '-1' in column 'b c', but it should be 0 or 1"),
        (TAGS, [HEAD, "1,0,1", "1,0,0"], "'1' with the label"),
        (LONG, ["id,y", "1_a,1", "1_c,0"], "id has '1_c'"),
        (replace(KINDS, separator=" ", group="w"), ["id,kind,w", "1,cat,p", "1,dog,q"], "w differs .* of '1'"),
        (replace(KINDS, separator=" ", folder="{in}"), ["id,kind,in", "1,cat,a", "1,dog,b"], "2 of 2 rows .* no image"),
        (replace(LONG, group="w"), ["id,y,w", "1_b c,1,p", "1_a,1,q"], "w differs between the rows of '1'"),
        (LONG, ["id,y", "1_b c,1", "1_a,1", "1_a,0"], "id has '1_a' twice, with different values in y"),
        (SHARES, [HEAD, "1,0.5,0.75"], r"image '1' shares that sum to 1\.25.*target='fractions'"),
        *(
            (NUMBERS, [HEAD, f"1,{value},0"], f"image '1' '{value}' in column 'a', .*a number from -1 to 9")
            for value in ("", "x", "nan", "inf", "9.5")
        ),
        (PLACED, ["id,kind", "1,cat"], "no column 'side'"),
        (
            PLACED,
            ["id,kind,side", "1,cat,left", "2,dog,right", "3,cat,left"],
            "1 of 3 rows of train.csv have no image, the first .*cat/left/3.png",
        ),
        (KINDS, ["id,kind"], r"train.csv has no rows"),
        (replace(JOINED, join="other.csv"), ["id,y", "1,cat"], r"other.csv has 'who'.*id, y and x, z"),
        (replace(JOINED, join="other.csv", answer=None), ["id,y", "1,cat"], r"a column of the other.*id, y and x, z"),
    ],
)
def test_each_mistake_of_columns_is_named(tmp_path, source, lines, said):
    (tmp_path / "other.csv").write_text("x,z\n1,2\n")
    images = ["train/1.png", *IN_FOLDERS, "train/dog/right/3.png"]
    with pytest.raises(DataError, match=said):
        table_of(source, tmp_path, *lines, images=images if source is PLACED else images[:1])


def test_rows_of_one_image_share_its_group_its_folder_and_its_answer(tmp_path):
    source = replace(LONG, group="who", folder="{where}", answer="{who}-{where}")
    rows = ["2_a,1,q,test", "1_a,1,p ,train", "1_b c,0,p,train", "2_b c,1,q,test"]
    read = table_of(source, tmp_path, "id,y,who,where", *rows, images=["train/1.png", "test/2.png"]).set_index("id")
    assert read["group"].to_dict() == {"1": "p", "2": "q"}
    assert read["answer"].to_dict() == {"1": "p-train", "2": "q-test"}
    assert read["path"].to_dict() == {"1": str(tmp_path / "train/1.png"), "2": str(tmp_path / "test/2.png")}


def test_numbers_have_the_order_of_their_names_and_all_the_same_teach_nothing(tmp_path):
    assert classes_of(table_of(NUMBERS, tmp_path, HEAD, "1,2,3", "2,2,4"), "number") == ("b c", "a")
    with pytest.raises(DataError, match="the same label, 3, 2"):
        classes_of(table_of(NUMBERS, tmp_path, HEAD, "1,2,3", "2,2,3"), "number")
