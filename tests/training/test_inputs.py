import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest
import torch

from comp.console import Console
from comp.data import loading
from comp.data.augmenting import tta_views
from comp.data.tables import read_tables
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import View, side_on, top_down, upright
from comp.training import inputs
from comp.training.backbone import build_classifier, expectations, layer_groups, set_size
from comp.training.features import features_of
from comp.training.inputs import Images
from comp.training.learner import Learner
from tests.training import conftest

HEAD = Stage(size=16, train="head", cached=True, views=2)
LATE = Stage(size=16, train=2, cached=True, views=2)
ALL = Stage(size=16, train="all")
PLAIN = (View(),)


def learner_of(**fields):
    return conftest.learner_of(outputs=3, size=16, **{"batch_size": 4, "stages": [HEAD], **fields})


@pytest.fixture
def tables(shades):
    return read_tables(shades.competition, shades.files)


@pytest.fixture
def images(tables, tmp_path):
    expected = expectations(learner_of().model.backbone)
    return Images(tables.train["path"].array, expected, side_on(), 0, tmp_path / "cache", Console())


def centre(size):
    return A.CenterCrop(size, size)


def middle_and_top(size):
    return [A.CenterCrop(size, size), A.Crop(0, 0, size, size)]


def cached(images):
    return len(list(images.cache.rglob("*.npy")))


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


def test_features_are_found_again_and_only_where_all_is_the_same(images, monkeypatch, capsys):
    learner, drawn = learner_of(), (View(draw=0),)
    first = images.features(learner, 16, PLAIN)
    assert "found in the cache" not in capsys.readouterr().out
    assert np.array_equal(images.features(learner_of(), 16, PLAIN), first)
    assert "features of 36 images at 16 px: found in the cache" in capsys.readouterr().out
    # Only random views depend on the seed and the viewpoint.
    other = replace(images, viewpoint=side_on(max_zoom=1.4), seed=1)
    other.features(learner, 16, PLAIN)
    assert cached(images) == 1
    for made in (
        lambda: images.features(learner_of(seed=1), 16, PLAIN),
        lambda: images.features(learner, 24, PLAIN),
        lambda: images.features(learner, 16, (View(4),)),
        lambda: images.only(np.arange(8)).features(learner, 16, PLAIN),
        lambda: images.only(np.arange(36)[::-1]).features(learner, 16, PLAIN),
        lambda: images.features(learner, 16, drawn),
        lambda: other.features(learner, 16, drawn),
    ):
        before = cached(images)
        made()
        assert cached(images) == before + 1
    before = cached(images)
    Path(images.paths[3]).write_bytes(Path(images.paths[0]).read_bytes())
    features = replace(images).features(learner, 16, PLAIN)
    assert np.allclose(features[3], features[0], atol=1e-5)
    digests = {}
    monkeypatch.setattr(inputs, "source_digest", lambda *modules: digests.setdefault(modules, "edited"))
    images.features(learner, 16, PLAIN)
    assert cached(images) == before + 2
    assert {module for modules in digests for module in modules} >= {
        "comp.data.reading",
        "comp.training.backbone",
        "comp.training.heads",
    }


@pytest.mark.parametrize(
    ("stage", "batch_size"),
    [(HEAD, 16), (Stage(size=16, train="head"), 4), (LATE, 4), (ALL, 4), (replace(ALL, batch_size=8), 8)],
)
def test_a_stage_trains_on_the_training_rows_and_validates_on_the_others_in_order(images, tables, stage, batch_size):
    learner, targets = learner_of(), torch.from_numpy(tables.targets)
    training, validating = np.arange(0, 24), np.array([30, 25, 35])
    epochs, validation = images.for_stage(learner, stage, targets, training, validating, seed=1)
    batches = list(epochs.epoch(0))
    assert len(batches) == len(epochs) == 24 // batch_size
    assert all(len(inputs) == len(labels) for inputs, labels in batches)
    assert validation.targets.tolist() == tables.targets[validating].tolist()
    expected = images.features(learner, 16, PLAIN)[validating]
    for _ in range(2):
        assert np.allclose(whole(validation.features()), expected, atol=1e-5)


def test_images_that_train_for_several_epochs_are_read_from_their_files_once(images, tables, monkeypatch):
    training, validating = np.arange(30), np.arange(30, 36)
    stage, targets = replace(ALL, cycle_length=2), torch.from_numpy(tables.targets)

    def epochs_of(stage):
        epochs, validation = images.for_stage(learner_of(), stage, targets, training, validating, 0)
        return [batch for number in (0, 1) for batch, _ in epochs.epoch(number)], whole(validation.features())

    read = epochs_of(ALL)
    epochs_of(stage)
    monkeypatch.setattr("comp.data.loading.read_image", None)
    kept = epochs_of(stage)
    assert all(torch.equal(one, other) for one, other in zip(read[0], kept[0], strict=True))
    assert np.array_equal(read[1], kept[1])
    assert sorted(path.name for path in images.cache.iterdir()) == ["images"]
    assert len(list((images.cache / "images").iterdir())) == 2  # with a margin to train, without one to validate


@pytest.mark.parametrize(("batches", "readers"), [(200, 16), (35, 3), (9, 0)])
def test_no_more_processes_read_than_the_shared_memory_has_room_for(images, monkeypatch, capsys, batches, readers):
    free = SimpleNamespace(free=batches * 4 * 16 * 16 * 3)
    monkeypatch.setattr(inputs, "workers", lambda: 16)
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: free)
    rows = np.arange(36)
    for _ in range(2):
        epochs, _ = images.for_stage(learner_of(), ALL, torch.arange(36), rows, rows[:0], seed=0)
        assert epochs.batches.num_workers == readers
    said = [line for line in capsys.readouterr().out.splitlines() if "/dev/shm" in line]
    assert len(said) == (readers < 16)
    assert all(f"the number of processes that read images is {readers}, not 16" in line for line in said)


def test_nothing_is_cached_of_a_backbone_that_trained_on_after_its_maps(images):
    learner = learner_of(stages=[LATE, ALL])
    assert whole(images.to_predict(learner, np.array([20, 3]))).shape[:2] == (2, 2)
    assert cached(images) == 0


@pytest.mark.parametrize("tta", ["none", "fixed", "random"])
@pytest.mark.parametrize("stage", [Stage(size=16, train="head"), LATE, ALL], ids=["head", "late", "all"])
def test_rows_are_predicted_in_the_order_they_are_asked_for(images, tta, stage):
    learner = learner_of(stages=[stage], tta=tta, tta_views=2)
    every = whole(images.to_predict(learner))
    assert every.shape[:2] == (36, {"none": 1, "fixed": 2, "random": 3}[tta])
    some = whole(images.to_predict(learner, np.array([20, 3, 11])))
    assert np.allclose(some[:, 0], every[[20, 3, 11], 0], atol=1e-5)
    assert list(images.to_predict(learner, np.array([], np.int64))) == []


@pytest.mark.parametrize("stage", [HEAD, LATE, replace(LATE, cached=False, views=1), ALL])
def test_views_of_ones_own_follow_the_plain_one_whatever_was_trained(images, stage):
    learner, rows = learner_of(stages=[stage], tta=middle_and_top), np.array([20, 3, 11])
    images, plain = replace(images, tta=middle_and_top), learner_of(stages=[stage], tta="none")
    found = whole(images.to_predict(learner, rows))
    assert found.shape[:2] == (3, 3)
    assert np.allclose(found[:, :1], whole(images.to_predict(plain, rows)), atol=1e-5)
    assert not np.allclose(found[:, 1], found[:, 2], atol=1e-3)
    assert np.array_equal(whole(replace(images, seed=1).to_predict(learner, rows)), found)


def test_features_of_ones_own_views_follow_from_their_function(images):
    def other(size):
        return [A.CenterCrop(size, size), A.Crop(1, 1, size + 1, size + 1)]

    learner, views = learner_of(), (View(), View(own=1))
    for count, tta in ((1, middle_and_top), (1, middle_and_top), (2, other), (3, partial(other))):
        replace(images, tta=tta).features(learner, 16, views)
        assert cached(images) == count


def test_whole_images_are_not_put_in_the_image_cache(images, tables):
    images, stage = replace(images, viewpoint=side_on(pipeline=centre)), replace(ALL, cycle_length=2)
    assert images.kept(stage, np.arange(30), np.arange(30, 36)).keys() == {16}


def test_what_a_stage_cached_for_all_rows_is_not_computed_again_for_some(images):
    learner = learner_of(tta="fixed")
    every = images.features(learner, 16, images.viewpoint.fixed_views)
    assert np.array_equal(whole(images.to_predict(learner, np.array([20, 3]))), every[[20, 3]])
    assert cached(images) == 1


def test_the_early_half_sees_an_image_once_whatever_trains_and_predicts_after_it(images, tables, monkeypatch):
    # The views of prediction are the first two of the stage's.
    stage, targets, rows = replace(LATE, views=3), torch.from_numpy(tables.targets), np.arange(36)
    learner = learner_of(stages=[stage])
    expected = whole(images.to_predict(learner_of(stages=[replace(stage, cached=False, views=1)])))
    images.for_stage(learner, stage, targets, rows[:24], rows[24:], seed=0)
    monkeypatch.setattr(Images, "views", None)
    with torch.no_grad():
        for parameter in layer_groups(learner.model)["late"]:
            parameter.mul_(1.5)
    epochs, validation = images.for_stage(learner, stage, targets, rows[:24], rows[24:], seed=0)
    assert len([*epochs.epoch(0), *epochs.epoch(1)]) == 2 * len(epochs)
    changed = whole(validation.features())
    assert not np.allclose(changed, expected[24:, :1], atol=1e-3), "the late half is another"
    assert np.allclose(whole(images.to_predict(learner, rows[24:]))[:, :1], changed, atol=1e-5)
    assert cached(images) == 1
    # Test images, which other folds and snapshots predict as well.
    others = replace(images.only(rows[:6]), reused=True)
    with pytest.raises(TypeError):
        whole(others.to_predict(learner))
    monkeypatch.undo()
    first = whole(others.to_predict(learner))
    monkeypatch.setattr(Images, "views", None)
    assert np.array_equal(whole(others.to_predict(learner)), first)
    assert cached(images) == 2
    assert features_of(images.cache, images.paths, None) is None, (
        "maps are no features that images lie near each other by"
    )


@pytest.mark.parametrize(
    ("backbone", "free", "why"), [("test_vit", 1e9, "can't be cut"), ("test_resnet", 1e3, "GB for them")]
)
def test_where_no_maps_can_be_cached_why_is_said_and_images_are_predicted_from(
    images, monkeypatch, capsys, backbone, free, why
):
    def learner_of(stage):
        return conftest.learner_of(backbone, 3, size=32, stages=[stage])

    stage = replace(LATE, size=32)
    monkeypatch.setattr("comp.data.disk_room.shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    assert not images.can_cache_maps(learner_of(stage), stage)
    assert why in capsys.readouterr().out
    expected = whole(images.to_predict(learner_of(replace(stage, cached=False, views=1))))
    assert np.array_equal(whole(images.to_predict(learner_of(stage))), expected)
    assert not list(images.cache.rglob("*.npy"))


def test_what_is_predicted_is_the_same_to_the_bit_though_cached_maps_are_gone_or_have_no_room(
    images, tables, monkeypatch
):
    learner, targets, rows = learner_of(stages=[LATE]), torch.from_numpy(tables.targets), np.arange(36)
    images.for_stage(learner, LATE, targets, rows[:24], rows[24:], seed=0)
    test = replace(images.only(rows[:20]), reused=True)
    expected = whole(images.to_predict(learner, rows[24:])), whole(test.to_predict(learner))
    assert cached(images) == 2
    shutil.rmtree(images.cache)
    assert np.array_equal(whole(images.to_predict(learner, rows[24:])), expected[0])
    monkeypatch.setattr("comp.data.disk_room.shutil.disk_usage", lambda _: SimpleNamespace(free=1e3))
    assert np.array_equal(whole(test.to_predict(learner)), expected[1])
    assert cached(images) == 0


def test_the_plain_view_is_the_first_of_every_kind_of_test_time_augmentation():
    for viewpoint, fixed in ((upright(), 1), (side_on(), 2), (top_down(), 8)):
        for tta, count in (("none", 1), ("fixed", fixed), ("random", 4)):
            views = tta_views(Recipe(stages=[HEAD], tta=tta, tta_views=3), viewpoint)
            assert views[0] == View()
            assert len(set(views)) == len(views) == count


def test_maps_are_found_by_a_network_that_is_built_to_predict_though_training_skips_blocks(images):
    learner = learner_of(stages=[LATE], drop_path=0.1)
    maps = images.features(learner, 16, PLAIN, learner.given(LATE))
    recipe = learner.recipe
    model = build_classifier(recipe, np.zeros(3), to_predict=True)
    set_size(model, 16)
    model.load_state_dict(learner.model.state_dict())
    to_predict = Learner(model, recipe, 10.0)
    assert np.array_equal(images.features(to_predict, 16, PLAIN, to_predict.given(LATE)), maps)
    assert cached(images) == 1
