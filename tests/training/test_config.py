import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from comp.console import Console
from comp.data.data_check import checked_tables
from comp.declare.columns import in_table
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named, find_competitions
from comp.declare.recipe import Ensemble, Recipe, Stage
from comp.errors import RunError
from comp.runs import Workspace
from comp.runs.choices import Choices
from comp.runs.resolve import Experiment, from_config, resolve
from comp.submission.outputs import outputs_for
from comp.training.config import config_of, fingerprint
from comp.training.prepared import Prepared

LEARNER = SimpleNamespace(device="cpu", accelerator=SimpleNamespace(mixed_precision="no"))
PLANET = competition_named("planet", REPOSITORY_COMPETITIONS)


@pytest.fixture
def tables(at_home, workspace):
    return checked_tables(at_home, workspace, Console())


@pytest.fixture
def written(tables):
    """The resolved competition and recipe, and the config as read from a file."""

    def write(competition, choices):
        experiment = Experiment.of(competition, choices, Workspace(Path()))
        outputs = outputs_for("single", "cross_entropy", tables.classes, tables.targets)
        prepared = Prepared(experiment, tables, [], [], LEARNER, images=None, outputs=outputs, weights="")
        return resolve(competition, choices), json.loads(json.dumps(config_of(prepared)))

    return write


def test_every_recipe_comes_back_from_a_config_as_it_went_in(written):
    for name in find_competitions(REPOSITORY_COMPETITIONS):
        competition = competition_named(name, REPOSITORY_COMPETITIONS)
        for name, recipe in competition.recipes.items():
            members = len(recipe.members) if isinstance(recipe, Ensemble) else 0
            for recipe in [f"{name}.{number}" for number in range(1, members + 1)] or [name]:
                resolved, config = written(competition, Choices(recipe))
                assert from_config(competition, config) == resolved


def test_what_was_set_by_hand_comes_back_from_a_config(written):
    settings = ("batch_size=7", "stages.size=48", "layer_lr_ratio=5", "augment.max_zoom=1.5", "augment.flips=none")
    resolved, config = written(PLANET, Choices("quick", "resnet18", settings, seed=3, all_data=True))
    assert config["settings"] == list(settings)
    assert (config["seed"], config["all_data"], config["recipe_name"]) == (3, True, "quick")
    back, recipe = from_config(PLANET, config)
    assert (back, recipe) == resolved
    assert (recipe.backbone, recipe.batch_size, {stage.size for stage in recipe.stages}) == ("resnet18", 7, {48})
    assert (back.layer_lr_ratio, back.augment.max_zoom, back.augment.flips) == (5, 1.5, "none")


def test_a_config_has_the_versions_of_what_decodes_and_the_code_of_what_makes_predictions(written):
    _, config = written(PLANET, Choices("quick"))
    assert {"pillow", "opencv-python-headless", "pydicom"} < set(config["versions"])
    assert {"comp/training", "comp/data", "comp/submission/outputs"} < set(config["source"])


def test_a_config_has_relative_sizes_in_pixels_and_as_they_were_declared(written):
    resolved, config = written(PLANET, Choices("quick", "test_vit", ("stages.size=96", "stages.1.size=native")))
    assert config["recipe"]["stages"][0]["size"] == 160
    assert config["relative_sizes"] == {"1": "native"}
    assert from_config(PLANET, config) == resolved
    assert "relative_sizes" not in written(PLANET, Choices("quick", "test_vit", ("stages.size=96",)))[1]


def test_a_config_goes_before_what_was_declared_since(written):
    resolved, config = written(PLANET, Choices("quick"))
    changed = replace(
        PLANET,
        layer_lr_ratio=9,
        augment=replace(PLANET.augment, max_zoom=3.0),
        recipes={"standard": PLANET.recipes["standard"]},
    )
    back, recipe = from_config(changed, config)
    assert (back.layer_lr_ratio, back.augment, recipe) == (PLANET.layer_lr_ratio, PLANET.augment, resolved[1])


def test_functions_are_recorded_by_name_and_taken_from_the_declaration(written):
    def strong(size):
        raise NotImplementedError

    def flat(step, steps):
        raise NotImplementedError

    quick = PLANET.recipes["quick"]
    quick = replace(quick, stages=[replace(stage, schedule=flat) for stage in quick.stages])
    competition = replace(PLANET, augment=replace(PLANET.augment, pipeline=strong), recipes={"standard": quick})
    resolved, config = written(competition, Choices())
    assert "strong" in config["augment"]["pipeline"]["function"]
    assert "flat" in config["recipe"]["stages"][0]["schedule"]["function"]
    assert from_config(competition, config) == resolved


@pytest.mark.parametrize(
    "break_it",
    [lambda c: c.pop("recipe"), lambda c: c["recipe"].update(learning_rates=3), lambda c: c["recipe"].update(head=3)],
)
def test_a_config_of_another_version_is_an_error(written, break_it):
    _, config = written(PLANET, Choices("quick"))
    break_it(config)
    with pytest.raises(RunError, match="of another version of comp"):
        from_config(PLANET, config)


@pytest.mark.parametrize(("gpu", "size"), [(False, 64), (True, 128)])
def test_a_recipe_has_its_form_for_a_cpu_where_there_is_no_gpu(monkeypatch, written, gpu, size):
    small, large = (Recipe(stages=[Stage(size=pixels, train="head")]) for pixels in (64, 128))
    competition = replace(PLANET, recipes={"standard": replace(large, on_cpu=small)})
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    resolved, config = written(competition, Choices())
    assert (resolved[1].stages[0].size, resolved[1].on_cpu) == (size, None)
    assert from_config(competition, config) == resolved


def test_the_fingerprint_of_data_changes_with_ids_labels_and_files_of_the_same_size_and_not_with_their_place(
    at_home, workspace, tmp_path
):
    path = workspace.data("shades") / "test" / "q03.png"
    path.write_bytes(path.read_bytes() + b"\0")
    tables = checked_tables(at_home, workspace, Console())
    before, moved = fingerprint(tables), Workspace(tmp_path / "elsewhere")
    workspace.folder.rename(moved.folder)
    assert fingerprint(checked_tables(at_home, moved, Console())) == before
    path = moved.data("shades") / "test" / "q03.png"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    relabelled = tables.train.assign(label=["blue", *tables.train["label"][1:]])
    others = replace(tables, train=relabelled), replace(tables, test=tables.test.iloc[1:])
    assert before not in map(fingerprint, [*others, checked_tables(at_home, moved, Console())])


def test_the_fingerprint_of_what_is_predicted_knows_neither_columns_nor_images_that_only_train(at_home, workspace):
    tables = checked_tables(at_home, workspace, Console())
    train, predicted = tables.train, partial(fingerprint, predicted=True)
    extra = train.iloc[:3].assign(id=["x1", "x2", "x3"], content=["1", "2", "3"], validates=False)
    with_extra = replace(
        tables, train=pd.concat([train.assign(validates=None), extra], ignore_index=True), data_check=None
    )
    with_columns = replace(tables, train=train.assign(**{in_table("age"): 1.0}))
    relabelled = replace(tables, train=train.assign(label=["blue", *train["label"][1:]]))
    assert len({fingerprint(one) for one in (tables, with_extra, with_columns, relabelled)}) == 4
    assert predicted(tables) == predicted(with_extra) == predicted(with_columns) != predicted(relabelled)
