import json
import re

import pytest

from comp.console import Console
from comp.runs.choices import Choices
from comp.tools import benchmark as module
from comp.training.learner import Learner


@pytest.fixture
def at_home(downloaded, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(module, "BATCHES", 2)
    return downloaded.competition


RATES = {
    *("training", "predicting", "model alone, forward and backward", "model alone, forward"),
    *("the same, compiled", "training a head on images", "training a head on cached features"),
    *("reading and augmenting files", "reading and augmenting kept images"),
}


def test_every_rate_and_every_part_is_measured_and_steps_as_they_are_trained(at_home, workspace, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 2)
    learning, taken = [], Learner.step

    def step(learner, *given):
        learning.append(learner.model.head.training)
        return taken(learner, *given)

    monkeypatch.setattr(Learner, "step", step)
    settings = ("batch_size=4", "stages.cached=false", "stages.train=2")
    measured = module.benchmark(at_home, Choices(settings=settings), 24, workspace, Console())
    assert set(measured.rates) == RATES
    assert all(rate > 0 for rate in measured.rates.values())
    assert all(milliseconds >= 0 for milliseconds in measured.parts.values())
    assert (measured.setting["size"], measured.setting["batch size"]) == (24, 4)
    assert measured.memory > 0
    # In training mode, in spite of the predictions in between.
    assert len(learning) > 3
    assert all(learning)


def test_a_ratio_is_of_the_same_round_so_that_a_slower_hour_is_in_neither():
    model, end_to_end = [100.0, 50.0, 80.0], [90.0, 47.0, 40.0]
    rounds = dict.fromkeys((module.MODEL_TRAINS, module.MODEL_PREDICTS, module.COMPILED_PREDICTS, module.FROZEN), model)
    rounds |= dict.fromkeys((module.TRAINING, module.PREDICTING, module.CACHED), end_to_end)
    measured = module.Benchmark({}, rounds, {}, 0)
    assert measured.ratios == {
        (module.TRAINING, "of the model alone"): 0.9,
        (module.PREDICTING, "of the model alone"): 0.9,
        (module.PREDICTING, "of it compiled"): 0.9,
        (module.CACHED, "times that on images"): 0.9,
    }
    assert measured.rates[module.TRAINING] == 47


def test_the_numbers_are_a_table_and_json_and_no_run_is_made(at_home, on_shades, workspace, tmp_path):
    ended = on_shades("bench", "shades", "--json", tmp_path / "bench.json")
    assert not ended.status, ended.err
    record = json.loads((tmp_path / "bench.json").read_text())
    assert record["setting"]["competition"] == "shades"
    assert set(record["images per second"]) == RATES
    said = re.search(r"^training .*images/s  (\d\.\d{3}) of the model alone$", ended.out, re.MULTILINE)
    assert float(said[1]) == pytest.approx(record["ratios"]["training, of the model alone"], abs=0.001)
    assert not workspace.runs.exists()
