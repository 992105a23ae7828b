import gc
import json
import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from textwrap import dedent

# Set before torch is imported: on busy cores, its threads wait for each other longer than they compute.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from comp import cli, runner
from comp.console import Console
from comp.data.tables import read_tables
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named, load_competition
from comp.local_kaggle.grading import graders
from comp.local_kaggle.server import running
from comp.report import figures
from comp.runs import Workspace, create_run
from comp.submission.predictions import write_predictions
from comp.submission.scoring import tune_on_predictions
from comp.submission.submission import build_submission, keep_submission
from tests.faults import misbehaving
from tests.processes import Ended, Forked

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


@pytest.fixture(scope="module", autouse=True)
def _a_small_heap():
    """Each training stage collects garbage; with all imported objects, that takes longer than a small stage."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _haste():
    """Don't wait for the disk: no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _charts_where_they_are_looked_at(request, monkeypatch):
    """Draw charts only where tests look at them: drawing takes more than half of a small run."""
    if not {"report", "real"} & set(request.path.parts):
        monkeypatch.setattr(figures, "_drawn", lambda *_: Markup('<svg viewBox="0 0 1 1"></svg>'))


def pytest_collection_modifyitems(items):
    """Begin with tests that start a cluster or a browser, in one process: idle processes take tests from the end."""
    items.sort(key=lambda item: item.path.name != "test_side_by_side.py" and "in_browser" not in item.path.parts)


def be_nobody(patch, home):
    """Remove the settings of this machine's user from the environment."""
    for name in list(os.environ):
        if name.startswith(("KAGGLE_", "COMP_")) or name.lower().endswith("_proxy"):
            patch.delenv(name)
    patch.setenv("HOME", str(home))


@pytest.fixture(scope="session")
def _homes(tmp_path_factory):
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch, tmp_path, _homes):
    be_nobody(monkeypatch, mkdtemp(dir=_homes))
    monkeypatch.setenv("COMP_HOME", str(tmp_path / "home"))


@pytest.fixture
def workspace():
    return Workspace.from_environment()


@pytest.fixture
def comp(monkeypatch, capsys):
    """The command line in this process: `comp("run", "digits")`."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["comp", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Ended(ended.value.code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def forked(tmp_path_factory):
    """Starts the command line in another process, where ``before`` is called first."""
    started = []

    def start(*arguments, before=lambda: None, **environment):
        def command():
            os.environ.update(environment)
            sys.argv = ["comp", *map(str, arguments)]
            before()
            cli.main()

        started.append(Forked(tmp_path_factory.mktemp("forked"), command))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@cache
def noisy_square(path, colour, size):
    """The bytes of an image file, cached, as most tests use the same ones."""
    noise = np.random.default_rng(list(path.encode())).integers(-30, 30, (size, size, 3))
    file = BytesIO()
    square = Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))
    square.save(file, Image.registered_extensions()[Path(path).suffix.lower()])
    return file.getvalue()


@dataclass(frozen=True)
class Made:
    """A competition made by a test: its plugin folder, and the files that the local Kaggle serves.

    plugins: the folder for ``--competitions``. files: the competition's own, as they are served.
    """

    plugins: Path
    served: Path
    name: str

    @property
    def files(self):
        return self.served / self.name

    @property
    def declaration(self):
        return self.plugins / self.name / "competition.py"

    @property
    def competition(self):
        return load_competition(self.declaration)

    def image(self, path, colour, size=20):
        """Write a noisy square of one colour to ``path``, which also seeds the noise."""
        target = self.files / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(noisy_square(path, COLOURS.get(colour, colour), size))

    def text(self, path, lines):
        (self.files / path).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def answers(self, lines):
        path = self.served / ".answers" / f"{self.name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def declaring(fields, recipe, *, before="", name="shades"):
    """The source of a declaration with these fields and a recipe that trains from scratch in a second."""
    return f"""
from comp import *
{before}
competition = Competition(
    name="{name}",
    kaggle="{name}",
    {fields},
    recipes={{"standard": Recipe(backbone="test_resnet", pretrained=False, batch_size=8, {recipe})}},
)
"""


def made_in(folder, source, name="shades"):
    """Make a competition from the source of its declaration, without files."""
    made = Made(folder / "plugins", folder / "served", name)
    made.declaration.parent.mkdir(parents=True)
    made.declaration.write_text(dedent(source), encoding="utf-8")
    made.files.mkdir(parents=True)
    return made


@pytest.fixture
def make(tmp_path):
    """Makes a competition from the source of its declaration, whose name must be ``shades``."""
    return partial(made_in, tmp_path)


@pytest.fixture
def serving(monkeypatch, tmp_path):
    """Runs the local Kaggle with a made competition in the block, with the given faults."""

    @contextmanager
    def start(made, *faults):
        with monkeypatch.context() as patch:
            patch.setattr("comp.local_kaggle.server.create_app", misbehaving(*faults))
            with running(made.served, graders([made.competition]), tmp_path / "state") as url:
                patch.setenv("COMP_KAGGLE_URL", url)
                yield url

    return start


SHADES = """
from comp import ClassName, Competition, CsvLabels, Recipe, Stage, TestImages, side_on

competition = Competition(
    name="shades",
    kaggle="shades",
    labels=CsvLabels("train.csv", image="id", label="colour", folder="train", suffix=".png"),
    test=TestImages("test", suffix=".png"),
    submission=ClassName(),
    augment=side_on(),
    metric="accuracy",
    recipes={
        "standard": Recipe(
            backbone="test_resnet",
            pretrained=False,
            batch_size=8,
            stages=[Stage(size=16, train="head", cached=True, cycle_length=8, learning_rate=1e-2)],
        )
    },
)
"""


def shades_in(folder):
    """Which colour is it? 36 training and 12 test images; one class per image, in a CSV."""
    made = made_in(folder, SHADES)
    colours = list(COLOURS)
    train = {f"t{number:02}": colours[number % 3] for number in range(36)}
    test = {f"q{number:02}": colours[number * number % 3] for number in range(12)}
    for part, rows in (("train", train), ("test", test)):
        for id_, colour in rows.items():
            made.image(f"{part}/{id_}.png", colour)
    made.text("train.csv", ["id,colour", *(f"{id_},{colour}" for id_, colour in train.items())])
    made.text("sample_submission.csv", ["id,colour", *(f"{id_},red" for id_ in test)])
    made.answers(["id,colour", *(f"{id_},{colour}" for id_, colour in test.items())])
    return made


@pytest.fixture
def shades(tmp_path):
    return shades_in(tmp_path)


@pytest.fixture
def on_shades(shades, comp):
    """Calls a command that knows `shades`."""
    return lambda *arguments: comp("--competitions", shades.plugins, *arguments)


@pytest.fixture
def downloaded(shades, workspace):
    """`shades`, with its files in the workspace."""
    shutil.copytree(shades.files, workspace.data("shades"))
    return shades


@dataclass(frozen=True)
class Predicting:
    """A made competition with downloaded data, and runs of it with random predictions."""

    competition: object
    workspace: Workspace
    tables: object

    def run(self, parts=None, *, knows=1.0, seed=0, name="standard", **config):
        """Write a run folder as training and predicting leave it; config fields may be given.

        parts: "train" or "valid" for each labelled row; by default every third validates. knows: the weight of the true
        labels of the validation rows, against random predictions drawn from ``seed``.
        """
        tables, competition = self.tables, self.competition
        run = create_run(self.workspace, competition.name, name)
        parts = np.where(np.arange(len(tables.train)) % 3, "train", "valid") if parts is None else parts
        validates = np.array(parts) == "valid"
        targets = tables.targets[validates]
        rng = np.random.default_rng(seed)
        valid, test = (rng.dirichlet(np.ones(len(tables.classes)), rows) for rows in (len(targets), len(tables.test)))
        truth = targets if targets.ndim == 2 else np.eye(len(tables.classes))[targets]
        valid = (valid + knows * truth) / (1 + knows)
        postprocessing, scores = tune_on_predictions(competition, tables.classes, targets, valid)
        written = build_submission(
            competition, tables.classes, tables.sample_submission, list(tables.test["id"]), postprocessing(test)
        )
        run.write_split(tables.train["id"], parts)
        write_predictions(run.predictions("valid"), tables.train["id"][validates], valid, tables.classes)
        write_predictions(run.predictions("test"), tables.test["id"], test, tables.classes)
        run.write_record("scores", scores)
        keep_submission(written, run)
        run.weights.parent.mkdir()
        run.weights.write_bytes(b"")
        recipe = {"backbone": "test_resnet", "stages": [{"size": 16, "train": "head"}]}
        whole = {
            "competition": competition.name,
            "classes": list(tables.classes),
            "recipe_name": name,
            "recipe": recipe,
            "seed": seed,
            "data": {"train": len(tables.train), "test": len(tables.test), "fingerprint": "f00d"},
            "predicted_data": "cafe",
            **config,
        }
        run.write_record("config", whole)
        return run

    def folds(self, count=3, *, seed=0, dealt=None, **others):
        """A run per fold; ``dealt`` is the fold in which each row validates, by default in turn."""
        dealt = np.arange(len(self.tables.train)) % count if dealt is None else dealt
        return [
            self.run(np.where(dealt == fold, "valid", "train"), seed=seed, folds=count, fold=fold + 1, **others)
            for fold in range(count)
        ]


@pytest.fixture
def predicting(workspace):
    """Downloads a made competition's data, so that runs of it can be written: ``predicting(shades).run(...)``."""

    def start(made):
        shutil.copytree(made.files, workspace.data(made.name))
        return Predicting(made.competition, workspace, read_tables(made.competition, workspace.data(made.name)))

    return start


@pytest.fixture
def made(predicting, shades):
    return predicting(shades)


@pytest.fixture(scope="session")
def downloaded_digits(tmp_path_factory):
    """A read-only workspace with the digits, downloaded once from the local Kaggle by the real client."""
    workspace = Workspace(tmp_path_factory.mktemp("digits"))
    with pytest.MonkeyPatch.context() as patch:
        be_nobody(patch, workspace.folder)
        runner.download(competition_named("digits", REPOSITORY_COMPETITIONS), workspace, Console())
    return workspace


@pytest.fixture(scope="session")
def few_digits(downloaded_digits):
    """Copies the digits, with 400 of the labelled images, to another workspace."""

    def start(workspace):
        shutil.copytree(downloaded_digits.folder / "data", workspace.folder / "data")
        table = workspace.data("digits") / "train.csv"
        header, *rows = table.read_text().splitlines(keepends=True)
        table.write_text("".join((header, *rows[:400])))
        left_out = {f"{row.partition(',')[0]}.png" for row in rows[400:]}
        for name in left_out:
            (workspace.data("digits") / "train" / name).unlink()
        # Else a download would bring the images back.
        record = workspace.data("digits") / ".complete.json"
        known = json.loads(record.read_text())
        known["files"]["train"] = [name for name in known["files"]["train"] if name not in left_out]
        record.write_text(json.dumps(known))
        return workspace

    return start


@pytest.fixture
def digits_home(few_digits, downloaded_digits, workspace):
    """A writable workspace with `few_digits`, and with the local Kaggle that serves them."""
    shutil.copytree(downloaded_digits.cache / "local-kaggle", workspace.cache / "local-kaggle")
    return few_digits(workspace)
