"""Stages, learners and helpers of the tests of a run's images and their features."""

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np

from comp.declare.recipe import Stage
from comp.declare.viewpoint import View
from tests.training import conftest

HEAD = Stage(size=16, train="head", cached=True, views=2)
LATE = Stage(size=16, train=2, cached=True, views=2)
ALL = Stage(size=16, train="all")
PLAIN = (View(),)


def learner_of(**fields):
    return conftest.learner_of(outputs=3, size=16, **{"batch_size": 4, "stages": [HEAD], **fields})


def centre(size):
    return A.CenterCrop(size, size)


def middle_and_top(size):
    return [A.CenterCrop(size, size), A.Crop(0, 0, size, size)]


def cached(images):
    return len(list(images.cache.rglob("*.npy")))


def whole(batches):
    return np.concatenate(list(batches))
