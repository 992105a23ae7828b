import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from comp.console import Console
from comp.data.data_check import checked_tables
from comp.declare.recipe import Stage
from comp.errors import OverrideError, RunError
from comp.runs.choices import Choices, is_blend, trainings_of
from comp.runs.resolve import Experiment
from comp.tools import planning, speeds
from comp.tools.planning import Plan
from comp.tools.side_by_side import Job
from comp.tools.speeds import Speeds

BACKBONES = ("test_resnet", "test_efficientnet")


@pytest.fixture
def clock(monkeypatch):
    """A clock that only tests move."""
    told = SimpleNamespace(now=0.0)
    patched = SimpleNamespace(monotonic=lambda: told.now, perf_counter=time.perf_counter)
    monkeypatch.setattr(planning, "time", patched)
    return told


@pytest.fixture
def plan(strong, workspace, monkeypatch):
    """A plan of two trainings with known speeds, the second on images four times as large, and its printed lines."""

    def make(seconds, images_per_second=10.0, began=0.0, solved=0.1, **chosen):
        said = Console()
        said.say = (lines := []).append
        several = trainings_of(strong, Choices("strong", **chosen))
        experiments = [Experiment.of(strong, one, workspace) for one in several]
        made = Plan(experiments, checked_tables(strong, workspace, Console()), said, seconds, began)
        known = {16: images_per_second, 32: images_per_second / 4}
        monkeypatch.setattr(
            made,
            "_measure",
            lambda: made.speeds.update({name: Speeds(dict(known), solved={1: solved}) for name in BACKBONES}),
        )
        return made, lines

    return make


@pytest.fixture
def of_stages(strong, workspace, monkeypatch):
    """A plan of one training of the shades for each list of stages, with measured speeds."""
    monkeypatch.setattr(speeds, "MEASURED", 0.05)

    def make(*several, seconds=600, **chosen):
        experiment = Experiment.of(strong, Choices(**chosen), workspace)
        experiments = [replace(experiment, recipe=replace(experiment.recipe, stages=stages)) for stages in several]
        tables = checked_tables(strong, workspace, Console())
        return Plan(experiments, tables, Console(), seconds, time.monotonic())

    return make


def taken(plan, clock, seconds=0.0):
    """The recipe and folds of the trainings that a plan takes, if each lasts ``seconds``."""
    names = []
    for one in plan:
        names.append((one.choices.recipe, one.choices.folds))
        clock.now += seconds
    return names


@pytest.mark.parametrize(
    ("seconds", "solved", "each", "expected", "said"),
    [
        (600, 0.1, 1, [("strong.1", 2), ("strong.2", 2)], ["plan for 10:00", "1 of 2 trainings are done"]),
        (40, 0.1, 10, [("strong.1", 2)], ["left out, as it would take", "more: strong.2"]),
        # The second head takes long to solve.
        (600, 1000.0, 1, [("strong.1", 2)], ["left out"]),
        (25.5, 0.1, 1, [("strong.1", None)], ["2 folds of strong.1"]),
        # A training that takes longer than planned leaves less time for the next.
        (80, 0.1, 5, [("strong.1", 2), ("strong.2", 2)], []),
        (80, 0.1, 45, [("strong.1", 2)], []),
        (None, 0.1, 30, [("strong.1", 2), ("strong.2", 2)], ["1 of 2 trainings are done", "in 0:30"]),
    ],
)
def test_what_fits_is_taken_in_order_and_what_is_left_out_and_when_it_ends_is_said(
    plan, clock, seconds, solved, each, expected, said
):
    made, lines = plan(seconds, solved=solved)
    assert taken(made, clock, each) == expected
    assert ("left out" in lines[-1]) == (len(expected) == 1)
    assert all(words in "\n".join(lines) for words in said)


def test_folds_of_another_backbone_of_the_same_recipe_are_taken_before_one_split_of_the_first(plan, clock):
    made, _ = plan(60, backbones=BACKBONES)
    made._measure()
    made._measure = lambda: None
    made.speeds[BACKBONES[0]] = Speeds({16: 1.5, 32: 0.4}, solved={1: 0.1})
    backbones = [one.recipe.backbone for one in made]
    assert backbones == [BACKBONES[1], BACKBONES[1]]
    assert made.experiments[0].choices.folds == 2


def test_a_time_in_which_nothing_fits_is_refused_with_the_least_that_is_needed(plan, clock):
    made, _ = plan(5)
    with pytest.raises(OverrideError, match=r"strong\.1 .* needs about 0:2\d"):
        taken(made, clock)


def jobs(*runs):
    """Jobs that return these runs; None stands for a job that doesn't end."""
    return [Job("one", lambda console, run=run: run or time.sleep(30)) for run in runs]


def test_what_lasts_past_the_end_of_the_time_is_stopped(plan):
    made, lines = plan(0.2, began=time.monotonic())
    began = time.monotonic()
    assert made.work(jobs("fold 1", None)) == ["fold 1"]  # the only run so far is used
    assert made.over
    assert time.monotonic() - began < 5
    assert "time is over" in lines[-1]
    made.spent.append(1.0)
    assert made.work(jobs("fold 1", None)) == []  # another training is complete
    with pytest.raises(RunError, match="no training has ended"):
        plan(0.2, began=time.monotonic())[0].work(jobs(None))


def test_a_blend_in_a_time_is_trained_as_it_was_planned(train, workspace, monkeypatch):
    monkeypatch.setattr(speeds, "MEASURED", 0.05)
    run, said = train(time=120.0)
    assert len(run.members) == 2
    assert run.record("config")["complete"]
    assert "measured here: test_resnet" in said
    assert "expected to end" in said


def test_a_plain_recipe_is_trained_in_folds_where_there_is_time(strong):
    (one,) = trainings_of(strong, Choices(time=120.0))
    assert (one.recipe, one.folds) == ("standard", 5)
    assert is_blend(strong, Choices(time=120.0))


def test_training_on_images_is_measured_by_what_trains(of_stages):
    stages = [Stage(size=16, train="head"), Stage(size=16, train="all"), Stage(size=16, train="all", batch_size=4)]
    made = of_stages(stages)
    (one,) = made
    measured = made.speeds["test_resnet"]
    assert measured.predicted.keys() == {16}
    assert measured.trained.keys() == {(16, 1, False, None), (16, 3, False, None), (16, 3, False, 4)}
    assert not measured.halfway
    assert list(one.recipe.stages) == stages


@pytest.mark.parametrize(("seconds", "above", "told"), [(600, 1.0, True), (600, 1e-9, True), (0.001, 1.0, False)])
def test_a_stage_that_a_first_head_shows_to_be_of_no_need_costs_nothing(of_stages, seconds, above, told):
    head = Stage(size=16, train="head", cached=True, schedule="lbfgs")
    made = of_stages([head, Stage(size=16, train=2, cycle_length=9, needed_above=above)], [head], seconds=seconds)
    made._measure()
    conditional, frozen = map(made._cost, made.experiments)
    assert (made.unexplained is not None) == told
    assert (conditional == frozen) == (told and above == 1.0)
    # The features of the solved head are kept for the trainings.
    assert bool(made.computed) == told


def test_what_the_early_half_makes_of_images_is_planned_once_for_all_folds(of_stages):
    made = of_stages([Stage(size=16, train=2, cached=True, views=2, cycle_length=2)], folds=2)
    (experiment,) = made.experiments
    made._measure()
    measured = made.speeds["test_resnet"]
    assert measured.trained.keys() == {(16, 2, True, None)}
    assert measured.halfway.keys() == {16}
    # 36 labelled and 12 test images in two views.
    assert sorted(made._features(experiment).values()) == [24, 72]
    assert made._cost(experiment) - made._training(experiment) == pytest.approx(96 / measured.halfway[16])
    made.computed |= made._features(experiment).keys()
    assert made._cost(experiment) == pytest.approx(made._training(experiment))
    assert measured.lacking(experiment.recipe) == []
    measured.halfway.clear()
    measured.trained[16, 2, False, None] = 10.0
    assert measured.lacking(experiment.recipe), "that images are trained on as well says nothing of maps"
    measured.halfway[16] = None
    assert measured.lacking(experiment.recipe) == []
    assert made._features(experiment) == {}, "a backbone that can't be cut sees the images in every epoch"
