import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from comp.local_kaggle.bundled import build_digits


@pytest.fixture
def one_team(monkeypatch):
    """A single other team, which trains quicker than the real ones."""
    teams = [("all zeros", np.zeros(1797, int))]
    monkeypatch.setattr("comp.local_kaggle.bundled._answers_of_teams", lambda *_: teams)


def table(path):
    return pd.read_csv(path, dtype=str)


def test_every_digit_is_either_learned_from_or_predicted_with_scikit_learn_s_labels(digits_served):
    folder, digits = digits_served / "digits", load_digits()
    train, sample = table(folder / "train.csv"), table(folder / "sample_submission.csv")
    assert (len(train), len(sample)) == (1347, 450)
    assert sorted([*train["id"], *sample["id"]]) == [f"{row:04}" for row in range(1797)]
    for part, rows in (("train", train), ("test", sample)):
        assert sorted(path.stem for path in (folder / part).glob("*.png")) == sorted(rows["id"])
    for row in (0, 7, 1796):
        (path,) = folder.glob(f"*/{row:04}.png")
        with Image.open(path) as image:
            assert image.size == (8, 8)
            shown = list(image.tobytes())
        assert [round(value / 255 * 16) for value in shown] == digits.images[row].flatten().tolist()
    # No served file has the answers.
    answers = table(digits_served / ".answers" / "digits.csv")
    labels = pd.concat([train, answers]).set_index("id")["label"].sort_index()
    assert list(labels.astype(int)) == list(digits.target)
    assert sorted(path.name for path in folder.rglob("*.csv")) == ["sample_submission.csv", "train.csv"]
    assert set(sample["label"]) == {"0"}
    assert answers["label"].nunique() == 10


def test_other_teams_learned_from_the_same_images_and_are_graded_on_the_hidden_answers(digits_served):
    answers = table(digits_served / ".answers" / "digits.csv")
    shares = {}
    for path in (digits_served / ".answers" / "teams" / "digits").iterdir():
        submitted = table(path)
        assert list(submitted["id"]) == list(answers["id"])
        shares[path.stem] = (submitted["label"] == answers["label"]).mean()
    assert {"k-nearest neighbours", "logistic regression", "support vector machine"} <= shares.keys()
    assert len(set(shares.values())) == len(shares)
    assert 0.8 < min(shares.values()) < max(shares.values()) < 1


def test_a_second_build_leaves_everything_alone(digits_served):
    before = {path: path.stat().st_mtime_ns for path in digits_served.rglob("*")}
    build_digits(digits_served, "digits")
    assert {path: path.stat().st_mtime_ns for path in digits_served.rglob("*")} == before


@pytest.mark.usefixtures("one_team")
def test_a_build_that_was_cut_short_is_made_anew(digits_served, tmp_path):
    (tmp_path / "digits" / "train").mkdir(parents=True)
    teams = tmp_path / ".answers" / "teams" / "digits"
    for missing in (None, tmp_path / ".answers" / "digits.csv"):
        if missing is not None:
            missing.unlink()
        build_digits(tmp_path, "digits")
        assert [path.name for path in teams.iterdir()] == ["all zeros.csv"]
        assert len(list((tmp_path / "digits" / "test").iterdir())) == 450
        for name in (".answers/digits.csv", "digits/train.csv", "digits/test/0021.png"):
            assert (tmp_path / name).read_bytes() == (digits_served / name).read_bytes()
        assert {path.name for path in tmp_path.iterdir()} == {"digits", ".answers"}
