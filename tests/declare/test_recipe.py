from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.declare.recipe import Recipe, Stage
from comp.errors import DeclarationError

STAGE = Stage(size=64, train="all")


def test_three_cycles_of_length_one_doubled_each_time_are_seven_epochs():
    stage = Stage(size=64, train="all", cycles=3, cycle_length=1, cycle_multiplier=2)
    assert stage.cycle_epochs == (1, 2, 4)
    assert stage.epochs == 7


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


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("size", 7, "at least 8"),
        ("size", 4097, "at most 4096"),
        ("size", 64.0, "a whole number"),
        ("size", "64", "a whole number"),
        ("size", True, "a whole number"),
        ("size", None, "a whole number"),
        ("train", "tail", "'head', 'all', or how many of the last layer groups"),
        ("train", None, "'head', 'all', or how many"),
        ("train", ["head"], "'head', 'all', or how many"),
        ("train", 0, "1, 2 or 3"),
        ("train", 4, "1, 2 or 3"),
        ("train", True, "1, 2 or 3"),
        ("cycles", 0, "at least 1"),
        ("cycles", 1.5, "a whole number"),
        ("cycle_length", 0, "at least 1"),
        ("cycle_length", "1", "a whole number"),
        ("cycle_multiplier", 0, "at least 1"),
        ("cycle_multiplier", -2, "at least 1"),
        ("views", 0, "at least 1"),
        ("views", True, "a whole number"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", -1e-3, "above 0"),
        ("learning_rate", "valley", "'find', or a number above 0"),
        ("learning_rate", float("nan"), "a number"),
        ("learning_rate", float("inf"), "a number"),
        ("schedule", "cosine", "one of sgdr, one_cycle"),
        ("cached", 1, "True or False"),
        ("cached", "yes", "True or False"),
    ],
)
def test_a_wrong_field_of_a_stage_is_named_with_what_was_found_and_what_is_right(field, value, wanted):
    with pytest.raises(DeclarationError) as error:
        Stage(**{"size": 64, "train": "head", field: value})
    assert f"Stage: `{field}` is {value!r}" in str(error.value)
    assert wanted in str(error.value)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"train": "all", "cached": True}, "`cached`"),
        ({"train": "head", "views": 2}, "`views`"),
        ({"train": 2, "cached": True}, "`cached`"),
        ({"train": "head", "schedule": "one_cycle", "cycles": 2}, "`cycles`"),
        ({"train": "head", "schedule": "flat_cosine", "cycles": 2}, "`cycles`"),
    ],
)
def test_fields_of_a_stage_that_contradict_each_other_are_named(fields, named):
    with pytest.raises(DeclarationError, match=named):
        Stage(size=64, **fields)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stages", []),
        ("stages", None),
        ("stages", STAGE),
        ("stages", ["head"]),
        ("stages", [STAGE, None]),
        ("backbone", ""),
        ("backbone", None),
        ("pretrained", "yes"),
        ("pretrained", 0),
        ("batch_size", 0),
        ("batch_size", 1),
        ("batch_size", 32.0),
        ("optimizer", "adam"),
        ("optimizer", None),
        ("weight_decay", -0.1),
        ("weight_decay", float("inf")),
        ("dropout", 1),
        ("dropout", -0.1),
        ("dropout", "0.5"),
        ("label_smoothing", 0.6),
        ("label_smoothing", -0.1),
        ("validation", 0),
        ("validation", 0.51),
        ("validation", None),
        ("tta", "all"),
        ("tta", True),
        ("tta_views", 0),
        ("tta_views", 65),
        ("tta_views", 2.0),
    ],
)
def test_a_wrong_field_of_a_recipe_is_named(field, value):
    with pytest.raises(DeclarationError) as error:
        Recipe(**{"stages": [STAGE], field: value})
    assert str(error.value).startswith(f"Recipe: `{field}` is ")


@pytest.mark.parametrize(
    ("stage", "field", "value"),
    [
        ({"train": "head", "cached": True}, "cutmix", 1.0),
        ({"train": "head", "cached": True}, "random_erasing", 0.2),
        ({"train": "head"}, "drop_path", 0.1),
        ({"train": "head"}, "freeze_batch_norm", True),
        ({"train": "head"}, "snapshots", 2),
    ],
)
def test_what_would_do_nothing_in_these_stages_is_refused(stage, field, value):
    with pytest.raises(DeclarationError, match=f"`{field}` is"):
        Recipe(stages=[Stage(size=64, **stage)], **{field: value})


def test_a_head_from_the_pretrained_classifier_needs_pretrained_weights():
    with pytest.raises(DeclarationError, match="`head` is 'pretrained'"):
        Recipe(stages=[STAGE], head="pretrained", pretrained=False)


def test_a_recipe_for_a_cpu_has_none_of_its_own():
    small = Recipe(stages=[STAGE])
    assert Recipe(stages=[STAGE], on_cpu=small).on_cpu == small
    with pytest.raises(DeclarationError, match="`on_cpu` is"):
        Recipe(stages=[STAGE], on_cpu=Recipe(stages=[STAGE], on_cpu=small))


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch_size", 2), ("dropout", 0.95), ("validation", 0.5), ("weight_decay", 0)],
)
def test_values_at_their_bounds_are_taken(field, value):
    recipe = Recipe(**{"stages": [STAGE], field: value})
    assert getattr(recipe, field) == value
