"""The recipes of a new competition fit its images."""

import re

import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.overrides import apply_overrides
from comp.declare.recipe import Ensemble, Recipe
from comp.errors import OverrideError
from comp.new.recipes import recipes_for


@pytest.mark.parametrize(
    ("pixels", "size"), [((640, 480), "native"), ((28, 28), 96), ((96, 64), 128), (None, "native")]
)
def test_images_are_looked_at_in_the_backbones_size_unless_they_are_small(pixels, size):
    quick = recipes_for(pixels, 100, 10, like_photographs=True)[0]["quick"]
    assert isinstance(quick, Recipe)
    assert {stage.size for stage in quick.stages} == {size}


def test_the_backbone_trains_where_a_head_leaves_much_and_shorter_where_there_are_many_images():
    epochs = []
    for images in (1_000, 50_000):
        quick = recipes_for((256, 256), images, 3, like_photographs=False)[0]["quick"]
        assert isinstance(quick, Recipe)
        assert [(stage.train, stage.needed_above > 0) for stage in quick.stages] == [("head", False), (2, True)]
        epochs.append(quick.stages[-1].epochs)
    assert epochs[0] > epochs[1]


@pytest.mark.parametrize("like", [True, False])
def test_late_layers_learn_at_the_same_rate_whatever_their_ratio_to_the_head_is(like):
    rates = []
    for ratio in (3, 10):
        recipes, _ = recipes_for((256, 256), 100, ratio, like_photographs=like)
        standard = recipes["standard"]
        assert isinstance(standard, Recipe)
        assert standard.on_cpu is not None
        rates += [recipe.stages[-1].learning_rate / ratio for recipe in (recipes["quick"], standard.on_cpu)]
    assert rates == pytest.approx([rates[0]] * 4)


@pytest.mark.parametrize("like", [True, False])
def test_strong_blends_backbones_and_what_it_blends_runs_on_two_cores(like):
    recipes, _ = recipes_for((256, 256), 100, 10, like_photographs=like)
    strong = recipes["strong"]
    assert isinstance(strong, Ensemble)
    assert len(strong.backbones) > 1
    assert recipes["quick"] in strong.members
    assert isinstance(standard := recipes["standard"], Recipe)
    assert standard.on_cpu in strong.members
    assert all(stage.groups < 3 for member in strong.members for stage in member.stages)


def test_another_head_than_the_solved_one_takes_the_settings_that_the_errors_name():
    quick = recipes_for((256, 256), 100, 10, like_photographs=True)[0]["quick"]
    digits, settings = competition_named("digits", REPOSITORY_COMPETITIONS), ["head=mlp"]
    for says, then in [
        (
            "`head` is 'mlp', but it should be 'linear' or 'pretrained', which 'lbfgs' solves; to train another, set "
            "stages.1.schedule=one_cycle and its cycle_length, stages.2.needed_above=0.",
            ["stages.1.schedule=one_cycle", "stages.1.cycle_length=8"],
        ),
        ("`stages.2.needed_above` is 0.1, but it should be 0 without a stage of", ["stages.2.needed_above=0"]),
    ]:
        with pytest.raises(OverrideError, match=re.escape(says)):
            apply_overrides(digits, quick, settings)
        settings += then
    _, exchanged = apply_overrides(digits, quick, settings)
    assert (exchanged.head, exchanged.stages[0].epochs, len(exchanged.stages)) == ("mlp", 8, 2)
