"""Taking up a run that was trained before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from comp.training.backbone import build_classifier, set_size
from comp.training.checkpoints import load_weights
from comp.training.learner import Learner, choose_device

if TYPE_CHECKING:
    from comp.competition import Competition
    from comp.recipe import Recipe
    from comp.run import Run


def load_learner(competition: Competition, recipe: Recipe, trained: Run, classes: int) -> Learner:
    """The run's model as its last stage left it; raises RunError where its training did not end."""
    model = build_classifier(recipe.backbone, pretrained=False, dropout=recipe.dropout, prior=np.zeros(classes))
    set_size(model, recipe.stages[-1].size)
    load_weights(model, trained.weights)
    return Learner(model, recipe, competition.target, competition.layer_lr_ratio, choose_device())
