import shutil

import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from comp.local_kaggle.bundled import BUNDLED, build_digits


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundled")
    build_digits(folder, "digits")
    return folder


def table(path):
    return pd.read_csv(path, dtype=str)


def test_every_digit_is_either_learned_from_or_predicted(built):
    train, sample = table(built / "digits" / "train.csv"), table(built / "digits" / "sample_submission.csv")
    assert (len(train), len(sample)) == (1347, 450)
    assert sorted([*train["id"], *sample["id"]]) == [f"{row:04}" for row in range(1797)]
    for part, rows in (("train", train), ("test", sample)):
        assert sorted(path.stem for path in (built / "digits" / part).glob("*.png")) == sorted(rows["id"])


def test_labels_and_answers_are_scikit_learn_s(built):
    known = table(built / "digits" / "train.csv"), table(built / ".answers" / "digits.csv")
    labels = pd.concat(known).set_index("id")["label"].sort_index()
    assert list(labels.astype(int)) == list(load_digits().target)


def test_each_file_shows_its_own_digit(built):
    pixels = load_digits().images
    for row in (0, 7, 1796):
        (path,) = (built / "digits").glob(f"*/{row:04}.png")
        with Image.open(path) as image:
            assert image.size == (8, 8)
            shown = list(image.tobytes())
        assert [round(value / 255 * 16) for value in shown] == pixels[row].flatten().tolist()


def test_the_hidden_answers_are_nowhere_in_what_is_served(built):
    served = [path for path in (built / "digits").rglob("*") if path.suffix == ".csv"]
    assert sorted(path.name for path in served) == ["sample_submission.csv", "train.csv"]
    assert set(table(built / "digits" / "sample_submission.csv")["label"]) == {"0"}
    hidden, shown = table(built / ".answers" / "digits.csv"), table(built / "digits" / "train.csv")
    assert not set(hidden["id"]) & set(shown["id"])
    assert hidden["label"].nunique() == 10


def test_other_teams_learned_from_the_same_images_and_are_graded_on_the_hidden_answers(built):
    answers = table(built / ".answers" / "digits.csv")
    shares = {}
    for path in (built / ".answers" / "teams" / "digits").iterdir():
        submitted = table(path)
        assert list(submitted["id"]) == list(answers["id"])
        shares[path.stem] = (submitted["label"] == answers["label"]).mean()
    assert {"k-nearest neighbours", "logistic regression", "support vector machine"} <= shares.keys()
    assert len(set(shares.values())) == len(shares)
    assert 0.8 < min(shares.values()) < max(shares.values()) < 1


def test_a_second_build_leaves_everything_alone(built):
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*")}
    build_digits(built, "digits")
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*")} == before


def test_a_build_that_was_cut_short_is_made_anew(tmp_path):
    (tmp_path / "digits" / "train").mkdir(parents=True)
    build_digits(tmp_path, "digits")
    assert len(list((tmp_path / "digits" / "test").iterdir())) == 450
    assert {path.name for path in tmp_path.iterdir()} == {"digits", ".answers"}


def test_digits_that_were_made_before_there_were_other_teams_get_them(built, tmp_path):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / ".answers" / "teams")
    build_digits(tmp_path, "digits")
    for path in (built / ".answers").rglob("*.csv"):
        assert (tmp_path / path.relative_to(built)).read_bytes() == path.read_bytes()


def test_the_demo_s_competition_is_among_the_bundled():
    assert set(BUNDLED) == {"digits"}
