"""Images of noise beside columns that decide the class, age and site: from files to the leaderboard."""

from dataclasses import replace

import numpy as np
import pytest

from comp import runner
from comp.console import Console
from comp.declare.competition import load_competition
from comp.errors import RunError
from comp.runs import Workspace
from comp.runs.choices import Choices
from comp.submission.predictions import read_predictions
from comp.training.predicting import predict_test_images
from tests.open.conftest import each

FIELDS = """labels=CsvLabels("train.csv", image="image", label="kind", folder="train", suffix=".png"),
    test=TestImages("test", suffix=".png"), submission=ProbabilityOf("bad"), augment=side_on(), metric="roc_auc",
    columns=Columns("train.csv", "test.csv", image="image", numbers=["age"], categories=["site"], dropout=0.1)"""
STAGE = "Stage(size=16, train='head', cached=True, cycle_length=6, learning_rate=3e-2)"
ON_IMAGES = STAGE.replace("cached=True, ", "").replace("cycle_length=6", "cycle_length=3")
CACHED = f"stages=[{STAGE}]"
RECIPES = {
    "cached features": CACHED,
    "mixed images, then maps": f"head='attention', mixup=0.2, ema=0.5, stages=[{ON_IMAGES}, {STAGE}]",
}


@pytest.fixture
def moles(tiny):
    """60 training and 40 test images of noise; only age and site decide what is bad."""

    def made(recipe=CACHED):
        made, rng = tiny(FIELDS, recipe), np.random.default_rng(0)
        rows = {"train": ["image,kind,age,site"], "test": ["image,age,site"]}
        answers, asked = ["image,kind"], ["image,kind"]
        for part, count in (("train", 60), ("test", 40)):
            for number in range(count):
                name, age, site = f"{part}{number:02}", int(rng.integers(20, 80)), ("arm", "leg")[rng.integers(2)]
                made.image(f"{part}/{name}.png", "green", size=16)
                bad = age > (50 if site == "arm" else 40)
                said = "" if number == 3 else age, "moon" if name == "test05" else site
                if part == "train":
                    rows[part].append(",".join(map(str, (name, ("good", "bad")[bad], *said))))
                else:
                    rows[part].append(",".join(map(str, (name, *said))))
                    answers.append(f"{name},{bad:d}")
                    asked.append(f"{name},0")
            made.text(f"{part}.csv", rows[part])
        made.text("sample_submission.csv", asked)
        made.answers(answers)
        return made

    return made


@pytest.mark.parametrize("recipe", each(RECIPES, ("cached features",)))
def test_labels_that_follow_from_columns_alone_are_learned(moles, opened, recipe):
    done = opened(moles(RECIPES[recipe]), "columns.dropout=0.05", "tta=fixed")
    assert done.score > 0.85
    said = done.run.log.read_text()
    assert "'age': 1 of 60 labelled images" in said
    assert "'site': 1 of 40 test images" in said
    assert done.page
    if recipe != "cached features":
        done.resumes()
    encoding = done.run.record("config")["columns"]["encoding"]
    assert done.run.record("config")["columns"]["declared"]["dropout"] == 0.05
    assert encoding["categories"] == {"site": ["arm", "leg"]}


@pytest.mark.long
def test_a_run_predicts_elsewhere_by_the_statistics_that_it_recorded(moles, opened, tmp_path):
    done = opened(moles())
    elsewhere = Workspace(tmp_path / "elsewhere")
    files = elsewhere.data("shades")
    files.mkdir(parents=True)
    for name in ("test", "test.csv", "sample_submission.csv"):
        (files / name).symlink_to(done.workspace.data("shades") / name)
    before = read_predictions(done.run.predictions("test"))
    with pytest.raises(RunError, match="columns age, site"):
        predict_test_images(replace(done.made.competition, columns=None), done.run, elsewhere, Console())
    predict_test_images(load_competition(done.made.declaration), done.run, elsewhere, Console())
    assert read_predictions(done.run.predictions("test")).equals(before)


@pytest.mark.long
def test_a_rehearsal_has_the_columns_too(moles, serving, workspace):
    made = moles()
    with serving(made):
        runner.download(made.competition, workspace, Console())
    run = runner.rehearse(made.competition, Choices(), workspace, Console(), share=0.3)
    assert run.record("rehearsal")["score"] > 0.8
