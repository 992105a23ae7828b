"""A learner's inputs for a stage and for predicting: images, or the cached features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from comp.data.augmenting import tta_views
from comp.data.loading import ImageEpochs
from comp.declare.recipe import Stage
from comp.declare.viewpoint import View
from comp.training.epochs import Epochs, Validation
from comp.training.extraction import Extraction
from comp.training.features import FeatureEpochs
from comp.training.halves import Cut
from comp.training.images import Images, Rows
from comp.training.learner import Learner


def features_for(images: Images, learner: Learner, stage: Stage) -> Extraction:
    """The features, or maps, that a stage is trained on; only for a stage that isn't trained on images."""
    given, views = learner.given(stage), images.viewpoint.at(stage.pixels).views(stage.views)
    return Extraction(images, learner, stage.pixels, views, given if isinstance(given, Cut) else None)


def can_cache_maps(images: Images, learner: Learner, stage: Stage) -> bool:
    """Whether the early half's maps of all rows can be cached for a stage; says why not."""
    if isinstance(learner.given(stage), Cut):
        return features_for(images, learner, stage).has_room()
    images.console.say("the backbone can't be cut in halves, so its late half trains on images, not on cached maps")
    return False


def inputs_of(
    images: Images,
    learner: Learner,
    stage: Stage,
    targets: Tensor,
    training: Rows,
    validating: Rows,
    seed: int,
    folds: Rows | None = None,
) -> tuple[Epochs, Validation | None]:
    """A stage's training epochs, drawn from ``seed``, and its validation; None where no row validates."""
    batch_size = learner.recipe.batch_size_of(stage)
    epochs: Epochs
    validation: Callable[[], Iterable[Tensor]]
    if learner.given(stage) == "images":
        kept = images.kept(stage, training, validating)
        rank, count = learner.accelerator.process_index, learner.accelerator.num_processes
        dataset = images.dataset(stage.pixels, seed, learner.recipe.random_erasing, kept)
        shared = {"workers": images.readers(stage.pixels, batch_size), "rank": rank, "count": count}
        epochs = ImageEpochs(dataset, training, targets, batch_size, **shared, columns=images.columns)
        validation = partial(images.through, learner, validating, stage.pixels, (View(),), kept)
    else:
        extraction = features_for(images, learner, stage)
        features = extraction.features()
        epochs = FeatureEpochs(features, training, targets, batch_size, seed, images.columns, folds)
        validation = partial(extraction.of_rows, features[:, :1], validating)
    columns = None if images.columns is None else images.columns[validating]
    return epochs, Validation(validation, targets[validating], columns) if len(validating) else None


def to_predict(images: Images, learner: Learner, rows: Rows | None = None) -> Iterable[Tensor]:
    """The features of some rows, by default of all, in the recipe's TTA views, as batches (B, V, F).

    Features of a trained backbone are not cached. Features or maps that a stage cached for all rows are reused.
    """
    stages, views = learner.recipe.stages, tta_views(learner.recipe, images.viewpoint)
    size, every = stages[-1].pixels, np.arange(len(images.paths)) if rows is None else rows
    if not len(every):
        return iter(())
    trained = any(stage.groups > 1 for stage in stages)
    given = learner.given(stages[-1])
    cut = given if isinstance(given, Cut) else None
    of_these = Extraction(images.only(every), learner, size, views, cut)
    if trained and cut is None:
        return of_these.computed()
    # A stage may have cached these views, and more, for all rows.
    of_stages = (
        features_for(images, learner, stage)
        for stage in stages
        if rows is not None and stage.pixels == size and stage.cached and stage.on_features != trained
    )
    seen = next((one for one in of_stages if one.views[: len(views)] == views), None)
    in_halves, among = seen is not None or images.reused, 0 if seen is None else seen.count
    if seen is not None and cut is not None and not seen.is_cached():
        seen = None
    if cut and seen is None and not (images.reused and of_these.has_room()):
        if not in_halves:
            return replace(of_these, cut=None).computed()
        # In halves, as with cached maps, so that the bits are the same.
        return learner.features_of_maps(of_these.computed(among=among), cut)
    extraction, chosen = (of_these, np.arange(len(every))) if seen is None else (seen, every)
    return extraction.of_rows(extraction.features()[:, : len(views)], chosen)
