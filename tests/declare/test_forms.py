from io import StringIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from comp.declare import forms
from comp.declare.forms import (
    FORMS,
    ClassName,
    ClassNumber,
    ClassWithConfidence,
    Numbers,
    ProbabilityOf,
    ProbabilityPerClass,
    TagNames,
    TopClasses,
)
from comp.errors import SubmissionError
from tests.declare.conftest import drawn

moderately = settings(max_examples=15, deadline=None)
CLASSES = st.lists(
    st.text("ab YZ09_-+()[].,;'\"%é犬", min_size=1, max_size=8), min_size=2, max_size=6, unique=True
).map(tuple)
SEEDS = st.integers(0, 2**32)


def as_csv(frame):
    """The table as the grader gets it: written like a submission, and read as text."""
    written = frame.to_csv(index=False, float_format="%.9g", lineterminator="\n")
    return pd.read_csv(StringIO(written), dtype=str, keep_default_na=False, skip_blank_lines=False)


@moderately
@given(classes=CLASSES, seed=SEEDS, rows=st.integers(1, 9), separator=st.sampled_from([" ", ",", "|", "; "]))
def test_what_a_form_writes_is_read_back(classes, seed, rows, separator):
    assume(not any(set(separator) & set(name) for name in classes))
    rng, separated = np.random.default_rng(seed), (TagNames(separator), ClassWithConfidence(separator))
    for form in (
        *(ProbabilityOf(name) for name in classes[:2]),
        *(ProbabilityPerClass(), ClassName(), ClassNumber(classes[::-1]), TopClasses(len(classes) + 1, separator)),
        *separated,
    ):
        known = classes[:2] if isinstance(form, ProbabilityOf) else classes
        predictions = drawn(form, rng, rows, known)
        columns = list(rng.permutation(np.array(known, object))) if form == ProbabilityPerClass() else ["label"]
        frame = form.encode(predictions, known, columns)
        assert list(frame.columns) == columns
        assert form.decode(as_csv(frame), known) == pytest.approx(predictions, abs=1e-9)
        if form in separated or form == ClassName():
            assert set(form.classes_in(frame)) <= set(classes)


@pytest.mark.parametrize(
    ("form", "predictions", "written"),
    [
        (ProbabilityOf("b"), [[0.25, 0.75]], [0.75]),
        (ClassName(), [1, 0], ["b", "a"]),
        (ClassNumber(["b", "a"]), [1, 0], [0, 1]),
        (TagNames(", "), [[1, 1], [0, 0]], ["a, b", ""]),
        (TopClasses(2), [[1, 0], [0, -1]], ["b a", "a"]),
        (ClassWithConfidence(), [[1, 0.5], [-1, 0]], ["b 0.5", ""]),
    ],
)
def test_a_form_writes_what_is_meant(form, predictions, written):
    assert list(form.encode(np.array(predictions), ("a", "b"), ["x"])["x"]) == written


def test_a_true_class_alone_is_a_ranking_and_a_sure_answer():
    frame = pd.DataFrame({"Id": ["b", ""]})
    assert TopClasses(2).decode(frame, ("a", "b")).tolist() == [[1, -1], [-1, -1]]
    assert ClassWithConfidence().decode(frame, ("a", "b")).tolist() == [[1, 1], [-1, 0]]


@pytest.mark.parametrize(
    ("form", "text"), [(TopClasses(2), "a b a"), (ClassWithConfidence(), "a 0.5 b"), (ClassWithConfidence(), "a b")]
)
def test_a_row_with_too_much_in_it_is_named(form, text):
    with pytest.raises(SubmissionError, match=f"'{text}'|'b' in data row 1"):
        form.decode(pd.DataFrame({"Id": [text]}), ("a", "b"))


@pytest.mark.parametrize("form", [TagNames(), TopClasses(5), ClassWithConfidence()])
def test_a_name_that_holds_the_separator_is_refused(form):
    with pytest.raises(SubmissionError, match=f"{type(form).__name__}: `separator` is ' ', but the class 'blow down'"):
        form.encode(np.array([[1, 1, 0]]), ("blow", "down", "blow down"), ["tags"])


@pytest.mark.parametrize("form", [ProbabilityOf("a"), ClassName(), TagNames(), TopClasses(2), ClassWithConfidence()])
def test_a_form_of_one_column_refuses_a_sample_of_more(form):
    with pytest.raises(SubmissionError, match=r"has 2 columns after the id \(a, b\)"):
        form.encode(drawn(form, np.random.default_rng(0), 1, ("a", "b")), ("a", "b"), ["a", "b"])
    with pytest.raises(SubmissionError, match="has 2 columns"):
        form.decode(pd.DataFrame({"a": ["0"], "b": ["1"]}), ("a", "b"))


@pytest.mark.parametrize("classes", [("cat", "fish"), ("cat", "dog", "fish"), ("dog",)])
def test_the_probability_of_a_class_that_is_not_one_of_two_is_refused(classes):
    with pytest.raises(SubmissionError, match="`label` is 'dog'"):
        ProbabilityOf("dog").encode(np.ones((1, len(classes))), classes, ["label"])


@pytest.mark.parametrize(
    ("values", "columns", "said"),
    [
        (["biomass"], ["biomass", "height"], "but height is not in `values`"),
        (["biomass", "age"], ["biomass", "height"], "but age is missing and height is not in `values`"),
        (["biomass", "height"], ["biomass"], "but height is missing"),
        (["biomass", "height"], ["target"], "but biomass, height are missing and target is not in `values`"),
    ],
)
def test_values_that_are_not_the_samples_columns_are_named(values, columns, said):
    for use in (
        lambda: Numbers().encode(np.ones((1, len(values))), values, columns),
        lambda: Numbers().decode(pd.DataFrame(np.ones((1, len(columns))), columns=columns), values),
    ):
        with pytest.raises(SubmissionError, match=f"should be the labels' numbers, {said}; check the label source"):
            use()


def test_a_column_per_class_refuses_a_sample_of_one_column():
    with pytest.raises(SubmissionError, match=r"one column after the id, 'label', .* declare ProbabilityOf"):
        ProbabilityPerClass().encode(np.array([[0.5, 0.5]]), ("a", "b"), ["label"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["a"], "b is missing"),
        (["a", "b", "c"], "c is no class; check the label source"),
        (["a", "c"], "b is missing and c is no class"),
    ],
)
def test_columns_that_are_not_the_classes_are_named(columns, said):
    with pytest.raises(SubmissionError, match=said):
        ProbabilityPerClass().encode(np.array([[0.5, 0.5]]), ("a", "b"), columns)
    with pytest.raises(SubmissionError, match=said):
        ProbabilityPerClass().decode(pd.DataFrame([["0.5"] * len(columns)], columns=columns), ("a", "b"))


@pytest.mark.parametrize("form", [ProbabilityOf("b"), ProbabilityPerClass()])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((value, "Column 'b' holds .* in data row 2") for value in ("", "nan", "-inf", "0,5", None)),
        *((value, f"from 0 to 1, but {value} was found") for value in ("-0.01", "1.0001")),
    ],
)
def test_a_value_that_is_no_probability_is_named(form, value, said):
    columns = ["b"] if isinstance(form, ProbabilityOf) else ["a", "b"]
    frame = pd.DataFrame([["0.5"] * len(columns)] * 3, columns=columns).astype(object)
    frame.loc[1, "b"] = value
    with pytest.raises(SubmissionError, match=said):
        form.decode(frame, ("a", "b"))


@pytest.mark.parametrize("form", [ClassName(), TagNames(), TopClasses(2), ClassWithConfidence()])
def test_a_name_that_is_no_class_is_named_with_those_that_are(form):
    with pytest.raises(SubmissionError, match=r"'bird' is not a class .* cat, dog; .* check the label source"):
        form.decode(pd.DataFrame({"label": ["cat", "bird"]}), ("cat", "dog"))


def test_a_grader_reads_the_classes_off_the_columns():
    assert ProbabilityOf("dog").classes_in(pd.DataFrame({"label": ["1"]})) == ("not dog", "dog")
    assert ProbabilityPerClass().classes_in(pd.DataFrame({"b": ["1"], "a": ["0"]})) == ("b", "a")
    assert ClassName().classes_in(pd.DataFrame({"x": ["10", "9"]}), pd.DataFrame({"x": ["8"]})) == ("8", "9", "10")
    assert TagNames().classes_in(pd.DataFrame({"x": ["b a", ""]}), pd.DataFrame({"x": ["c"]})) == ("a", "b", "c")


def test_a_class_without_a_number_and_a_number_without_a_class_are_refused():
    with pytest.raises(SubmissionError, match="`labels` are cat, dog, but the data's classes are cat, fish"):
        ClassNumber(["cat", "dog"]).encode(np.array([0]), ("cat", "fish"), ["label"])
    with pytest.raises(SubmissionError, match="'2' is not a class"):
        ClassNumber(["cat", "dog"]).decode(pd.DataFrame({"label": ["2"]}), ("cat", "dog"))


def test_every_form_is_listed():
    written = {name for name, form in vars(forms).items() if isinstance(form, type) and "decode" in vars(form)}
    assert written - {"SubmissionForm"} == set(FORMS)
