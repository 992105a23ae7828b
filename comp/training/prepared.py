"""Everything a training starts from: the tables, which rows train and which validate, the model, its images.

torch is imported after the data are read: what reading them takes for a while is then given back and used again, and
is not had on top of the gigabyte that torch takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.data_check import checked_tables
from comp.data.splitting import draw_folds, draw_split, oversampled
from comp.errors import BackboneError
from comp.runs.resolve import Choices, resolve

if TYPE_CHECKING:
    import numpy.typing as npt

    from comp.console import Console
    from comp.data.tables import Tables
    from comp.declare.competition import Competition
    from comp.declare.recipe import Recipe, Stage
    from comp.runs import Workspace
    from comp.training.finder import RangeTest
    from comp.training.inputs import Images
    from comp.training.learner import Epochs, Learner, Validation

    Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """A competition's data and a learner that has not trained yet.

    training, validating: rows of ``tables.train``; a row that is over-sampled trains several times an epoch.
    weights: a fingerprint of the backbone's, as it was built.
    """

    competition: Competition
    recipe: Recipe
    choices: Choices
    tables: Tables
    training: Rows
    validating: Rows
    learner: Learner
    images: Images
    weights: str

    def inputs(self, stage: Stage, number: int) -> tuple[Epochs, Validation | None]:
        """What the stage of this number, from 1, trains on and validates on, at its size."""
        import torch

        from comp.training.backbone import set_size
        from comp.training.heads import is_new

        set_size(self.learner.model, stage.size)
        if self.recipe.head == "pretrained" and is_new(self.learner.model.head):
            self._start_head(stage)
        targets = torch.from_numpy(self.tables.targets)
        return self.images.for_stage(self.learner, stage, targets, self.training, self.validating, self.seed_of(number))

    def _start_head(self, stage: Stage) -> None:
        from comp.training.heads import start_from_pretrained

        views = self.competition.augment.views(stage.views if stage.cached else 1)
        features = self.images.features(self.learner, stage.size, views)
        (pretrained,) = self.learner.model.own_classifier
        start_from_pretrained(
            self.learner.model.head, pretrained, features[self.training, 0], self.tables.targets[self.training]
        )

    def seed_of(self, number: int) -> int:
        """Each stage draws orders, augmentations and dropout of its own."""
        return 1000 * self.choices.seed + number

    def range_test(self, stage: Stage, number: int, epochs: Epochs) -> RangeTest:
        """The learning-rate finder's sweep before a stage; the model stays as it is."""
        from comp.training.finder import range_test

        with self.images.console.bar("finding a learning rate", None, "batches") as bar:
            return range_test(self.learner, stage, epochs, self.seed_of(number), lambda: bar.advance(1))


def prepare(competition: Competition, choices: Choices, workspace: Workspace, console: Console) -> Prepared:
    """Read and check the data, draw the split and build the model; nothing is written yet."""
    competition, recipe = resolve(competition, choices)
    tables = checked_tables(competition, workspace, console)
    validates = which_validate(tables, recipe, choices)
    training, validating = (~validates).nonzero()[0], validates.nonzero()[0]
    if recipe.balance == "oversample":
        training = oversampled(training, tables.targets, choices.seed)
    learner, weights = _untrained(competition, recipe, choices, tables, training)
    learner.passes.say = console.say
    images = _images(competition, choices, tables, learner, workspace, console)
    return Prepared(competition, recipe, choices, tables, training, validating, learner, images, weights)


def _untrained(
    competition: Competition, recipe: Recipe, choices: Choices, tables: Tables, training: Rows
) -> tuple[Learner, str]:
    """The learner, and the fingerprint of its backbone."""
    import torch

    from comp.training.backbone import build_classifier, digest
    from comp.training.heads import prior_logits
    from comp.training.learner import Learner, choose_device
    from comp.training.losses import class_weights

    torch.manual_seed(choices.seed)
    seen: npt.NDArray[Any] = tables.targets[training]
    balanced, prior = None, prior_logits(seen, len(tables.classes), competition.target)
    if recipe.balance == "weights":
        # Weighted, every class is as common as the others.
        balanced, prior = class_weights(seen, len(tables.classes), competition.target), np.zeros(len(tables.classes))
    model = build_classifier(
        recipe.backbone, pretrained=recipe.pretrained, dropout=recipe.dropout, drop_path=recipe.drop_path, prior=prior
    )
    if recipe.head == "pretrained" and model.own_classifier == (None,):
        raise BackboneError(
            f"Recipe: `head` is 'pretrained', but {recipe.backbone} has no linear classifier; let it be 'new'."
        )
    learner = Learner(model, recipe, competition.target, competition.layer_lr_ratio, choose_device(), balanced)
    return learner, digest(model.backbone)


def _images(
    competition: Competition, choices: Choices, tables: Tables, learner: Learner, workspace: Workspace, console: Console
) -> Images:
    from comp.training.backbone import expectations
    from comp.training.inputs import Images

    return Images(
        tables.train["path"].array,
        expectations(learner.model.backbone),
        competition.augment,
        choices.seed,
        workspace.cache,
        console,
        tables.train["content"].array,
    )


def which_validate(tables: Tables, recipe: Recipe, choices: Choices) -> npt.NDArray[np.bool_]:
    """True for the rows (N,) that validate: a share of them, one of several folds, or none."""
    if choices.all_data:
        return np.zeros(len(tables.train), bool)
    groups, duplicates = tables.groups, tables.duplicate_groups
    if choices.folds is not None and choices.fold is not None:
        validates: npt.NDArray[np.bool_] = (
            draw_folds(tables.targets, choices.folds, choices.seed, groups, duplicates) == choices.fold - 1
        )
        return validates
    return draw_split(tables.targets, recipe.validation, choices.seed, groups, duplicates)
