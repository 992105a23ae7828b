import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from comp.data.tables import read_tables
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named, find_competitions
from comp.declare.recipe import Ensemble, Recipe, Stage
from comp.errors import RunError
from comp.runs import Workspace
from comp.runs.resolve import Choices, Experiment, from_config, resolve
from comp.submission.outputs import outputs_for
from comp.training.config import config_of, fingerprint
from comp.training.prepared import Prepared

NAMES = sorted(find_competitions(REPOSITORY_COMPETITIONS))
LEARNER = SimpleNamespace(device="cpu", accelerator=SimpleNamespace(mixed_precision="no"))


def named(name):
    return competition_named(name, REPOSITORY_COMPETITIONS)


@pytest.fixture
def tables(shades):
    return read_tables(shades.competition, shades.files)


def written(competition, choices, tables):
    """The config as it comes out of a file."""
    resolved = resolve(competition, choices)
    experiment = Experiment.of(competition, choices, Workspace(Path()))
    outputs = outputs_for("single", "cross_entropy", tables.classes, tables.targets)
    prepared = Prepared(experiment, tables, [], [], LEARNER, images=None, outputs=outputs, weights="")
    return resolved, json.loads(json.dumps(config_of(prepared)))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_comes_back_from_a_config_as_it_went_in(name, tables):
    competition = named(name)
    for name, recipe in competition.recipes.items():
        members = len(recipe.members) if isinstance(recipe, Ensemble) else 0
        for recipe in [f"{name}.{number}" for number in range(1, members + 1)] or [name]:
            resolved, config = written(competition, Choices(recipe), tables)
            assert from_config(competition, config) == resolved


def test_what_was_set_by_hand_comes_back_from_a_config(tables):
    competition = named("planet")
    settings = ("batch_size=7", "stages.size=48", "layer_lr_ratio=5", "augment.max_zoom=1.5", "augment.flips=none")
    resolved, config = written(competition, Choices("quick", "resnet18", settings, seed=3, all_data=True), tables)
    assert config["settings"] == list(settings)
    assert (config["seed"], config["all_data"], config["recipe_name"]) == (3, True, "quick")
    back, recipe = from_config(competition, config)
    assert (back, recipe) == resolved
    assert (recipe.backbone, recipe.batch_size, {stage.size for stage in recipe.stages}) == ("resnet18", 7, {48})
    assert (back.layer_lr_ratio, back.augment.max_zoom, back.augment.flips) == (5, 1.5, "none")


def test_a_config_has_relative_sizes_in_pixels_and_as_they_were_declared(tables):
    choices = Choices("quick", "test_vit", ("stages.size=96", "stages.1.size=native"))
    resolved, config = written(named("planet"), choices, tables)
    assert config["recipe"]["stages"][0]["size"] == 160
    assert config["relative_sizes"] == {"1": "native"}
    assert from_config(named("planet"), config) == resolved
    _, config = written(named("planet"), Choices("quick", "test_vit", ("stages.size=96",)), tables)
    assert "relative_sizes" not in config


def test_a_config_goes_before_what_was_declared_since(tables):
    competition = named("planet")
    resolved, config = written(competition, Choices("quick"), tables)
    augment = replace(competition.augment, max_zoom=3.0)
    changed = replace(
        competition, layer_lr_ratio=9, augment=augment, recipes={"standard": competition.recipes["standard"]}
    )
    back, recipe = from_config(changed, config)
    assert (back.layer_lr_ratio, back.augment) == (competition.layer_lr_ratio, competition.augment)
    assert recipe == resolved[1]


def test_functions_are_recorded_by_name_and_taken_from_the_declaration(tables):
    def strong(size):
        raise NotImplementedError

    def flat(step, steps):
        raise NotImplementedError

    planet = named("planet")
    quick = planet.recipes["quick"]
    quick = replace(quick, stages=[replace(stage, schedule=flat) for stage in quick.stages])
    competition = replace(planet, augment=replace(planet.augment, pipeline=strong), recipes={"standard": quick})
    resolved, config = written(competition, Choices(), tables)
    assert "strong" in config["augment"]["pipeline"]["function"]
    assert "flat" in config["recipe"]["stages"][0]["schedule"]["function"]
    assert from_config(competition, config) == resolved


@pytest.mark.parametrize(
    "break_it",
    [lambda c: c.pop("recipe"), lambda c: c["recipe"].update(learning_rates=3), lambda c: c["recipe"].update(head=3)],
)
def test_a_config_of_another_version_is_an_error(tables, break_it):
    _, config = written(named("planet"), Choices("quick"), tables)
    break_it(config)
    with pytest.raises(RunError, match="of another version of comp"):
        from_config(named("planet"), config)


@pytest.mark.parametrize(("gpu", "size"), [(False, 64), (True, 128)])
def test_a_recipe_has_its_form_for_a_cpu_where_there_is_no_gpu(monkeypatch, tables, gpu, size):
    small, large = (Recipe(stages=[Stage(size=pixels, train="head")]) for pixels in (64, 128))
    competition = replace(named("planet"), recipes={"standard": replace(large, on_cpu=small)})
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    resolved, config = written(competition, Choices(), tables)
    assert resolved[1].stages[0].size == size
    assert resolved[1].on_cpu is None
    assert from_config(competition, config) == resolved


def test_the_fingerprint_of_data_changes_with_ids_labels_and_file_sizes(shades, tables):
    same = read_tables(shades.competition, shades.files)
    assert fingerprint(same) == fingerprint(tables)
    relabelled = tables.train.assign(label=["blue", *tables.train["label"][1:]])
    assert fingerprint(replace(tables, train=relabelled)) != fingerprint(tables)
    assert fingerprint(replace(tables, test=tables.test.iloc[1:])) != fingerprint(tables)
    before = fingerprint(tables)
    path = Path(tables.test["path"][3])
    path.write_bytes(path.read_bytes() + b"\0")
    assert fingerprint(tables) != before


def test_the_fingerprint_does_not_depend_on_where_the_data_lies(shades, tables, tmp_path):
    before = fingerprint(tables)
    moved = shades.files.rename(tmp_path / "elsewhere")
    assert fingerprint(read_tables(shades.competition, moved)) == before
