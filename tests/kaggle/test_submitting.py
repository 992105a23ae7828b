import pytest

from comp.kaggle.submitting import has_score, tag_of
from comp.runs import Workspace, create_run

REAL, HERE, ALSO_HERE = "https://api.kaggle.com", "http://127.0.0.1:8008", "http://127.0.0.1:9"


@pytest.fixture
def run(tmp_path):
    made = create_run(Workspace(tmp_path), "shades", "quick")
    made.write_config({"competition": "shades"})
    return made


@pytest.fixture
def submitted(run):
    """Records what Kaggle said to the run's submission."""

    def write(content="id\n", at=REAL, status="complete"):
        run.submission.write_text(content)
        run.write_record("submitted", {"status": status, "file": tag_of(run.submission), "kaggle": at})

    return write


@pytest.mark.parametrize(
    ("meant", "at", "done"),
    [(None, REAL, True), (None, HERE, False), (HERE, HERE, True), (ALSO_HERE, HERE, True), (HERE, REAL, False)],
)
def test_a_score_counts_where_it_is_of_the_kaggle_that_is_meant(
    run, submitted, shades, tmp_path, monkeypatch, meant, at, done
):
    monkeypatch.delenv("COMP_KAGGLE_URL", raising=False)
    goal = has_score(shades.competition, Workspace(tmp_path, kaggle=meant))
    assert not goal(run)
    submitted(at=at)
    assert goal(run) is done


def test_a_score_counts_for_the_file_that_has_it(run, submitted, shades, tmp_path):
    goal = has_score(shades.competition, Workspace(tmp_path, kaggle=REAL))
    submitted(status="pending")
    assert not goal(run)
    submitted()
    assert goal(run)
    run.submission.write_text("id\n1\n")
    assert not goal(run)
