"""The three real competitions, from the local Kaggle to their folders."""

from pathlib import Path

import pandas as pd
import pytest

from comp.kaggle.client import connect
from comp.kaggle.fetch import fetch
from comp.local_kaggle.server import running

BUNDLES = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not BUNDLES.is_dir(), reason=f"the real images are not here ({BUNDLES})")


@pytest.fixture
def bring(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with running(BUNDLES, {}, tmp_path / "state") as url:
        monkeypatch.setenv("COMP_KAGGLE_URL", url)

        def bring(slug, *datasets):
            fetch(connect, [slug, *datasets], tmp_path / slug)
            return tmp_path / slug

        yield bring


def count(folder, pattern):
    return sum(1 for _ in folder.glob(pattern))


def test_dogs_vs_cats_is_brought_whole(bring):
    folder = bring("dogs-vs-cats-redux-kernels-edition")
    assert count(folder, "train/*.jpg") == 3000
    assert count(folder, "test/*.jpg") == 1000
    assert len(pd.read_csv(folder / "sample_submission.csv")) == 1000


def test_dog_breeds_is_brought_whole(bring):
    folder = bring("dog-breed-identification")
    assert len(pd.read_csv(folder / "labels.csv")) == count(folder, "train/*.jpg") == 1500
    assert count(folder, "test/*.jpg") == 500


def test_planet_is_brought_together_with_its_data_set(bring):
    folder = bring("planet-understanding-the-amazon-from-space", "nikitarom/planets-dataset")
    assert len(pd.read_csv(folder / "train_v2.csv")) == count(folder, "planet/planet/train-jpg/*.jpg") == 800
    assert count(folder, "planet/planet/test-jpg/*.jpg") == 200
