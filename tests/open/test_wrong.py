"""A part of one's own that is wrong ends in a sentence that names its field, before features are computed."""

import pytest

from comp import runner
from comp.console import Console
from comp.errors import CompError, DeclarationError
from comp.runs.resolve import Choices

OWN = """
import albumentations as A
import numpy as np
import torch
from torch import nn

from comp import Head, LabelFunction, Metric, TestFunction


def schedule(step, steps):
    RETURNS


def metric(targets, classes):
    RETURNS

"""
# What of a declaration is wrong, and the words that name it.
OF_COMPETITION = {
    "metric=metric": "`metric` .*Metric\\(.*score=",
    'metric=Metric("own", "classes", True, lambda t, c: t == c)': "`score` of 'own' .*array",
    'metric=Metric("own", "classes", True, lambda t, c: "1.0")': "`score` of 'own'",
    'metric=Metric("own", "classes", True, lambda t, c: float("nan"))': "`score` of 'own' .*nan",
    'metric=Metric("own", "classes", True, lambda t, c: 1 / 0)': "`score` of 'own' .*ZeroDivisionError",
    "read=lambda path: None": "`read`",
    "read=lambda path: 1 / 0": "division by zero.*`read`",
    'read="npy"': "`read`",
    "read=lambda path: np.zeros((3, 20, 20))": "`read`",
    "prepare=lambda data, new: 1 / 0": "`prepare`",
    "labels=LabelFunction(lambda data: 7)": "LabelFunction",
    "labels=LabelFunction(lambda data: 1 / 0)": "LabelFunction.*ZeroDivisionError",
    "test=TestFunction(lambda data: 1 / 0)": "TestFunction.*ZeroDivisionError",
    "augment=side_on(pipeline=lambda size: A.Resize(3, 3))": "`pipeline`.*\\(3, 3, 3\\)",
    "augment=side_on(pipeline=lambda size: 7)": "`pipeline`.*7",
    "augment=side_on(pipeline=lambda size: 1 / 0)": "`pipeline`.*ZeroDivisionError",
    "augment=side_on(pipeline=lambda s: A.Compose([A.Resize(s, s), A.Normalize()]))": "`pipeline`.*float32.*Normalize",
    "augment=side_on(pipeline=lambda s: A.Compose([A.Resize(s, s), A.pytorch.ToTensorV2()]))": "`pipeline`.*of Tensor",
    "augment=side_on(pipeline=lambda size: A.Lambda(image=lambda image, **_: 1 / 0))": "`pipeline`.*ZeroDivision",
}
OF_RECIPE = {
    'loss=lambda l, t: nn.functional.cross_entropy(l, t, reduction="none")': "`loss`.*shape \\(8,\\)",
    "loss=lambda l, t: l.sum() * float('nan')": "`loss`.*nan",
    "loss=lambda l, t: 1.0": "`loss`.*float",
    "loss=lambda l, t: l.detach().sum()": "`loss`.*gradient",
    "loss=lambda l, t: ((l - t) ** 2).mean()": "`loss`.*RuntimeError",
    "mixup=0.2, loss=lambda l, t: l.gather(1, t[:, None]).mean()": "`loss`.*RuntimeError",
    "head=lambda f, c: nn.Linear(f, c + 1)": "`head`.*4.*3",
    "head=lambda f, c: nn.Linear(f + 1, c)": "`head`",
    "head=lambda f, c: 7": "`head`",
    "head=lambda f, c: 1 / 0": "`head`.*ZeroDivisionError",
    "head=Head(lambda f, c: nn.Linear(f, c), pooled=False)": "`head`",
    "optimizer=lambda groups: 7": "`optimizer`",
    "optimizer=lambda groups: 1 / 0": "`optimizer`.*ZeroDivisionError",
    "optimizer=lambda groups: torch.optim.SGD(groups[0]['params'], lr=1)": "`optimizer`.*names",
    "tta=lambda size: A.Resize(size, size)": "`tta`.*list",
    "tta=lambda size: []": "`tta`.*list",
    "tta=lambda size: [A.Resize(size, 5)]": "`tta`.*\\(16, 5, 3\\)",
    "tta=lambda size: 1 / 0": "`tta`.*ZeroDivisionError",
    'optimizer="adamz"': "`optimizer`.*adam",
    'optimizer_options={"bettas": (0, 1)}': "`optimizer_options`.*bettas",
    'optimizer="muon", optimizer_options={"momentun": 1}': "`optimizer_options`.*momentun",
}
OF_STAGE = {"return 'x'": "`schedule`.*'x'", "return -1": "`schedule`.*-1", "return 1 / 0": "`schedule`.*ZeroDivision"}
# These are asked for only when there is something to ask them for.
LATER = {
    "rate_rule=lambda rates, losses: rates": "`rate_rule`.*array of shape",
    "rate_rule=lambda rates, losses: float('nan')": "`rate_rule`.*nan",
    "rate_rule=lambda rates, losses: 1 / 0": "`rate_rule`.*ZeroDivisionError",
    "log_with=lambda folder: 7": "`log_with`.*7",
    "log_with=lambda folder: 1 / 0": "`log_with`.*ZeroDivisionError",
}


@pytest.fixture
def ended(shades, serving, workspace):
    """Runs the competition with a field set; what it said."""

    def run(field, returns="pass", stage="cached=True, views=3"):
        source = shades.declaration.read_text().replace("cached=True", stage).replace(", learning_rate=1e-2", "")
        lines = [line for line in source.splitlines() if not line.strip().startswith(field.partition("=")[0] + "=")]
        place = 'kaggle="shades",' if field in {**OF_COMPETITION, **LATER} and field[:4] != "rate" else "pretrained="
        source = "\n".join(lines).replace(place, f"{field}, {place}")
        shades.declaration.write_text(OWN.replace("RETURNS", returns) + source)
        console = Console()
        with serving(shades):
            runner.run(shades.competition, Choices(), workspace, console)

    return run


@pytest.mark.parametrize("field", [*OF_COMPETITION, *OF_RECIPE, *OF_STAGE])
def test_a_wrong_part_ends_in_a_sentence_that_names_it_before_anything_is_computed(field, ended, workspace):
    arguments = ("batch_size=8", field, "cached=True, schedule=schedule") if field in OF_STAGE else (field,)
    with pytest.raises(CompError, match={**OF_COMPETITION, **OF_RECIPE, **OF_STAGE}[field]):
        ended(*arguments)
    assert not list(workspace.folder.rglob("*.npy"))
    assert not list(workspace.runs.rglob("config.json"))


@pytest.mark.parametrize("field", LATER)
def test_a_wrong_part_that_is_asked_for_later_is_named_then(field, ended):
    with pytest.raises(DeclarationError, match=LATER[field]):
        ended(field)
