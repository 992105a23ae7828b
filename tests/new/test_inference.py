"""The declaration inferred from a competition's files, whatever their names."""

from dataclasses import replace

import pandas as pd
import pytest

from comp import TestImages
from comp.declare.forms import ClassName, ClassNumber, ClassWithConfidence, ProbabilityOf, TagNames
from comp.declare.labels.files import Folders
from comp.errors import DataError
from comp.new import look as looking
from comp.new.at_kaggle import lifted, unpacked
from comp.new.inference import infer
from comp.new.look import look_at_folder
from tests.declare.labels.conftest import touch
from tests.new.looking import about, declared, doubts, inferred, look, table
from tests.new.templates import ASKED, BYTES, PIXELS, bands, coco

BINARY = {"train": "id,target: {n},{half}", "sample_submission": "id,target: {n},0.5"}


def binary(test="0.5", train=("0", "1"), **others):
    """A column of two classes, and a sample with one value for every image."""
    rows = [f"{number},{train[number % 2]}" for number in range(12)]
    return look(train=table("id,y", *rows), sample_submission=f"id,y: {{n}},{test}", **others)


@pytest.mark.parametrize(
    ("value", "classes", "metric", "form", "sure"),
    [
        ("0.5", ("0", "1"), "", ProbabilityOf("1"), True),
        ("0", ("0", "1"), "", ProbabilityOf("1"), False),
        ("0", ("0", "1"), "AUC", ProbabilityOf("1"), True),
        ("0", ("0", "1"), "Categorization Accuracy", ClassName(), True),
        ("benign", ("benign", "malign"), "", ClassName(), True),
        ("0.5", ("benign", "malign"), "Log Loss", ProbabilityOf("malign"), False),
        ("0", ("benign", "malign"), "Categorization Accuracy", ClassNumber(("benign", "malign")), False),
    ],
)
def test_the_form_follows_from_classes_sample_and_metric(value, classes, metric, form, sure):
    result = infer(binary(value, classes, metric=metric), "mine", "mine")
    assert result.competition.submission == form
    assert about(result, "submission").sure == sure


@pytest.mark.parametrize(
    ("named", "ours", "sure"),
    [
        ("Log Loss", "log_loss", True),
        ("Weighted Log Loss", "weighted_log_loss", False),
        ("", "roc_auc", False),
        ("Quadratic Weighted Kappa", "roc_auc", False),
    ],
)
def test_kaggle_s_metric_is_taken_or_where_it_is_unknown_or_does_not_fit_one_is_guessed(named, ours, sure):
    result = infer(binary(metric=named), "mine", "mine")
    assert result.competition.metric == ours
    assert about(result, "metric").sure == sure
    assert named in about(result, "metric").text


def test_a_metric_of_numbers_makes_no_numbers_of_classes_where_no_sample_says_what_is_asked():
    found = inferred("train/{pet}/{n}.jpg test/{n}.jpg", metric="Root Mean Squared Error")
    assert found.competition.submission == ClassName()
    (doubt,) = doubts(found, "metric")
    assert "Root Mean Squared Error" in doubt


def of_column(column, values, sample, file="", metric=""):
    """Images with labels in a column, and a sample submission with the given values for the test images."""
    rows = [f"{number},{values[number % len(values)]}" for number in range(12)]
    files, asked = f"train/{{n}}.png test/{{n}}.png {file}", f"id,{column}: {{n}},{sample}"
    return declared(files, train=table(f"id,{column}", *rows), sample_submission=asked, metric=metric)


@pytest.mark.parametrize(
    ("column", "file", "metric"),
    [("diagnosis", "", "quadratic_kappa"), ("label", "", "accuracy"), ("grade", "label_names.json", "accuracy")],
)
def test_numbers_are_grades_where_the_column_says_so_and_no_file_names_them(column, file, metric):
    assert of_column(column, "0123", 0, file).metric == metric


def test_class_names_with_spaces_are_no_tags_and_tags_are_no_class_names():
    species = ["Common wheat", "Common Chickweed", "Maize", "Fat Hen"]
    assert of_column("species", species, "Maize").submission == ClassName()
    tags = ["clear road", "clear", "road water", "clear water", "water", "clear road water"]
    assert of_column("tags", tags, "clear road").submission == TagNames(" ")


@pytest.mark.parametrize(("metric", "form"), [("Categorization Accuracy", ClassName()), ("Macro F1", TagNames(" "))])
def test_names_that_share_words_are_no_tags_where_the_metric_compares_classes(metric, form):
    plants, states = ("Tomato", "Potato", "Pepper"), ("early blight", "late blight", "healthy")
    names = [f"{plant} {state}" for plant in plants for state in states][:8]
    assert of_column("disease", names, names[0], metric=metric).submission == form


def test_a_csv_of_the_test_images_or_of_annotations_is_not_where_labels_come_from():
    labels = declared(
        annotations="id,label,data: {quarter},{half},x{n}",
        train="id,y,box: {n},{half},a",
        test="id,box: {n},a",
        sample_submission="id,y: {n},0.5",
    ).labels
    assert (labels.csv, labels.label) == ("train.csv", "y")


@pytest.mark.parametrize(
    ("column", "values", "grouped"),
    [
        *(("patient_id", "p{pair}", True), ("patient_id", "p{n}", False), ("patient_id", "p", False)),
        *(("groupId", "p{pair}", True), ("scanSite", "p{pair}", True), ("the site", "p{pair}", True)),
        *(("age_group", "p{pair}", False), ("website", "p{pair}", False), ("composite", "p{pair}", False)),
    ],
)
def test_images_of_one_patient_are_a_group_where_there_are_enough_patients(column, values, grouped):
    found = inferred(train=f"id,y,{column}: {{n}},{{half}},{values}", sample_submission="id,y: {n},0.5")
    assert found.competition.labels.group == (column if grouped else None)
    assert any(finding.about == "groups" for finding in found.findings) == grouped


@pytest.mark.parametrize(("classes", "grouped"), [("{third}", True), ("{sixth}", True), ("seal{pair}", False)])
def test_groups_of_whole_classes_are_none_as_none_of_those_would_both_train_and_validate(classes, grouped):
    found = declared(
        numbers={"train": range(24)},
        train=f"id,seal,location: {{n}},{classes},bay{{four}}",
        sample_submission="id,seal: {n},a",
    )
    assert found.labels.group == ("location" if grouped else None)


@pytest.mark.parametrize(
    ("column", "grouped"),
    [("experiment", True), ("BatchID", True), ("donor_no", True), ("batch_size", False), ("specimen_type", False)],
)
def test_words_that_name_a_group_are_none_where_they_tell_something_of_it(column, grouped):
    found = declared(**{**BINARY, "train": f"id,{column},target: {{n}},p{{pair}},{{half}}"})
    assert found.labels.group == (column if grouped else None)


@pytest.mark.parametrize(
    ("names", "patients", "taken"),
    [
        ("series_id,patient_id", 12, "patient_id"),
        ("patient_id,series_id", 12, "patient_id"),
        # Too few sites for five folds.
        ("series_id,site", 5, "series_id"),
    ],
)
def test_of_groups_of_groups_the_larger_are_taken_and_an_answer_is_none(names, patients, taken):
    """Two images of each series, two series of each patient; the answers are series."""
    columns = names.split(",")
    groups = ",".join("s{pair}" if name == "series_id" else "p{four}" for name in columns)
    given = {"numbers": {"train": range(4 * patients)}, "train": f"id,y,{names}: {{n}},{{half_of_pair}},{groups}"}
    assert declared(**given, sample_submission="id,y: {n},0.5").labels.group == taken
    labels = declared(**given, test="id,series_id: {n},s{n}", sample_submission="series_id,y: s{n},0.5").labels
    assert (labels.answer, labels.group) == ("series_id", next(name for name in columns if name != "series_id"))


def test_an_id_whose_images_are_named_in_two_columns_is_predicted_from_both():
    competition = declared(
        "images/s{n}_L.png images/s{n}_R.png",
        train="study,left,right,y: s{n},s{n}_L.png,s{n}_R.png,0.{n}5",
        test="study,left,right: s{n},s{n}_L.png,s{n}_R.png",
        sample_submission="study,y: s{n},0.5",
    )
    assert competition.test == TestImages("images", suffix="_*.png")
    assert (competition.labels.image, competition.labels.suffix) == ("study", "_*.png")


@pytest.mark.parametrize("alike", [True, False])
def test_images_that_two_columns_predict_together_validate_together_where_their_label_is_one(alike):
    found = inferred(
        "train/{n}.png test/x.png test/y.png",
        numbers={"train": range(48)},
        train=f"image,patient_id,side,y: {{n}},p{{four}},{{side}},{'{half}' if alike else '{half_of_pair}'}",
        test=table("image,patient_id,side,prediction_id", "x,p90,left,p90_left", "y,p90,left,p90_left"),
        sample_submission=table("prediction_id,y", "p90_left,0.5"),
    )
    labels = found.competition.labels
    assert (labels.answer, labels.group) == ("{patient_id}_{side}" if alike else None, "patient_id")
    assert any("'prediction_id'" in doubt for doubt in doubts(found, "labels")) != alike


@pytest.mark.parametrize(
    "called", ["{0}_left {0}_right", "{0}_L {0}_R", "{0}_left.png {0}_right.png", "{0}_left_1 {0}_right_1"]
)
def test_sides_of_one_body_are_one_group_in_what_is_read_as_well(tmp_path, called):
    names = [name for body in range(6) for name in called.format(body).split()]
    labels = table("id,y", *(f"{name},{number % 5 % 2}" for number, name in enumerate(names)))
    labels.to_csv(tmp_path / "train.csv", index=False)
    files = [f"train/{name.removesuffix('.png')}.png" for name in names]
    touch(tmp_path, *files)
    found = look(f"{' '.join(files)} test/90.png", train=labels, sample_submission=table("id,y", "90,0.5"))
    result = infer(found, "mine", "mine")
    read = result.competition.labels.read(tmp_path)
    announced = any(finding.about == "groups" for finding in result.findings)
    assert announced == ("group" in read) == ("_1" not in called)
    assert not announced or read["group"].nunique() == 6


@pytest.mark.parametrize(("slug", "flips", "ratio"), [("dogs", "horizontal", 10), ("chest-x-rays", "horizontal", 3)])
def test_layer_rates_follow_words_of_the_name_and_the_viewpoint_is_to_be_confirmed(slug, flips, ratio):
    result = infer(binary(), "mine", slug)
    assert (result.competition.augment.flips, result.competition.layer_lr_ratio) == (flips, ratio)
    assert not about(result, "augment").sure


@pytest.mark.parametrize(
    ("files", "tables", "sentence"),
    [
        ("train/a.png", {}, "no sample submission"),
        ("test/a.png", {"sample_submission": table("id;y", "a;0")}, "separate its columns by commas, not by ';'"),
        ("test/a.png", {"sample_submission": table("id", "a")}, "a single column, 'id'; add a second column"),
        ("test/a.png", {"sample_submission": table("id,y", "a,0")[:0]}, "has no rows; add one"),
        ("", {"sample_submission": table("id,y", "a,0")}, "no images"),
        ("test/b.png", {"sample_submission": table("id,y", "a,0")}, "asks for 'a', but no image has that name"),
        ("test/a.png train/c.png", {"sample_submission": table("id,y", "a,0")}, "labels can't be found"),
        (
            "test/a.png images/img_001.png",
            {"sample_submission": table("id,y", "a,0"), "train": table("id,y", "im-01,0", "im-02,1")},
            "'im-01' in 'id', where the nearest name is 'img_001.png'",
        ),
        (
            "test/a.png images/f0.png images/f1.png",
            {"sample_submission": table("id,y", "a,0"), "train": table(",y", "0,0", "1,0", "2,1")},
            "train.csv has '0' in '', where the nearest name is 'f0.png'",
        ),
        (
            "test/a.png images/f.png images/g.png",
            {"sample_submission": table("id,y", "a,0"), "train": table(",y", "0,0", "1,0", "2,1")},
            "train.csv has '0' in '', where images are called like 'f.png'",
        ),
        (
            "test/img_0009.png images/b.png",
            {"sample_submission": table("id,y", "9,0")},
            "asks for '9', .* the nearest name is 'img_0009.png'",
        ),
        (
            "test/c.png images/b.png",
            {"sample_submission": table("id,y", "0,0", "1,0")},
            "asks for '0', .* images are called like 'c.png'",
        ),
    ],
)
def test_what_is_missing_is_named(files, tables, sentence):
    with pytest.raises(DataError, match=sentence):
        inferred(files, **tables)


@pytest.mark.parametrize(
    ("members", "beside", "places"),
    [
        (["train/a.jpg", "train/b.jpg"], ["train.zip"], ["train/a.jpg", "train/b.jpg"]),
        (["a.jpg", "b.jpg"], ["train.zip"], ["train/a.jpg", "train/b.jpg"]),
        (["train/a.jpg"], ["train", "train.zip"], ["train/train/a.jpg"]),
        (["train.csv"], ["train.zip"], ["train.csv"]),
    ],
)
def test_an_archive_is_listed_as_it_would_be_unpacked(members, beside, places):
    assert unpacked("train.zip", members, beside) == places


def test_files_that_are_no_tables_are_set_aside_and_an_empty_list_says_nothing(tmp_path):
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 cut short")
    (tmp_path / "empty.json").write_text("[]")
    found = look_at_folder(tmp_path)
    assert list(found.aside) == ["damaged.parquet"]
    assert not found.tables
    assert not found.annotations


def test_the_reader_is_that_of_the_images_that_are_labelled():
    competition = declared(
        "{part}/{n}.dcm jpeg/train/{n}.jpg jpeg/test/{n}.jpg",
        numbers={"jpeg/test": ASKED},
        train="id,y: {n}.jpg,{half}",
        sample_submission="id,y: {n}.jpg,0.5",
    )
    assert (competition.labels.folder, competition.read) == ("jpeg/train", "images")


def test_no_other_sample_submission_is_where_labels_come_from():
    sample, later = "image_name,Type_0,Type_1,Type_2: {n}.jpg,0.2,0.5,0.3", range(200, 210)
    competition = declared(
        "train/Type_{third}/{n}.jpg test/{n}.jpg test_stg2/{n}.jpg",
        numbers={"test_stg2": later, "sample_submission_stg2": later},
        sample_submission=sample,
        sample_submission_stg2=sample,
    )
    assert competition.sample_submission == "sample_submission_stg2.csv"
    assert competition.labels == Folders("train")


def test_a_table_of_samples_to_train_on_is_no_sample_submission():
    labels = declared(train_samples="id,y: {n},{half}", sample_submission="id,y: {n},0.5").labels
    assert labels.csv == "train_samples.csv"


@pytest.mark.parametrize("place", ["contest_data", "Latest", "a"])
@pytest.mark.parametrize("test", ["test1", "stage2_test", "imagesTest"])
@pytest.mark.parametrize("sample", [{}, {"sample_submission": "id,label: {n},cat"}])
def test_images_of_a_contest_are_not_all_images_to_predict(place, test, sample):
    files = f"{place}/train/{{pet}}/{{n}}.jpg {place}/{test}/{{n}}.jpg"
    competition = declared(files, numbers={f"{place}/{test}": ASKED}, **sample)
    assert (competition.labels.folder, competition.test.folder) == (f"{place}/train", f"{place}/{test}")


def test_ids_in_the_last_column_are_no_answers_with_images():
    def asking(answers):
        sample = table("Category,Id", *(f"{answers[n - ASKED[0]]},test-img-{n}.jpg" for n in ASKED))
        return declared("train/{pet}/{n}.jpg test/test-img-{n}.jpg", sample_submission=sample)

    competition = asking(["cat"] * 4)
    assert (competition.id_column, competition.submission) == ("Id", ClassName())
    with pytest.raises(DataError, match="answers with images, in 'Id'"):
        asking([f"test-img-{n}.jpg" for n in reversed(ASKED)])


def test_rows_of_many_columns_keep_their_classes_as_they_are_written(tmp_path):
    pixels = {f"p{number}": [0.5, 0.25] for number in range(225)}
    pd.DataFrame({"label": [1, 2], "good": [True, False], **pixels}).to_parquet(tmp_path / "train.parquet")
    columns = ",".join(f"p{number}" for number in range(225))
    (tmp_path / "other.csv").write_text(f"label,{columns}\n cat {', 7' * 225}\n")
    found = look_at_folder(tmp_path).tables
    assert found["train.parquet"].loc[0, ["label", "good", "p0"]].tolist() == ["1", "True", "0.5"]
    assert found["other.csv"].loc[0, ["label", "p0"]].tolist() == ["cat", "7"]


def test_of_a_large_json_on_this_machine_the_first_records_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "LARGEST_TABLE", 64)
    (tmp_path / "train.json").write_text(bands(range(8), "is_iceberg"))
    (tmp_path / "labels.json").write_text(coco())
    found = look_at_folder(tmp_path)
    assert list(found.tables) == ["train.json"]
    assert list(found.aside) == ["labels.json"]


def test_a_table_that_was_set_aside_is_named_where_pixels_to_predict_are_missing():
    pixels = f"id,y,band: {{n}},{{half}},{'1 ' * 16}"
    aside = {"test.json": "has 1,430 MB, too many to be looked at"}
    with pytest.raises(DataError, match=r"test images of sample_submission.csv \(test.json has 1,430 MB") as caught:
        inferred("", train=pixels, sample_submission="id,y: {n},0.5", aside=aside)
    assert "no sample submission" not in str(caught.value)
    with pytest.raises(DataError, match="there is no sample submission"):
        inferred("", train=pixels)


@pytest.mark.parametrize("sample", ["id,y\n90,0\n91,0\n", ""])
def test_a_table_that_can_t_be_read_is_named_with_its_first_odd_line_where_labels_are_missing(tmp_path, sample):
    rows = [f"{number},{number % 2},{'a, b' if number == 4 else 'c'}" for number in range(8)]
    (tmp_path / "styles.csv").write_text("\n".join(["id,y,name", *rows]))
    touch(tmp_path, *(f"{'test' if n > 8 and sample else 'images'}/{n}.png" for n in [*range(8), 90, 91]))
    if sample:
        (tmp_path / "sample_submission.csv").write_text(sample)
    with pytest.raises(DataError, match=r"styles\.csv can't be read as a CSV: line 6 has 4 values"):
        infer(look_at_folder(tmp_path), "mine", "mine")


def test_an_empty_answer_of_the_sample_submission_says_nothing():
    found = binary(train=("3", "4"))
    sample = table("id,y", "100,", "101,3 0.5")
    result = infer(replace(found, tables={**found.tables, "sample_submission.csv": sample}), "mine", "mine")
    assert result.competition.submission == ClassWithConfidence()


def test_a_file_alone_in_a_folder_of_its_name_takes_its_place():
    assert lifted(["a.csv/a.csv", "b/b", "b/c"]) == ["a.csv", "b/b", "b/c"]


def test_whole_numbers_in_rows_may_be_answers_and_that_is_said():
    tables = {"train": "id,any,epi,sub: {n},{third},{sixth},{half}", "sample_submission": "row,target: {n}_{name},0"}
    form = about(inferred(**tables), "submission")
    assert not form.sure
    assert "several questions" in form.text


def test_a_beta_that_kaggle_s_metric_does_not_say_is_to_be_confirmed():
    tagged = {"train": "id,tags: {n},{pet} red", "sample_submission": "id,tags: {n},cat red"}
    assert doubts(inferred(**tagged, metric="MeanFScoreBeta"), "metric") == [
        "mean_f2, which Kaggle calls 'MeanFScoreBeta', with a beta of 2"
    ]
    assert not doubts(inferred(**tagged, metric="F2 Score"), "metric")


def test_images_that_are_rows_of_a_table_have_the_size_of_their_pixels():
    found = inferred(
        "",
        train=f"label,{PIXELS}: {{half}},{BYTES}",
        test=f"{PIXELS}: {BYTES}",
        sample_submission="ImageId,Label: {place},0",
    )
    assert "for images of 4 x 4 pixels" in about(found, "recipes").text
