import numpy as np
import pytest

from comp.declare.metrics import METRICS, Metric
from comp.submission.postprocessing import CLIPS, OF_MISTAKES, Clip
from tests.submission.conftest import drawn_by, mislabelled, tuned_on


@pytest.mark.parametrize("target", ["single", "multi"])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_the_temperature_makes_a_model_as_sure_as_it_is_right(target, temperature):
    """Labels drawn from the tempered probabilities, which are therefore right, and better on new rows as well."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 3, 4000)
    right = Clip(1e-7, temperature, sums_to_one=target == "single")(probabilities)
    targets = drawn_by(rng, right) if target == "single" else (rng.uniform(size=right.shape) < right).astype(int)
    _, tuned, gain = tuned_on("log_loss", targets, probabilities, target, rows=2000)
    assert tuned.temperature == pytest.approx(temperature, rel=0.12)
    assert gain >= -1e-3


def test_few_rows_move_the_temperature_of_right_probabilities_little():
    rng, found = np.random.default_rng(0), {60: [], 3000: []}
    for rows, temperatures in found.items():
        for _ in range(8):
            probabilities = rng.dirichlet([1.0] * 3, rows)
            tuned = tuned_on("log_loss", drawn_by(rng, probabilities), probabilities)[1]
            temperatures.append(np.log(tuned.temperature))
    assert np.std(found[60]) < 0.12
    assert np.std(found[3000]) < 0.05


def test_labels_that_are_rarely_wrong_cost_less_by_what_a_few_rows_tune_than_by_those_rows_best_temperature():
    """One label in fifty is random: for few rows, the best temperature depends on whether they have such a label."""
    rng, lost = np.random.default_rng(0), []
    for _ in range(12):
        targets, probabilities = mislabelled(rng, rows=2000, classes=5, spread=0.02, wrong=0.02)
        _, tuned, _ = tuned_on("log_loss", targets[:150], probabilities[:150])
        candidates = [Clip(CLIPS[0], temperature, sums_to_one=True) for temperature in np.geomspace(0.5, 2, 15)]

        def loss(clip, rows, targets=targets, probabilities=probabilities):
            return METRICS["log_loss"](targets[rows], clip(probabilities[rows]))

        best = min(candidates, key=lambda clip: loss(clip, slice(150)))
        lost.append(loss(tuned, slice(150, None)) - loss(best, slice(150, None)))
    assert np.mean(lost) < 0


def test_a_model_too_sure_has_a_temperature_above_one_which_a_mean_of_models_never_has():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.3] * 3, 2000)
    targets = drawn_by(rng, Clip(1e-7, 1.6, sums_to_one=True)(probabilities))
    own = Metric("my_log_loss", "probabilities", False, METRICS["log_loss"].score, tuned="temperature")
    for metric in ("log_loss", own):
        assert tuned_on(metric, targets, probabilities)[1].temperature > 1.3
        assert tuned_on(metric, targets, probabilities, hottest=1.0)[1].temperature <= 1


def test_a_mistake_near_the_floor_keeps_no_temperature_from_being_found():
    """One label in twenty is random, and the logits are 1.6 times too large."""
    rng, temperatures = np.random.default_rng(0), []
    for _ in range(10):
        targets, right = mislabelled(rng, rows=300, classes=5, spread=0.3, wrong=0.05)
        temperatures.append(tuned_on("log_loss", targets, Clip(1e-12, 1 / 1.6, sums_to_one=True)(right))[1].temperature)
    assert min(temperatures) > 1.1


def test_of_many_classes_a_floor_between_the_least_and_one_mistake_an_image_may_be_taken():
    rng = np.random.default_rng(0)
    targets, probabilities = mislabelled(rng, rows=2000, classes=120, spread=0.02, wrong=0.02)
    start, tuned, gain = tuned_on("log_loss", targets, probabilities, rows=1000)
    assert start.smallest < tuned.smallest < 1e-3
    assert gain > 0


def test_a_sure_mistake_is_clipped_for_before_any_is_seen_and_more_strongly_where_many_are():
    right = np.tile([1.0, 0.0], (400, 1))
    for mistakes, smallest in ((0, OF_MISTAKES / 2), (1, OF_MISTAKES / 2), (40, 2e-2)):
        wrong = np.r_[np.tile([0.0, 1.0], (mistakes, 1)), right[mistakes:]]
        assert tuned_on("log_loss", np.zeros(400, int), wrong)[1].smallest == smallest
