"""Taking up a run that was trained before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from comp.training.backbone import build_classifier, set_size
from comp.training.checkpoints import load_weights
from comp.training.learner import Learner, choose_device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from comp.competition import Competition
    from comp.recipe import Recipe
    from comp.run import Run


def kept_learners(competition: Competition, recipe: Recipe, trained: Run, classes: int) -> Iterator[Learner]:
    """A learner with each of the run's kept weights, the last ones first.

    Raises RunError where its training did not end.
    """
    snapshots = [trained.checkpoint(name) for name in trained.record("trained")["snapshots"]]
    for weights in (trained.weights, *snapshots):
        yield load_learner(competition, recipe, weights, classes)


def load_learner(competition: Competition, recipe: Recipe, weights: Path, classes: int) -> Learner:
    """The model with these weights, at the size of the last stage."""
    model = build_classifier(recipe.backbone, pretrained=False, dropout=recipe.dropout, prior=np.zeros(classes))
    set_size(model, recipe.stages[-1].size)
    load_weights(model, weights)
    return Learner(model, recipe, competition.target, competition.layer_lr_ratio, choose_device())
