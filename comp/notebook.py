"""A run's steps by hand, from a notebook or a script, with the method names of fast.ai's lesson.

session = Session("digits")
session.download()
session.lr_find()
session.fit(learning_rate=1e-2)
session.predict()

docs/from-python.md walks through it. Errors that a user can mend are `comp.errors.CompError`, in one sentence.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from comp.training.launching import spin_little

spin_little()  # before torch is imported

from comp import runner
from comp.console import Console
from comp.data.reading import in_rgb, read_image
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.labels.table import answers_of, in_words
from comp.declare.overrides import USUAL_NAMES
from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.declare.viewpoint import View
from comp.errors import OverrideError, RunError
from comp.files import replacing
from comp.kaggle.client import SubmissionRow
from comp.report.outcomes import Outcomes, confusion_to_read, most_confused, read_outcomes, top_losses
from comp.report.plots import Plot, confusion, grid
from comp.report.rendering import SIDE
from comp.runs import TABLES, Run, Workspace, find_run
from comp.runs.choices import Choices
from comp.runs.pretraining import in_pixels
from comp.runs.resolve import Experiment, recipe_of
from comp.submission.predictions import read_predictions
from comp.training.backbone import Classifier, set_size
from comp.training.curves import range_test_as_png, range_test_in_characters
from comp.training.finder import RangeTest, unchanged
from comp.training.predicting import predict_after
from comp.training.prepared import Prepared, prepare
from comp.training.resuming import start
from comp.training.state import load_weights
from comp.training.training import Training

OWN = "own"  # the recorded name of a Recipe that a session is given


class Curve(RangeTest):
    """A range test that a notebook shows as a picture and a terminal in characters; as text, it is its suggestions."""

    def __repr__(self) -> str:
        return range_test_in_characters(self)

    def _repr_png_(self) -> bytes:
        return range_test_as_png(self)


class Session:
    """One training, step by step, recorded in a run folder like those of the command line.

    name: a competition's. recipe: a recipe's name, or a Recipe of your own, which config.json records as the recipe
        ``own``, without its functions: only the session has these. backbone, seed, split_seed, all_data, folds, fold,
        like: as on the command line, but only one fold is trained. settings: those of ``--set``, ``["batch_size=32"]``.
    competitions: folders of competitions besides the repository's.
    workspace: the folder of data, caches and runs; by default COMP_HOME, or the working folder.
    Raises DeclarationError for an unknown competition, OverrideError for a choice that doesn't fit it.
    """

    def __init__(
        self,
        name: str,
        *,
        recipe: str | Recipe = "standard",
        backbone: str | None = None,
        settings: Sequence[str] = (),
        seed: int = 0,
        all_data: bool = False,
        folds: int | None = None,
        fold: int | None = None,
        like: str | None = None,
        split_seed: int | None = None,
        competitions: Sequence[Path | str] = (),
        workspace: Path | str | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise OverrideError(
                f"Session takes the name of a competition, but was given a {type(name).__name__}; write it to "
                "FOLDER/NAME/competition.py, where commands find it as well, and give competitions=['FOLDER']."
            )
        self.competition = competition_named(name, REPOSITORY_COMPETITIONS, *map(Path, competitions))
        if isinstance(recipe, Recipe):
            if OWN in self.competition.recipes:
                raise OverrideError(
                    f"`recipe` is a Recipe(...), which is recorded as {OWN!r}, but {name} declares one of that name; "
                    "give its name, or rename it there."
                )
            self.competition = replace(self.competition, recipes={**self.competition.recipes, OWN: recipe})
            recipe = OWN
        elif not isinstance(recipe, str):
            raise OverrideError(f"`recipe` is {recipe!r}, but it should be a recipe's name or a Recipe(...).")
        self.workspace = (
            Workspace.from_environment() if workspace is None else Workspace(Path(workspace).expanduser().resolve())
        )
        if isinstance(settings, str):
            raise OverrideError(f"`settings` is {settings!r}, but it should be a list, like [{settings!r}].")
        taken_from = None if like is None else find_run(self.workspace, like)
        self.choices = Choices(recipe, backbone, tuple(settings), seed, all_data, folds, fold, taken_from, split_seed)
        if folds is not None and fold is None:
            raise OverrideError(f"A session trains one fold, so with folds={folds} give fold=1 to {folds} as well.")
        self.experiment = Experiment.of(self.competition, self.choices, self.workspace)
        self.console = Console()
        self._training: Training | None = None
        self._trains: Literal["head", "all"] | int = "head"
        self._found: dict[tuple[int, ...], float] = {}
        self._predicted = False

    def __repr__(self) -> str:
        stages = f"{len(self.fitted)} stage{'' if len(self.fitted) == 1 else 's'} fitted"
        where = f" in {self.run.name}" if self._training else ""
        return f"<Session: {self.competition.name}, {self.choices.recipe}, {stages}{where}>"

    def download(self) -> Path:
        """Return the folder of the competition's files, downloaded from Kaggle if needed; raises KaggleError."""
        return runner.download(self.competition, self.workspace, self.console)

    @cached_property
    def prepared(self) -> Prepared:
        """The data, the split and the model. Raises DataError, SubmissionError or BackboneError."""
        return prepare(self.experiment, self.console)

    @property
    def stages(self) -> Sequence[Stage]:
        return self.experiment.recipe.stages

    @property
    def training(self) -> Training:
        """The training under way; its run folder is made by the first step that trains."""
        if self._training is None:
            self._training = start(self.prepared, self.console, by_hand=True)
            self._training.found = self._found
        return self._training

    @property
    def run(self) -> Run:
        return self.training.run

    @property
    def fitted(self) -> Sequence[Stage]:
        """The stages that trained the current weights, with the learning rates used."""
        return tuple(self._training.fitted) if self._training else ()

    @property
    def model(self) -> Classifier:
        """The network with its current weights: ``model.backbone`` is timm's."""
        return self.prepared.learner.model

    def freeze(self) -> None:
        """Train only the head from now on."""
        self._trains = "head"

    def unfreeze(self) -> None:
        """Train all layer groups from now on, earlier groups at smaller learning rates."""
        self._trains = "all"

    def freeze_to(self, group: int) -> None:
        """Train this layer group and all later ones: 0 early, 1 late, 2 the head; -1 is the last, as in fast.ai."""
        count = len(LAYER_GROUPS)
        if not -count <= group < count:
            raise OverrideError(f"freeze_to is {group}, but the layer groups are 0 early, 1 late and 2 head.")
        self._trains = count - group % count

    def lr_find(self, stage: Stage | None = None, **changes: Any) -> Curve:
        """Run an LR range test for a stage as `fit` would train it; the model does not change.

        A later `fit` with ``learning_rate="find"`` takes the rate found here, for the same layer groups,
        `cached` and `batch_size`.
        Raises RunError where no rate is found, and what `fit` raises for fields.
        """
        stage, number = self._stage(stage, changes), len(self.fitted) + 1
        with unchanged(self.prepared.learner):  # setting the stage's size changes a transformer
            stage = self.prepared.possible(stage)
            epochs, _ = self.prepared.inputs(stage, number)
            found = self.prepared.range_test(stage, number, epochs)
        self._found[stage.rate_key] = found.suggestion
        self.console.say(f"suggestions: {found}")
        return Curve(**vars(found))

    def fit(self, stage: Stage | None = None, **changes: Any) -> None:
        """Train a stage of the recipe or of your own, with fields changed, or a stage made of these fields alone.

        ``fit(learning_rate=1e-3, cycles=3, cycle_multiplier=2)`` trains the layers that were last chosen by
        `freeze_to`, `unfreeze` or a stage, at the previous stage's size. Without a learning rate one is found. A stage
        that is interrupted, or whose loss becomes NaN, leaves model and history as they were.
        Raises OverrideError or DeclarationError for wrong fields, RunError where the loss becomes NaN or infinite.
        """
        stage = self._stage(stage, changes)
        with self._as_before_unless_it_ends():
            self.training.fit(self.prepared.possible(stage))
        if worse := self.training.made_worse(self.training.latest):
            self.console.say(f"{worse}; a command would restore the weights from before the stage")
        self._trains, self._predicted = stage.train, False

    def save(self, name: str) -> Path:
        """Save the current weights and their history under a name, in the run's folder ``saved``.

        Raises RunError where nothing was trained yet, OverrideError for a name that no file can have.
        """
        self._check_trained("save")
        if not re.fullmatch(r"\w[\w .-]*", name):
            raise OverrideError(f"The name is {name!r}, but it should be letters, digits, '-', '_' and '.'.")
        saved = self.run.folder / "saved"
        saved.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=saved, prefix=".") as unfinished:
            kept = Run(Path(unfinished) / name)
            replace(self.training, run=kept).finish()
            _copy_history(self.run, kept, [path.stem for path in self.training.snapshots])
            shutil.rmtree(saved / name, ignore_errors=True)
            return kept.folder.rename(saved / name)

    def load(self, name: str, run: str | None = None) -> None:
        """Load the weights that were saved under this name in this session, or in the run that is named.

        Their history and stages replace the session's. Raises RunError where there are none, where they are another
        model's, or where the run has other validation images: its weights have then seen some of those used here.
        """
        if run is None and self._training is None:
            raise RunError("Nothing was saved in this session yet; name a run as well, run='digits/standard-1'.")
        source = self.run if run is None else find_run(self.workspace, run)
        kept = Run(source.folder / "saved" / name)
        if not kept.weights.is_file():
            names = ", ".join(sorted(path.name for path in (source.folder / "saved").glob("[!.]*"))) or "none"
            raise RunError(f"{source.name} has no weights saved as {name!r}; it has {names}.")
        self._check_same_rows(source)
        trained = kept.record("trained")
        stages = recipe_of(source.record("config"), trained).stages
        learner = self.prepared.learner
        # Into a copy, as weights that only fit in part would be loaded in part.
        model = deepcopy(learner.model)
        set_size(model, stages[-1].pixels)
        load_weights(model, kept.weights)
        learner.model = learner.evaluated = model
        _copy_history(kept, self.run, trained["snapshots"])
        self.training.fitted = list(stages)
        self.training.snapshots = [self.run.checkpoint(snapshot) for snapshot in trained["snapshots"]]
        self.training.baseline, self.training.unexplained = trained.get("baseline"), trained.get("unexplained")
        self._predicted, self.training.latest = False, None
        self.console.say(f"loaded {name} of {source.name}")

    def predict(self) -> pd.DataFrame:
        """Return the test images' probabilities by id, with test-time augmentation; write the submission as well.

        Raises RunError where nothing was trained yet, or a prediction is NaN or infinite.
        """
        self._check_trained("predict")
        self.training.finish()
        predict_after(self.training)
        self._predicted = True
        return read_predictions(self.run.predictions("test"))

    @property
    def submission(self) -> Path:
        """The CSV that `predict` wrote. Raises RunError unless `predict` was called for the current weights."""
        self._check_predicted()
        return self.run.submission

    def submit(self, message: str | None = None) -> SubmissionRow:
        """Upload the submission and wait for its score. Raises RunError before `predict`, or KaggleError."""
        self._check_predicted()
        return runner.submit(self.competition, self.run, self.workspace, self.console, message)

    def validated(self) -> pd.DataFrame:
        """Return the validation images' probabilities by id, from `predict`. Raises RunError before it."""
        self._check_predicted()
        return read_predictions(self.run.predictions("valid"))

    def most_confused(self) -> pd.DataFrame:
        """Return the mistakes on the validation images, most frequent first.

        Columns ``label``, ``predicted``, ``count``; for tags ``tag``, ``missed``, ``invented``. Raises RunError before
        `predict`, and for numbers.
        """
        if self.competition.target not in ("single", "multi"):
            raise RunError("There is no confusion between numbers; call top_losses() for those that are farthest off.")
        return most_confused(self._outcomes())

    def top_losses(self) -> pd.DataFrame:
        """Return the validation images, highest loss first. Raises RunError before `predict`.

        Columns ``id``, ``label``, ``predicted``, ``probability``, ``loss`` and ``path``; for numbers ``id``, ``loss``,
        label and prediction of each number, and ``path``.
        """
        table = top_losses(self._outcomes())
        paths = self.prepared.tables.answers.train.set_index("id")["path"]
        return table.assign(path=paths[table["id"]].map(Path).to_numpy())

    def show_batch(self, count: int = 8) -> Plot:
        """Show some images as training sees them, augmented, each below its label."""
        tables, images, stage = self.prepared.tables, self.prepared.images, self.stages[-1]
        rows = np.random.default_rng(self.choices.seed).permutation(self.prepared.training)[:count].tolist()
        dataset = images.dataset(stage.pixels, self.choices.seed, self.experiment.recipe.random_erasing)
        pictures = [in_rgb(dataset[row, (View(draw=0),)][1][0]) for row in rows]
        return grid(pictures, [in_words(tables.train["label"].iloc[row]) for row in rows])

    def plot_top_losses(self, count: int = 8) -> Plot:
        """Show the validation images of highest loss, below their labels and predictions. Raises RunError as above."""
        table, reading = self.top_losses().head(count), self.prepared.images.reading
        pictures = [in_rgb(read_image(path, SIDE, reading)) for path in table["path"]]
        named = [name for name in ("label", "predicted", "probability", "loss") if name in table]
        table = table[named].map(lambda value: f"{value:.2f}" if isinstance(value, float) else str(value))
        return grid(pictures, [" / ".join(row) for row in table.itertuples(index=False)])

    def plot_confusion(self) -> Plot:
        """Plot the confusion matrix; of many classes, only those confused most. Raises RunError as above."""
        if self.competition.target != "single":
            other = "most_confused" if self.competition.target == "multi" else "top_losses"
            raise RunError(f"There is a confusion matrix of one class per image only; call {other}().")
        return confusion(confusion_to_read(self._outcomes().confusion))

    def diagnose(self) -> None:
        """Print what the losses show and which one change to try. Raises RunError where nothing was trained yet."""
        self._check_trained("diagnose")
        self.training.finish()
        runner.diagnose(self.run, self.console)

    def _stage(self, stage: Stage | None, changes: dict[str, Any]) -> Stage:
        known = [field.name for field in fields(Stage)]
        if unknown := [name for name in changes if name not in known]:
            usual = USUAL_NAMES.get(unknown[0])
            has = f"did you mean {usual}?" if usual in known else f"it has {', '.join(known)}."
            raise OverrideError(f"A stage has no field {unknown[0]!r}; {has}")
        if stage is None:
            size = (self.fitted[-1] if self.fitted else self.stages[0]).size
            stage = Stage(**{"size": size, "train": self._trains, **changes})
        elif not isinstance(stage, Stage):
            raise OverrideError(f"{stage!r} is no Stage; name the fields of one, as in fit(learning_rate=0.01).")
        else:
            stage = replace(stage, **changes)
        return in_pixels([stage], self.experiment.recipe.backbone)[0]

    @contextmanager
    def _as_before_unless_it_ends(self) -> Iterator[None]:
        """Restore model and history where the block fails, so that a retry goes like a first try."""
        training, learner = self.training, self.prepared.learner
        model, sizes, now = deepcopy(learner.model), training.run.history.sizes(), vars(training)
        before = {name: copy(now[name]) for name in ("fitted", "snapshots", "baseline", "unexplained", "latest")}
        try:
            yield
        except BaseException:
            learner.model = learner.evaluated = model
            now.update(before)
            training.run.history.cut(sizes)
            self.console.say("the stage did not end; the weights are as they were before it")
            raise

    def _check_trained(self, step: str) -> None:
        if not self.fitted:
            raise RunError(f"Nothing was trained yet; call fit() before {step}().")

    def _check_predicted(self) -> None:
        self._check_trained("predict")
        if not self._predicted:
            raise RunError("Nothing was predicted with the current weights yet; call predict() first.")

    def _check_same_rows(self, source: Run) -> None:
        tables = self.prepared.tables
        if source.validating() != set(answers_of(tables.train).iloc[self.prepared.validating]):
            raise RunError(
                f"{source.name} validated on other images, so its weights have seen validation images of this session; "
                "use its seed and folds."
            )
        source.must_have_classes(tables.classes)

    def _outcomes(self) -> Outcomes:
        self._check_predicted()
        (outcomes,) = read_outcomes([self.run], self.prepared.tables.answers)
        return outcomes


def _copy_history(source: Run, target: Run, snapshots: Sequence[str]) -> None:
    """Copy the tables of stages, epochs and steps, and the snapshots that are averaged with the final weights."""
    pairs = [(source.folder / name, target.folder / name) for name in TABLES]
    pairs += [(source.checkpoint(name), target.checkpoint(name)) for name in snapshots]
    for path, copied in pairs:
        with replacing(copied) as unfinished:
            shutil.copyfile(path, unfinished)
