import shutil
from dataclasses import replace

import pytest
import torch

from comp.console import Console
from comp.runs.resolve import Choices, Experiment
from comp.training import training as module
from comp.training.prepared import prepare
from comp.training.resuming import start


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Networks this small are slower on two threads than on one, and far slower where others use the cores too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def at_home(shades, workspace):
    """The competition of colours, its files in the workspace."""
    shutil.copytree(shades.files, workspace.data("shades"))
    return shades.competition


@pytest.fixture
def with_stages(at_home):
    """The competition of colours with a recipe of these stages."""

    def declared(*stages, **fields):
        recipe = replace(at_home.recipes["standard"], stages=stages, **fields)
        return replace(at_home, recipes={"standard": recipe})

    return declared


@pytest.fixture
def begin(with_stages, workspace):
    """A training of these stages that has just begun."""

    def begun(*stages, by_hand=False, **fields):
        experiment = Experiment.of(with_stages(*stages, **fields), Choices(), workspace)
        return start(prepare(experiment, Console()), Console(), by_hand=by_hand)

    return begun


@pytest.fixture
def saving_always(monkeypatch):
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(module, "MOST_COST", float("inf"))


class KilledError(BaseException):
    """Stands for SIGKILL: nothing handles it, and nothing is done after it but by ``finally``."""


@pytest.fixture
def killed(monkeypatch, saving_always):
    """Calls a step of the runner until the n-th time that a training's state was saved."""

    def until(number, step, *arguments):
        saves, save = [], module.Training.save

        def counted(training, *rate):
            save(training, *rate)
            saves.append(training)
            if len(saves) == number:
                raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(module.Training, "save", counted)
            with pytest.raises(KilledError):
                step(*arguments)

    return until
