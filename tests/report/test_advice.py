import numpy as np
import pandas as pd
import pytest

from comp.declare.metrics import METRICS
from comp.declare.recipe import Recipe, Stage
from comp.report.advice import advise

RECIPE = Recipe(stages=[Stage(size=224, train="head", learning_rate=1e-3)])
MANY = np.array([3000, 3000])


def images(train=(256, 256), test=None, mode="RGB", test_mode="RGB"):
    rows = [("train", *train, mode)] * 30 + [("test", *(test or train), test_mode)] * 30
    return pd.DataFrame(rows, columns=["part", "width", "height", "mode"])


def kinds(found):
    return [advice.kind for advice in found]


def advice(frame=None, counts=MANY, metric="accuracy", recipe=RECIPE, pretrained_at=224):
    frame = images() if frame is None else frame
    names = [f"c{place}" for place in range(len(counts))]
    # Enough images that their number is no subject, but for the test of it.
    frame = pd.concat([frame] * 70, ignore_index=True)
    return advise(frame, np.array(counts), names, METRICS[metric], recipe, pretrained_at)


def test_data_as_the_recipe_expects_them_need_no_advice():
    assert advice() == []


@pytest.mark.parametrize(
    ("size", "kind", "change"),
    [
        ((64, 80), "small images", "--set stages.1.size=64"),
        ((600, 500), "large images", "--set stages.1.size=320"),
        ((460, 455), "large images", "--set stages.1.size=320"),
    ],
)
def test_images_much_smaller_or_larger_than_the_last_stage_are_named_with_a_size_to_try(size, kind, change):
    (found,) = advice(images(size))
    assert (found.kind, found.change) == (kind, change)
    assert str(min(size)) in found.evidence


def test_a_stage_unlike_the_pretraining_is_named_unless_there_was_none():
    (found,) = advice(pretrained_at=448)
    assert "pretrained at 448 px" in found.evidence
    assert "smaller than it knows them" in found.evidence
    assert found.change == "--set stages.1.size=448"
    scratch = Recipe(stages=RECIPE.stages, pretrained=False)
    assert advice(pretrained_at=448, recipe=scratch) == []


def test_long_shapes_ask_for_other_views():
    (found,) = advice(images((512, 256)))
    assert (found.kind, found.change) == ("long shapes", "--set tta=random")
    assert "100% of the images" in found.evidence
    (same,) = advice(images((512, 256)), recipe=Recipe(stages=RECIPE.stages, tta="random"))
    assert same.change == ""


def test_test_images_of_another_size_or_colour_are_named():
    (found,) = advice(images((256, 256), (400, 256)))
    assert "medians of 256 px and 320 px" in found.evidence
    (found,) = advice(images(test_mode="L"))
    assert "100% RGB and 100% L" in found.evidence


def test_imbalance_is_mended_only_for_metrics_that_count_classes_alike():
    (alike,) = advice(counts=[5000, 300], metric="macro_f1")
    assert alike.change == "--set balance=oversample"
    assert "c0 has 5,000 images and c1 300" in alike.evidence
    (by_image,) = advice(counts=[5000, 300], metric="log_loss")
    assert by_image.change == ""
    assert advice(counts=[5000, 600], metric="macro_f1") == []


def test_rare_classes_are_named_and_counted():
    (_, rare) = advice(counts=[4000, 3, 4, 5, 6, 7])
    assert rare.evidence.startswith("c1, c2, c3 and 2 more have fewer than 20 images each")
    (_, one) = advice(counts=[4000, 3])
    assert one.evidence.startswith("c1 has fewer than 20 images:")


def test_few_images_ask_for_folds():
    (found,) = advise(images(), MANY, ("a", "b"), METRICS["accuracy"], RECIPE, 224)
    assert (found.kind, found.change) == ("few images", "--folds 5")
