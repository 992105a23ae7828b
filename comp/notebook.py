"""The runner's steps by hand, for a notebook, in the lesson's words."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from comp import runner
from comp.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.console import Console
from comp.errors import RunError
from comp.recipe import Stage
from comp.report.mistakes import most_confused, top_losses
from comp.run import Home, Run
from comp.steps.prepared import Prepared, prepare
from comp.steps.resolve import Choices
from comp.steps.training import Training, start
from comp.training.checkpoints import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from comp.training.finder import Sweep


class Session:
    """One training, step by step; it is recorded in a run folder as the command line's are.

    name, recipe, backbone, settings, seed: as on the command line; ``settings`` are its ``--set FIELD=VALUE``.
    competitions: folders of more competitions than the repository's.
    home: where data, caches and runs are; without it COMP_HOME, or the working folder.
    """

    def __init__(
        self,
        name: str,
        *,
        recipe: str = "standard",
        backbone: str | None = None,
        settings: Sequence[str] = (),
        seed: int = 0,
        competitions: Sequence[Path] = (),
        home: Path | None = None,
    ) -> None:
        self.competition = competition_named(name, REPOSITORY_COMPETITIONS, *competitions)
        self.choices = Choices(recipe, backbone, tuple(settings), seed)
        self.home = Home(home.resolve()) if home else Home.from_environment()
        self.console = Console()
        self.trains: Any = "head"

    def download(self) -> Path:
        """The folder of the competition's files; brought from Kaggle where they are not there yet."""
        return runner.download(self.competition, self.home, self.console)

    @cached_property
    def prepared(self) -> Prepared:
        """The data, the split and the model, before any training."""
        return prepare(self.competition, self.choices, self.home, self.console)

    @cached_property
    def training(self) -> Training:
        return start(self.prepared, self.home, self.console)

    @property
    def run(self) -> Run:
        """The run folder, made by the first step that trains."""
        return self.training.run

    @property
    def stages(self) -> Sequence[Stage]:
        """The recipe's stages."""
        return self.prepared.recipe.stages

    def freeze(self) -> None:
        """Train the head only, from now on."""
        self.trains = "head"

    def unfreeze(self) -> None:
        """Train all layer groups from now on, earlier ones at smaller learning rates."""
        self.trains = "all"

    def freeze_to(self, groups: int) -> None:
        """Train only so many of the last layer groups, from now on."""
        self.trains = groups

    def lr_find(self, stage: Stage | None = None, **fields: Any) -> Sweep:
        """Sweep over learning rates for a stage and draw the curve; the model stays as it is."""
        stage, number = self._stage(stage, fields), len(self.training.fitted) + 1
        epochs, _ = self.prepared.inputs(stage, number)
        found = self.prepared.sweep(stage, number, epochs)
        self.console.sweep(found)
        return found

    def fit(self, stage: Stage | None = None, **fields: Any) -> None:
        """Train a stage: one of the recipe's, one of your own, or one of these fields.

        ``fit(learning_rate=1e-3, cycles=3, cycle_multiplier=2)`` trains what was last frozen or unfrozen, at the size
        of the stage before.
        """
        self.training.fit(self._stage(stage, fields))

    def save(self, name: str) -> Path:
        """Keep the weights as they are now under a name."""
        path = self.run.checkpoint(name)
        save_weights(self.prepared.learner.model, path)
        return path

    def load(self, name: str) -> None:
        """Take up the weights kept under that name."""
        load_weights(self.prepared.learner.model, self.run.checkpoint(name))
        self.training.snapshots = []

    def predict(self) -> pd.DataFrame:
        """Probabilities of the test images by id, with test-time augmentation; writes the submission as well."""
        if not self.training.fitted:
            raise RunError("Nothing was trained yet; call fit() before predict().")
        self.training.finish()
        runner.predict(self.competition, self.run, self.home, self.console)
        return self._predictions("test")

    @property
    def submission(self) -> Path:
        return self.run.submission

    def validated(self) -> pd.DataFrame:
        """Probabilities of the validation images by id, as the last ``predict`` had them."""
        return self._predictions("valid")

    def most_confused(self) -> pd.DataFrame:
        """The mistakes on the validation images, the most frequent first."""
        return most_confused(self._targets(), self.validated().to_numpy(), self.prepared.tables.classes)

    def top_losses(self) -> pd.DataFrame:
        """The validation images, the one that costs most first."""
        valid = self.validated()
        table = top_losses(list(valid.index), self._targets(), valid.to_numpy(), self.prepared.tables.classes)
        paths = self.prepared.tables.train.set_index("id")["path"]
        return table.assign(path=list(paths[table["id"]]))

    def _stage(self, stage: Stage | None, fields: dict[str, Any]) -> Stage:
        if stage is not None:
            return replace(stage, **fields)
        size = (self.training.fitted or self.stages)[-1 if self.training.fitted else 0].size
        return Stage(**{"size": size, "train": self.trains, **fields})

    def _predictions(self, part: str) -> pd.DataFrame:
        path = self.run.predictions(part)
        if not path.is_file():
            raise RunError(f"{self.run.name} has no predictions yet; call predict() first.")
        return pd.read_parquet(path).set_index("id")

    def _targets(self) -> Any:
        return np.asarray(self.prepared.tables.targets)[self.prepared.validating]
