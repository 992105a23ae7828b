import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from comp.data.tables import read_tables
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named, find_competitions
from comp.declare.recipe import Recipe, Stage
from comp.errors import OverrideError, RunError
from comp.runs.resolve import Choices, fingerprint, from_config, resolve, to_config

NAMES = sorted(find_competitions(REPOSITORY_COMPETITIONS))


def named(name):
    return competition_named(name, REPOSITORY_COMPETITIONS)


@pytest.fixture
def tables(shades):
    return read_tables(shades.competition, shades.files)


def written(competition, choices, tables):
    """The config as it comes out of a file."""
    resolved = resolve(competition, choices)
    return resolved, json.loads(json.dumps(to_config(*resolved, choices, tables, "cpu", "no")))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_comes_back_from_a_config_as_it_went_in(name, tables):
    competition = named(name)
    for recipe in competition.recipes:
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


def test_a_pipeline_of_one_s_own_is_recorded_by_name_and_taken_from_the_declaration(tables):
    def strong(size):
        raise NotImplementedError

    competition = replace(named("planet"), augment=replace(named("planet").augment, pipeline=strong))
    _, config = written(competition, Choices("quick"), tables)
    assert config["augment"]["pipeline"].endswith("strong")
    assert from_config(competition, config)[0].augment.pipeline is strong


@pytest.mark.parametrize("break_it", [lambda c: c.pop("recipe"), lambda c: c["recipe"].update(learning_rates=3)])
def test_a_config_of_another_version_is_an_error(tables, break_it):
    _, config = written(named("planet"), Choices("quick"), tables)
    break_it(config)
    with pytest.raises(RunError, match="of another version of comp"):
        from_config(named("planet"), config)


def test_an_unknown_recipe_is_told_which_there_are():
    with pytest.raises(OverrideError) as raised:
        resolve(named("planet"), Choices("fast"))
    assert str(raised.value).startswith("planet has no recipe 'fast'; it has quick, standard")


@pytest.mark.parametrize(("gpu", "size"), [(False, 64), (True, 128)])
def test_a_recipe_has_its_form_for_a_cpu_where_there_is_no_gpu(monkeypatch, tables, gpu, size):
    small, large = (Recipe(stages=[Stage(size=pixels, train="head")]) for pixels in (64, 128))
    competition = replace(named("planet"), recipes={"standard": replace(large, on_cpu=small)})
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    resolved, config = written(competition, Choices(), tables)
    assert resolved[1].stages[0].size == size
    assert resolved[1].on_cpu is None
    assert from_config(competition, config) == resolved


def test_a_local_backbone_is_recorded_with_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, recipe = resolve(named("planet"), Choices(backbone="local-dir:weights/../mine"))
    assert recipe.backbone == f"local-dir:{tmp_path.resolve() / 'mine'}"
    _, recipe = resolve(named("planet"), Choices(settings=("backbone=local-dir:~/mine",)))
    assert recipe.backbone == f"local-dir:{Path.home().resolve() / 'mine'}"


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


def test_a_recipe_for_a_machine_without_a_gpu_is_chosen_without_torch_where_there_is_no_device():
    code = (
        "import sys; from comp.runs import resolve; resolve.DEVICES = ();"
        "print(resolve.has_gpu(), 'torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = "False False" if sys.platform == "linux" else "False True"
    assert ended.stdout.split() == expected.split()
