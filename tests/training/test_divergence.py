"""A loss that becomes NaN: the training restores the last weights whose losses were finite, and goes on from there."""

import re
from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
import torch

from comp import runner
from comp.console import Console
from comp.declare.metrics import METRICS
from comp.declare.recipe import Stage
from comp.errors import RunError
from comp.runs import list_runs
from comp.training.epochs import made_worse
from comp.training.resuming import under_way
from tests.training.conftest import HEAD

ALL = Stage(size=16, train="all", learning_rate=1e-3)
TOO_HIGH = replace(ALL, cycle_length=2, learning_rate=1e12)


@pytest.fixture
def train(train, with_stages):
    return lambda *stages: train(with_stages(*stages, optimizer="sgd"))


def spoilt_from(training, step):
    """A training whose head gives NaN from this step of a stage on."""
    learner = training.prepared.learner

    def spoil(head, inputs, outputs):
        broken = head.training and learner.under_way is not None and learner.under_way.taken >= step
        return outputs * torch.nan if broken else outputs

    learner.model.head.register_forward_hook(spoil)
    return training


def weights(run):
    return run.weights.read_bytes()


def test_a_stage_that_breaks_leaves_the_weights_from_before_it_and_the_next_goes_on(
    train, workspace, with_stages, capsys
):
    run = train(HEAD, TOO_HIGH)
    assert weights(run) == weights(train(HEAD))
    said = capsys.readouterr().out
    assert "stage 2: the loss diverged in epoch 1, so the weights from before the stage are restored" in said
    assert "--set stages.2.learning_rate=1e+11" in said
    record = run.record("trained")
    assert [stage["train"] for stage in record["stages"]] == ["head"]
    (broken,) = record["diverged"]
    assert (broken["number"], broken["epoch"], broken["cycles_kept"]) == (2, 1, 0)
    assert broken["stage"]["learning_rate"] == 1e12
    assert not np.isfinite(run.history.epochs()[["train_loss", "valid_loss"]].iloc[-1]).all()
    runner.predict(with_stages(HEAD, TOO_HIGH), run, workspace, Console())
    assert run.submission.is_file()

    run = train(HEAD, TOO_HIGH, replace(HEAD, cycle_length=3))
    assert run.history.epochs()["stage"].tolist()[-3:] == [3, 3, 3]
    assert np.isfinite(run.history.epochs()["train_loss"].iloc[-1])
    assert [stage["cycle_length"] for stage in run.record("trained")["stages"]] == [2, 3]
    capsys.readouterr()
    runner.diagnose(run, Console())
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("stage 2: loss is not finite: ")
    assert first.endswith("try --set stages.2.learning_rate=1e+11")
    assert not any("unfinished" in line for line in others)


def test_a_stage_that_breaks_in_a_later_cycle_keeps_the_cycles_before(begin, train, capsys):
    stage = replace(ALL, cycles=4, cycle_length=1)
    # Three steps an epoch: the third of the third cycle.
    training = spoilt_from(begin(stage, snapshots=3, optimizer="sgd"), 8)
    training.fit_or_restore(stage)
    training.finish()
    record = training.run.record("trained")
    assert record["stages"][0]["cycles"] == record["diverged"][0]["cycles_kept"] == 2
    assert "the weights from the end of cycle 2 are restored" in capsys.readouterr().out
    assert weights(training.run) == weights(train(replace(stage, cycles=2)))
    # The second cycle's weights are the run's own now, and the later cycles have none.
    assert record["snapshots"] == []
    assert [path.stem for path in training.run.weights.parent.iterdir() if path.suffix != ".pt"] == ["model"]


def test_a_training_that_breaks_before_any_cycle_ended_says_what_to_change(train, workspace, at_home, capsys):
    with pytest.raises(RunError, match=r"NaN or infinite in epoch \d; lower the stage's learning rate, .* 1e\+12"):
        train(TOO_HIGH, HEAD)
    (run,) = list_runs(workspace)
    assert not run.weights.is_file()
    capsys.readouterr()
    runner.diagnose(run, Console())
    assert capsys.readouterr().out.startswith("stage 1: loss is not finite")
    with pytest.raises(RunError, match=r"became NaN .* lower learning rate: `comp diagnose shades/standard-1`"):
        runner.predict(at_home, run, workspace, Console())


def test_what_is_gone_back_to_outlives_a_kill(with_stages, preparing, train, killed):
    stage = replace(ALL, cycles=3, cycle_length=1)
    killed(6, train, stage)
    prepared = preparing(with_stages(stage, optimizer="sgd"))
    with under_way(prepared, Console(), attrgetter("trained")) as training:
        assert training.where() == "stage 1, epoch 2, step 3"
        spoilt_from(training, 5).fit_or_restore(stage)
        training.finish()
    assert training.run.record("trained")["stages"][0]["cycles"] == 1
    assert weights(training.run) == weights(train(replace(stage, cycles=1)))


def test_a_rate_and_a_gradient_scale_that_broke_a_stage_are_not_taken_for_the_next_one(begin):
    stages = (HEAD, replace(ALL, learning_rate="find"))
    training = begin(*stages, optimizer="sgd")
    # As on a GPU in half precision, which halves the scale at every step with non-finite gradients.
    scaler = training.prepared.learner.accelerator.scaler = torch.amp.GradScaler("cpu")
    training.found[3, False] = 1e12
    for stage in stages:
        training.fit_or_restore(stage)
    assert training.diverged[0]["stage"]["learning_rate"] == 1e12
    assert training.found == {}
    assert scaler.get_scale() == torch.amp.GradScaler("cpu").get_scale()


def test_a_long_epoch_ends_soon_after_its_loss_is_no_number(begin, monkeypatch):
    monkeypatch.setattr("comp.training.learner.CHECKED", 2)
    stage = replace(ALL, cycle_length=2)
    training = begin(HEAD, stage, batch_size=2, optimizer="sgd")
    training.fit_or_restore(HEAD)
    spoilt_from(training, 3).fit_or_restore(stage)
    assert (training.run.history.steps()["stage"] == 2).sum() == 4


def test_a_late_half_that_breaks_on_images_is_recorded_as_one_on_images(train, monkeypatch):
    monkeypatch.setattr("comp.training.extraction.lacks_room", lambda *_: "too much")
    run = train(HEAD, replace(TOO_HIGH, train=2, cached=True, views=2))
    (broken,) = run.record("trained")["diverged"]
    assert (broken["stage"]["cached"], broken["stage"]["views"]) == (False, 1)


# With a score so good that no other is better by chance.
LEARNED = replace(HEAD, cycle_length=30, learning_rate=0.1)
FAR_WORSE = replace(ALL, cycles=2, cycle_length=1, learning_rate=30.0)


def test_a_stage_that_makes_validation_far_worse_is_undone(train, capsys):
    run = train(HEAD, FAR_WORSE)
    assert np.isfinite(run.history.epochs()["valid_loss"]).all()
    assert weights(run) == weights(train(HEAD))
    said = capsys.readouterr().out
    assert re.search(r"stage 2: the validation loss rose from .* and accuracy is no better, .* from before the", said)
    (undone,) = run.record("trained")["diverged"]
    assert (undone["number"], undone["epoch"], undone["cycles_kept"]) == (2, 2, 0)
    assert [stage["train"] for stage in run.record("trained")["stages"]] == ["head"]


def test_such_a_stage_is_undone_after_a_kill_as_well(train, killed):
    killed(10, train, HEAD, FAR_WORSE)
    assert weights(train(HEAD, FAR_WORSE)) == weights(train(HEAD))


def test_the_stage_after_one_that_was_undone_is_judged_by_the_weights_it_began_with(begin):
    stages = LEARNED, FAR_WORSE, replace(FAR_WORSE, cycles=1)
    training = begin(*stages, optimizer="sgd")
    training.fit_or_restore(LEARNED)
    good = training.latest
    training.fit_or_restore(FAR_WORSE)
    assert training.latest == good
    training.fit_or_restore(stages[2])
    assert [one["number"] for one in training.diverged] == [2, 3]
    assert training.latest == good


def test_a_cycle_that_ended_far_worse_is_not_what_a_later_one_that_breaks_goes_back_to(begin, train, capsys):
    # Three steps an epoch: the second of the second cycle.
    training = begin(LEARNED, FAR_WORSE, optimizer="sgd")
    training.fit_or_restore(LEARNED)
    spoilt_from(training, 4).fit_or_restore(FAR_WORSE)
    training.finish()
    assert "the loss diverged in epoch 2, so the weights from before the stage" in capsys.readouterr().out
    assert weights(training.run) == weights(train(LEARNED))


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ((1.0, 0.5), (1.1, 0.5), False),
        ((1.0, 0.5), (3.0, 0.6), False),
        ((1.0, 0.5), (3.0, 0.5), True),
        # Custom losses, which may be negative.
        ((-1.0, 0.5), (-1.1, 0.5), False),
        ((-1.0, 0.5), (-0.9, 0.5), False),
        ((-1.0, 0.5), (-0.5, 0.5), True),
        ((0.0, 0.5), (0.0, 0.5), False),
        (None, (3.0, 0.5), False),
        ((1.0, 0.5), None, False),
    ],
)
def test_a_stage_stays_whose_score_is_better_or_whose_loss_hardly_rose(before, after, worse):
    assert bool(made_worse(METRICS["accuracy"], before, after)) == worse


def test_a_solved_head_can_be_undone(begin, monkeypatch, capsys):
    solved = replace(HEAD, schedule="lbfgs", cycle_length=1)
    training = begin(HEAD, solved)
    training.fit_or_restore(HEAD)
    monkeypatch.setattr(type(training), "made_worse", lambda *_: "it rose")
    training.fit_or_restore(solved)
    assert capsys.readouterr().out.endswith("stage 2: it rose, so the weights from before the stage are restored\n")
