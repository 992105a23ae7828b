import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from comp import ClassName, ClassNumber, Columns, ProbabilityOf
from comp.data.tables import read_tables
from comp.errors import DataError, DeclarationError, SubmissionError


@pytest.fixture
def read(shades):
    """The tables of `shades`, declared with these fields."""
    return lambda **fields: read_tables(replace(shades.competition, **fields), shades.files)


def assert_targets_are_those_of(tables, *classes):
    assert tables.classes == classes
    assert [classes[target] for target in tables.targets] == list(tables.train["label"])


def test_tables_have_targets_in_the_order_of_the_sorted_classes(read):
    tables = read()
    assert_targets_are_those_of(tables, "blue", "green", "red")
    assert tables.targets.dtype == np.int64
    assert tables.train["path"].map(lambda path: Path(path).is_file()).all()
    assert tables.not_asked_for == 0


def test_grades_that_are_no_numbers_are_in_the_order_of_their_submitted_numbers(shades, read):
    shades.text("sample_submission.csv", ["id,colour", "q05,0", "q01,2"])
    assert_targets_are_those_of(read(submission=ClassNumber(["red", "blue", "green"])), "red", "blue", "green")


def test_the_class_that_is_submitted_is_the_one_that_a_metric_of_two_classes_scores(shades, read):
    table = shades.files / "train.csv"
    table.write_text(table.read_text().replace("green", "red"))
    shades.text("sample_submission.csv", ["id,colour", "q05,0", "q01,1"])
    assert_targets_are_those_of(read(submission=ProbabilityOf("blue"), metric="pf1"), "red", "blue")


def test_a_metric_for_two_classes_is_refused_of_three(read):
    with pytest.raises(DeclarationError, match="'f1' is for two classes, but there are 3"):
        read(metric="f1")


@pytest.mark.parametrize(
    ("values", "said"), [("red", ""), ("", ""), ("0", "ClassName.*'0' is not a class"), ("red green", "'red green'")]
)
def test_values_of_the_sample_submission_that_the_form_would_not_write_are_said(shades, read, values, said):
    shades.text("sample_submission.csv", ["id,colour", f"q05,{values}", f"q01,{values}"])
    notes = [note for note in read().notes if "sample submission" in note]
    assert len(notes) == bool(said)
    assert re.search(said, "".join(notes))


@pytest.mark.parametrize("method", ["encode", "decode"])
def test_a_form_of_one_s_own_that_fails_by_mistake_is_an_error_that_names_the_field(read, method):
    mine = type("Mine", (ClassName,), {method: lambda self, *given: {}["gone"]})
    with pytest.raises(DeclarationError, match=f"`submission` is Mine, whose `{method}` raises KeyError"):
        read(submission=mine())


def test_images_to_predict_are_those_of_the_sample_in_the_order_of_their_ids(shades, read):
    shades.text("sample_submission.csv", ["id,colour", "q05,red", "q01,red", "q11,red"])
    tables = read()
    assert list(tables.test["id"]) == ["q01", "q05", "q11"]
    assert [Path(path).stem for path in tables.test["path"]] == ["q01", "q05", "q11"]
    assert list(tables.test.index) == [0, 1, 2]
    assert list(tables.sample_submission.ids) == ["q05", "q01", "q11"]
    assert tables.not_asked_for == 9


def test_only_images_that_are_asked_for_need_a_row_of_the_columns(shades, read):
    ages = Columns("ages.csv", "ages.csv", image="id", numbers=["age"])
    shades.text("sample_submission.csv", ["id,colour", "q05,red", "q01,red"])
    shades.text("ages.csv", ["id,age", "q01,3", "q05,4", *(f"t{number:02},{number}" for number in range(36))])
    tables = read(columns=ages)
    assert list(tables.test["column age"]) == ["3", "4"]
    assert tables.not_asked_for == 10
    shades.text("sample_submission.csv", ["id,colour", "q05,red", "q02,red"])
    with pytest.raises(DataError, match=r"1 image has no row in .*ages\.csv, the first 'q02'"):
        read(columns=ages)


def test_an_id_of_the_sample_without_an_image_is_an_error_before_training(shades, read):
    (shades.files / "test" / "q04.png").unlink()
    with pytest.raises(SubmissionError, match="1 of the sample submission's 12 ids have no image, the first 'q04'"):
        read()


def test_a_sample_that_the_form_can_t_fill_is_an_error_before_training(shades, read):
    shades.text("sample_submission.csv", ["id,red,green,blue", "q01,0,0,1"])
    with pytest.raises(SubmissionError, match="declare ProbabilityPerClass"):
        read()


def test_groups_are_in_the_order_of_the_rows_and_there_are_none_where_none_are_declared(shades, read):
    assert read().groups is None
    header, *rows = (shades.files / "train.csv").read_text().split()
    shades.text("train.csv", [f"{header},who", *(f"{row},{int(row[1:3]) // 4}" for row in reversed(rows))])
    found = read(labels=replace(shades.competition.labels, group="who"))
    assert list(found.groups) == [str(number // 4) for number in range(36)]
