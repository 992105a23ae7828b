"""Lines on files, images and columns that the declaration leaves unread."""

import pytest

from tests.new.looking import about, doubts, inferred, table
from tests.new.templates import ASKED

BINARY = {"train": "id,target: {n},{half}", "sample_submission": "id,target: {n},0.5"}


def test_columns_beside_rows_of_images_and_numbers_are_said_not_to_be_read():
    train = "row,image,farm,target: {n}_{name},train/{n}.png,{third},{n}{bit}.5"
    found = inferred(train=train, sample_submission="row,target: {n}_{name},0.0")
    assert any("image, farm of train.csv aren't read" in doubt for doubt in doubts(found, "labels"))


def test_a_column_that_groups_images_is_read_of_rows_of_images_and_classes_as_well():
    train = "row,patient,image,target: {n}_{name},p{pair},train/{n}.png,{bit}"
    found = inferred(train=train, sample_submission="row,target: {n}_{name},0.5")
    assert found.competition.labels.group == "patient"
    assert any("image of train.csv aren't read" in doubt for doubt in doubts(found, "labels"))


def test_columns_beside_both_the_labelled_images_and_those_to_predict_are_pointed_at():
    found = inferred(
        train="id,target,patient_id,age,sex,path,sure: {n},{half},p{pair},{n},{half},train/{n},1",
        test="id,patient_id,age,sex,path: {n},p{n},{n},{half},test/{n}",
        sample_submission="id,target: {n},0.5",
    )
    (said,) = doubts(found, "columns")
    assert said.startswith("age, sex: in train.csv and in test.csv, but not read")


def test_a_table_of_other_images_points_at_no_columns():
    found = inferred(
        train="id,target,age: {n},{half},{n}",
        extra="id,age: {n},{n}",
        numbers={"extra": range(200, 204), "train": range(12)},
        sample_submission="id,target: {n},0.5",
    )
    assert not doubts(found, "columns")


def test_other_answers_are_no_columns_that_are_not_read():
    shares = {"train": "id,A 1,B 2: {n},0.25,0.{n}", "sample_submission": "id,A 1,B 2: {n},0.5,0.5"}
    answers = {"all_ones_benchmark": "id,A 1,B 2: {n},1,1", "baseline": "id,A 1,B 2: {n},0,0"}
    numbers = dict.fromkeys(answers, ASKED)
    assert not doubts(inferred(**shares, **answers, numbers=numbers), "columns")


def test_a_column_that_groups_or_joins_is_read_and_one_called_like_an_argument_is_not():
    beside = "id,Patient ID,group: {n},p{half},{half}"
    found = inferred(
        train="id,Patient ID,group,target: {n},p{pair},{half},{half}",
        extra=beside,
        sample_submission=BINARY["sample_submission"],
        numbers={"extra": ASKED},
    )
    (said,) = doubts(found, "columns")
    assert said.startswith("group: in train.csv and in extra.csv, but not read")


def test_files_that_hold_many_images_and_can_t_be_read_are_named():
    (said,) = doubts(inferred("train/{n}.png test/{n}.png more.hdf5", **BINARY), "files")
    assert "more.hdf5 can't be read; let `prepare` write out any images" in said


@pytest.mark.parametrize(
    ("column", "pointed_at"),
    [
        ("mine: m{four}", True),
        ("shaft_no: {four}", True),
        ("depth: {four}", False),  # numbers are measured rather than names
        ("file: {n}.png", False),  # each image has its own
        ("kind: {pet}", False),  # too few
    ],
)
def test_a_column_whose_names_some_images_share_is_pointed_at_whatever_it_is_called(column, pointed_at):
    name, values = column.split(": ")
    found = inferred(
        numbers={"train": range(60)}, train=f"id,y,{name}: {{n}},{{pet}},{values}", sample_submission="id,y: {n},cat"
    )
    assert [name in text for text in doubts(found, "groups")] == [True] * pointed_at


def test_dicom_files_that_no_column_groups_may_be_of_one_patient():
    assert "PatientID" in doubts(inferred("train/{n}.dcm test/{n}.dcm", **BINARY), "groups")[0]
    grouped = {**BINARY, "train": "id,target,patient: {n},{half},p{pair}"}
    assert not doubts(inferred("train/{n}.dcm test/{n}.dcm", **grouped), "groups")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"metadata": "image,age,lesion_id: {n},5{half},l{pair}"}, True),
        ({"test": "id,lesion_id: {n},l{pair}"}, False),
        ({"test": "image,lesion_id: {n},l{pair}", "sample_submission": "lesion_id,target: l{pair},0.5"}, False),
        ({"metadata": "image,age: {n},5{half}"}, False),
        ({"train": "id,target,patient: {n},{half},p{pair}", "metadata": "image,lesion_id: {n},l{pair}"}, False),
    ],
)
def test_a_column_that_groups_images_in_another_table_is_pointed_at_where_none_groups_them(more, told):
    found = doubts(inferred(**{**BINARY, **more}), "groups")
    assert [text for text in found if "metadata.csv has 'lesion_id'" in text] == (found if told else [])
    assert bool(found) == told


def test_another_sample_submission_is_said_not_to_be_taken():
    found = inferred(**BINARY, sample_submission_v2="id,target: {n},0.5")
    assert found.competition.sample_submission == "sample_submission_v2.csv"
    assert "by sample_submission_v2.csv and not sample_submission.csv" in about(found, "submission").text


@pytest.mark.parametrize("called", ["sample_submission_old", "sample_submission_backup", "old_sample_submission_v2"])
def test_a_sample_submission_that_its_name_says_was_replaced_is_not_taken(called):
    found = inferred(**BINARY, **{called: "id,target: {n},0.5"})
    assert found.competition.sample_submission == "sample_submission.csv"
    assert f"by sample_submission.csv and not {called}.csv" in about(found, "submission").text


def test_images_without_a_row_that_nobody_asks_for_are_left_out_and_counted():
    found = inferred(**BINARY, numbers={"train/": range(20)})
    assert found.competition.labels.shared
    assert "not trained on: 8 images have no row in train.csv" in doubts(found, "labels")


@pytest.mark.parametrize("other", ["valid", "train_extra"])
def test_images_of_another_table_of_labels_are_not_called_without_a_row(other):
    rows = {"train": "id,target: {n},{half}", other: "id,target: {n},{half}"}
    numbers = {"train/": range(20), other: range(12, 20)}
    found = inferred(**{**BINARY, **rows}, numbers=numbers)
    assert not [text for text in doubts(found, "labels") if "no row" in text]


def test_images_that_validate_by_a_column_are_not_called_without_a_row():
    rows = [f"{number},{number % 2},{'val' if number > 11 else 'train'}" for number in range(20)]
    found = inferred(**{**BINARY, "train": table("id,target,split", *rows)}, numbers={"train/": range(20)})
    assert not [text for text in doubts(found, "labels") if "no row" in text]


def test_images_elsewhere_are_not_those_that_lack_a_row_among_several_of_each():
    found = inferred("train/{n}/0.png train/{n}/1.png test/{n}/0.png test/{n}/1.png sample/9.png", **BINARY)
    assert not found.competition.labels.shared
    assert not [text for text in doubts(found, "labels") if "no row" in text]


def test_channels_in_files_of_their_own_are_named():
    found = inferred(
        "{part}/{n}_blue.png {part}/{n}_green.png {part}/{n}_red.png",
        train="Id,Target: {n},{third} 9",
        sample_submission="Id,Predicted: {n},0",
    )
    assert "_red.png, _green.png, _blue.png" in about(found, "read").text
