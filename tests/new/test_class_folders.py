"""Layouts of class folders, and tables of classes rather than images."""

import pytest

from comp import CsvLabels, Folders
from comp.data.preparing import all_labels
from comp.new.inference import infer
from comp.new.look import look_at_folder
from tests.declare.labels.conftest import touch
from tests.new.templates import kind, lay_out


def inferred_from(folder, files, tables=(), **others):
    """The inference from files laid out in a folder; ``tables`` are written as they are."""
    laid = kind(files, **{"sample": None, **others})
    laid.tables.update(tables)
    lay_out(laid, folder)
    return infer(look_at_folder(folder), "mine", "mine")


def labels_of(inferred):
    return all_labels(inferred.competition)


@pytest.mark.parametrize(
    ("table", "sample"),
    [
        ("name,images\ncat,5\ndog,4\nowl,4\n", None),
        ("name,images\ncat,5\ndog,4\nowl,4\n", "id,label: {n}.jpg,cat"),
        ("name,images\ncat,50\ndog,4\nowl,4\n", "id,label: {n}.jpg,cat"),
        ("class,height\ncat,224\ndog,225\nowl,225\n", None),
    ],
)
def test_a_table_that_names_class_folders_names_no_images(tmp_path, table, sample):
    files = "train/{pet}/{n}.jpg train/cat/more.jpg test/{n}.jpg"
    inferred = inferred_from(tmp_path, files, {"classes.csv": table}, sample=sample)
    assert labels_of(inferred) == Folders("train")


def test_a_column_that_counts_the_images_of_each_row_is_no_label(tmp_path):
    rows = "".join(f"{n},{1 + n % 3},{'ill' if n % 2 else 'well'}\n" for n in range(12))
    touch(tmp_path, *(f"scans/{n}/{k}.png" for n in range(12) for k in range(n % 3)))
    scans = {"scans.csv": f"scan,slices,state\n{rows}"}
    found = labels_of(inferred_from(tmp_path, "scans/{n}/a.png test/{n}.png", scans))
    assert found == CsvLabels("scans.csv", image="scan", label="state", folder="scans", suffix="/*.png")


def test_a_table_of_something_else_than_is_answered_leaves_the_classes_to_folders(tmp_path):
    about = {"sizes.csv": "image,size\n" + "".join(f"{n}.jpg,{('s', 'm')[n % 2]}\n" for n in range(12))}
    inferred = inferred_from(tmp_path, "train/{pet}/{n}.jpg test/{n}.jpg", about, sample="id,label: {n},cat")
    assert labels_of(inferred) == Folders("train")


@pytest.mark.parametrize(
    ("files", "source"),
    [
        (
            "train/p{quarter}/{half}/{n}.png train/p{quarter}/{other_half}/x{n}.png",
            Folders("train", layout="{group}/{label}"),
        ),
        (
            "p{quarter}/{half}/{n}.png p{quarter}/{other_half}/x{n}.png",
            Folders(".", without=["test", "prepared"], layout="{group}/{label}"),
        ),
    ],
)
def test_the_folders_of_patients_are_groups_of_the_classes_in_them(tmp_path, files, source):
    inferred = inferred_from(tmp_path, f"{files} test/{{n}}.png")
    assert labels_of(inferred) == source
    read = source.read(tmp_path)
    assert (len(read), read["group"].nunique(), set(read["label"])) == (24, 4, {"0", "1"})
    assert any(finding.about == "groups" for finding in inferred.findings)
    assert any("0, 1" in finding.text and not finding.sure for finding in inferred.findings)


def test_images_beside_the_class_folders_that_are_left_out_are_named(tmp_path):
    files = "p{quarter}/{half}/{n}.png p{quarter}/{other_half}/x{n}.png copy/p{quarter}/{half}/{n}.png test/{n}.png"
    inferred = inferred_from(tmp_path, files)
    assert labels_of(inferred).without == ("copy", "test", "prepared")
    assert any("copy" in finding.text and not finding.sure for finding in inferred.findings)


@pytest.mark.parametrize(
    ("files", "source"),
    [
        ("x/{pet}/images/{n}.png x/{pet}/masks/{n}.png", Folders("x", layout="{label}/images")),
        ("train/{pet}/images/{n}.png val/images/v{n}.png", Folders("train", layout="{label}/images")),
        ("train/{pet}/pictures/{n}.png", Folders("train", layout="{label}/pictures")),
    ],
)
def test_a_folder_of_the_same_name_in_each_class_is_seen_through(tmp_path, files, source):
    inferred = inferred_from(tmp_path, f"{files} test/images/{{n}}.png")
    assert labels_of(inferred) == source
    assert set(source.read(tmp_path)["label"]) == {"cat", "dog", "owl"}


def test_a_given_validation_set_may_lie_as_the_classes_do(tmp_path):
    files = "train/{pet}/images/{n}.png valid/{pet}/images/{n}.png test/{n}.png"
    source = labels_of(inferred_from(tmp_path, files))
    assert source.valid == Folders("valid", layout="{label}/images")
    assert source.read(tmp_path)["validates"].sum() == 12
