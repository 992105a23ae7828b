"""A wrong custom part ends in a sentence that names its field, before features are computed."""

import shutil

import numpy as np
import pytest

from comp import runner
from comp.console import Console
from comp.errors import CompError, DeclarationError
from comp.runs import Workspace
from comp.runs.choices import Choices
from comp.runs.resolve import Experiment
from comp.training.backbone import set_size
from comp.training.finder import RangeTest
from comp.training.prepared import prepare

OWN = """
import albumentations as A
import numpy as np
import torch
from torch import nn

from comp import Head, Metric


def metric(targets, classes):
    pass


"""
# Wrong parts of a declaration, and the words of their errors.
OF_COMPETITION = {
    "metric=metric": "`metric` .*Metric\\(.*score=",
    'metric=Metric("own", "classes", True, lambda t, c: float("nan"))': "Metric 'own': `score` .*nan",
    "read=lambda path: 1 / 0": "division by zero.*`read`",
    "read=lambda path: np.zeros((3, 20, 20))": "`read`",
    "augment=side_on(pipeline=lambda size: A.Resize(3, 3))": "`pipeline`.*\\(3, 3, 3\\)",
}
OF_RECIPE = {
    'loss=lambda l, t: nn.functional.cross_entropy(l, t, reduction="none")': "`loss`.*shape \\(8,\\)",
    "loss=lambda l, t: 1.0": "`loss`.*float",
    "loss=lambda l, t: l.detach().sum()": "`loss`.*gradient",
    "loss=lambda l, t: ((l - t) ** 2).mean()": "`loss`.*RuntimeError",
    "mixup=0.2, loss=lambda l, t: l.gather(1, t[:, None]).mean()": "`loss`.*RuntimeError",
    "head=lambda f, c: nn.Linear(f, c + 1)": "`head`.*4.*3",
    "head=lambda f, c: nn.Linear(f + 1, c)": "`head`",
    "head=lambda f, c: 7": "`head`",
    "head=lambda f, c: 1 / 0": "`head`.*ZeroDivisionError",
    "head=Head(lambda f, c: nn.Linear(f, c), pooled=False)": "`head`",
    "optimizer=lambda groups: 1 / 0": "`optimizer`.*ZeroDivisionError",
    "optimizer=lambda groups: torch.optim.SGD(groups[0]['params'], lr=1)": "`optimizer`.*names",
    "tta=lambda size: [A.Resize(size, 5)]": "`tta`.*\\(16, 5, 3\\)",
    'optimizer="adamz"': "`optimizer`.*adam",
    'optimizer_options={"lr": 0.9}': "`optimizer_options`.*without 'lr'",
    'optimizer_options={"bettas": (0, 1)}': "`optimizer_options`.*bettas",
    'optimizer="muon", optimizer_options={"momentun": 1}': "`optimizer_options`.*momentun",
}
OF_STAGE = {
    "schedule=lambda step, steps: 'x'": "`schedule`.*'x'",
    "schedule=lambda step, steps: -1": "`schedule`.*-1",
    "schedule=lambda step, steps: 1 / 0": "`schedule`.*ZeroDivision",
}
WRONG = {**OF_COMPETITION, **OF_RECIPE, **OF_STAGE}


@pytest.fixture
def declared(shades):
    """The competition with a field set."""

    def declare(field):
        source = shades.declaration.read_text().replace("cached=True", "cached=True, views=3")
        place = "cached=" if field in OF_STAGE else "pretrained=" if field in OF_RECIPE else "kaggle="
        lines = [line for line in source.splitlines() if not line.strip().startswith(field.partition("=")[0] + "=")]
        shades.declaration.write_text(OWN + "\n".join(lines).replace(place, f"{field}, {place}", 1))
        return shades.competition

    return declare


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory):
    """A workspace with the competition's files, for all these tests."""
    return Workspace(tmp_path_factory.mktemp("downloaded"))


def ready(declare, workspace):
    set_size(prepare(Experiment.of(declare(), Choices(), workspace), Console()).learner.model, 16)


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_part_ends_in_a_sentence_that_names_it(field, declared, shades, downloaded):
    shutil.copytree(shades.files, downloaded.data("shades"), dirs_exist_ok=True)
    with pytest.raises(CompError, match=WRONG[field]):
        ready(lambda: declared(field), downloaded)


def test_it_does_so_before_anything_is_computed(declared, serving, shades, workspace):
    competition = declared("head=lambda f, c: nn.Linear(f, c + 1)")
    with serving(shades), pytest.raises(DeclarationError, match="`head`"):
        runner.run(competition, Choices(), workspace, Console())
    assert not list(workspace.folder.rglob("*.npy"))
    assert not list(workspace.runs.rglob("config.json"))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda rates, losses: rates, "array of shape"),
        (lambda rates, losses: float("nan"), "nan"),
        (lambda rates, losses: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_wrong_rule_for_rates_is_named_where_one_is_asked_for(rule, said):
    with pytest.raises(DeclarationError, match=f"`rate_rule`.*{said}"):
        _ = RangeTest(np.array([1e-3, 1e-2]), np.zeros(2), np.zeros(2), rule).suggestion


def test_a_wrong_tracker_is_named_when_there_is_something_to_tell(declared, shades, workspace):
    shutil.copytree(shades.files, workspace.data("shades"))
    with pytest.raises(DeclarationError, match=r"`log_with`.*7"):
        runner.train(declared("log_with=lambda folder: 7"), Choices(), workspace, Console())
