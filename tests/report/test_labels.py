"""Wrong labels are found by the predictions of their images."""

import numpy as np
import pandas as pd
import pytest

from comp.report.labels import contradictions, ranked
from comp.runs import Run
from tests.report.conftest import Page
from tests.report.test_outcomes import TAGS, judged


def test_a_label_is_contradicted_where_another_class_is_as_probable_as_where_it_is_given():
    probabilities = [
        *([0.9, 0.05, 0.05], [0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.2, 0.7, 0.1]),
        *([0.1, 0.85, 0.05], [0.4, 0.5, 0.1], [0.49, 0.51, 0]),
    ]
    outcomes = judged([0, 0, 1, 1, 0, 0, 1], probabilities)
    likelier = contradictions(outcomes)
    # The second dog's probability is below the dogs' mean, and without labelled emus theirs is unknown.
    assert np.argwhere(likelier).tolist() == [[4, 1]]
    assert ranked(outcomes, likelier).tolist() == [4]


def test_tags_are_contradicted_one_by_one_and_the_least_probable_stands_first():
    probabilities = [[0.9, 0.1, 0.9], [0.8, 0.2, 0.9], [0.9, 0.05, 0.1], [0.02, 0.9, 0.1], [0.9, 0.95, 0.2]]
    labels = [[1, 0, 1], [1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]]
    outcomes = judged(labels, probabilities, TAGS)
    likelier = contradictions(outcomes)
    assert np.argwhere(likelier).tolist() == [[4, 1]]  # no image lacks "clear", so its mean is unknown
    labels[0][0] = 0
    outcomes = judged(labels, probabilities, TAGS)
    likelier = contradictions(outcomes)
    assert np.argwhere(likelier).tolist() == [[0, 0], [3, 0], [4, 1]]
    assert ranked(outcomes, likelier).tolist() == [3, 4, 0]


@pytest.mark.parametrize("classes", [2, 5])
def test_labels_that_were_spoilt_are_most_of_what_is_contradicted(classes):
    rng = np.random.default_rng(0)
    truth = rng.integers(classes, size=600)
    logits = 3 * np.eye(classes)[truth] + rng.normal(size=(600, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels, spoilt = truth.copy(), rng.permutation(600)[:30]
    labels[spoilt] = (labels[spoilt] + 1) % classes
    outcomes = judged(labels, probabilities, [f"c{index}" for index in range(classes)])
    likelier = contradictions(outcomes)
    found = ranked(outcomes, likelier)
    assert len(found) >= 20
    right = [row for row in found.tolist() if row in spoilt]
    assert len(right) > 0.9 * len(found)
    assert (likelier[right].argmax(axis=1) == truth[right]).mean() > 0.9


def test_a_page_shows_them_with_what_is_likelier_and_their_paths(made, on_shades):
    run = made.run(np.where(np.arange(36) % 5 < 2, "valid", "train"), knows=9.0)
    valid = pd.read_parquet(run.predictions("valid"))
    valid.loc[0, ["blue", "green", "red"]] = [0.98, 0.01, 0.01]  # t00 is labelled red
    valid.to_parquet(run.predictions("valid"), index=False)
    ended = on_shades("check", "shades", "--labels", run.name)
    assert (ended.status, ended.err) == (0, "")
    (line,) = ended.out.splitlines()
    path = run.folder / "labels.html"
    assert line == f"1 of 15 labels are contradicted by the predictions of {run.name}: {path}"
    page = Page(path)
    assert page.pictures == 1
    assert "red 0.010 blue 0.980" in page.text
    assert "red blue 1" in page.text
    assert 'data-path="data/shades/train/t00.png"' in path.read_text(encoding="utf-8")
    on_all = made.run(["train"] * 36)
    run.write_record("config", {**run.record("config"), "competition": "planet"})
    for refused, says in (
        (on_all, "No image validated"),
        (run, "is a run of planet"),
        (Run(run.folder / "x"), "There is no run"),
    ):
        assert says in on_shades("check", "shades", "--labels", refused.folder).sentence
