"""Which table and column the labels are taken from, and which images they are of."""

from pathlib import Path

import pytest

from comp import CsvNumbers, TestImages
from comp.data.tables import read_tables
from comp.declare.labels.files import Folders
from comp.errors import DataError
from comp.new.inference import infer
from comp.new.look import look_at_folder
from tests.new.looking import about, look, table


@pytest.mark.parametrize("other", ["", "male"])
def test_many_numbers_are_predicted_where_nothing_else_can_be_and_a_person_is_asked(other):
    rows = [f"{number},{12 + 3 * number}{f',{number % 2 > 0}' if other else ''}" for number in range(60)]
    files = " ".join([*(f"train/{number}.png" for number in range(60)), "test/90.png"])
    inferred = infer(look(files, train=table(f"id,boneage{f',{other}' if other else ''}", *rows)), "mine", "mine")
    assert inferred.competition.labels.values == ("boneage",)
    doubts = [finding.text for finding in inferred.findings if finding.about == "labels" and not finding.sure]
    assert len(doubts) == 1
    assert "'boneage'" in doubts[0]
    assert other in doubts[0]


def test_numbers_of_images_that_lie_in_class_folders_are_no_labels():
    files = " ".join([*(f"train/{'ab'[number % 2]}/{number}.png" for number in range(60)), "test/90.png"])
    heights = table("id,height", *(f"{number},{200 + number}" for number in range(60)))
    assert infer(look(files, sizes=heights), "mine", "mine").competition.labels == Folders("train")


def test_other_numbers_of_images_in_several_folders_are_predicted_and_a_person_is_asked():
    files = " ".join([*(f"train/batch{number % 4}/{number}.png" for number in range(60)), "test/90.png"])
    for header, values in (("weight", "{0}.5"), ("x,y", "{0}.5,{0}.25")):
        rows = table(f"image,{header}", *(f"{number},{values.format(number)}" for number in range(60)))
        inferred = infer(look(files, train=rows), "mine", "mine")
        assert isinstance(inferred.competition.labels, CsvNumbers)
        doubts = [finding.text for finding in inferred.findings if finding.about == "labels" and not finding.sure]
        assert any("train has a folder" in doubt for doubt in doubts)


def test_of_classes_that_two_columns_tell_the_one_in_words_is_taken():
    rows = [f"{number % 3}.0,{number},{['EMU', 'CANARY', 'EAGLE'][number % 3]},x" for number in range(30)]
    files = " ".join([*(f"train/{number}.png" for number in range(30)), "test/90.png"])
    labels = table("class id,file,bird,note", *rows)
    assert infer(look(files, birds=labels), "mine", "mine").competition.labels.label == "bird"


def test_columns_with_nearly_the_name_of_what_is_asked_are_named():
    rows = [f"{number},{number / 7},{number / 9},{number / 3},{number / 4}" for number in range(30)]
    files = " ".join([*(f"train/{number}.png" for number in range(30)), "test/90.png"])
    labels = table("id,X4_mean,X11_mean,X4_sd,X11_sd", *rows)
    with pytest.raises(DataError, match=r"'X11', .* X11_mean, X11_sd in train\.csv"):
        infer(look(files, train=labels, sample_submission=table("id,X4,X11", "90,1.0,1.0")), "mine", "mine")


def test_a_table_of_several_rows_an_image_says_so():
    names = ("dry_clover_g", "dry_green_g", "gdm_g")
    rows = [f"{number}_{name},train/{number}.png,{name},{number / 7}" for number in range(30) for name in names]
    files = " ".join([*(f"train/{number}.png" for number in range(30)), "test/90.png"])
    sample = table("row,target", *(f"90_{name},0.0" for name in names))
    test = table("row,image,name", *(f"90_{name},test/90.png,{name}" for name in names))
    labels = table("row,image,name,target", *rows)
    with pytest.raises(DataError, match=r"train\.csv has several rows of an image .* 'image', .* 'target'"):
        infer(look(files, train=labels, test=test, sample_submission=sample), "mine", "mine")


@pytest.mark.parametrize(
    ("folder", "tested", "shared"), [("images.v2", "images.v2", True), ("photos", "test", False), ("a.b", "ab", False)]
)
def test_a_folder_is_shared_where_images_to_predict_lie_in_it(folder, tested, shared):
    files = [f"{folder if number < 30 else tested}/{number}.png" for number in range(60)]
    labels = table("id,y", *(f"{number},{'ab'[number % 2]}" for number in range(30)))
    sample = table("id,y", *(f"{number},a" for number in range(30, 60)))
    found = infer(look(" ".join(files), train=labels, sample_submission=sample), "mine", "mine").competition.labels
    assert (found.folder, found.shared) == (folder, shared)


@pytest.mark.parametrize(("name", "suffix"), [("{}", ".png"), ("{}-1", "-*.png")])
def test_few_ids_without_an_image_are_predicted_without_one(tmp_path, name, suffix):
    for number in range(60):
        part = tmp_path / ("train" if number < 30 else "test") / f"{name.format(number)}.png"
        part.parent.mkdir(exist_ok=True)
        part.touch()
    (tmp_path / "train.csv").write_text("\n".join(["id,y", *(f"{number},{'ab'[number % 2]}" for number in range(30))]))
    (tmp_path / "sample_submission.csv").write_text("\n".join(["id,y", *(f"{number},a" for number in range(30, 61))]))
    inferred = infer(look_at_folder(tmp_path), "mine", "mine")
    assert inferred.competition.test == TestImages("test", suffix=suffix, incomplete=True)
    assert not about(inferred, "test").sure
    assert "'60'" in about(inferred, "test").text
    tables = read_tables(inferred.competition, tmp_path)
    assert list(tables.answers.test["id"]) == [str(number) for number in range(30, 61)]
    assert sum(not Path(path).exists() for path in tables.test["path"]) == 1
    assert any("'60'" in note for note in tables.notes)
