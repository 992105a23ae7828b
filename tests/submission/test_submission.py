from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp import (
    ClassName,
    ClassWithConfidence,
    CsvLabels,
    Folders,
    ProbabilityOf,
    ProbabilityPerClass,
    TagNames,
    TopClasses,
)
from comp.declare.labels.csv import read_csv, read_csv_in_blocks
from comp.declare.metrics import METRICS
from comp.errors import DataError, SubmissionError
from comp.submission import submission
from comp.submission.grading import grader
from comp.submission.submission import (
    SampleSubmission,
    build_submission,
    check_submission,
    exact_predictions,
    read_sample_submission,
    write_submission,
)
from tests.declare.conftest import declare, drawn

moderately = settings(max_examples=10, deadline=None)
IDS = st.lists(st.text('ab09._-/ ,"', min_size=1, max_size=6), min_size=1, max_size=9, unique=True)
CLASSES = ("cat", "dog", "fish")
TAGS = CsvLabels("train.csv", image="id", label="tags", folder="train", separator=" ")
FORMS = {
    "one": (ProbabilityOf("dog"), "single", ("cat", "dog"), ["label"]),
    "each": (ProbabilityPerClass(), "single", CLASSES, ["fish", "cat", "dog"]),
    "tags": (ProbabilityPerClass(), "multi", CLASSES, ["dog", "fish", "cat"]),
    "class": (ClassName(), "single", CLASSES, ["breed"]),
    "names": (TagNames(), "multi", CLASSES, ["tags"]),
    "ranked": (TopClasses(2), "single", CLASSES, ["breeds"]),
    "sure": (ClassWithConfidence(), "single", CLASSES, ["breed"]),
}
GRADED = [
    *(("one", "log_loss"), ("one", "roc_auc"), ("each", "log_loss"), ("each", "roc_auc")),
    *(("tags", "log_loss"), ("tags", "mean_columnwise_roc_auc"), ("names", "mean_f1"), ("names", "mean_f2")),
    *(("class", "accuracy"), ("class", "macro_f1"), ("class", "quadratic_kappa")),
    *(("ranked", "map_at_k"), ("ranked", "top_k_accuracy"), ("sure", "gap")),
]
EVERY_FORM = pytest.mark.parametrize("kind", FORMS)


def declared(kind, metric=None):
    form, target, _, _ = FORMS[kind]
    metric = metric or dict(reversed(GRADED))[kind]
    return declare(labels=Folders("train") if target == "single" else TAGS, submission=form, metric=metric)


def sample_of(ids, columns):
    return SampleSubmission(("id", *columns), pd.Series(list(ids), dtype=str))


def predictions_of(kind, rows, seed=0):
    form, _, classes, _ = FORMS[kind]
    return drawn(form, np.random.default_rng(seed), rows, classes)


def built(kind, ids, predictions, sample):
    return build_submission(declared(kind), FORMS[kind][2], sample, ids, predictions)


def build(kind, ids, predictions, sample):
    return pd.concat(built(kind, ids, predictions, sample).blocks())


def right_one(kind="each", rows=4):
    """A submission that fits its sample submission."""
    ids = [f"{row}" for row in range(rows)]
    return built(kind, ids, predictions_of(kind, rows), sample_of(ids, FORMS[kind][3]))


def right(kind="each", rows=4):
    """A sample submission, and a submission that fits it as a table."""
    submission = right_one(kind, rows)
    return submission.sample_submission, pd.concat(submission.blocks())


def check(kind, submission, sample):
    with NamedTemporaryFile(suffix=".csv") as file:
        submission.to_csv(file.name, index=False)
        check_submission(declared(kind), FORMS[kind][2], sample, Path(file.name))


@EVERY_FORM
@moderately
@given(ids=IDS, seed=st.integers(0, 2**32), cells=st.integers(1, 12), kinds=st.sampled_from([np.float32, np.float64]))
def test_a_submission_has_the_samples_ids_order_and_columns_whatever_the_order_of_predictions_and_in_whatever_blocks(
    kind, ids, seed, cells, kinds, tmp_path_factory
):
    form, _, classes, columns = FORMS[kind]
    rng, predictions = np.random.default_rng(seed), predictions_of(kind, len(ids), seed)
    predictions = predictions.astype(kinds) if predictions.dtype == np.float64 else predictions
    order, shuffled = rng.permutation(len(ids)), rng.permutation(len(ids))
    sample = sample_of([ids[place] for place in order], columns)
    submission = build(kind, ids, predictions, sample)
    assert list(submission.columns) == ["id", *columns]
    assert list(submission["id"]) == list(sample.ids)
    assert form.decode(submission[columns], classes) == pytest.approx(predictions[order], rel=1e-4)
    pd.testing.assert_frame_equal(
        build(kind, [ids[place] for place in shuffled], predictions[shuffled], sample), submission
    )
    whole = form.encode(predictions, classes, columns).iloc[order].reset_index(drop=True)
    whole.insert(0, "id", sample.ids.array)
    folder = tmp_path_factory.getbasetemp()
    whole.to_csv(folder / "whole.csv", index=False, float_format="%.9g", lineterminator="\n")
    write_submission(built(kind, ids, predictions, sample), folder / "blocks.csv", cells)
    assert (folder / "blocks.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    check_submission(declared(kind), classes, sample, folder / "blocks.csv")


@moderately
@given(rows=st.integers(1, 9), cells=st.integers(1, 12))
def test_in_blocks_a_csv_is_read_as_in_one(rows, cells, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "read.csv"
    pd.DataFrame({"id": [f"0{row}" for row in range(rows)], "label": [""] * rows}).to_csv(path, index=False)
    blocks = [block for block in read_csv_in_blocks(path, cells) if len(block)]
    assert all(len(block) <= max(1, cells // 2) for block in blocks)
    pd.testing.assert_frame_equal(pd.concat(blocks), read_csv(path))


def test_what_a_later_block_has_wrong_is_refused_with_its_row(monkeypatch):
    monkeypatch.setattr(submission, "CELLS", 4)
    sample, table = right("each", rows=5)
    with pytest.raises(SubmissionError, match="data row 5"):
        check("each", empty_value(table), sample)


@EVERY_FORM
def test_an_id_that_has_not_one_prediction_is_named(kind):
    for asked, predicted, said in (
        (["0", "lost", "2"], ["0", "1", "2"], "1 .* 3 ids have no prediction, the first 'lost'"),
        (["0", "1"], ["0", "1", "1"], "'1' was predicted more than once"),
        (["007"], ["08", "7", "8"], "the first '007'"),
    ):
        with pytest.raises(SubmissionError, match=said):
            build(kind, predicted, predictions_of(kind, 3), sample_of(asked, FORMS[kind][3]))
    # Predictions that the sample submission doesn't ask for are left out.
    whole = build(kind, ["0", "1", "2"], predictions_of(kind, 3), sample_of(["2", "0"], FORMS[kind][3]))
    assert list(whole["id"]) == ["2", "0"]


@pytest.mark.parametrize("kind", ["one", "each", "tags"])
def test_a_probability_that_is_none_is_refused(kind):
    sample, predictions = sample_of(["0", "1", "2"], FORMS[kind][3]), predictions_of(kind, 3)
    for value in (np.nan, np.inf, -0.1, 1.1):
        predictions[1, 1] = value
        with pytest.raises(SubmissionError, match=r"should hold a number|should be from 0 to 1"):
            build(kind, ["0", "1", "2"], predictions, sample)


def test_rows_that_do_not_sum_to_one_are_named():
    sample = sample_of(["a", "b", "c"], CLASSES)
    predictions = predictions_of("each", 3)
    predictions[1] *= 0.9
    with pytest.raises(SubmissionError, match=r"those of 'b' sum to 0\.9000"):
        build("each", ["a", "b", "c"], predictions, sample)
    assert len(build("tags", ["a", "b", "c"], predictions, sample)) == 3


def empty_value(frame):
    return frame.astype(object).assign(**{frame.columns[-1]: [*frame[frame.columns[-1]][:-1], "?"]})


# Submissions of four rows, by what is wrong with them.
OTHER_ROWS = {
    "a row less": lambda frame: frame.drop(index=2),
    "a row twice": lambda frame: pd.concat([frame, frame.iloc[[1]]], ignore_index=True),
    "an id twice": lambda frame: frame.assign(id=frame["id"].replace("2", "1")),
    "another id": lambda frame: frame.assign(id=frame["id"].replace("2", "x")),
}
OTHER_COLUMNS = {
    "a column less": lambda frame: frame.drop(columns=frame.columns[-1]),
    "a column more": lambda frame: frame.assign(more=frame[frame.columns[-1]]),
    "another column": lambda frame: frame.rename(columns={frame.columns[-1]: "other"}),
    "another id column": lambda frame: frame.rename(columns={"id": "ID"}),
    "another order of columns": lambda frame: frame[[*frame.columns[1:], "id"]],
}
DEFECTS = {
    **OTHER_ROWS,
    **OTHER_COLUMNS,
    "another order": lambda frame: frame.iloc[::-1].reset_index(drop=True),
    "an impossible value": empty_value,
}


@EVERY_FORM
def test_a_submission_with_any_defect_is_refused_and_without_the_answers_ids_or_columns_not_graded(kind):
    sample, submission = right(kind)
    check(kind, submission, sample)
    for defect, spoil in DEFECTS.items():
        with pytest.raises(SubmissionError):
            check(kind, spoil(submission), sample)
        if defect in OTHER_ROWS | OTHER_COLUMNS:
            said = "each of the 4 ids" if defect in OTHER_ROWS else "columns should be id"
            with pytest.raises(SubmissionError, match=said):
                grader(declared(kind))(submission.astype(str), spoil(submission).astype(str))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label\n", "2 columns and 0 rows"),
        ("id\n1\n", "1 columns and 1 rows"),
        ("id,label\n1,0\n2,0\n1,0\n", "'1' more than once"),
        (None, "doesn't exist"),
    ],
)
def test_a_file_that_is_no_sample_submission_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "sample.csv").write_text(text)
    with pytest.raises((SubmissionError, DataError), match=rf"sample\.csv .*{said}"):
        read_sample_submission(tmp_path / "sample.csv")


def answers_of(kind, truth):
    form, _, classes, columns = FORMS[kind]
    frame = form.encode(truth, classes, columns).astype(str)
    frame.insert(0, "id", [f"{row}" for row in range(len(truth))])
    return frame


@pytest.mark.parametrize(("kind", "name"), GRADED)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=4, deadline=None)
def test_a_grade_is_the_metric_of_the_predictions_in_any_order_of_rows(kind, name, seed, tmp_path_factory):
    _, target, classes, columns = FORMS[kind]
    rng, metric, rows = np.random.default_rng(seed), METRICS[name], 30
    # Every class occurs, so that the grader finds the same classes as the data.
    places = np.r_[np.arange(len(classes)), rng.integers(len(classes), size=rows - len(classes))]
    truth = places
    if target == "multi":
        truth = np.eye(len(classes), dtype=np.int64)[places] | rng.integers(2, size=(rows, len(classes)))
        truth[:2] = np.eye(len(classes), dtype=np.int64)[:2]
    written = exact_predictions(declared(kind, name), classes, truth)
    predictions = predictions_of(kind, rows, seed)
    answers = answers_of(kind, written)
    submission = built(kind, list(answers["id"]), predictions, sample_of(rng.permutation(answers["id"]), columns))
    path = tmp_path_factory.getbasetemp() / "graded.csv"
    write_submission(submission, path)
    grade = grader(declared(kind, name))(answers, read_csv(path))
    assert grade == pytest.approx(metric(truth, predictions), rel=1e-6)


@pytest.mark.parametrize("kind", ["one", "each"])
def test_a_sure_mistake_costs_much_and_not_everything(kind):
    classes = FORMS[kind][2]
    answers, wrong = (answers_of(kind, np.eye(len(classes))[rows]) for rows in ([0, 1], [1, 1]))
    assert 10 < grader(declared(kind, "log_loss"))(answers, wrong) < 20


def test_ids_are_text_and_may_stand_in_another_column_than_the_first(tmp_path):
    competition = replace(declared("class", "accuracy"), id_column="Id")
    (tmp_path / "sample.csv").write_text("breed,Id\ncat,007\ncat,NA\n")
    sample = read_sample_submission(tmp_path / "sample.csv", "Id")
    built = build_submission(competition, CLASSES, sample, ["NA", "007"], np.array([1, 2]))
    write_submission(built, tmp_path / "submission.csv")
    check_submission(competition, CLASSES, sample, tmp_path / "submission.csv")
    assert (tmp_path / "submission.csv").read_text() == "breed,Id\nfish,007\ndog,NA\n"
    given = read_csv(tmp_path / "submission.csv")
    assert grader(competition)(given, given) == 1
