"""Competitions that the local Kaggle makes from scikit-learn's data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from comp.local_kaggle.catalog import ANSWERS, TEAMS

TEST_SHARE = 0.25


def build_digits(folder: Path, slug: str) -> None:
    """Write scikit-learn's 1,797 handwritten digits to ``folder/<slug>``, a quarter of the labels as hidden answers.

    The data are real (UCI's Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998): 8 x 8 pixels in 17
    shades. The other teams' submissions are by scikit-learn's classifiers, trained on the same images. Does nothing
    where the folder is already there.
    """
    files, hidden = folder / slug, folder / ANSWERS
    answers, teams = hidden / f"{slug}.csv", hidden / TEAMS / slug
    if files.is_dir() and answers.is_file() and teams.is_dir():
        return
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).astype(np.uint8)
    train, test = train_test_split(np.arange(len(pixels)), test_size=TEST_SHARE, stratify=digits.target, random_state=0)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as building:
        new_files, new_teams = Path(building, slug), Path(building, TEAMS)
        for part, chosen in (("train", train), ("test", test)):
            (new_files / part).mkdir(parents=True)
            for index in chosen:
                Image.fromarray(pixels[index]).save(new_files / part / f"{index:04}.png")
        _write(new_files / "train.csv", train, digits.target)
        _write(new_files / "sample_submission.csv", test, np.zeros(len(pixels), int))
        new_teams.mkdir()
        for team, answered in _answers_of_teams(pixels.reshape(len(pixels), -1) / 255, digits.target, train):
            _write(new_teams / f"{team}.csv", test, answered)
        teams.parent.mkdir(parents=True, exist_ok=True)
        _write(answers, test, digits.target)
        for new, final in ((new_teams, teams), (new_files, files)):
            shutil.rmtree(final, ignore_errors=True)
            new.rename(final)


def _answers_of_teams(pixels: np.ndarray, labels: np.ndarray, train: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each team's name and its predictions for all images (N,), from the pixels (N, P) and the labels of ``train``."""
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


def _write(csv: Path, indices: np.ndarray, labels: np.ndarray) -> None:
    chosen = np.sort(indices)
    pd.DataFrame({"id": [f"{index:04}" for index in chosen], "label": labels[chosen]}).to_csv(csv, index=False)


BUNDLED: Mapping[str, Callable[[Path, str], None]] = {"digits": build_digits}
