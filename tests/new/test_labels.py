"""The table and column that labels are taken from, and the images that they belong to."""

import json
from pathlib import Path

import pytest

from comp import CsvNumbers, GivenSplit, TestImages
from comp.data.tables import read_tables
from comp.declare.forms import ClassName, Numbers, ProbabilityOf
from comp.declare.labels.coco import Coco
from comp.declare.labels.files import Folders
from comp.errors import DataError
from comp.new.inference import infer
from comp.new.look import look_at_folder
from tests.declare.labels.conftest import touch
from tests.new.looking import about, declared, doubts, inferred, table
from tests.new.templates import ASKED, TRAINED, coco, kind, lay_out

MANY = {"train": range(60)}


@pytest.mark.parametrize("other", ["", "male"])
def test_many_numbers_are_predicted_where_nothing_else_can_be_and_a_person_is_asked(other):
    train = "id,boneage,male: {n},{n}2,{truth}" if other else "id,boneage: {n},{n}2"
    found = inferred(numbers=MANY, train=train)
    assert found.competition.labels.values == ("boneage",)
    (doubt,) = doubts(found, "labels")
    assert "'boneage'" in doubt
    assert other in doubt


def test_the_columns_that_labels_may_be_in_as_well_are_named():
    (doubt,) = doubts(inferred(train="id,dx_type,dx,sex: {n},{half},{pet},{third}"), "labels")
    assert doubt == "whether the labels are in 'dx_type' and not 'dx', 'sex'"


def test_a_first_row_that_is_no_header_is_said_not_to_be_read():
    found = inferred(train=table("0.png,cat", *(f"{n}.png,{'cat' if n % 2 else 'dog'}" for n in TRAINED[1:])))
    assert [text for text in doubts(found, "labels") if "train.csv seems to have no header" in text]


def test_numbers_of_images_that_lie_in_class_folders_are_no_labels():
    files = "train/{half}/{n}.png test/{n}.png"
    assert declared(files, numbers=MANY | {"sizes": range(60)}, sizes="id,height: {n},2{n}").labels == Folders("train")


@pytest.mark.parametrize("train", ["image,weight: {n},{n}.5", "image,x,y: {n},{n}.5,{n}.25"])
def test_other_numbers_of_images_in_several_folders_are_predicted_and_a_person_is_asked(train):
    found = inferred("train/batch{quarter}/{n}.png test/{n}.png", numbers=MANY, train=train)
    assert isinstance(found.competition.labels, CsvNumbers)
    assert any("train has a folder" in doubt for doubt in doubts(found, "labels"))


def test_of_classes_that_two_columns_tell_the_one_in_words_is_taken():
    assert declared(birds="class id,file,bird,note: {third}.0,{n},{pet},x").labels.label == "bird"


@pytest.mark.parametrize(
    ("classes", "column", "plain", "asked"),
    [
        (("cover", "uerd", "juni"), "Label", "cover", "not cover"),
        (("abnormal", "fluid", "normal"), "Label", "normal", "not normal"),
        (("glioma", "no_tumor", "pituitary"), "Label", "no_tumor", "not no_tumor"),
        (("bcc", "mel", "normal"), "mel", "mel", "mel"),
    ],
)
def test_where_one_probability_is_asked_of_several_classes_all_but_one_are_joined_and_a_person_is_asked(
    classes, column, plain, asked
):
    files = " ".join(f"{kind}/{n}.jpg" for n in range(4) for kind in classes) + " test/{n}.jpg"
    found = inferred(files, sample_submission=f"Id,{column}: {{n}}.jpg,0.{{n}}")
    assert found.competition.labels.names == {name: f"not {plain}" for name in classes if name != plain}
    assert found.competition.submission == ProbabilityOf(asked)
    assert any(repr(plain) in doubt for doubt in doubts(found, "labels"))


BY_MEAN = "id,X4_mean,X11_mean,X4_sd,X11_sd: {n},{n}.5,{n}.25,{n}.1,{n}.7"


def test_numbers_whose_columns_have_longer_names_than_what_is_asked_are_renamed_and_a_person_is_asked():
    found = inferred(numbers=MANY, train=BY_MEAN, sample_submission="id,X4,X11: {n},1.0,1.0")
    labels = found.competition.labels
    assert labels.names == {"X4_mean": "X4", "X11_mean": "X11"}
    assert labels.labels.values == ("X4_mean", "X11_mean")
    assert found.competition.submission == Numbers()
    assert any("X4_mean, X11_mean" in doubt for doubt in doubts(found, "labels"))


def test_columns_with_nearly_the_name_of_what_is_asked_are_named():
    with pytest.raises(DataError, match=r"'X4', .* X4_mean, X4_sd in train\.csv"):
        inferred(numbers=MANY, train=BY_MEAN, sample_submission="id,X4,X5: {n},1.0,1.0")


def test_a_table_of_several_rows_an_image_says_so():
    with pytest.raises(DataError, match=r"train\.csv has several rows for an image .* 'image' .* 'target'"):
        inferred(
            train="row,image,name,target: {n}:{name},train/{n}.png,{name},{n}.5",
            test="row,image,name: {n}:{name},test/{n}.png,{name}",
            sample_submission="row,target: {n}:{name},0.0",
        )


@pytest.mark.parametrize(
    ("folder", "tested", "shared"), [("images.v2", "images.v2", True), ("photos", "test", False), ("a.b", "ab", False)]
)
def test_a_folder_is_shared_where_images_to_predict_lie_in_it(folder, tested, shared):
    files = [*(f"{folder}/{n}.png" for n in TRAINED), *(f"{tested}/{n}.png" for n in ASKED)]
    labels = declared(" ".join(files), train="id,y: {n},{pet}", sample_submission="id,y: {n},cat").labels
    assert (labels.folder, labels.shared) == (folder, shared)


@pytest.mark.parametrize(("name", "suffix"), [("{}", ".png"), ("{}-1", "-*.png")])
def test_few_ids_without_an_image_are_predicted_without_one(tmp_path, name, suffix):
    touch(tmp_path, *(f"{'train' if n < 30 else 'test'}/{name.format(n)}.png" for n in range(60)))
    (tmp_path / "train.csv").write_text("\n".join(["id,y", *(f"{number},{'ab'[number % 2]}" for number in range(30))]))
    (tmp_path / "sample_submission.csv").write_text("\n".join(["id,y", *(f"{number},a" for number in range(30, 61))]))
    found = infer(look_at_folder(tmp_path), "mine", "mine")
    assert found.competition.test == TestImages("test", suffix=suffix, incomplete=True)
    assert not about(found, "test").sure
    assert "'60'" in about(found, "test").text
    tables = read_tables(found.competition, tmp_path)
    assert list(tables.answers.test["id"]) == [str(number) for number in range(30, 61)]
    assert sum(not Path(path).exists() for path in tables.test["path"]) == 1
    assert any("'60'" in note for note in tables.notes)


def test_images_that_a_json_names_by_ids_alone_lie_in_the_folder_of_its_name(tmp_path):
    content = {
        "images": [{"image_id": n, "url": ["https://a/x.jpg"]} for n in TRAINED],
        "annotations": [{"image_id": n, "label_id": n % 3} for n in TRAINED],
    }
    jsons = dict.fromkeys(("train.json", "validation.json"), json.dumps(content))
    lay_out(kind("{part}/{n}.jpg validation/{n}.jpg", sample="id,predicted: {n},2", **jsons), tmp_path)
    parts = (Coco(f"{part}.json", part, classes="id") for part in ("train", "validation"))
    assert infer(look_at_folder(tmp_path), "mine", "mine").competition.labels == GivenSplit(*parts)


@pytest.mark.parametrize(("answer", "classes"), [("42", "id"), ("cat", "name"), ("", "name")])
def test_categories_are_named_as_in_the_sample_submission_whichever_of_them_it_names(tmp_path, answer, classes):
    lay_out(kind(sample=f"id,predicted: {{n}},{answer}", **{"train.json": coco()}), tmp_path)
    competition = infer(look_at_folder(tmp_path), "mine", "mine").competition
    assert (competition.labels, competition.submission) == (Coco("train.json", "train", classes=classes), ClassName())
