from dataclasses import fields, replace

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
    ("setting", "expected"),
    [
        ("batch_size=16", 16),
        ("weight_decay=1e-3", 0.001),
        ("weight_decay=0", 0.0),
        ("pretrained=false", False),
        ("optimizer=sgd", "sgd"),
        ("backbone=resnet18=x", "resnet18=x"),
        (" batch_size =16", 16),
        ("stages.2.size=128", [64, 128]),
        ("stages.2.size=128x96", [64, (128, 96)]),
        ("stages.1.learning_rate=0.5", [0.5, "find"]),
        ("stages.2.schedule=one_cycle", ["sgdr", "one_cycle"]),
        ("stages.2.train=2", ["head", 2]),
        ("stages.2.batch_size=16", [None, 16]),
        ("stages.size=32", [32, 32]),
    ],
)
def test_a_field_takes_the_value_that_is_written_and_the_others_stay_as_they_are(planet, setting, expected):
    competition, recipe = apply_overrides(planet, RECIPE, [setting])
    field = setting.partition("=")[0].strip().rpartition(".")[2]
    if "stages" in setting:
        stages = [replace(stage, **{field: value}) for stage, value in zip(RECIPE.stages, expected, strict=True)]
        assert recipe == replace(RECIPE, stages=stages)
    else:
        assert recipe == replace(RECIPE, **{field: expected})
        assert type(getattr(recipe, field)) is type(expected)
    assert competition == planet


@pytest.mark.parametrize(
    ("settings", "read", "expected"),
    [
        (["stages.1.views=1", "stages.1.cached=no"], lambda recipe: recipe.stages[0], Stage(size=64, train="head")),
        (["snapshots=2", "stages.2.cycles=2"], lambda recipe: recipe.snapshots, 2),
        (["head=pretrained", "pretrained=true"], lambda recipe: recipe.head, "pretrained"),
    ],
)
def test_settings_that_need_each_other_are_taken_together(planet, settings, read, expected):
    before = replace(RECIPE, pretrained=False)
    _, recipe = apply_overrides(planet, before, settings)
    assert read(recipe) == expected
    assert apply_overrides(planet, before, settings[::-1]) == (planet, recipe)


def test_settings_that_contradict_each_other_are_all_named(planet):
    with pytest.raises(OverrideError, match=r"--set stages.1.cached=no --set stages.1.size=32: Stage: `views` is 2"):
        apply_overrides(planet, RECIPE, ["stages.1.cached=no", "stages.1.size=32"])


def test_the_competition_s_layer_rates_and_augmentations_can_be_set(planet):
    competition, recipe = apply_overrides(
        planet, RECIPE, ["layer_lr_ratio=7", "augment.max_zoom=1.3", "augment.flips=none"]
    )
    assert competition.layer_lr_ratio == 7
    assert (competition.augment.max_zoom, competition.augment.flips) == (1.3, "none")
    assert competition.augment.max_light == planet.augment.max_light
    assert recipe == RECIPE


def test_a_stage_s_own_setting_goes_before_that_of_all_and_a_later_one_before_an_earlier(planet):
    settings = ["stages.2.size=48", "stages.size=32", "batch_size=8", "batch_size=9"]
    _, recipe = apply_overrides(planet, RECIPE, settings)
    assert [stage.size for stage in recipe.stages] == [32, 48]
    assert recipe.batch_size == 9


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("batch_size=many", "Recipe: `batch_size` is 'many'"),
        ("batch_size=", "`batch_size` is ''"),
        ("weight_decay=nan", "`weight_decay` is nan"),
        ("stages.1.size=big", "Stage: `size` is 'big'"),
        ("layer_lr_ratio=ten", "Competition: `layer_lr_ratio` is 'ten'"),
        ("augment.max_zoom=far", "Viewpoint: `max_zoom` is 'far'"),
        ("stages.2.views=2", "`views` is 2"),
        ("batch-size=16", "no field 'batch-size'; did you mean batch_size=16?"),
        ("stages.2.sizes=96", "no field 'sizes'; did you mean stages.2.size=96?"),
        ("augment.zoom=2", "no field 'zoom'; did you mean augment.max_zoom=2?"),
        ("kaggle=other", "no field 'kaggle'; there are accumulation"),
        ("metric=accuracy", "Competition: `metric` is 'accuracy'"),
        ("=3", "no field ''"),
        ("learning_rate=1e-3", "write stages.learning_rate=1e-3 for all of them, or stages.1.learning_rate=1e-3"),
        ("epocs=3", "'epocs' is 'cycle_length' of the stages; write stages.cycle_length=3"),
        ("epochs=3", "write stages.cycle_length=3 for all of them"),
        ("LR=0.1", "write stages.learning_rate=0.1 for all of them"),
        ("bs=16", "did you mean batch_size=16?"),
        ("stages.2.lr=0.1", "did you mean stages.2.learning_rate=0.1?"),
        ("stages.epochs=3", "did you mean stages.cycle_length=3?"),
        ("stages.3.size=96", "stages are numbered 1 to 2"),
        ("stages.1=96", "stages are numbered 1 to 2"),
        ("stages[1].size=96", "numbered from 1, after a point, as in stages.1.size=96"),
        ("optimizer_options=1", "'optimizer_options' can't be set as a whole"),
        ("augment.pipeline=mine", "'pipeline' can't be set"),
        ("batch_size.more=1", "'batch_size' has no fields of its own"),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_the_setting_and_what_was_found(planet, setting, named):
    with pytest.raises(OverrideError) as raised:
        apply_overrides(planet, RECIPE, [setting])
    message = str(raised.value)
    assert message.startswith(f"--set {setting}: ")
    assert named in message
    assert "\n" not in message


@pytest.mark.parametrize("part", [Recipe, Stage], ids=["recipe", "stage"])
def test_nonsense_in_any_field_gets_the_declaration_s_own_sentence(planet, part):
    for field in fields(part):
        if field.name in ("stages", "on_cpu", "backbone", "optimizer", "optimizer_options"):
            continue
        setting = f"{'stages.2.' if part is Stage else ''}{field.name}=nonsense"
        with pytest.raises(OverrideError) as raised:
            apply_overrides(planet, RECIPE, [setting])
        start = f"--set {setting}: {part.__name__}: `{field.name}` is 'nonsense', but it should be "
        assert str(raised.value).startswith(start)


def test_a_setting_without_an_equals_sign_is_told_what_is_wanted(planet):
    with pytest.raises(OverrideError, match=r"field=value.*'batch_size'"):
        apply_overrides(planet, RECIPE, ["batch_size"])


@pytest.mark.parametrize(("cycles", "needed"), [(1, False), (3, True)])
def test_epochs_of_several_cycles_are_told_to_make_one_of_them(planet, cycles, needed):
    several = replace(RECIPE, stages=[replace(RECIPE.stages[0], cycles=cycles), RECIPE.stages[1]])
    with pytest.raises(OverrideError) as raised:
        apply_overrides(planet, several, ["epochs=3"])
    assert ("stages.cycles=1" in str(raised.value)) == needed
