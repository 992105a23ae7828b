from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from comp.console import Console
from comp.data.tables import read_tables
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import View, side_on, top_down, upright
from comp.training.backbone import build_classifier, expectations
from comp.training.inputs import Images, tta_views
from comp.training.learner import Learner
from comp.training.losses import Objective

HEAD = Stage(size=16, train="head", cached=True, views=2)
RECIPE = Recipe(backbone="test_resnet", pretrained=False, batch_size=4, stages=[HEAD])


def learner_of(recipe=RECIPE, weights=0):
    torch.manual_seed(weights)
    model = build_classifier(recipe.backbone, pretrained=False, dropout=0.0, prior=np.zeros(3))
    return Learner(model, recipe, 10, Objective("cross_entropy", one_of=True))


@pytest.fixture
def tables(shades):
    return read_tables(shades.competition, shades.files)


@pytest.fixture
def images(tables, tmp_path):
    expected = expectations(learner_of().model.backbone)
    return Images(tables.train["path"].array, expected, side_on(), 0, tmp_path / "cache", Console())


def cached(images):
    return len(list((images.cache / "features").iterdir()))


def whole(batches):
    return np.concatenate(list(batches))


def test_features_are_those_that_the_backbone_gives_each_image_alone(images):
    learner = learner_of()
    features = images.features(learner, 16, (View(), View(4)))
    assert features.shape == (36, 2, learner.model.backbone.num_features)
    pixels = torch.from_numpy(np.stack([images.dataset(16, seed=0)[row, (View(), View(4))][1] for row in (0, 17, 35)]))
    learner.model.eval()
    with torch.inference_mode():
        alone = [learner.model.features(views).numpy() for views in pixels]
    assert np.allclose(features[[0, 17, 35]], alone, atol=1e-5)
    assert not np.allclose(features[:, 0], features[:, 1], atol=1e-3)


def test_features_are_found_again_and_only_where_all_is_the_same(images, capsys):
    learner, plain = learner_of(), (View(),)
    first = images.features(learner, 16, plain)
    assert "found in the cache" not in capsys.readouterr().out
    assert np.array_equal(images.features(learner_of(), 16, plain), first)
    assert "features of 36 images at 16 px: found in the cache" in capsys.readouterr().out
    assert cached(images) == 1
    for made in (
        lambda: images.features(learner_of(weights=1), 16, plain),
        lambda: images.features(learner, 24, plain),
        lambda: images.features(learner, 16, (View(4),)),
        lambda: images.only(np.arange(8)).features(learner, 16, plain),
        lambda: images.only(np.arange(36)[::-1]).features(learner, 16, plain),
    ):
        before = cached(images)
        made()
        assert cached(images) == before + 1


def test_seed_and_viewpoint_make_other_features_only_of_random_views(images):
    learner, fixed, drawn = learner_of(), (View(),), (View(draw=0),)
    images.features(learner, 16, fixed)
    images.features(learner, 16, drawn)
    other = Images(images.paths, images.expected, side_on(max_zoom=1.4), 1, images.cache, images.console)
    other.features(learner, 16, fixed)
    assert cached(images) == 2
    other.features(learner, 16, drawn)
    assert cached(images) == 3


def test_edited_source_makes_other_features(images, monkeypatch):
    images.features(learner_of(), 16, (View(),))
    digests = {}
    monkeypatch.setattr("comp.training.inputs.source_digest", lambda *modules: digests.setdefault(modules, "edited"))
    images.features(learner_of(), 16, (View(),))
    assert cached(images) == 2
    assert {module for modules in digests for module in modules} >= {"comp.data.reading", "comp.training.backbone"}


def test_a_changed_file_makes_other_features(images):
    learner = learner_of()
    images.features(learner, 16, (View(),))
    Path(images.paths[3]).write_bytes(Path(images.paths[0]).read_bytes())
    changed = Images(images.paths, images.expected, side_on(), 0, images.cache, images.console)
    features = changed.features(learner, 16, (View(),))
    assert cached(images) == 2
    assert np.allclose(features[3], features[0], atol=1e-5)


@pytest.mark.parametrize("stage", [HEAD, Stage(size=16, train="head"), Stage(size=16, train="all")])
def test_a_stage_trains_on_the_training_rows_and_validates_on_the_others_in_order(images, tables, stage):
    learner, targets = learner_of(), torch.from_numpy(tables.targets)
    training, validating = np.arange(0, 24), np.array([30, 25, 35])
    epochs, validation = images.for_stage(learner, stage, targets, training, validating, seed=1)
    batches = [(inputs, labels) for inputs, labels in epochs.epoch(0)]
    assert len(batches) == len(epochs) == (24 // 16 if stage.cached else 24 // 4)
    assert all(len(inputs) == len(labels) for inputs, labels in batches)
    assert validation.targets.tolist() == tables.targets[validating].tolist()
    expected = images.features(learner, 16, (View(),))[validating]
    for _ in range(2):
        assert np.allclose(whole(validation.features()), expected, atol=1e-5)


def test_images_that_train_for_several_epochs_are_read_from_their_files_once(images, tables, monkeypatch):
    training, validating = np.arange(30), np.arange(30, 36)
    stage, targets = Stage(size=16, train="all", cycle_length=2), torch.from_numpy(tables.targets)

    def epochs_of(stage):
        epochs, validation = images.for_stage(learner_of(), stage, targets, training, validating, 0)
        return [batch for number in (0, 1) for batch, _ in epochs.epoch(number)], whole(validation.features())

    read = epochs_of(replace(stage, cycle_length=1))
    epochs_of(stage)
    monkeypatch.setattr("comp.data.loading.read_image", None)
    kept = epochs_of(stage)
    assert all(torch.equal(one, other) for one, other in zip(read[0], kept[0], strict=True))
    assert np.array_equal(read[1], kept[1])
    assert sorted(path.name for path in images.cache.iterdir()) == ["images"]
    assert len(list((images.cache / "images").iterdir())) == 2  # with a margin to train, without one to validate


def test_each_image_of_a_batch_has_its_own_target(images, tables):
    """Colours are told from mean pixels: a batch whose targets were shuffled against its images would show."""
    stage, rows = Stage(size=16, train="all"), np.arange(36)
    epochs, validation = images.for_stage(learner_of(), stage, torch.from_numpy(tables.targets), rows, rows[:0], seed=1)
    assert validation is None
    place = {"red": 0, "green": 1, "blue": 2}
    seen = 0
    for number in range(2):
        for inputs, targets in epochs.epoch(number):
            brightest = inputs.float().mean((1, 2)).argmax(1).tolist()
            assert brightest == [place[tables.classes[target]] for target in targets]
            seen += len(targets)
    assert seen == 72


@pytest.mark.parametrize("tta", ["none", "fixed", "random"])
@pytest.mark.parametrize("train", ["head", "all"])
def test_rows_are_predicted_in_the_order_they_are_asked_for(images, tta, train):
    stage = Stage(size=16, train=train)
    learner = learner_of(Recipe(backbone="test_resnet", pretrained=False, stages=[stage], tta=tta, tta_views=2))
    every = whole(images.to_predict(learner))
    assert every.shape[:2] == (36, {"none": 1, "fixed": 2, "random": 3}[tta])
    some = whole(images.to_predict(learner, np.array([20, 3, 11])))
    assert np.allclose(some[:, 0], every[[20, 3, 11], 0], atol=1e-5)


def test_no_rows_give_no_batches(images):
    assert list(images.to_predict(learner_of(), np.array([], np.int64))) == []


def test_the_plain_view_is_the_first_of_every_kind_of_test_time_augmentation():
    for viewpoint, fixed in ((upright(), 1), (side_on(), 2), (top_down(), 8)):
        for tta, count in (("none", 1), ("fixed", fixed), ("random", 4)):
            views = tta_views(Recipe(stages=[HEAD], tta=tta, tta_views=3), viewpoint)
            assert views[0] == View()
            assert len(set(views)) == len(views) == count


def test_every_stage_draws_an_order_and_augmentations_of_its_own(images):
    stage, rows = Stage(size=16, train="all"), np.arange(36)
    learner = learner_of()
    first, again, second = (
        next(images.for_stage(learner, stage, torch.arange(36), rows, rows[:0], seed=seed)[0].epoch(0))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], second[1])


def test_what_a_stage_cached_for_all_rows_is_not_computed_again_for_some(images):
    learner = learner_of(Recipe(backbone="test_resnet", pretrained=False, stages=[HEAD], tta="fixed"))
    every = images.features(learner, 16, images.viewpoint.fixed_views)
    some = whole(images.to_predict(learner, np.array([20, 3])))
    assert np.array_equal(some, every[[20, 3]])
    assert cached(images) == 1
