from dataclasses import fields

import pytest

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.overrides import apply_overrides
from comp.declare.recipe import Recipe, Stage
from comp.errors import OverrideError

RECIPE = Recipe(stages=[Stage(size=64, train="head", cached=True, views=2), Stage(size=96, train="all")])


@pytest.fixture(scope="module")
def planet():
    return competition_named("planet", REPOSITORY_COMPETITIONS)


@pytest.mark.parametrize(
    ("setting", "read", "expected"),
    [
        ("batch_size=16", lambda recipe: recipe.batch_size, 16),
        ("weight_decay=1e-3", lambda recipe: recipe.weight_decay, 0.001),
        ("weight_decay=0", lambda recipe: recipe.weight_decay, 0.0),
        ("pretrained=false", lambda recipe: recipe.pretrained, False),
        ("pretrained=True", lambda recipe: recipe.pretrained, True),
        ("optimizer=sgd", lambda recipe: recipe.optimizer, "sgd"),
        ("tta=none", lambda recipe: recipe.tta, "none"),
        ("backbone=resnet18=x", lambda recipe: recipe.backbone, "resnet18=x"),
        (" batch_size =16", lambda recipe: recipe.batch_size, 16),
        ("stages.2.size=128", lambda recipe: [stage.size for stage in recipe.stages], [64, 128]),
        ("stages.1.learning_rate=0.5", lambda recipe: [stage.learning_rate for stage in recipe.stages], [0.5, "find"]),
        (
            "stages.2.schedule=one_cycle",
            lambda recipe: [stage.schedule for stage in recipe.stages],
            ["sgdr", "one_cycle"],
        ),
        (
            "stages.learning_rate=find",
            lambda recipe: [stage.learning_rate for stage in recipe.stages],
            ["find", "find"],
        ),
        ("stages.2.train=2", lambda recipe: [stage.train for stage in recipe.stages], ["head", 2]),
        ("stages.size=32", lambda recipe: [stage.size for stage in recipe.stages], [32, 32]),
    ],
)
def test_a_field_takes_the_value_that_is_written(planet, setting, read, expected):
    competition, recipe = apply_overrides(planet, RECIPE, [setting])
    assert read(recipe) == expected
    assert type(read(recipe)) is type(expected)
    assert competition == planet


def test_settings_that_need_each_other_are_given_one_after_the_other(planet):
    with pytest.raises(OverrideError, match="`views` is 2"):
        apply_overrides(planet, RECIPE, ["stages.1.cached=no"])
    _, recipe = apply_overrides(planet, RECIPE, ["stages.1.views=1", "stages.1.cached=no"])
    assert recipe.stages[0] == Stage(size=64, train="head")


def test_other_fields_stay_as_they_are(planet):
    _, recipe = apply_overrides(planet, RECIPE, ["stages.2.size=128", "dropout=0.25"])
    assert recipe == Recipe(stages=[RECIPE.stages[0], Stage(size=128, train="all")], dropout=0.25)


def test_the_competition_s_layer_rates_and_augmentations_can_be_set(planet):
    competition, recipe = apply_overrides(
        planet, RECIPE, ["layer_lr_ratio=7", "augment.max_zoom=1.3", "augment.flips=none"]
    )
    assert competition.layer_lr_ratio == 7
    assert (competition.augment.max_zoom, competition.augment.flips) == (1.3, "none")
    assert competition.augment.max_light == planet.augment.max_light
    assert recipe == RECIPE


def test_later_settings_go_before_earlier_ones(planet):
    _, recipe = apply_overrides(planet, RECIPE, ["stages.size=32", "stages.2.size=48", "batch_size=8", "batch_size=9"])
    assert [stage.size for stage in recipe.stages] == [32, 48]
    assert recipe.batch_size == 9


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("batch_size=many", "Recipe: `batch_size` is 'many', but it should be a whole number at least 2."),
        ("batch_size=1.5", "Recipe: `batch_size` is '1.5', but it should be a whole number at least 2."),
        ("batch_size=", "Recipe: `batch_size` is '', but it should be a whole number at least 2."),
        ("batch_size=0", "`batch_size` is 0, but it should be a whole number at least 2"),
        ("weight_decay=much", "Recipe: `weight_decay` is 'much', but it should be a number at least 0."),
        ("weight_decay=nan", "`weight_decay` is nan, but it should be a number at least 0"),
        ("dropout=2", "`dropout` is 2.0, but it should be a number at least 0 and at most 0.95"),
        ("pretrained=perhaps", "Recipe: `pretrained` is 'perhaps', but it should be True or False."),
        ("optimizer=adam", "Recipe: `optimizer` is 'adam', but it should be one of adamw, sgd."),
        ("stages.1.size=big", "Stage: `size` is 'big', but it should be a whole number at least 8 and at most 4096."),
        (
            "stages.2.learning_rate=fast",
            "Stage: `learning_rate` is 'fast', but it should be 'find', or a number above 0.",
        ),
        ("stages.2.train=tail", "Stage: `train` is 'tail', but it should be 'head', 'all', or how many of the last"),
        ("layer_lr_ratio=ten", "Competition: `layer_lr_ratio` is 'ten', but it should be a number at least 1."),
        ("augment.max_zoom=far", "Viewpoint: `max_zoom` is 'far', but it should be a number at least 1 and at most 4."),
        ("stages.size=4", "`size` is 4, but it should be a whole number at least 8"),
        ("stages.2.views=2", "`views` is 2, but it should be 1 without `cached`"),
        ("layer_lr_ratio=0.5", "`layer_lr_ratio` is 0.5, but it should be a number at least 1"),
        ("augment.flips=sideways", "`flips` is 'sideways', but it should be one of none, horizontal, dihedral."),
        (
            "batch-size=16",
            "there is no field 'batch-size'; did you mean 'batch_size'? There are accumulation, backbone, balance,",
        ),
        (
            "stages.2.sizes=96",
            "there is no field 'sizes'; did you mean 'size'? There are cached, cycle_length, cycle_multiplier, cycles,",
        ),
        (
            "augment.zoom=2",
            "there is no field 'zoom'; did you mean 'max_zoom'? There are flips, max_light, max_rotation, max_zoom,",
        ),
        ("metric=accuracy", "there is no field 'metric'; there are accumulation"),
        ("=3", "there is no field ''"),
        (
            "learning_rate=1e-3",
            "'learning_rate' is a field of the stages; write stages.learning_rate=1e-3 for all of them",
        ),
        ("stages.3.size=96", "stages are numbered 1 to 2, as in stages.1.size=96"),
        ("stages.0.size=96", "stages are numbered 1 to 2, as in stages.1.size=96"),
        ("stages.1=96", "stages are numbered 1 to 2, as in stages.1.size=96"),
        ("stages=96", "'stages' can't be set as a whole; set one of its fields"),
        ("augment=side_on", "'augment' can't be set as a whole; set one of its fields"),
        ("augment.pipeline=mine", "'pipeline' can't be set"),
        ("batch_size.more=1", "'batch_size' has no fields of its own"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_setting_found_and_right(planet, setting, says):
    with pytest.raises(OverrideError) as raised:
        apply_overrides(planet, RECIPE, [setting])
    message = str(raised.value)
    assert message.startswith(f"--set {setting}: ")
    assert says in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("part", [Recipe, Stage], ids=["recipe", "stage"])
def test_nonsense_in_any_field_gets_the_declaration_s_own_sentence(planet, part):
    for field in fields(part):
        if field.name in ("stages", "on_cpu", "backbone"):
            continue
        setting = f"{'stages.2.' if part is Stage else ''}{field.name}=nonsense"
        with pytest.raises(OverrideError) as raised:
            apply_overrides(planet, RECIPE, [setting])
        start = f"--set {setting}: {part.__name__}: `{field.name}` is 'nonsense', but it should be "
        assert str(raised.value).startswith(start)


def test_a_setting_without_an_equals_sign_is_told_what_is_wanted(planet):
    with pytest.raises(OverrideError) as raised:
        apply_overrides(planet, RECIPE, ["batch_size"])
    assert str(raised.value) == "--set takes field=value, but 'batch_size' was given."
