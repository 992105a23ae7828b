import shlex

import pytest

from comp.report.reproducing import command_of

STAGE = {"size": 64, "train": "head", "learning_rate": "find"}
CONFIG = {
    "command": "comp run digits",
    "competition": "digits",
    "recipe_name": "quick",
    "recipe": {"backbone": "local-dir:/weights of mine", "stages": [STAGE]},
    "settings": ["batch_size=32", "stages.1.size=64"],
    "seed": 7,
    "all_data": False,
    "folds": None,
    "fold": None,
    "like": None,
}


def test_a_command_leaves_nothing_to_what_is_usual():
    assert shlex.split(command_of(CONFIG)) == [
        *("comp", "run", "digits", "--recipe", "quick", "--backbone", "local-dir:/weights of mine", "--seed", "7"),
        *("--set", "batch_size=32", "--set", "stages.1.size=64"),
    ]


def test_folds_and_all_data_are_named():
    assert command_of({**CONFIG, "folds": 5, "fold": 2}).endswith("--folds 5 --fold 2")
    assert command_of({**CONFIG, "all_data": True}).endswith("--all-data")


def test_what_was_trained_like_another_run_names_it_and_neither_recipe_nor_backbone():
    words = shlex.split(command_of({**CONFIG, "like": "digits/quick-1", "all_data": True}))
    assert words[3:5] == ["--like", "digits/quick-1"]
    assert "--recipe" not in words
    assert "--backbone" not in words


def test_a_joined_run_or_an_ensemble_is_made_of_its_members():
    folds = {"members": ["digits/a-1", "digits/a-2"], "kind": "folds"}
    assert command_of(folds) == "comp join digits/a-1 digits/a-2"
    assert command_of({**folds, "kind": "ensemble", "how": "mean"}) == "comp ensemble digits/a-1 digits/a-2 --how mean"


def test_a_rate_that_was_found_is_the_recipe_s_and_stages_by_hand_are_no_command():
    assert command_of(CONFIG, {"stages": [{**STAGE, "learning_rate": 0.01}]}) == command_of(CONFIG)
    assert command_of(CONFIG, {"stages": [{**STAGE, "size": 32}]}) is None
    assert command_of(CONFIG, {"stages": [STAGE, STAGE]}) is None


@pytest.mark.parametrize("rate", [0.02, "find"])
def test_a_declared_rate_must_be_the_one_that_was_trained_at(rate):
    declared = {**CONFIG, "recipe": {**CONFIG["recipe"], "stages": [{**STAGE, "learning_rate": 0.01}]}}
    assert command_of(declared, {"stages": [{**STAGE, "learning_rate": rate}]}) is None
    assert command_of(declared, {"stages": [{**STAGE, "learning_rate": 0.01}]}) is not None
