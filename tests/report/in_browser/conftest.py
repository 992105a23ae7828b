from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from comp import runner
from comp.console import Console
from comp.data.tables import read_tables
from comp.declare.competition import Competition
from comp.report.compare import compare
from comp.report.explore import explore
from comp.report.labels import check_labels
from comp.report.report import explain
from comp.runs import Run, Workspace
from comp.runs.choices import Choices
from comp.submission.predictions import read_predictions, write_predictions
from comp.tools.ensembles import join
from tests.conftest import Predicting, be_nobody, declaring, made_in
from tests.report.in_browser.browsing import launched

# Names that other people's data may have, each with an effect if a page took it for markup or script.
CLASSES = (
    '<img src=x onerror="window.owned=1">',
    "</script><script>window.owned=2</script>",
    "\"quoted\" & 'single' {{ 7*7 }} $x^2$",
    "emoji \N{DOG FACE}, line\u2028end, \u202eleft",
)
FILE = "<img src=x onerror=window.owned=3>&amp; \N{CAT FACE} 'n\" {number}"
FIELDS = """labels=CsvLabels("train.csv", image="id", label="label", folder="train", suffix=".png"{separator}),
    test=TestImages("test", suffix=".png"), submission={form}, augment=side_on(), metric="{metric}\""""
RECIPE = """stages=[
        Stage(size=32, train="head", cached=True, cycle_length=3),
        Stage(size=32, train="all", cycles=2, learning_rate=1e-2),
    ]"""


@dataclass(frozen=True)
class Shown:
    """A competition with its runs and workspace."""

    competition: Competition
    workspace: Workspace
    runs: list[Run]

    def page(self, name, run=0):
        """The path of a run's report, or of a competition's page by its file name."""
        if name in ("report.html", "labels.html"):
            return self.runs[run].folder / name
        return self.workspace.runs / self.competition.name / name


def write(path, rows):
    """A CSV as Excel writes it, quotes doubled."""
    quoted = [",".join('"' + value.replace('"', '""') + '"' for value in row) for row in [("id", "label"), *rows]]
    path.write_text("\n".join(quoted) + "\n", encoding="utf-8")


def made(folder, *, tags=False):
    """A competition of 64 noisy squares of four colours under hostile names, 16 more to predict."""
    filled = (', separator="|"', 'TagNames("|")', "mean_f2") if tags else ("", "ClassName()", "accuracy")
    fields = FIELDS.format(separator=filled[0], form=filled[1], metric=filled[2])
    competition = made_in(folder, declaring(fields, RECIPE, name="hostile"), "hostile").competition
    workspace, rng = Workspace(folder / "home"), np.random.default_rng(0)
    data = workspace.data("hostile")
    rows = {"train": [], "test": []}
    for part, count in (("train", 64), ("test", 16)):
        (data / part).mkdir(parents=True)
        for number in range(count):
            label, id_ = number % 4, FILE.format(number=f"{part}{number:02}")
            pixels = rng.integers(0, 256, (40, 40 + 16 * (number % 3), 3)) // 3
            pixels += np.array([60 * label, 40, 180 - 60 * label])
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(data / part / f"{id_}.png")
            names = [CLASSES[label], CLASSES[(label + number // 8) % 4]] if tags else [CLASSES[label]]
            rows[part].append((id_, "|".join(dict.fromkeys(names))))
    write(data / "train.csv", rows["train"])
    write(data / "sample_submission.csv", [(id_, CLASSES[0]) for id_, _ in rows["test"]])
    return competition, workspace


@pytest.fixture(scope="session")
def nobodys_home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        be_nobody(patch, tmp_path_factory.mktemp("home"))
        yield tmp_path_factory.mktemp("pages")


def predicting(competition, workspace):
    return Predicting(competition, workspace, read_tables(competition, workspace.data(competition.name)))


@pytest.fixture(scope="session")
def single(nobodys_home):
    """Two runs with one class per image, a trained one and joined folds, and their pages."""
    competition, workspace = made(nobodys_home / "single")
    first = runner.train(competition, Choices(), workspace, Console())
    runner.predict(competition, first, workspace, Console())
    joined = join(competition, predicting(competition, workspace).folds(2, name="quick"), workspace, Console())
    for run in (first, joined):
        explain(competition, run, workspace, Console())
    explore(competition, Choices(), workspace, Console())
    compare(competition, [first, joined], workspace)
    # Four images, one of each class, are predicted as the next class.
    valid = read_predictions(joined.predictions("valid"))
    for row in range(4):
        valid.iloc[row] = [0.97 if name == CLASSES[(row + 1) % 4] else 0.01 for name in valid.columns]
    write_predictions(joined.predictions("valid"), valid.index, valid.to_numpy(), valid.columns)
    check_labels(competition, joined, workspace, Console())
    return Shown(competition, workspace, [first, joined])


@pytest.fixture(scope="session")
def tagged(nobodys_home):
    """A run with tags, whose predictions come from no model."""
    competition, workspace = made(nobodys_home / "tagged", tags=True)
    run = predicting(competition, workspace).run()
    explain(competition, run, workspace, Console())
    explore(competition, Choices(folds=3), workspace, Console())
    return Shown(competition, workspace, [run])


@pytest.fixture(scope="package")
def browser():
    with launched() as started:
        yield started
