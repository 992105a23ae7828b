"""Taking up a run that was trained before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from comp.console import Console
from comp.declare.competition import Competition
from comp.declare.recipe import Recipe
from comp.runs import Run
from comp.training.backbone import build_classifier, set_size
from comp.training.learner import Learner, choose_device
from comp.training.state import load_weights


def kept_learners(
    competition: Competition, recipe: Recipe, trained: Run, classes: int, console: Console
) -> Iterator[Learner]:
    """A learner with each of the run's kept weights, the last ones first.

    Raises RunError where its training did not end.
    """
    record = trained.record("trained")
    snapshots = [trained.checkpoint(name) for name in record["snapshots"]]
    at_once = record.get("at_once", {}).get("forward")
    for weights in (trained.weights, *snapshots):
        learner = load_learner(competition, recipe, weights, classes)
        learner.passes.forward, learner.passes.say = at_once, console.say
        yield learner
        # Of what the one ran out of memory with the next would, too.
        at_once = learner.passes.forward


def load_learner(competition: Competition, recipe: Recipe, weights: Path, classes: int) -> Learner:
    """The model with these weights, at the size of the last stage."""
    model = build_classifier(recipe.backbone, pretrained=False, dropout=recipe.dropout, prior=np.zeros(classes))
    set_size(model, recipe.stages[-1].size)
    load_weights(model, weights)
    return Learner(model, recipe, competition.target, competition.layer_lr_ratio, choose_device())
