"""Several images of one answer, in each label source and in the test images."""

from dataclasses import replace

import pandas as pd
import pytest

from comp.declare.labels.columns import CsvColumns, CsvImages, CsvLabels
from comp.declare.labels.files import FileNames, TestImages
from comp.declare.labels.function import LabelFunction
from comp.errors import DataError, DeclarationError
from tests.declare.labels.conftest import by_id, table_of

IN_CSV = {"csv": "train.csv", "label": "sick", "folder": "train"}
A_ROW_EACH = CsvLabels(**IN_CSV, image="who", suffix="/*.png")
FOLDERS = ["train/a/0.png", "train/a/1.png", "train/b/0.png"]
OF_FOLDERS = {"a/0": "a", "a/1": "a", "b/0": "b"}
BY_FOLDER = ["who,sick", "a,yes", "b,no"]
NAMED = ["train/a_0.png", "train/a_b_0.png", "train/a_b_1.png"]
OF_NAMED = {"a_0": "a", "a_b_0": "a_b", "a_b_1": "a_b"}
EACH = ["image,who,side,sick", "0,a,L,yes", "1,a,R,yes", "2,b,L,no"]
IMAGES = ["train/0.png", "train/1.png", "train/2.png"]
OF_EACH = {"0": "a", "1": "a", "2": "b"}
AN_IMAGE_EACH = CsvLabels(**IN_CSV, image="image", suffix=".png", answer="who")


def by_function(folder):
    paths = [folder / image for image in IMAGES]
    return pd.DataFrame({"id": ["0", "1", "2"], "path": paths, "label": ["y", "y", "n"], "answer": list("aab")})


@pytest.mark.parametrize(
    ("source", "files", "lines", "answers"),
    [
        (A_ROW_EACH, FOLDERS, BY_FOLDER, OF_FOLDERS),
        (CsvLabels(**IN_CSV, image="who", suffix="_*.png"), NAMED, ["who,sick", "a,yes", "a_b,no"], OF_NAMED),
        # The row's name takes as much as possible of the text that * may match.
        (CsvLabels(**IN_CSV, image="who", suffix="*.png"), ["train/a.png"], ["who,sick", "a,yes"], {"a": "a"}),
        (AN_IMAGE_EACH, IMAGES, EACH, OF_EACH),
        (replace(AN_IMAGE_EACH, answer="{who}_{side}"), IMAGES, EACH, {"0": "a_L", "1": "a_R", "2": "b_L"}),
        (
            CsvColumns("train.csv", image="who", labels=["yes", "no"], folder="train", suffix="/*.png"),
            FOLDERS,
            ["who,yes,no", "a,1,0", "b,0,1"],
            OF_FOLDERS,
        ),
        (
            FileNames("train/{label}.{answer}.*.png"),
            ["train/yes.a.0.png", "train/yes.a.1.png", "train/no.b.0.png"],
            [],
            {"no.b.0": "b", "yes.a.0": "a", "yes.a.1": "a"},
        ),
        (LabelFunction(by_function), IMAGES, [], OF_EACH),
        (TestImages("train", suffix="/*.png"), [*FOLDERS, "train/.b/0.png", "train/a/.0.png"], [], OF_FOLDERS),
        (TestImages("train", suffix="_*.png"), NAMED, [], OF_NAMED),
        (
            CsvImages("train.csv", image="image", folder="train/{who}", suffix=".png", answer="who"),
            ["train/a/0.png", "train/a/1.png", "train/b/2.png", "train/b/3.png"],
            EACH,
            OF_EACH,
        ),
    ],
)
def test_images_belong_to_the_answers_that_the_declaration_names(tmp_path, source, files, lines, answers):
    frame = table_of(source, tmp_path, *lines, images=files)
    assert by_id(frame, "answer") == answers
    assert ("label" in frame) == hasattr(source, "target")


@pytest.mark.parametrize(
    ("lines", "answers"),
    [([*BY_FOLDER, "c,no"], ["a", "b"]), (["who,sick", "c,no"], []), ([*BY_FOLDER[:2], "b,"], ["a"])],
)
def test_rows_without_an_image_or_a_label_may_be_left_out_and_are_counted(tmp_path, lines, answers):
    frame = table_of(replace(A_ROW_EACH, incomplete=True), tmp_path, *lines, images=FOLDERS)
    assert sorted(set(frame["answer"])) == answers
    assert any(f"1 of {len(lines) - 1} rows" in note for note in frame.attrs["notes"])


@pytest.mark.parametrize(
    ("source", "files", "lines", "said"),
    [
        (A_ROW_EACH, FOLDERS[:2], BY_FOLDER, r"1 of 2 rows.*train/b/\*\.png"),
        (A_ROW_EACH, FOLDERS, BY_FOLDER[:2], r"1 image has no row.*train/b/0\.png"),
        (A_ROW_EACH, FOLDERS, [*BY_FOLDER, "b,yes"], "two rows of 'b'"),
        (A_ROW_EACH, ["train/0.png"], BY_FOLDER, r"no images that end in '/\*\.png'"),
        (replace(AN_IMAGE_EACH, answer="side"), IMAGES, EACH, "answer 'L'.*one label.*'yes'.*'no'"),
        (replace(AN_IMAGE_EACH, answer="sick", group="side"), IMAGES, EACH, "answer 'yes'.*one group.*'L'.*'R'"),
    ],
)
def test_images_that_make_no_answer_are_named(tmp_path, source, files, lines, said):
    with pytest.raises(DataError, match=said):
        table_of(source, tmp_path, *lines, images=files)


def test_several_images_of_a_row_lie_in_one_place():
    with pytest.raises(DeclarationError, match="`folder`"):
        CsvLabels(**{**IN_CSV, "image": "who", "suffix": "/*.png", "folder": "{who}"})
