import math
from dataclasses import replace

import pytest

from comp.declare.metrics import Metric
from comp.errors import SubmissionError
from comp.local_kaggle.grading import DeclaredGraders, Grader, Scores, grade


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,label\n007,NA\n")
    return path


def test_both_tables_are_text_and_nothing_is_taken_for_missing(csv):
    def score(answers, submission):
        assert submission.values.tolist() == answers.values.tolist() == [["007", "NA"]]
        return 0.5

    assert grade(Grader("m", higher_is_better=True, score=score), csv, csv) == Scores(0.5, None)


def test_a_grader_that_fails_or_gives_no_number_is_refused_without_a_word_of_what_it_saw(csv):
    def score(answers, submission):
        raise KeyError(answers["label"][0])

    metric = Metric("mine", "classes", higher_is_better=True, score=score)
    for bad, says in [
        (score, "KeyError"),
        (metric, "DeclarationError"),
        (lambda *_: math.nan, "missing or"),
        (lambda *_: math.inf, "or infinite"),
    ]:
        with pytest.raises(SubmissionError, match=says) as caught:
            grade(Grader("m", higher_is_better=True, score=bad), csv, csv)
        assert "NA" not in str(caught.value)


def test_answers_with_a_usage_column_have_a_public_and_a_private_part(tmp_path):
    (tmp_path / "answers.csv").write_text("id,label,Usage\n1,a,Public\n2,b,Private\n3,c,Public\n4,d,Private\n")
    (tmp_path / "given.csv").write_text("id,label\n4,x\n3,c\n2,b\n1,a\n")
    seen = []

    def score(answers, submission):
        assert list(answers.columns) == list(submission.columns) == ["id", "label"]
        assert sorted(answers["id"]) == sorted(submission["id"])
        seen.append("".join(answers["id"]))
        return float((answers.merge(submission, on="id").eval("label_x == label_y")).mean())

    grader = Grader("m", higher_is_better=True, score=score)
    assert grade(grader, tmp_path / "answers.csv", tmp_path / "given.csv") == Scores(1.0, 0.5)
    assert seen == ["1234", "13", "24"]


@pytest.mark.parametrize(("usage", "private"), [("Public", None), ("Private", 0.5)])
def test_where_one_part_of_the_answers_is_empty_the_other_s_score_counts(tmp_path, csv, usage, private):
    def score(answers, submission):
        assert len(answers)
        return 0.5

    (tmp_path / "answers.csv").write_text(f"id,label,Usage\n007,NA,{usage}\n")
    grader = Grader("m", higher_is_better=True, score=score)
    assert grade(grader, tmp_path / "answers.csv", csv) == Scores(0.5, private)


def test_a_metric_that_comp_guessed_is_named_whenever_it_grades(tmp_path, csv, caplog, shades):
    folder = shades.declaration.parent
    (folder / "README.md").write_text("- augment: side_on()\n- metric: accuracy would fit\n")
    grader = DeclaredGraders([folder.parent])["shades"]
    assert grader.guessed
    grade(replace(grader, score=lambda *_: 1.0), csv, csv)
    assert grader.metric in caplog.text
    (folder / "README.md").write_text("- augment: side_on()\n")
    assert not DeclaredGraders([folder.parent])["shades"].guessed
