from dataclasses import replace
from functools import partial
from pathlib import Path

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import torch

from comp.declare.viewpoint import View, side_on
from comp.training import extraction
from comp.training import learner as learners
from comp.training.backbone import build_classifier, set_size
from comp.training.extraction import Extraction
from comp.training.inference import compiled
from comp.training.learner import Learner
from tests.training.of_images import LATE, PLAIN, cached, learner_of, middle_and_top


def test_features_are_those_that_the_backbone_gives_each_image_alone(images):
    learner = learner_of()
    features = Extraction(images, learner, 16, (View(), View(4))).features()
    assert features.shape == (36, 2, learner.model.backbone.num_features)
    pixels = torch.from_numpy(np.stack([images.dataset(16, seed=0)[row, (View(), View(4))][1] for row in (0, 17, 35)]))
    learner.model.eval()
    with torch.inference_mode():
        alone = [learner.model.features(views).numpy() for views in pixels]
    assert np.allclose(features[[0, 17, 35]], alone, atol=1e-5)
    assert not np.allclose(features[:, 0], features[:, 1], atol=1e-3)


def test_the_rest_of_a_stopped_computation_is_compiled_as_its_beginning_was(images, monkeypatch):
    made = []
    monkeypatch.setattr(learners, "WORTH", 36 * 16**2)
    monkeypatch.setattr(learners, "compiled", lambda *given: made.append(given) or compiled(*given))
    every, rest = (torch.cat([*Extraction(images, learner_of(), 16, PLAIN).computed(start)]) for start in (0, 32))
    assert len(made) == 2
    assert torch.equal(rest, every[32:])


def test_features_are_found_again_and_only_where_all_is_the_same(images, monkeypatch, capsys):
    learner, drawn = learner_of(), (View(draw=0),)
    first = Extraction(images, learner, 16, PLAIN).features()
    assert "found in the cache" not in capsys.readouterr().out
    assert np.array_equal(Extraction(images, learner_of(), 16, PLAIN).features(), first)
    assert "features of 36 images at 16 px: found in the cache" in capsys.readouterr().out
    # Only random views depend on the seed and the viewpoint.
    other = replace(images, viewpoint=side_on(max_zoom=1.4), seed=1)
    Extraction(other, learner, 16, PLAIN).features()
    assert cached(images) == 1
    for made in (
        lambda: Extraction(images, learner_of(seed=1), 16, PLAIN).features(),
        lambda: Extraction(images, learner, 24, PLAIN).features(),
        lambda: Extraction(images, learner, 16, (View(4),)).features(),
        lambda: Extraction(images.only(np.arange(8)), learner, 16, PLAIN).features(),
        lambda: Extraction(images.only(np.arange(36)[::-1]), learner, 16, PLAIN).features(),
        lambda: Extraction(images, learner, 16, drawn).features(),
        lambda: Extraction(other, learner, 16, drawn).features(),
    ):
        before = cached(images)
        made()
        assert cached(images) == before + 1
    before = cached(images)
    Path(images.paths[3]).write_bytes(Path(images.paths[0]).read_bytes())
    features = Extraction(replace(images), learner, 16, PLAIN).features()
    assert np.allclose(features[3], features[0], atol=1e-5)
    digests = {}
    monkeypatch.setattr(extraction, "source_digest", lambda *modules: digests.setdefault(modules, "edited"))
    Extraction(images, learner, 16, PLAIN).features()
    assert cached(images) == before + 2
    assert {module for modules in digests for module in modules} >= {
        "comp.data.reading",
        "comp.training.backbone",
        "comp.training.heads",
    }


def test_features_of_ones_own_views_follow_from_their_function(images):
    def other(size):
        return [A.CenterCrop(size, size), A.Crop(1, 1, size + 1, size + 1)]

    learner, views = learner_of(), (View(), View(own=1))
    for count, tta in ((1, middle_and_top), (1, middle_and_top), (2, other), (3, partial(other))):
        Extraction(replace(images, tta=tta), learner, 16, views).features()
        assert cached(images) == count


def test_maps_are_found_by_a_network_that_is_built_to_predict_though_training_skips_blocks(images):
    learner = learner_of(stages=[LATE], drop_path=0.1)
    maps = Extraction(images, learner, 16, PLAIN, learner.given(LATE)).features()
    recipe = learner.recipe
    model = build_classifier(recipe, np.zeros(3), to_predict=True)
    set_size(model, 16)
    model.load_state_dict(learner.model.state_dict())
    other = Learner(model, recipe, 10.0)
    assert np.array_equal(Extraction(images, other, 16, PLAIN, other.given(LATE)).features(), maps)
    assert cached(images) == 1
