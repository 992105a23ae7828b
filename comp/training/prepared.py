"""What a training starts from: the tables, the split, the model and its images.

`comp.runner` imports this module, and with it torch, after the tables are read: the memory that reading takes is then
free again for the gigabyte that torch needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from comp.console import Console
from comp.data.augmenting import tta_views
from comp.data.columns import Encoding, encoding_of
from comp.data.data_check import checked_tables
from comp.data.splitting import draw_inner_folds, oversampled, shown
from comp.data.tables import Tables, folds_of, split_of
from comp.declare.competition import Competition
from comp.declare.labels.table import answers_of
from comp.declare.losses import loss_of
from comp.declare.reading import sides
from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.declare.viewpoint import View, Viewpoint
from comp.errors import BackboneError, DataError, counted
from comp.runs.choices import Choices
from comp.runs.resolve import Experiment
from comp.submission.outputs import Outputs, outputs_for
from comp.submission.scoring import must_postprocess
from comp.training.backbone import build_classifier, digest, expectations, set_size
from comp.training.epochs import Epochs, Validation
from comp.training.extraction import Extraction
from comp.training.finder import RangeTest, range_test
from comp.training.heads import is_new, start_from_pretrained
from comp.training.images import Images
from comp.training.inputs import can_cache_maps, inputs_of
from comp.training.launching import main_first
from comp.training.learner import Learner
from comp.training.losses import Objective, class_weights
from comp.training.optimizers import build_optimizer
from comp.training.pseudo_labels import PseudoLabels, pseudo_labels_of
from comp.training.schedules import NOMINAL_RATE, simulate
from comp.training.solving import FOLDS
from comp.training.tracking import check_installed

# The number of rows that a custom loss is tried on.
TRIED = 8

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """An experiment's data and a learner that has not trained yet.

    training, validating: rows of ``tables.train``; a row that `balance` repeats trains several times an epoch.
    outputs: what the logits stand for. weights: a fingerprint of the backbone's weights, as it was built.
    encoding: of the competition's columns, by the training rows. pseudo_labels: a teacher's; their test images follow
    the labelled ones in ``images``.
    """

    experiment: Experiment
    tables: Tables
    training: Rows
    validating: Rows
    learner: Learner
    images: Images
    outputs: Outputs
    weights: str
    encoding: Encoding | None = None
    pseudo_labels: PseudoLabels | None = None

    def inputs(self, stage: Stage, number: int) -> tuple[Epochs, Validation | None]:
        """The training epochs and the validation of the stage of this number, from 1, at its size."""
        set_size(self.learner.model, stage.pixels)
        own = f"stages.{number}." if stage.batch_size is not None else ""
        self.learner.micro_batches.setting = f"{own}batch_size"
        if self.experiment.recipe.head == "pretrained" and is_new(self.learner.model.head):
            self._start_head(stage)
        targets = torch.from_numpy(self.outputs.compared(self.tables.targets))
        folds, training = None, self.training
        if stage.schedule == "lbfgs":
            tables, seed = self.tables, self.seed_of(number)
            folds = draw_inner_folds(self.training, tables.targets, FOLDS, seed, *tables.kept_together)
            # No fold leaves out rows that can't validate, if there are others.
            of_others = np.where(tables.may_validate, folds, -1)
            folds = of_others if len({*of_others[self.training].tolist()} - {-1}) > 1 else folds
        if self.pseudo_labels is not None:
            targets, training = self.pseudo_labels.added_to(targets, training)
            # Pseudo-labels are no ground truth: no fold leaves them out.
            folds = None if folds is None else np.pad(folds, (0, len(self.pseudo_labels.targets)), constant_values=-1)
        rows = training, self.validating
        return inputs_of(self.images, self.learner, stage, targets, *rows, self.seed_of(number), folds)

    def possible(self, stage: Stage) -> Stage:
        """The stage, or where the early half's maps can't be cached for it, the same on images."""
        if not stage.cached or stage.on_features:
            return stage
        set_size(self.learner.model, stage.pixels)
        if can_cache_maps(self.images, self.learner, stage):
            return stage
        return replace(stage, cached=False, views=1)

    def _start_head(self, stage: Stage) -> None:
        views = self.experiment.competition.augment.at(stage.pixels).views(stage.views if stage.on_features else 1)
        features = Extraction(self.images, self.learner, stage.pixels, views).features()
        (pretrained,) = self.learner.model.own_classifier
        assert pretrained is not None
        start_from_pretrained(
            self.learner.model.head, pretrained, features[self.training, 0], self.tables.targets[self.training]
        )

    def seed_of(self, number: int) -> int:
        """The seed of a stage's orders, augmentations and dropout."""
        return 1000 * self.experiment.choices.seed + number

    def guessing(self) -> float | None:
        """The validation loss of the training rows' average; None without validation images or with a custom loss."""
        targets, objective = self.tables.targets, self.learner.objective
        if not len(self.validating) or objective is None or callable(objective.loss):
            return None
        compared = torch.from_numpy(self.outputs.compared(targets[self.validating]))
        prior = torch.from_numpy(self.outputs.prior(targets[self.training])).float()
        return float(objective.plain()(prior.expand(len(compared), -1), compared))

    def range_test(self, stage: Stage, number: int, epochs: Epochs) -> RangeTest:
        """Run the LR range test before a stage; the model stays as it is."""
        with self.images.console.bar("finding a learning rate", None, "batches") as bar:
            return range_test(self.learner, stage, epochs, self.seed_of(number), lambda: bar.advance(1))


def prepare(experiment: Experiment, console: Console, tables: Tables | None = None) -> Prepared:
    """Draw the split and build the model; write nothing yet. tables: checked tables; by default they are read here.

    Raises DataError or SubmissionError for data that can't be trained on, BackboneError where no model can be built.
    """
    competition, recipe, choices = experiment.competition, experiment.recipe, experiment.choices
    if tables is None:
        with main_first():
            tables = checked_tables(competition, experiment.workspace, console)
    check_installed(competition.log_with)
    validates = which_validate(tables, experiment.recipe, choices)
    training, validating = (~validates).nonzero()[0], validates.nonzero()[0]
    if recipe.balance == "oversample":
        training = oversampled(training, tables.targets, choices.seed)
    elif callable(recipe.balance):
        training = shown(training, tables.targets, recipe.balance)
    if len(training) < 2:  # batch norm has no statistics of one
        raise DataError(
            f"Only {counted(len(training), 'image')} would train, but at least 2 are needed; add images, or change the "
            "split or `balance`."
        )
    columns = competition.columns
    encoding = None if columns is None else encoding_of(columns, tables.train.iloc[training].drop_duplicates("id"))
    seen, loss = tables.targets[training], recipe.loss or loss_of(recipe, competition.target)
    outputs = outputs_for(competition.target, loss, tables.classes, seen, getattr(competition.labels, "bounds", None))
    learner, weights = _untrained(experiment, tables, outputs, seen, 0 if encoding is None else encoding.width)
    learner.micro_batches.say = console.say
    images = Images(
        tables.train["path"].array,
        expectations(learner.model.backbone, tables.depth.channels),
        competition.augment,
        choices.seed,
        experiment.workspace.cache,
        console,
        tables.train["content"].array,
        competition.read,
        tables.depth,
        None if encoding is None else torch.from_numpy(encoding(tables.train)),
        tta=recipe.tta,
        beside=tables.beside,
    )
    _try_functions(competition, recipe, images)
    for ids in (answers_of(tables.train)[validates].unique(), tables.answers.test["id"]):
        must_postprocess(competition, tables.classes, tables.targets, list(ids))
    pseudo_labels = None
    if choices.teacher is not None:
        pseudo_labels = pseudo_labels_of(choices.teacher, recipe, tables, validating, outputs)
        more = None if encoding is None else torch.from_numpy(encoding(pseudo_labels.table))
        images = images.followed_by(pseudo_labels.table["path"].array, pseudo_labels.table["content"].to_list(), more)
    return Prepared(
        experiment, tables, training, validating, learner, images, outputs, weights, encoding, pseudo_labels
    )


def _try_functions(competition: Competition, recipe: Recipe, images: Images) -> None:
    """Raise DeclarationError for a wrong custom schedule, augmentation or view, tried on the first image."""
    for stage in recipe.stages:
        if callable(stage.schedule):
            simulate(stage, 1, NOMINAL_RATE, competition.layer_lr_ratio)
        # A late half trains on images where the disk has no room for maps.
        seen = not stage.on_features or augments(competition.augment, stage)
        tried = [View(draw=0)] if competition.augment.pipeline is not None and seen else []
        if stage is recipe.stages[-1]:  # the size of predictions
            tried += [view for view in tta_views(recipe, competition.augment) if view.own]
        if tried:
            images.dataset(stage.pixels, 0)[0, tuple(tried)]


def augments(viewpoint: Viewpoint, stage: Stage) -> bool:
    """Whether a stage trains on random views of images."""
    return not stage.cached or any(view.draw is not None for view in viewpoint.at(stage.pixels).views(stage.views))


def _untrained(
    experiment: Experiment, tables: Tables, outputs: Outputs, seen: npt.NDArray[Any], columns: int
) -> tuple[Learner, str]:
    """The learner, and the fingerprint of its backbone. seen: the targets of the training rows."""
    competition, recipe = experiment.competition, experiment.recipe
    balanced, prior = None, outputs.prior(seen)
    if recipe.balance == "weights":
        # With weights, all classes are equally common.
        balanced, prior = class_weights(outputs.compared(seen), outputs.width), np.zeros(outputs.width)
    with main_first():  # weights are downloaded once
        torch.manual_seed(experiment.choices.seed)
        column_dropout = competition.columns.dropout if competition.columns else 0.0
        model = build_classifier(recipe, prior, tables.depth.channels, columns, column_dropout)
    if recipe.head == "pretrained" and model.own_classifier == (None,):
        raise BackboneError(
            f"Recipe: `head` is 'pretrained', but {recipe.backbone} has no linear classifier; choose 'linear'."
        )
    objective = Objective(
        recipe.loss or loss_of(recipe, competition.target),
        one_of=outputs.kind == "softmax",
        label_smoothing=recipe.label_smoothing,
        class_weights=balanced,
    )
    learner = Learner(model, recipe, competition.layer_lr_ratio, objective)
    # Errors of loss, mixing and optimizer are raised before anything is computed or written.
    some = torch.from_numpy(outputs.compared(seen[:TRIED])).to(learner.accelerator.device)
    how = {"mixed": learner.mixing is not None, "taught": experiment.choices.teacher is not None}
    if callable(recipe.mixing) and learner.mixing is not None:
        images = torch.zeros((len(some), *sides(recipe.stages[-1].pixels), 3), dtype=torch.uint8, device=some.device)
        learner.mixing(images, some)
    # The first logits of named heads are known, except of the head that starts from images.
    known = isinstance(recipe.head, str) and recipe.head != "pretrained"
    start = torch.from_numpy(prior).float().to(some.device) if known else None
    objective.try_on(some, outputs.width, **how, start=start)
    build_optimizer(model, recipe, NOMINAL_RATE, competition.layer_lr_ratio, len(LAYER_GROUPS))
    return learner, digest(model.backbone)


def which_validate(tables: Tables, recipe: Recipe, choices: Choices) -> npt.NDArray[np.bool_]:
    """True for the rows (N,) that validate: the given ones, or a share or a fold of the rows that may validate."""
    if choices.all_data:
        return np.zeros(len(tables.train), bool)
    if choices.folds is not None and choices.fold is not None:
        return folds_of(tables, choices.folds, choices.splits_by) == choices.fold - 1
    if "validates" in tables.train:
        given: npt.NDArray[np.bool_] = tables.train["validates"].eq(True).to_numpy(bool)
        if given.any():
            return given
    return split_of(tables, recipe.validation, choices.splits_by)
