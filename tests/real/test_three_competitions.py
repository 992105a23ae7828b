"""The three real competitions from download to submission at a reduced size: far better than chance, and valid.

The thresholds leave room for other machines and threads; the recipes' full scores are in the READMEs.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from comp.data.reading import read_image
from comp.data.tables import read_tables

DOGS_VS_CATS, DOG_BREEDS, PLANET = (
    pytest.mark.parametrize("name", [name]) for name in ("dogs-vs-cats", "dog-breeds", "planet")
)
NOTHING = {"unreadable_train": 0, "unreadable_test": 0, "duplicates": 0, "conflicts": 0, "leaks": 0}


@pytest.mark.parametrize(
    ("name", "labelled", "asked", "found"),
    [
        ("dogs-vs-cats", 3000, 1000, {"duplicates": 2, "leaks": 1}),
        ("dog-breeds", 1500, 500, {"leaks": 1}),
        ("planet", 800, 200, {}),
    ],
)
def test_a_competition_comes_whole_from_kaggle_is_checked_and_its_submission_goes_back(
    finished, name, labelled, asked, found
):
    assert len(list(finished.data.rglob("train*/*.jpg"))) == labelled
    assert len(list(finished.data.rglob("test*/*.jpg"))) == asked
    # Among thousands of images, only true copies are found as duplicates.
    assert finished.run.record("config")["data_check"] == NOTHING | found
    sample, submission = finished.sample, finished.submission
    assert list(submission.columns) == list(sample.columns)
    assert list(submission.iloc[:, 0]) == list(sample.iloc[:, 0])
    assert len(submission) == asked
    assert not submission.isna().any(axis=None)
    # Without hidden answers, the local Kaggle accepts a submission but doesn't score it.
    submitted = finished.run.record("submitted")
    assert submitted["status"] == "complete"
    assert submitted["reference"] >= 1


@DOGS_VS_CATS
def test_dogs_are_told_from_cats_and_submitted_with_their_probability(finished, name):
    scores, parts = finished.run.record("scores"), dict(finished.run.split())
    # Two photographs are duplicates, and so on the same side of the split.
    assert scores["rows"] == pytest.approx(600, abs=1)
    assert parts["dog.31"] == parts["dog.196"]
    assert scores["plain"] < 0.3
    valid, dog = finished.predictions("valid"), finished.predictions("test")["dog"]
    assert (valid.idxmax(axis=1) == valid.index.str.partition(".").get_level_values(0)).mean() > 0.88
    probability = finished.submission.set_index("id")["label"]
    assert np.corrcoef(probability, dog[probability.index])[0, 1] > 0.99
    assert 0.3 < (probability > 0.5).mean() < 0.7


@DOG_BREEDS
def test_breeds_are_told_apart_and_submitted_with_a_column_each(finished, name):
    scores, chosen = finished.run.record("scores"), finished.predictions("valid").idxmax(axis=1)
    assert scores["rows"] == 300
    assert scores["tta"] < 0.7
    labels = pd.read_csv(finished.data / "labels.csv", index_col="id")["breed"]
    assert (chosen == labels[chosen.index]).mean() > 0.8
    probabilities = finished.submission.set_index("id")
    assert probabilities.shape == (500, 10)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    assert probabilities.idxmax(axis=1).nunique() == 10


@PLANET
def test_tags_of_the_amazon_are_found_and_submitted(finished, name):
    scores = finished.run.record("scores")
    assert scores["rows"] == pytest.approx(160, abs=8)
    assert scores["tuned"] >= scores["tta"] > 0.78
    tables = read_tables(finished.competition, finished.data)
    validates = tables.train["id"].isin(finished.run.validating()).to_numpy()
    commonest = (tables.targets[~validates].mean(axis=0) > 0.2).astype(int)
    truth = tables.targets[validates]
    without_looking = finished.competition.scoring(truth, np.tile(commonest, (len(truth), 1)))
    assert scores["tta"] > without_looking + 0.02
    tags, known = finished.submission["tags"].str.split(), set(tables.classes)
    assert len(known) == 17
    assert tags.map(len).between(1, 12).mean() > 0.95
    assert {tag for row in tags for tag in row} <= known


@PLANET
def test_jpegs_of_four_components_show_green_forest(finished, name):
    assert "1000 four components" in finished.run.log.read_text()
    tables = read_tables(finished.competition, finished.data)
    is_forest = tables.train["label"].map(lambda tags: tags == ("clear", "primary"))
    colours = np.array([read_image(Path(path), 64).mean((0, 1)) for path in tables.train["path"][is_forest][:40]])
    red, green, _ = colours.T
    assert (green > red).mean() > 0.95
    # Were the images inverted, forest would be bright.
    assert np.median(colours) < 110
