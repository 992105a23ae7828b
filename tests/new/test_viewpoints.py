"""The choice of the viewpoint: by words, else by whether images have an up and a middle."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from comp.new.viewpoints import FEWEST_SEEN, have_up, viewpoint_of


def painted(folder, count, *, ground=0, subject=0):
    """Clouds without an up, each with a darker lower half or a brighter middle."""
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64)).astype(np.uint8)
        cloud = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3)), float)
        cloud = (cloud - cloud.mean()) / cloud.std() * 30 + 120
        cloud[32:] -= ground
        cloud[20:44, 20:44] += subject
        Image.fromarray(cloud.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize(("changes", "up"), [({}, False), ({"ground": 60}, True), ({"subject": 90}, True)])
def test_images_with_neither_ground_nor_subject_have_no_up(tmp_path, changes, up):
    assert have_up(painted(tmp_path, FEWEST_SEEN, **changes)) == up


def test_few_images_noise_and_files_that_are_none_say_nothing(tmp_path):
    images = painted(tmp_path, FEWEST_SEEN - 1)
    (tmp_path / "x.png").touch()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)).save(tmp_path / "y.png")
    assert have_up([*images, tmp_path / "x.png", tmp_path / "y.png"])


@pytest.mark.parametrize(
    ("words", "has_up", "flips", "other"),
    [
        ("dogs", True, "horizontal", "top_down()"),
        ("dogs", False, "dihedral", "side_on()"),
        ("amazon chips", True, "dihedral", "side_on()"),
        ("handwritten letters", False, "none", "side_on()"),
        ("digit recognizer", True, "none", "side_on()"),
        ("characters from street view", True, "none", "side_on()"),
        ("whales by unique characteristics", True, "horizontal", "top_down()"),
        ("digital mammograms", True, "horizontal", "top_down()"),
    ],
)
def test_words_come_first_and_the_other_choice_is_named(words, has_up, flips, other):
    viewpoint, said = viewpoint_of(words, has_up=has_up)
    assert viewpoint.flips == flips
    assert other in said
