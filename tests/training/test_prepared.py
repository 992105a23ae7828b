"""Before the first step: the rows that validate, and errors in a declaration."""

from dataclasses import replace

import numpy as np
import pytest
from albumentations import Resize

from comp.data.tables import read_tables
from comp.declare.labels.function import LabelFunction
from comp.declare.recipe import Stage
from comp.errors import DataError, DeclarationError
from comp.runs.choices import Choices
from comp.training.prepared import which_validate
from tests.training.conftest import HEAD


@pytest.mark.parametrize("folds", [{}, {"folds": 3, "fold": 2}])
def test_seeds_that_share_a_seed_for_the_split_have_the_same(shades, folds):
    tables, recipe = read_tables(shades.competition, shades.files), shades.competition.recipes["standard"]
    theirs, first, second = (
        which_validate(tables, recipe, Choices(seed=seed, split_seed=split, **folds))
        for seed, split in ((7, None), (0, 7), (1, 7))
    )
    assert (first == theirs).all()
    assert (second == theirs).all()
    assert (which_validate(tables, recipe, Choices(**folds)) != theirs).any()


def test_rows_that_a_label_function_says_only_train_validate_in_no_split_and_no_fold(shades):
    def pseudo_labelled(folder, validates=lambda number: None):
        table = shades.competition.labels.read(folder)
        return table.assign(validates=[False if row % 4 == 0 else validates(row) for row in range(len(table))])

    def given(folder):
        return pseudo_labelled(folder, lambda row: row % 4 == 1 or None)

    recipe, only_train = shades.competition.recipes["standard"], np.arange(36) % 4 == 0
    for function in (pseudo_labelled, given):
        competition = replace(shades.competition, labels=LabelFunction(function))
        tables = read_tables(competition, shades.files)
        folds = [which_validate(tables, recipe, Choices(folds=3, fold=fold)) for fold in (1, 2, 3)]
        assert np.array_equal(sum(fold.astype(int) for fold in folds), ~only_train)
        one = which_validate(tables, recipe, Choices())
        assert one.any()
        assert not one[only_train].any()
    assert np.array_equal(one, np.arange(36) % 4 == 1)


def test_a_single_image_is_too_few_to_train_on(with_stages, preparing):
    alone = with_stages(HEAD, balance=lambda targets: np.arange(len(targets)) == 0)
    with pytest.raises(DataError, match="Only 1 image would train, but at least 2 are needed"):
        preparing(alone)


def test_views_of_one_s_own_are_tried_at_the_size_that_is_predicted_at(begin):
    stages = [Stage(size=size, train="head", learning_rate=1e-2) for size in (16, 24)]
    assert begin(*stages, tta=lambda size: [Resize(24, 24)]).run.folder.is_dir()
    with pytest.raises(DeclarationError, match=r"`tta` gave .*\(16, 16, 3\)"):
        begin(*stages, tta=lambda size: [Resize(16, 16)])


@pytest.mark.parametrize(
    ("mixing", "said"),
    [
        (lambda images, targets: images, r"should return images \(8, 3, 16, 16\) and targets \(8, 3\)"),
        (lambda images, targets: (images, targets[:4]), r"should return images \(8, 3, 16, 16\) and targets \(8, 3\)"),
        (lambda images, targets: 1 / 0, "raises ZeroDivisionError"),
    ],
)
def test_a_mixing_of_one_s_own_is_tried_before_a_training(begin, mixing, said):
    with pytest.raises(DeclarationError, match=f"Recipe: `mixing` <lambda> {said}"):
        begin(Stage(size=16, train="head", learning_rate=1e-2), mixing=mixing)


def test_a_rule_over_rows_is_tried_before_a_training_and_not_when_tables_are_read(shades, at_home, preparing):
    tried = []

    def wrong(table):
        tried.append(list(table.index))
        return table if len(tried) == 1 else None

    competition = replace(at_home, postprocess=wrong)
    tables = read_tables(competition, shades.files)
    assert tried == []
    with pytest.raises(DeclarationError, match="`postprocess`"):
        preparing(competition)
    validates = which_validate(tables, competition.recipes["standard"], Choices())
    assert tried == [tables.train["id"][validates].to_list(), tables.test["id"].to_list()]
