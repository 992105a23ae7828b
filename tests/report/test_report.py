"""The content of a report, without a browser; tests/report/in_browser uses one."""

import shlex

import numpy as np
import pytest
from PIL import Image

from comp.console import Console
from comp.errors import RunError
from comp.report.gallery import worth_a_picture
from comp.report.outcomes import orders
from comp.report.report import ROWS, command_of, explain, in_words, table_of
from comp.submission.postprocessing import Clip, MostProbable, Thresholds
from comp.tools.ensembles import join
from tests.report.conftest import Page
from tests.report.test_outcomes import drawn, judged

MEGABYTES = 1e6
MANY = """
import pandas as pd
from comp import LabelFunction


def labels(folder):
    # One file stands for all images: their pictures in the page are of the same size.
    rows = [(f"{row:032x}", folder / "photograph.jpg", f"breed {row % 120}") for row in range(10_000)]
    return pd.DataFrame(rows, columns=["id", "path", "label"])

"""
STAGE = {"size": 64, "train": "head", "learning_rate": "find"}
CONFIG = {
    "command": "comp run digits",
    "competition": "digits",
    "recipe_name": "quick",
    "recipe": {"backbone": "local-dir:/weights of mine", "stages": [STAGE]},
    "settings": ["batch_size=32", "stages.1.size=64"],
    "seed": 7,
    "all_data": False,
    "folds": None,
    "fold": None,
    "like": None,
}


def report(made, run):
    return explain(made.competition, run, made.workspace, Console())


def test_a_run_without_weights_is_reported_without_maps_and_says_why(made):
    page = Page(report(made, made.run()))
    assert {"scores", "pictures", "confusion", "classes", "calibration", "images", "again"} <= page.ids
    assert "training" not in page.ids
    assert "no activation maps: The run shades/standard-1 has no trained.json" in page.text
    assert page.pictures == 12


def test_joined_folds_are_reported_with_every_fold(made):
    page = Page(report(made, join(made.competition, made.folds(3), made.workspace, Console())))
    assert "no activation maps: it has no weights" in page.text
    assert "Mean of the folds" in page.text
    assert "comp join shades/standard-1 shades/standard-2 shades/standard-3" in page.text
    assert page.pictures == 36


def test_a_run_in_which_no_image_validated_has_a_report_of_what_there_is(made):
    page = Page(report(made, made.run(["train"] * len(made.tables.train))))
    assert "No image validated" in page.text
    assert {"scores", "again"} <= page.ids
    assert "pictures" not in page.ids


def test_a_run_of_images_that_are_gone_or_without_predictions_is_refused(made):
    run = made.run()
    data = made.workspace.data("shades")
    (data / "train" / "t00.png").unlink()
    lines = (data / "train.csv").read_text().splitlines()
    (data / "train.csv").write_text("\n".join(line for line in lines if not line.startswith("t00")) + "\n")
    with pytest.raises(RunError, match=r"1 images that are not labelled now.*'t00'.*train again"):
        report(made, run)
    run.predictions("valid").unlink()
    with pytest.raises(RunError, match=r"no predictions.*`comp predict shades/standard-1`"):
        report(made, run)
    assert not run.report.exists()


@pytest.mark.long
def test_ten_thousand_validation_images_of_a_hundred_and_twenty_classes_fit_in_five_megabytes(shades, predicting):
    declared = shades.declaration.read_text()
    labels = declared[declared.index("CsvLabels(") : declared.index(",\n    test=")]
    shades.declaration.write_text(MANY + declared.replace(labels, "LabelFunction(labels)"))
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (400, 300), Image.Resampling.BICUBIC
    )
    grain = np.asarray(coarse) + rng.normal(0, 12, (300, 400, 3))
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(shades.files / "photograph.jpg", quality=90)
    many = predicting(shades)
    size = report(many, many.run(["valid"] * 10_000, knows=0.03)).stat().st_size
    assert 1 * MEGABYTES < size < 5 * MEGABYTES


def test_of_more_rows_than_a_page_holds_those_with_the_highest_loss_are_kept():
    sure = np.linspace(0.01, 0.99, ROWS + 5)
    table = table_of(judged(np.zeros(ROWS + 5, int), np.stack([sure, 1 - sure], axis=1), ("a", "b")))
    assert (len(table["rows"]), table["left_out"]) == (ROWS, 5)
    assert table["rows"][0] == ("i0", 0, 1, 0, 4.6052, 0.01)


@pytest.mark.parametrize("tags", [False, True])
@pytest.mark.parametrize("classes", [2, 40])
def test_pictures_are_of_every_class_and_of_the_ends_of_every_order(tags, classes):
    outcomes = drawn(1000, classes, tags=tags)
    chosen = worth_a_picture(outcomes, 100)
    assert len(chosen) == len(set(chosen)) == 100
    assert (np.diff(outcomes.losses[chosen]) <= 0).all()
    for order, count in {"loss": 35, "uncertain": 15, "sure": 15}.items():
        assert set(orders(outcomes)[order][:count].tolist()) <= set(chosen)
    assert outcomes.truth[chosen].any(axis=0).all()
    assert sorted(worth_a_picture(drawn(7, classes, tags=tags), 100)) == list(range(7))


@pytest.mark.parametrize(
    ("postprocessing", "words"),
    [
        (MostProbable(), ["most probable class"]),
        (Thresholds((0.2, 0.3)), ["above their thresholds"]),
        (Clip(1e-4), ["0.0001 away from 0 and 1"]),
        (Clip(1e-4, 1.5), ["less confident (temperature 1.50)", "0.0001"]),
        (Clip(1e-4, 0.7), ["more confident (temperature 0.70)", "0.0001"]),
    ],
)
def test_post_processing_is_said_in_words(postprocessing, words):
    assert all(word in in_words(postprocessing) for word in words)
    assert ("temperature" in in_words(postprocessing)) == (len(words) > 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["--recipe", "quick", "--backbone", "local-dir:/weights of mine", "--seed", "7"]),
        ({"folds": 5, "fold": 2}, ["--recipe", "quick", "--folds", "5", "--fold", "2"]),
        ({"all_data": True}, ["--recipe", "quick", "--all-data"]),
        ({"like": "digits/quick-1"}, ["--like", "digits/quick-1", "--seed", "7"]),
    ],
)
def test_a_command_leaves_nothing_to_defaults(changes, words):
    found = shlex.split(command_of({**CONFIG, **changes}))
    assert found[:3] == ["comp", "run", "digits"]
    assert set(words) <= set(found)
    assert ("--recipe" in found) == ("--backbone" in found) == ("like" not in changes)
    assert [found[at + 1] for at, word in enumerate(found) if word == "--set"] == CONFIG["settings"]
    of_members = {"members": ["digits/a-1", "digits/a-2"], "kind": "ensemble", "how": "mean"}
    assert command_of(of_members) == "comp ensemble digits/a-1 digits/a-2 --how mean"


@pytest.mark.parametrize(
    ("declared", "trained", "same"),
    [
        ("find", [{**STAGE, "learning_rate": 0.01}], True),
        ("find", [{**STAGE, "size": 32}], False),
        ("find", [STAGE, STAGE], False),
        (0.01, [{**STAGE, "learning_rate": 0.01}], True),
        (0.01, [{**STAGE, "learning_rate": 0.02}], False),
        (0.01, [STAGE], False),
    ],
)
def test_of_stages_by_hand_only_those_as_declared_are_a_command(declared, trained, same):
    recipe = {**CONFIG["recipe"], "stages": [{**STAGE, "learning_rate": declared}]}
    by_hand = {**CONFIG, "recipe": recipe, "by_hand": True}
    assert (command_of(by_hand, {"stages": trained}) is not None) == same


def test_a_run_of_which_a_stage_was_undone_has_its_command():
    recipe = {**CONFIG["recipe"], "stages": [STAGE, STAGE]}
    config = {**CONFIG, "recipe": recipe, "by_hand": False}
    undone = [{"number": 2, "stage": STAGE, "epoch": 1, "cycles_kept": 0}]
    assert command_of(config, {"stages": [STAGE], "diverged": undone, "unexplained": 0.7}) == command_of(config)
