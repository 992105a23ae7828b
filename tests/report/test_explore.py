"""The content of the page on the data, and its advice."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from comp import CsvNumbers, Numbers
from comp.console import Console
from comp.data.data_check import checked_tables
from comp.declare.metrics import METRICS, weighted_log_loss
from comp.declare.recipe import Recipe, Stage
from comp.report.advice import advise
from comp.report.explore import explore
from comp.runs.choices import Choices
from comp.training.features import content_digest
from tests.report.conftest import Page

STAGES = [Stage(size=224, train="head", learning_rate=1e-3)]
RECIPE = Recipe(stages=STAGES)
MANY = np.array([3000, 3000])


def test_an_exploration_is_of_the_data_the_recipe_the_split_and_the_features_that_a_training_cached(made):
    path = explore(made.competition, Choices(), made.workspace, Console())
    assert path == made.workspace.runs / "shades" / "explore.html"
    page, first = Page(path), path.read_text(encoding="utf-8")
    assert {"advice", "classes", "samples", "augmented", "shapes", "check"} <= page.ids
    assert "together" not in page.ids
    assert "20 × 20" in page.text
    assert "small images" not in page.text  # 20 px are enlarged to no more
    # 36 samples, 12 test images, one original, six augmentations, the two fixed views.
    assert page.pictures == 36 + 12 + 1 + 6 + 2
    assert {"nearby", "unlabelled"} <= page.ids
    assert "t-SNE of thumbnails" in page.text

    # A second page is the same but for its date and the features that a training cached meanwhile.
    tables = checked_tables(made.competition, made.workspace, Console())
    content = content_digest(tables.train["path"].array, tables.train["content"].tolist())
    cache = made.workspace.cache / "features"
    cache.mkdir(parents=True, exist_ok=True)
    np.save(cache / f"{content}-0.npy", np.random.default_rng(0).normal(size=(36, 1, 8)).astype(np.float32))
    np.save(cache / "0-0.npy", np.zeros((36, 1, 8), np.float32))
    again = explore(made.competition, Choices(), made.workspace, Console())
    assert "t-SNE of the features" in Page(again).text
    changing = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|<section id=.nearby.*?</section>", re.DOTALL)
    assert changing.sub("", again.read_text(encoding="utf-8")) == changing.sub("", first)


def test_quantiles_of_numbers_are_no_classes_that_are_rare_or_many(made):
    names = [f"t{number:02}" for number in range(36)]
    rows = "\n".join(f"{name},{0 if number < 33 else number}" for number, name in enumerate(names))
    (made.workspace.data("shades") / "counts.csv").write_text(f"id,count\n{rows}\n")
    labels = CsvNumbers("counts.csv", image="id", values=["count"], folder="train", suffix=".png")
    competition = replace(made.competition, labels=labels, submission=Numbers(), metric="rmse")
    page = Page(explore(competition, Choices(), made.workspace, Console()))
    assert "few images" in page.text
    assert not re.search("(imbalance|rare classes):", page.text)


def test_what_the_data_check_found_is_counted_listed_and_shown_side_by_side(made):
    data = made.workspace.data("shades")
    shutil.copy(data / "train" / "t00.png", data / "test" / "q03.png")
    shutil.copy(data / "train" / "t01.png", data / "train" / "t02.png")  # one is green, the other blue
    (data / "train" / "t05.png").write_bytes((data / "train" / "t05.png").read_bytes()[:200])
    (data / "test" / "q01.png").write_text("<b>no image</b>")
    page = Page(explore(made.competition, Choices(), made.workspace, Console()))
    for advice in (
        "unreadable: 1 labelled image and 1 ",
        "conflicting labels: 2 labelled images",
        "leaks: 1 test image ",
    ):
        assert advice in page.text
    assert "exact leaks 0 1 " in page.text
    assert "exact conflicting labels 2 0 " in page.text
    assert re.search(r"train/t05.png (truncated|damaged)", page.text)
    assert "exact conflicting labels green train/t01.png blue train/t02.png" in page.text
    assert "exact leak to predict test/q03.png red train/t00.png" in page.text
    # As before, without a labelled and a test image that can't be read, and with two pairs.
    assert page.pictures == 35 + 11 + 1 + 6 + 2 + 2 * 2


def images(train=(256, 256), test=None, mode="RGB", test_mode="RGB"):
    rows = [("train", *train, mode)] * 30 + [("test", *(test or train), test_mode)] * 30
    return pd.DataFrame(rows, columns=["part", "width", "height", "mode"])


def advised(frame=None, counts=MANY, metric="accuracy", recipe=RECIPE, pretrained_at=224, fit="crop"):
    frame = images() if frame is None else frame
    names = [f"c{index}" for index in range(len(counts))]
    # Enough images for no advice on few images, but in the test of that.
    frame = pd.concat([frame] * 70, ignore_index=True)
    return advise(frame, np.array(counts), names, METRICS[metric], recipe, pretrained_at, fit)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"frame": images((8, 8)), "recipe": Recipe(stages=[replace(STAGES[0], size=32)], pretrained=False)},
        {"pretrained_at": 448, "recipe": Recipe(stages=STAGES, pretrained=False)},
        {"frame": images((512, 256)), "fit": "pad"},
        {"counts": [5000, 600]},
    ],
)
def test_data_as_the_recipe_expects_them_need_no_advice(given):
    assert advised(**given) == []


UNALIKE = "unlike test images"


@pytest.mark.parametrize(
    ("given", "kind", "change", "evidence"),
    [
        ({"frame": images((64, 80))}, "small images", "--set stages.1.size=64", "64 px"),
        ({"frame": images((64, 80)), "pretrained_at": 448}, "small images", "--set stages.1.size=64", "64 px"),
        ({"frame": images((600, 500))}, "large images", "--set stages.1.size=320", "500 px"),
        ({"frame": images((460, 455))}, "large images", "--set stages.1.size=320", "455 px"),
        ({"pretrained_at": 448}, "unlike the pretraining", "--set stages.1.size=448", "things look smaller"),
        ({"frame": images((512, 256))}, "long shapes", "--set tta=random", "100%"),
        ({"frame": images((512, 256)), "recipe": Recipe(stages=STAGES, tta="random")}, "long shapes", "", "100%"),
        ({"frame": images((256, 256), (400, 256))}, UNALIKE, "", "256 px and 320 px"),
        ({"frame": images(test_mode="L")}, UNALIKE, "", "100% RGB and 100% L"),
        # Imbalance is changed only for metrics in which all classes count the same.
        ({"counts": [5000, 300]}, "imbalance", "", "c0 has 5,000 images and c1 300"),
        ({"counts": [5000, 300], "metric": "macro_f1"}, "imbalance", "--set balance=oversample", "c1 300; in macro_f1"),
        (
            {"counts": [4000, 3, 4, 5, 6, 7]},
            "rare classes",
            "--folds 5",
            "there are fewer than 20 images of c1, c2, c3 and 2 more",
        ),
        ({"counts": [4000, 3]}, "rare classes", "--folds 5", "there are fewer than 20 images of c1"),
    ],
)
def test_what_is_unusual_is_named_with_its_numbers_and_a_change_to_try(given, kind, change, evidence):
    *others, found = advised(**given)
    assert len(others) == (kind == "rare classes")  # such are imbalanced, too
    assert (found.kind, found.change) == (kind, change)
    assert evidence in found.evidence


@pytest.mark.parametrize(
    ("metric", "alike"),
    [
        *((METRICS[name], True) for name in ("balanced_accuracy", "mean_columnwise_roc_auc", "weighted_log_loss")),
        *((METRICS[name], False) for name in ("log_loss", "quadratic_kappa", "mean_f1")),
        (weighted_log_loss({"a": 2}), False),
    ],
)
def test_rare_classes_are_shown_more_often_only_where_the_metric_counts_all_classes_alike(metric, alike):
    found, few = advise(images(), np.array([5000, 300]), ("a", "b"), metric, RECIPE, 224)
    assert (found.kind, bool(found.change)) == ("imbalance", alike)
    assert (few.kind, few.change) == ("few images", "--folds 5")
