import math

import pytest

from comp.errors import SubmissionError
from comp.kaggle.local.grading import Grader, grade


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,label\n007,NA\n")
    return path


def test_both_tables_are_text_and_nothing_is_taken_for_missing(csv):
    def score(answers, submission):
        assert submission.values.tolist() == answers.values.tolist() == [["007", "NA"]]
        return 0.5

    assert grade(Grader("m", higher_is_better=True, score=score), csv, csv) == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused(csv, value):
    with pytest.raises(SubmissionError, match="missing or infinite"):
        grade(Grader("m", higher_is_better=True, score=lambda *_: value), csv, csv)


def test_a_grader_that_fails_does_not_tell_what_it_saw(csv):
    def score(answers, submission):
        raise KeyError(answers["label"][0])

    with pytest.raises(SubmissionError, match="KeyError") as caught:
        grade(Grader("m", higher_is_better=True, score=score), csv, csv)
    assert "NA" not in str(caught.value)
