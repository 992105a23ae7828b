from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from comp import Columns, ProbabilityOf
from comp.data.tables import read_tables
from comp.errors import DataError, DeclarationError, SubmissionError


def read(made):
    return read_tables(made.competition, made.files)


def test_tables_have_targets_in_the_order_of_the_sorted_classes(shades):
    tables = read(shades)
    assert tables.classes == ("blue", "green", "red")
    assert [tables.classes[target] for target in tables.targets] == list(tables.train["label"])
    assert tables.targets.dtype == np.int64
    assert tables.train["path"].map(lambda path: Path(path).is_file()).all()
    assert tables.not_asked_for == 0


def test_grades_that_are_no_numbers_are_in_the_order_of_their_submitted_numbers(shades):
    source = shades.declaration.read_text().replace("ClassName()", 'ClassNumber(["red", "blue", "green"])')
    shades.declaration.write_text("from comp import ClassNumber\n" + source)
    shades.text("sample_submission.csv", ["id,colour", "q05,0", "q01,2"])
    tables = read(shades)
    assert tables.classes == ("red", "blue", "green")
    assert [tables.classes[target] for target in tables.targets] == list(tables.train["label"])


def test_the_class_that_is_submitted_is_the_one_that_a_metric_of_two_classes_scores(shades):
    table = shades.files / "train.csv"
    table.write_text(table.read_text().replace("green", "red"))
    shades.text("sample_submission.csv", ["id,colour", "q05,0", "q01,1"])
    tables = read_tables(replace(shades.competition, submission=ProbabilityOf("blue"), metric="pf1"), shades.files)
    assert tables.classes == ("red", "blue")
    assert [tables.classes[target] for target in tables.targets] == list(tables.train["label"])


def test_a_metric_for_two_classes_is_refused_of_three(shades):
    shades.declaration.write_text(shades.declaration.read_text().replace('"accuracy"', '"f1"'))
    with pytest.raises(DeclarationError, match="'f1' is for two classes, but there are 3"):
        read(shades)


@pytest.mark.parametrize("method", ["encode", "decode"])
def test_a_form_of_one_s_own_that_fails_by_mistake_is_an_error_that_names_the_field(shades, method):
    own = f"""
from comp import ClassName

class Mine(ClassName):
    def {method}(self, *given):
        return {{}}["gone"]

"""
    shades.declaration.write_text(own + shades.declaration.read_text().replace("=ClassName()", "=Mine()"))
    with pytest.raises(DeclarationError, match=f"`submission` is Mine, whose `{method}` raises KeyError"):
        read(shades)


def test_images_to_predict_are_those_of_the_sample_in_the_order_of_their_ids(shades):
    shades.text("sample_submission.csv", ["id,colour", "q05,red", "q01,red", "q11,red"])
    tables = read(shades)
    assert list(tables.test["id"]) == ["q01", "q05", "q11"]
    assert [Path(path).stem for path in tables.test["path"]] == ["q01", "q05", "q11"]
    assert list(tables.test.index) == [0, 1, 2]
    assert list(tables.sample_submission.ids) == ["q05", "q01", "q11"]
    assert tables.not_asked_for == 9


def test_only_images_that_are_asked_for_need_a_row_of_the_columns(shades):
    shades.text("sample_submission.csv", ["id,colour", "q05,red", "q01,red"])
    shades.text("ages.csv", ["id,age", "q01,3", "q05,4", *(f"t{number:02},{number}" for number in range(36))])
    columns = Columns("ages.csv", "ages.csv", image="id", numbers=["age"])
    tables = read_tables(replace(shades.competition, columns=columns), shades.files)
    assert list(tables.test["column age"]) == ["3", "4"]
    assert tables.not_asked_for == 10
    shades.text("sample_submission.csv", ["id,colour", "q05,red", "q02,red"])
    with pytest.raises(DataError, match=r"1 image has no row in .*ages\.csv, the first 'q02'"):
        read_tables(replace(shades.competition, columns=columns), shades.files)


def test_an_id_of_the_sample_without_an_image_is_an_error_before_training(shades):
    (shades.files / "test" / "q04.png").unlink()
    with pytest.raises(SubmissionError, match="1 of the sample submission's 12 ids have no image, the first 'q04'"):
        read(shades)


def test_a_sample_that_the_form_can_t_fill_is_an_error_before_training(shades):
    shades.text("sample_submission.csv", ["id,red,green,blue", "q01,0,0,1"])
    with pytest.raises(SubmissionError, match="declare ProbabilityPerClass"):
        read(shades)


def test_groups_are_in_the_order_of_the_rows_and_there_are_none_where_none_are_declared(shades):
    assert read(shades).groups is None
    shades.declaration.write_text(
        shades.declaration.read_text().replace('folder="train"', 'folder="train", group="who"')
    )
    lines = (shades.files / "train.csv").read_text().splitlines()
    rows = [f"{line},{'who' if line == lines[0] else int(line[1:3]) // 4}" for line in lines]
    shades.text("train.csv", [rows[0], *reversed(rows[1:])])
    assert list(read(shades).groups) == [str(number // 4) for number in range(36)]
