"""The labels in the columns of a table."""

import pandas as pd
import pytest

from comp.new.columns import labels_of
from comp.new.sample import SampleTable
from tests.new.looking import table

NO_SAMPLE = SampleTable("", pd.DataFrame({"id": []}, dtype=str), "id")


def asking(header):
    return SampleTable("", table(header, ",".join(["0.5"] * (header.count(",") + 1))), "id")


SCANS = table("id,PatientAge,Modality,a,b,any", "1,60,MR,0,1,1", "2,70,CT,1,0,1", "3,60,CT,1,1,1", "4,60,MR,0,0,0")


@pytest.mark.parametrize(
    ("header", "columns", "lacking"),
    [("id,a,b,any", ("a", "b", "any"), ""), ("id,a,b,c", ("a", "b"), "c"), ("id,x,y,a", ("a",), "")],
)
def test_columns_of_the_sample_submission_are_the_labels_before_any_other(header, columns, lacking):
    found = labels_of(SCANS, "id", asking(header), ())
    assert found.columns == columns
    assert all(lacking in doubt for doubt in found.doubts)
    assert bool(lacking) <= bool(found.doubts)


@pytest.mark.parametrize("no", ["0", "-1"])
def test_without_a_sample_submission_columns_of_yes_and_no_are_tags_unless_one_is_called_a_label(no):
    rows = SCANS.replace({"0": no})
    found = labels_of(rows, "id", NO_SAMPLE, ())
    assert (found.columns, found.target) == (("a", "b", "any"), "multi")
    assert found.doubts
    assert labels_of(rows.rename(columns={"Modality": "label"}), "id", NO_SAMPLE, ()).columns == ("label",)


def test_columns_of_which_each_row_has_one_are_named_where_they_are_tags_among_others():
    rows = ("1,1,0,1,0,0", "2,0,1,0,1,0", "3,1,0,0,0,1", "4,1,0,1,0,0")
    header = "id,bowel_healthy,bowel_injury,kidney_healthy,kidney_low,kidney_high"
    (doubt,) = labels_of(table(header, *rows), "id", asking(header), ()).doubts
    assert all(column in doubt for column in header.split(",")[1:])
    assert not labels_of(table(header, *rows, "5,1,1,1,1,0"), "id", asking(header), ()).doubts


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(("change", "target"), [(lambda code: code, "single"), (lambda code: code * 2, "number")])
def test_without_a_sample_submission_codes_without_a_gap_are_classes(first, change, target):
    rows = table("image,y", *(f"{number},{first + change(number % 40)}" for number in range(160)))
    found = labels_of(rows, "image", NO_SAMPLE, ())
    assert (found.target, len(found.classes)) == (target, 40 if target == "single" else 1)


def test_without_a_sample_submission_numbers_that_are_there_once_each_are_no_classes():
    found = labels_of(table("image,y", *(f"{number},{number}" for number in range(160))), "image", NO_SAMPLE, ())
    assert found.target == "number"
