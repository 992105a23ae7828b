"""What the pages are made of, without a browser; tests/pages looks at them with one."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from comp.console import Console
from comp.errors import RunError
from comp.report.comparing import compare
from comp.report.explaining import ROWS, explain, in_words, table_of
from comp.report.exploring import explore
from comp.report.outcomes import judge
from comp.runs.resolve import Choices
from comp.submission.postprocessing import Clip, MostProbable, Thresholds
from comp.tools.ensembles import join

MEGABYTES = 1e6
MANY = """
import pandas as pd
from comp import ClassName, Competition, LabelFunction, Recipe, Stage, TestImages


def labels(folder):
    # One file stands for all: what a page holds of them is as much.
    rows = [(f"{row:032x}", folder / "train" / "photograph.jpg", f"breed {row % 120}") for row in range(10_000)]
    return pd.DataFrame(rows, columns=["id", "path", "label"])


competition = Competition(
    name="shades",
    kaggle="shades",
    labels=LabelFunction(labels),
    test=TestImages("test", suffix=".jpg"),
    submission=ClassName(),
    metric="accuracy",
    recipes={"standard": Recipe(backbone="test_resnet", stages=[Stage(size=16, train="head")])},
)
"""


class Reader(HTMLParser):
    """Which elements are there by id, and the text of the page."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.words, self.pictures, self.goes_on = set(), [], 0, False
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id"))
        self.pictures += tag == "img" and found.get("class") != "map"
        self.goes_on = tag == "wbr"

    def handle_data(self, data):
        if self.goes_on:
            self.words[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def shaded(predicting, shades):
    return predicting(shades)


def parts(shaded, share=3):
    return np.where(np.arange(len(shaded.tables.train)) % share == 0, "valid", "train")


def report(shaded, run, *, path=False):
    page = explain(shaded.competition, run, shaded.workspace, Console())
    return page if path else Reader(page)


def test_a_run_without_weights_is_reported_without_maps_and_says_why(shaded):
    page = report(shaded, shaded.run(parts(shaded)))
    assert {"scores", "pictures", "confusion", "classes", "calibration", "images", "again"} <= page.ids
    assert "training" not in page.ids
    assert "There are no activation maps: The run shades/standard-1 has no trained.json" in page.text
    assert page.pictures == 12


def test_joined_folds_are_reported_with_every_fold(shaded):
    joined = join(shaded.competition, shaded.folds(3), shaded.workspace, Console())
    page = report(shaded, joined)
    assert "There are no activation maps: a run made of other runs has no weights of its own" in page.text
    assert "Mean of the folds" in page.text
    assert "comp join shades/standard-1 shades/standard-2 shades/standard-3" in page.text
    assert page.pictures == 36


def test_a_run_in_which_no_image_validated_has_a_report_of_what_there_is(shaded):
    page = report(shaded, shaded.run(["train"] * len(shaded.tables.train)))
    assert "No image validated, so there is no score" in page.text
    assert {"scores", "again"} <= page.ids
    assert "pictures" not in page.ids


def test_a_run_without_predictions_says_how_to_make_them(shaded):
    run = shaded.run(parts(shaded))
    run.predictions("valid").unlink()
    with pytest.raises(RunError, match="has no predictions; make them with `comp predict shades/standard-1`"):
        explain(shaded.competition, run, shaded.workspace, Console())
    assert not (run.folder / "report.html").exists()


def test_a_run_of_images_that_are_gone_is_refused(shaded):
    run = shaded.run(parts(shaded))
    data = shaded.workspace.data("shades")
    (data / "train" / "t00.png").unlink()
    lines = (data / "train.csv").read_text().splitlines()
    (data / "train.csv").write_text("\n".join(line for line in lines if not line.startswith("t00")) + "\n")
    with pytest.raises(RunError, match="validated on 1 images that are not labelled now, the first 't00'"):
        explain(shaded.competition, run, shaded.workspace, Console())


def test_ten_thousand_validation_images_of_a_hundred_and_twenty_classes_fit_in_five_megabytes(make, predicting):
    made = make(MANY)
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (400, 300), Image.Resampling.BICUBIC
    )
    grain = np.asarray(coarse) + rng.normal(0, 12, (300, 400, 3))
    (made.files / "train").mkdir()
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(made.files / "train" / "photograph.jpg", quality=90)
    made.image("test/q.jpg", (9, 9, 9))
    made.text("sample_submission.csv", ["id,label", "q,breed 0"])
    many = predicting(made)
    size = report(many, many.run(["valid"] * 10_000, knows=0.03), path=True).stat().st_size
    assert 1 * MEGABYTES < size < 5 * MEGABYTES


def test_of_more_rows_than_a_page_holds_the_dearest_are_kept():
    count = ROWS + 5
    sure = np.linspace(0.01, 0.99, count)
    ids, probabilities = [str(row) for row in range(count)], np.stack([sure, 1 - sure], axis=1)
    outcomes = judge(ids, ["valid"] * count, np.zeros(count, int), probabilities, ["a", "b"])
    table = table_of(outcomes)
    assert (len(table["rows"]), table["left_out"]) == (ROWS, 5)
    assert table["rows"][0][0] == "0"


@pytest.mark.parametrize(
    ("postprocessing", "text"),
    [
        (MostProbable(), "the most probable class is submitted"),
        (Thresholds((0.2, 0.3)), "tags above their thresholds are submitted"),
        (Clip(1e-4), "probabilities are kept 0.0001 away from 0 and 1"),
        (Clip(1e-4, 1.5), "made less sure (temperature 1.50), then probabilities are kept 0.0001 away from 0 and 1"),
        (Clip(1e-4, 0.7), "made surer (temperature 0.70), then probabilities are kept 0.0001 away from 0 and 1"),
    ],
)
def test_post_processing_is_said_in_words(postprocessing, text):
    assert in_words(postprocessing) == text


def test_an_exploration_is_of_the_data_the_recipe_and_the_split(shaded):
    page = explore(shaded.competition, Choices(), shaded.workspace, Console())
    assert page == shaded.workspace.runs / "shades" / "explore.html"
    found = Reader(page)
    assert {"advice", "classes", "samples", "augmented", "shapes"} <= found.ids
    assert "together" not in found.ids
    assert "small images: half of the images are less than 20 px" not in found.text  # 20 px are enlarged to no more
    assert "20 × 20" in found.text
    # 36 samples, one as it is, six augmentations, the two fixed views.
    assert found.pictures == 36 + 1 + 6 + 2


def test_what_screening_found_is_counted_listed_and_shown_side_by_side(shaded):
    data = shaded.workspace.data("shades")
    shutil.copy(data / "train" / "t00.png", data / "test" / "q03.png")
    shutil.copy(data / "train" / "t01.png", data / "train" / "t02.png")  # one is green, the other blue
    (data / "train" / "t05.png").write_bytes((data / "train" / "t05.png").read_bytes()[:200])
    (data / "test" / "q01.png").write_text("<b>no image</b>")
    found = Reader(explore(shaded.competition, Choices(), shaded.workspace, Console()))
    assert "unreadable: 1 labelled image and 1 to predict can't be read" in found.text
    assert "conflicting labels: 2 labelled images have a duplicate with another label" in found.text
    assert "leaks: 1 image to predict has a labelled duplicate" in found.text
    assert "exact leaks 0 1 test images that are duplicates" in found.text
    assert "exact conflicting labels 2 0" in found.text
    assert re.search(r"train/t05.png (truncated|damaged)", found.text)
    assert "exact conflicting labels green train/t01.png blue train/t02.png" in found.text
    assert "exact leak to predict test/q03.png red train/t00.png" in found.text
    # As without them, but for one that can't be read, and two pairs.
    assert found.pictures == 35 + 1 + 6 + 2 + 2 * 2


def test_the_same_exploration_is_the_same_but_for_its_date(shaded):
    pages = [explore(shaded.competition, Choices(seed=3), shaded.workspace, Console()).read_text() for _ in range(2)]
    first, again = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", page) for page in pages)
    assert first == again


def test_a_comparison_says_what_the_second_gains_on_the_images_of_both(shaded):
    weak, strong = (shaded.run(parts(shaded), knows=knows, seed=1) for knows in (0.2, 3.0))
    page = Reader(compare(shaded.competition, [weak, strong], shaded.workspace))
    assert "Gains over standard-1" in page.text
    assert "standard-2 12" in page.text
    assert "more than chance" in page.text


def test_runs_that_share_no_validation_image_are_compared_without_gains(shaded):
    first, second, _ = shaded.folds(3)
    page = Reader(compare(shaded.competition, [first, second], shaded.workspace))
    assert "no image validated in both" in page.text
    assert "fold" in page.text


def test_a_comparison_is_of_two_runs_or_more_of_one_competition(shaded, predicting):
    run = shaded.run(parts(shaded))
    with pytest.raises(RunError, match="two runs or more"):
        compare(shaded.competition, [run], shaded.workspace)
    other = shaded.run(parts(shaded), competition="planet")
    with pytest.raises(RunError, match="is a run of planet and shades/standard-1 of shades"):
        compare(shaded.competition, [run, other], shaded.workspace)
