from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.recipe import Recipe, Stage
from comp.errors import DeclarationError

STAGE = Stage(size=64, train="all")


@settings(max_examples=20)
@given(cycles=st.integers(1, 6), length=st.integers(1, 9), multiplier=st.integers(1, 4))
def test_each_cycle_is_the_multiplier_longer_than_the_one_before(cycles, length, multiplier):
    stage = Stage(size=64, train="all", cycles=cycles, cycle_length=length, cycle_multiplier=multiplier)
    assert len(stage.cycle_epochs) == cycles
    assert stage.cycle_epochs[0] == length
    assert all(after == before * multiplier for before, after in pairwise(stage.cycle_epochs))
    assert stage.epochs == sum(stage.cycle_epochs)


def test_stages_are_kept_in_order_whatever_held_them():
    stages = [Stage(size=size, train="head") for size in (64, 128, 256)]
    assert Recipe(stages=stages).stages == Recipe(stages=iter(stages)).stages == tuple(stages)


def test_a_stage_has_the_recipe_s_batch_size_or_its_own():
    on_images, on_features = Stage(size=64, train="all"), Stage(size=64, train="head", cached=True)
    recipe = Recipe(stages=[on_images, on_features], batch_size=10)
    assert [recipe.batch_size_of(stage) for stage in recipe.stages] == [10, 40]
    assert [recipe.batch_size_of(replace(stage, batch_size=16)) for stage in recipe.stages] == [16, 16]


@pytest.mark.parametrize(
    ("stage", "fields", "named"),
    [
        ({"train": "all", "cached": True}, {}, "cached"),
        ({"train": 2, "cached": True, "schedule": "lbfgs"}, {}, "schedule"),
        ({"train": "head", "views": 2}, {}, "views"),
        ({"train": "head", "schedule": "one_cycle", "cycles": 2}, {}, "cycles"),
        ({"train": "head", "schedule": "flat_cosine", "cycles": 2}, {}, "cycles"),
        ({"train": "head", "schedule": "lbfgs"}, {}, "schedule"),
        ({"train": "head", "cached": True, "schedule": "lbfgs", "batch_size": 8}, {}, "batch_size"),
        ({"train": "head", "cached": True}, {"cutmix": 1.0}, "cutmix"),
        ({"train": "head", "cached": True}, {"random_erasing": 0.2}, "random_erasing"),
        ({"train": "head", "cached": True, "schedule": "lbfgs"}, {"head": "mlp"}, "head"),
        ({"train": "head", "cached": True, "schedule": "lbfgs"}, {"mixup": 0.2}, "mixup"),
        ({"train": "all"}, {"mixing": max, "mixup": 0.2}, "mixup"),
        ({"train": "all"}, {"mixing": max, "cutmix": 0.2}, "cutmix"),
        ({"train": "head", "cached": True}, {"mixing": max}, "mixing"),
        ({"train": "head", "cached": True, "schedule": "lbfgs"}, {"dropout": 0.5}, "dropout"),
        ({"train": "head", "cached": True, "schedule": "lbfgs"}, {"ema": 0.9}, "ema"),
        ({"train": 2, "needed_above": 0.1}, {}, "stages.1.needed_above"),
        ({"train": "head"}, {"drop_path": 0.1}, "drop_path"),
        ({"train": "head"}, {"freeze_batch_norm": True}, "freeze_batch_norm"),
        ({"train": "head"}, {"snapshots": 2}, "snapshots"),
        ({"train": "all"}, {"head": "pretrained", "pretrained": False}, "head"),
        ({"train": "all"}, {"on_cpu": Recipe(stages=[STAGE], on_cpu=Recipe(stages=[STAGE]))}, "on_cpu"),
    ],
)
def test_fields_that_contradict_each_other_are_named_with_what_they_are(stage, fields, named):
    given = {**stage, **fields}
    found = repr(given[named]) if named in given and named != "on_cpu" else ""
    with pytest.raises(DeclarationError, match=f"`{named}` is {found}"):
        Recipe(stages=[Stage(size=64, **stage)], **fields)
