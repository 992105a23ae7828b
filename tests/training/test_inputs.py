import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from comp.data.augmenting import tta_views
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import View, side_on, top_down, upright
from comp.training.backbone import layer_groups
from comp.training.extraction import Extraction
from comp.training.features import features_of
from comp.training.images import Images
from comp.training.inference import compiled
from comp.training.inputs import can_cache_maps, inputs_of, to_predict
from tests.training import conftest
from tests.training.of_images import ALL, HEAD, LATE, PLAIN, cached, learner_of, middle_and_top, whole


@pytest.mark.parametrize(
    ("stage", "batch_size"),
    [(HEAD, 16), (Stage(size=16, train="head"), 4), (LATE, 4), (ALL, 4), (replace(ALL, batch_size=8), 8)],
)
def test_a_stage_trains_on_the_training_rows_and_validates_on_the_others_in_order(images, tables, stage, batch_size):
    learner, targets = learner_of(), torch.from_numpy(tables.targets)
    training, validating = np.arange(0, 24), np.array([30, 25, 35])
    epochs, validation = inputs_of(images, learner, stage, targets, training, validating, seed=1)
    batches = list(epochs.epoch(0))
    assert len(batches) == len(epochs) == 24 // batch_size
    assert all(len(inputs) == len(labels) for inputs, labels in batches)
    assert validation.targets.tolist() == tables.targets[validating].tolist()
    expected = Extraction(images, learner, 16, PLAIN).features()[validating]
    for _ in range(2):
        assert np.allclose(whole(validation.features()), expected, atol=1e-5)


def test_nothing_is_cached_of_a_backbone_that_trained_on_after_its_maps(images):
    learner = learner_of(stages=[LATE, ALL])
    assert whole(to_predict(images, learner, np.array([20, 3]))).shape[:2] == (2, 2)
    assert cached(images) == 0


@pytest.mark.parametrize("tta", ["none", "fixed", "random"])
@pytest.mark.parametrize("stage", [Stage(size=16, train="head"), LATE, ALL], ids=["head", "late", "all"])
def test_rows_are_predicted_in_the_order_they_are_asked_for(images, tta, stage):
    learner = learner_of(stages=[stage], tta=tta, tta_views=2)
    every = whole(to_predict(images, learner))
    assert every.shape[:2] == (36, {"none": 1, "fixed": 2, "random": 3}[tta])
    some = whole(to_predict(images, learner, np.array([20, 3, 11])))
    assert np.allclose(some[:, 0], every[[20, 3, 11], 0], atol=1e-5)
    assert list(to_predict(images, learner, np.array([], np.int64))) == []


@pytest.mark.parametrize("stage", [HEAD, LATE, replace(LATE, cached=False, views=1), ALL])
def test_views_of_ones_own_follow_the_plain_one_whatever_was_trained(images, stage):
    learner, rows = learner_of(stages=[stage], tta=middle_and_top), np.array([20, 3, 11])
    images, plain = replace(images, tta=middle_and_top), learner_of(stages=[stage], tta="none")
    found = whole(to_predict(images, learner, rows))
    assert found.shape[:2] == (3, 3)
    assert np.allclose(found[:, :1], whole(to_predict(images, plain, rows)), atol=1e-5)
    assert not np.allclose(found[:, 1], found[:, 2], atol=1e-3)
    assert np.array_equal(whole(to_predict(replace(images, seed=1), learner, rows)), found)


def test_what_a_stage_cached_for_all_rows_is_not_computed_again_for_some(images):
    learner = learner_of(tta="fixed")
    every = Extraction(images, learner, 16, images.viewpoint.fixed_views).features()
    assert np.array_equal(whole(to_predict(images, learner, np.array([20, 3]))), every[[20, 3]])
    assert cached(images) == 1


def test_the_early_half_sees_an_image_once_whatever_trains_and_predicts_after_it(images, tables, monkeypatch):
    # The views of prediction are the first two of the stage's.
    stage, targets, rows = replace(LATE, views=3), torch.from_numpy(tables.targets), np.arange(36)
    learner = learner_of(stages=[stage])
    expected = whole(to_predict(images, learner_of(stages=[replace(stage, cached=False, views=1)])))
    inputs_of(images, learner, stage, targets, rows[:24], rows[24:], seed=0)
    monkeypatch.setattr(Images, "views", None)
    with torch.no_grad():
        for parameter in layer_groups(learner.model)["late"]:
            parameter.mul_(1.5)
    epochs, validation = inputs_of(images, learner, stage, targets, rows[:24], rows[24:], seed=0)
    assert len([*epochs.epoch(0), *epochs.epoch(1)]) == 2 * len(epochs)
    changed = whole(validation.features())
    assert not np.allclose(changed, expected[24:, :1], atol=1e-3), "the late half is another"
    assert np.allclose(whole(to_predict(images, learner, rows[24:]))[:, :1], changed, atol=1e-5)
    assert cached(images) == 1
    # Test images, which other folds and snapshots predict as well.
    others = replace(images.only(rows[:6]), reused=True)
    with pytest.raises(TypeError):
        whole(to_predict(others, learner))
    monkeypatch.undo()
    first = whole(to_predict(others, learner))
    monkeypatch.setattr(Images, "views", None)
    assert np.array_equal(whole(to_predict(others, learner)), first)
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
    assert not can_cache_maps(images, learner_of(stage), stage)
    assert why in capsys.readouterr().out
    expected = whole(to_predict(images, learner_of(replace(stage, cached=False, views=1))))
    assert np.array_equal(whole(to_predict(images, learner_of(stage))), expected)
    assert not list(images.cache.rglob("*.npy"))


@pytest.mark.parametrize("worth", [1, 30])
def test_what_is_predicted_is_the_same_to_the_bit_though_cached_maps_are_gone_or_have_no_room(
    images, tables, monkeypatch, worth
):
    monkeypatch.setattr("comp.training.learner.WORTH", worth * 16**2)  # for all 36 images, or also for some
    learner, targets, rows = learner_of(stages=[LATE]), torch.from_numpy(tables.targets), np.arange(36)
    inputs_of(images, learner, LATE, targets, rows[:24], rows[24:], seed=0)
    test = replace(images.only(rows[:20]), reused=True)
    expected = whole(to_predict(images, learner, rows[24:])), whole(to_predict(test, learner))
    assert cached(images) == 2
    shutil.rmtree(images.cache)
    assert np.array_equal(whole(to_predict(images, learner, rows[24:])), expected[0])
    monkeypatch.setattr("comp.data.disk_room.shutil.disk_usage", lambda _: SimpleNamespace(free=1e3))
    assert np.array_equal(whole(to_predict(test, learner)), expected[1])
    assert cached(images) == 0


def test_an_epoch_s_validation_is_not_compiled_as_its_weights_change(images, tables, monkeypatch):
    made = []
    monkeypatch.setattr("comp.training.learner.WORTH", 1)
    monkeypatch.setattr("comp.training.learner.compiled", lambda *given: made.append(given) or compiled(*given))
    learner, targets, rows = learner_of(stages=[ALL]), torch.from_numpy(tables.targets), np.arange(36)
    _, validation = inputs_of(images, learner, ALL, targets, rows[:24], rows[24:], seed=0)
    assert len(whole(validation.features())) == 12
    assert not made
    assert len(whole(to_predict(images, learner, rows[24:]))) == 12
    assert len(made) == 1


def test_the_plain_view_is_the_first_of_every_kind_of_test_time_augmentation():
    for viewpoint, fixed in ((upright(), 1), (side_on(), 2), (top_down(), 8)):
        for tta, count in (("none", 1), ("fixed", fixed), ("random", 4)):
            views = tta_views(Recipe(stages=[HEAD], tta=tta, tta_views=3), viewpoint)
            assert views[0] == View()
            assert len(set(views)) == len(views) == count
