import os
from dataclasses import dataclass, replace
from operator import attrgetter
from types import MappingProxyType

import numpy as np
import pytest
import torch

from comp import runner
from comp.console import Console
from comp.data.tables import read_tables
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import side_on
from comp.runs import list_runs
from comp.runs.choices import Choices
from comp.runs.resolve import Experiment
from comp.training import training as module
from comp.training.backbone import build_classifier, expectations, set_size
from comp.training.images import Images
from comp.training.learner import Learner
from comp.training.losses import Objective
from comp.training.prepared import prepare
from comp.training.resuming import start, under_way

HEAD = Stage(size=16, train="head", cached=True, cycle_length=2, learning_rate=0.01)


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Networks this small are slower on two threads than on one, and far slower where others use the cores too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _pictures_where_they_are_looked_at(request, monkeypatch):
    """Drawing takes longer than a small sweep."""
    if request.path.name != "test_curves.py":
        monkeypatch.setattr("comp.training.curves.range_test_as_png", lambda _: b"")


@pytest.fixture
def tables(shades):
    return read_tables(shades.competition, shades.files)


@pytest.fixture
def images(tables, tmp_path):
    expected = expectations(learner_of(outputs=3, size=16, stages=[HEAD]).model.backbone)
    return Images(tables.train["path"].array, expected, side_on(), 0, tmp_path / "cache", Console())


@pytest.fixture
def at_home(downloaded):
    """The competition of colours, its files in the workspace."""
    return downloaded.competition


@pytest.fixture
def with_stages(at_home):
    """The competition of colours with a recipe of these stages."""

    def declared(*stages, **fields):
        recipe = replace(at_home.recipes["standard"], stages=stages, **fields)
        return replace(at_home, recipes={"standard": recipe})

    return declared


@pytest.fixture
def head(with_stages):
    """The competition of colours whose recipe trains a head for two epochs."""
    return with_stages(HEAD)


@pytest.fixture
def train(workspace):
    """Trains in the workspace with these choices; also predicts with ``predicting``."""

    def call(competition, at=workspace, *, predicting=False, **choices):
        run = runner.train(competition, Choices(**choices), at, Console())
        if predicting and not run.predicted:
            runner.predict(competition, run, at, Console())
        return run

    return call


@pytest.fixture
def stopped(head, killed, train):
    """The run of ``head``, killed after its first epoch."""
    return killed(2, train, head)


@pytest.fixture
def preparing(workspace):
    """A competition's training before its first step."""

    def call(competition, **choices):
        return prepare(Experiment.of(competition, Choices(**choices), workspace), Console())

    return call


@pytest.fixture
def begin(with_stages, preparing):
    """A training of these stages that has just begun; of: changed fields of its competition."""

    def begun(*stages, by_hand=False, of=MappingProxyType({}), **fields):
        return start(preparing(replace(with_stages(*stages, **fields), **of)), Console(), by_hand=by_hand)

    return begun


@pytest.fixture
def goes_on_with(preparing):
    """The run that a training would be recorded in, with the inputs of its first stage prepared."""

    def call(competition, done="trained", **choices):
        prepared = preparing(competition, **choices)
        with under_way(prepared, Console(), attrgetter(done)) as training:
            prepared.inputs(prepared.experiment.recipe.stages[0], 1)
            return training.run

    return call


@pytest.fixture
def saving_always(monkeypatch):
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(module, "MOST_COST", float("inf"))


def learner_of(backbone="test_resnet", outputs=2, *, size=32, one_of=True, ratio=10.0, seed=0, **fields):
    """A learner that has not trained yet, by a recipe with these fields."""
    torch.manual_seed(seed)
    stages = [Stage(size=size, train="head")]
    fields = {"stages": stages, "batch_size": 8, "dropout": 0.0, **fields}
    recipe = Recipe(backbone=backbone, pretrained=False, **fields)
    model = build_classifier(recipe, np.zeros(outputs))
    set_size(model, size)
    return Learner(model, recipe, ratio, Objective("cross_entropy" if one_of else "bce", one_of=one_of))


def halves(images, targets):
    """Pastes the lower half of another image into each image, in place as Kagglers do."""
    other = torch.randperm(len(images))
    images[:, :, images.shape[2] // 2 :] = images[other][:, :, images.shape[2] // 2 :]
    return images, (targets + targets[other]) / 2


class SAM(torch.optim.Optimizer):
    """AdamW with the gradients at nearby weights where the loss is about largest (arXiv:2010.01412)."""

    def __init__(self, groups, rho=0.05):
        super().__init__(groups, {"rho": rho})
        self.base = torch.optim.AdamW(self.param_groups, betas=(0.5, 0.9))
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None, "it needs a closure"
        weights = [one for group in self.param_groups for one in group["params"]]
        norm = torch.stack([one.grad.norm() for one in weights]).norm() + 1e-12
        before = [one.clone() for one in weights]
        for group in self.param_groups:
            for one in group["params"]:
                one += group["rho"] / norm * one.grad
        loss = closure()
        for one, old in zip(weights, before, strict=True):
            one.copy_(old)
        self.base.step()
        return loss


class Again(SAM):
    """AdamW with the gradients at the current weights, which it asks for twice."""

    def step(self, closure):
        assert float(closure()) == float(closure())
        self.base.step()


@dataclass
class Batches:
    """Training samples in the same batches in every epoch."""

    batches: list

    @property
    def batch_size(self):
        return len(self.batches[0][-1])

    def __len__(self):
        return len(self.batches)

    def epoch(self, number, start=0):
        return iter(self.batches[start:])


class Hostile:
    """Leaves a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class KilledError(BaseException):
    """Stands for SIGKILL: nothing handles it, and only ``finally`` blocks run after it."""


@pytest.fixture
def killed(monkeypatch, saving_always, workspace):
    """Calls a step of the runner until a training's state was saved for the n-th time; returns the last run."""

    def until(number, step, *arguments, **options):
        saves, save = [], module.Training.save

        def counted(training, *rate):
            save(training, *rate)
            saves.append(training)
            if len(saves) == number:
                raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(module.Training, "save", counted)
            with pytest.raises(KilledError):
                step(*arguments, **options)
        return list_runs(workspace)[-1]

    return until
