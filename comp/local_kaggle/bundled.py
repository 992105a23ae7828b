"""Competitions that the local Kaggle can make from what every installation already has."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from comp.local_kaggle.catalog import ANSWERS, RIVALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    import pandas as pd

TEST_SHARE = 0.25


def build_digits(folder: Path, slug: str) -> None:
    """scikit-learn's 1,797 handwritten digits as ``folder/<slug>``, with a quarter of the labels as hidden answers.

    The data are real (UCI's Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998): 8 x 8 pixels in 17
    shades. The rivals are what scikit-learn's classifiers, trained on the same images, answer. Does nothing where the
    folder is already there.
    """
    place, hidden = folder / slug, folder / ANSWERS
    answers, rivals = hidden / f"{slug}.csv", hidden / RIVALS / slug
    if place.is_dir() and answers.is_file() and rivals.is_dir():
        return
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).astype(np.uint8)
    rows = np.arange(len(pixels))
    train, test = train_test_split(rows, test_size=TEST_SHARE, stratify=digits.target, random_state=0)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as building:
        unfinished = Path(building) / slug
        for part, chosen in (("train", train), ("test", test)):
            (unfinished / part).mkdir(parents=True)
            for row in chosen:
                image = Image.fromarray(pixels[row])
                image.save(unfinished / part / f"{row:04}.png")
        _table(train, digits.target).to_csv(unfinished / "train.csv", index=False)
        _table(test, np.zeros(len(pixels), int)).to_csv(unfinished / "sample_submission.csv", index=False)
        of_rivals = Path(building) / RIVALS
        of_rivals.mkdir()
        for team, answered in _answers_of_rivals(pixels.reshape(len(pixels), -1) / 255, digits.target, train):
            _table(test, answered).to_csv(of_rivals / f"{team}.csv", index=False)
        rivals.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(rivals, ignore_errors=True)
        of_rivals.rename(rivals)
        _table(test, digits.target).to_csv(answers, index=False)
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)


def _answers_of_rivals(pixels: np.ndarray, labels: np.ndarray, train: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each team's name and its answers to all images (N,), from their pixels (N, P) and the labels of ``train``."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    for team, classifier in {
        "support vector machine": SVC(),
        "random forest": RandomForestClassifier(random_state=0),
        "k-nearest neighbours": KNeighborsClassifier(),
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
        "decision tree": DecisionTreeClassifier(random_state=0),
    }.items():
        yield team, classifier.fit(pixels[train], labels[train]).predict(pixels)


def _table(rows: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    chosen = np.sort(rows)
    return pd.DataFrame({"id": [f"{row:04}" for row in chosen], "label": labels[chosen]})


BUNDLED: Mapping[str, Callable[[Path, str], None]] = {"digits": build_digits}
