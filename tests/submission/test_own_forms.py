"""Forms whose ids name an image and a column, and custom forms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from comp import CsvLabels, Folders, LabelFunction, NumberPerRow, ProbabilityPerClass, ProbabilityPerRow
from comp.declare.labels.csv import read_csv
from comp.errors import DeclarationError, SubmissionError
from comp.submission.grading import grader
from comp.submission.submission import (
    SampleSubmission,
    build_submission,
    check_submission,
    misread,
    must_fit,
    read_sample_submission,
    write_submission,
)
from tests.declare.conftest import declare

CLASSES = ("cat", "dog", "fish")


class ClassAndId:
    """A custom form whose ids name a class and an image."""

    takes, targets = "probabilities", ("single",)

    def parts(self, ids):
        return ids.str.extract("(.+):(.+)")[[1, 0]]

    def encode(self, predictions, classes, _columns):
        return pd.DataFrame(predictions, columns=classes)

    def decode(self, frame, _classes):
        return frame.astype(float).to_numpy()

    def classes_in(self, *_frames):
        return CLASSES


def test_a_form_of_one_s_own_may_have_a_row_for_each_image_and_class(tmp_path):
    competition = declare(labels=Folders("train"), submission=ClassAndId(), metric="log_loss")
    path = tmp_path / "sample_submission.csv"
    path.write_text("row,chance\ndog:b,0\ncat:a,0\ncat:b,0\nfish:b,0\ndog:a,0\nfish:a,0\n")
    sample = read_sample_submission(path, form=competition.submission)
    predictions = np.array([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]])
    made = build_submission(competition, CLASSES, sample, ["a", "b"], predictions)
    rows = pd.concat(made.blocks())
    assert rows["chance"].to_list() == [0.8, 0.5, 0.1, 0.1, 0.2, 0.3]
    write_submission(made, path)
    check_submission(competition, CLASSES, sample, path)
    answers = rows.assign(chance=["1", "1", "0", "0", "0", "0"])
    score = grader(competition)(answers, rows.astype(str).iloc[::-1])
    assert score == pytest.approx(-np.log([0.5, 0.8]).mean())


def test_an_id_in_which_a_form_of_one_s_own_finds_another_class_is_refused(tmp_path):
    competition = declare(labels=Folders("train"), submission=ClassAndId(), metric="log_loss")
    path = tmp_path / "sample_submission.csv"
    path.write_text("row,chance\ncat:a,0\ncow:a,0\n")
    sample = read_sample_submission(path, form=competition.submission)
    with pytest.raises(SubmissionError, match="'cow'"):
        build_submission(competition, CLASSES, sample, ["a"], np.full((1, 3), 1 / 3))


@pytest.mark.parametrize(
    ("target", "form", "metric", "predictions", "answers"),
    [
        ("single", ProbabilityPerRow(CLASSES, row="{id}:{class}"), "log_loss", [[0.5, 0.3, 0.2]] * 2, [[1, 0, 0]] * 2),
        ("multi", ProbabilityPerRow(CLASSES, row="{id}:{class}"), "log_loss", [[0.9, 0.3, 0.2]] * 2, [[1, 0, 0]] * 2),
        ("number", NumberPerRow(CLASSES, row="{id}:{class}"), "mae", [[2, -1.5, 40]] * 2, [[2, -1.5, 41]] * 2),
    ],
)
def test_each_image_and_class_or_number_has_a_row(tmp_path, target, form, metric, predictions, answers):
    competition = declare(labels=LabelFunction(str, target), submission=form, metric=metric)
    path, ids = tmp_path / "sample_submission.csv", [f"{name}:{one}" for one in CLASSES[::-1] for name in "ba"]
    path.write_text("\n".join(["id,value", *(f"{one},0" for one in ids)]))
    sample = read_sample_submission(path, form=form)
    made, exact = (
        build_submission(competition, CLASSES, sample, ["a", "b"], np.array(values))
        for values in (predictions, answers)
    )
    write_submission(made, tmp_path / "made.csv")
    check_submission(competition, CLASSES, sample, tmp_path / "made.csv")
    rows = read_csv(tmp_path / "made.csv")
    assert rows["id"].to_list() == ids
    assert rows["value"].astype(float).to_list() == [predictions[0][place] for place in (2, 2, 1, 1, 0, 0)]
    truth = pd.concat(exact.blocks()).astype(str).iloc[::-1]
    targets = np.array(answers).argmax(axis=1) if target == "single" else np.array(answers)
    expected = competition.scoring(targets, np.array(predictions, float))
    assert grader(competition)(truth, rows) == pytest.approx(expected)


def asking(path, rows, target="multi", form=None):
    """A competition with a row for each image and class, and a sample submission that asks for these rows."""
    form = form or ProbabilityPerRow(CLASSES, row="{id}:{class}")
    competition = declare(labels=LabelFunction(str, target), submission=form, metric="log_loss")
    path.write_text("\n".join(["id,value", *(f"{one},0" for one in rows.split())]))
    return competition, read_sample_submission(path, form=form)


@pytest.mark.parametrize(
    ("target", "rows"),
    [
        ("multi", "a:cat b:dog b:fish"),
        ("single", "a:cat b:dog b:fish"),
        ("single", "a:cat a:dog b:cat b:dog"),
        ("single", "b:fish a:cat a:dog a:fish"),
    ],
)
def test_images_may_have_rows_of_some_classes_only(tmp_path, target, rows):
    competition, sample = asking(tmp_path / "sample_submission.csv", rows, target)
    predictions = np.array([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]])
    must_fit(competition, CLASSES, sample, ["a", "b"], predictions[:1])
    write_submission(build_submission(competition, CLASSES, sample, ["a", "b"], predictions), tmp_path / "made.csv")
    check_submission(competition, CLASSES, sample, tmp_path / "made.csv")
    expected = [predictions["ab".index(row[0]), CLASSES.index(row[2:])] for row in rows.split()]
    assert read_csv(tmp_path / "made.csv")["value"].astype(float).to_list() == expected


@pytest.mark.parametrize("rows", ["a:cat b:cat b:dog b:fish", "a:cat a:dog a:fish b:dog", "a:cat a:dog b:cat b:dog"])
@pytest.mark.parametrize("value", ["much", ""])
def test_a_value_that_is_no_number_is_named_in_whichever_row_it_is(tmp_path, rows, value):
    competition, sample = asking(tmp_path / "sample_submission.csv", rows)
    made = tmp_path / "made.csv"
    write_submission(build_submission(competition, CLASSES, sample, ["a", "b"], np.full((2, 3), 0.5)), made)
    made.write_text(made.read_text().replace("b:dog,0.5", f"b:dog,{value}"))
    with pytest.raises(SubmissionError, match=f"Column 'dog' holds '{value}' in the row of 'b', but"):
        check_submission(competition, CLASSES, sample, made)
    with pytest.raises(SubmissionError, match=r"'(cat|dog)' holds .*nan.* in the row of '[ab]', but"):
        build_submission(competition, CLASSES, sample, ["a", "b"], np.full((2, 3), np.nan))


def test_the_probabilities_of_an_image_with_all_rows_sum_to_one(tmp_path):
    competition, sample = asking(tmp_path / "sample_submission.csv", "a:cat b:cat b:dog b:fish", "single")
    with pytest.raises(SubmissionError, match=r"those of 'b' sum to 1\.2"):
        build_submission(competition, CLASSES, sample, ["a", "b"], np.array([[0.9, 0.8, 0.7], [0.4, 0.4, 0.4]]))


def test_ids_that_name_image_and_column_stand_beside_one_other_column(tmp_path):
    path = tmp_path / "sample_submission.csv"
    path.write_text("id,value,Usage\na:cat,0,Public\na:dog,0,Public\n")
    with pytest.raises(SubmissionError, match=r"2 columns beside the id \(value, Usage\).*ProbabilityPerRow"):
        read_sample_submission(path, form=ProbabilityPerRow(CLASSES, row="{id}:{class}"))


class Questions:
    """A form whose ids name an image and one of two questions, each with tags as its answers."""

    takes, targets = "tags", ("multi",)

    def parts(self, ids):
        return ids.str.extract("(.+)/(.+)")

    def encode(self, predictions, classes, _columns):
        tags = pd.DataFrame(predictions, columns=classes)
        return pd.DataFrame({"is": tags[["cat", "dog"]].idxmax(axis=1), "wet": tags["fish"].map({0: "no", 1: "yes"})})

    def decode(self, frame, _classes):
        if (odd := ~frame["is"].isin(["cat", "dog"])).any():
            raise SubmissionError(f"{frame['is'][odd].iloc[0]!r} is no animal")
        return np.stack([frame["is"] == "cat", frame["is"] == "dog", frame["wet"] == "yes"], axis=1).astype(int)

    def classes_in(self, *_frames):
        return CLASSES


@pytest.fixture
def questions(tmp_path):
    tags = CsvLabels("train.csv", image="id", label="tags", folder="train", separator=" ")
    competition = declare(labels=tags, submission=Questions(), metric="micro_f1")
    path = tmp_path / "sample_submission.csv"
    path.write_text("row,answer\nc/wet,\nb/wet,\na/is,\nb/is,\na/wet,\n")
    sample = read_sample_submission(path, form=competition.submission)
    predictions = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0]])
    must_fit(competition, CLASSES, sample, ["a", "b", "c"], predictions[:1])
    return competition, sample, build_submission(competition, CLASSES, sample, ["a", "b", "c"], predictions)


def test_ids_may_name_an_image_and_a_column_that_is_no_class(questions, tmp_path):
    competition, sample, made = questions
    write_submission(made, tmp_path / "made.csv")
    assert (tmp_path / "made.csv").read_text() == "row,answer\nc/wet,no\nb/wet,yes\na/is,cat\nb/is,dog\na/wet,no\n"
    check_submission(competition, CLASSES, sample, tmp_path / "made.csv")
    answers = read_csv(tmp_path / "made.csv")[1:]
    grade = grader(competition)
    assert grade(answers, answers.iloc[::-1]) == 1
    assert grade(answers, answers.replace("cat", "dog")) < 1


def test_a_row_of_such_a_form_that_was_edited_is_checked(questions, tmp_path):
    competition, sample, made = questions
    write_submission(made, tmp_path / "made.csv")
    (tmp_path / "made.csv").write_text((tmp_path / "made.csv").read_text().replace("dog", "cow"))
    with pytest.raises(SubmissionError, match="'cow' is no animal"):
        check_submission(competition, CLASSES, sample, tmp_path / "made.csv")


@pytest.mark.parametrize(
    ("method", "own", "said"),
    [
        ("encode", ClassAndId.encode, ""),
        (
            "encode",
            lambda _, given, classes, __: pd.DataFrame(given, columns=classes[::-1]),
            "Form reads 2 of 4 labels",
        ),
        ("decode", lambda _, frame, __: frame.astype(str).to_numpy(), "Form reads 4 of 4 labels"),
    ],
    ids=["right", "in another order", "text"],
)
def test_a_form_of_ones_own_that_reads_labels_back_as_others_is_told_so(method, own, said):
    form = type("Form", (ClassAndId,), {method: own})()
    sample = SampleSubmission(("id", "chance"), pd.Series(["cat:a", "dog:a", "fish:a"]))
    sample = replace(sample, parts=form.parts(sample.ids).set_axis([0, 1], axis=1))
    competition = declare(labels=Folders("train"), submission=form, metric="log_loss")
    found = misread(competition, CLASSES, sample, np.array([0, 1, 2, 1]))
    assert found.startswith(said)
    assert bool(found) == bool(said)


@pytest.mark.parametrize(
    ("encoded", "error", "named"),
    [
        (lambda tags: tags.to_numpy(), DeclarationError, r"`encode` returns a ndarray"),
        (lambda tags: tags[:0], DeclarationError, r"\(0, 3\)"),
        (lambda tags: tags.drop(columns="dog"), SubmissionError, "'dog'"),
    ],
)
def test_what_a_form_of_one_s_own_writes_has_a_row_for_each_prediction_and_the_columns_asked_for(encoded, error, named):
    def encode(_form, predictions, classes, _columns):
        return encoded(pd.DataFrame(predictions, columns=classes))

    form = type("Form", (ProbabilityPerClass,), {"encode": encode})()
    competition = declare(labels=Folders("train"), submission=form, metric="log_loss")
    sample = SampleSubmission(("id", *CLASSES), pd.Series(["a"]))
    with pytest.raises(error, match=named):
        build_submission(competition, CLASSES, sample, ["a"], np.full((1, 3), 1 / 3))


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (lambda ids: ids.str.extract("(.+):(.+)"), "'dog-a'"),
        (lambda ids: ids.str.split("[:-]"), "a Series"),
        (lambda ids: ids.str.extract("(.+)"), r"\(2, 1\)"),
        (lambda ids: ids.str.extract("(.+)[:-](.+)")[:1], r"\(1, 2\)"),
        (lambda _: None, "NoneType"),
        (lambda ids: ids.str.extract("(.+)[:-](.+)").assign(**{"0": "cat", "1": "a"})[["0", "1"]], "'dog-a'"),
    ],
)
def test_parts_of_a_form_of_one_s_own_that_are_not_both_of_each_id_are_refused(tmp_path, parts, named):
    form = type("Form", (ClassAndId,), {"parts": lambda _, ids: parts(ids)})()
    path = tmp_path / "sample_submission.csv"
    path.write_text("row,chance\ncat:a,0\ndog-a,0\n")
    with pytest.raises(DeclarationError, match=f"`parts`.*{named}"):
        read_sample_submission(path, form=form)
