"""Predicting images with a run's weights, and writing its submission."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from comp.console import Console
from comp.data.augmenting import tta_views
from comp.data.columns import Encoding
from comp.data.data_check import check_images
from comp.data.findings import lines_of_unlike
from comp.data.preparing import prepare_files
from comp.data.reading import Depth, Paths
from comp.data.tables import Tables, read_test_tables, with_prior
from comp.data.targets import class_counts
from comp.declare.competition import Competition
from comp.declare.labels.table import answers_of
from comp.declare.recipe import Recipe
from comp.errors import RunError, counted
from comp.runs import Run, Workspace
from comp.runs.resolve import from_config, of_this_version
from comp.submission.outputs import Outputs
from comp.submission.postprocessing import PostProcessing, from_record
from comp.submission.predictions import combined, keep_predictions, postprocessed
from comp.submission.scoring import describe, tune_on_logits
from comp.submission.submission import build_submission, keep_submission
from comp.submission.uncertainty import doubt
from comp.training.backbone import build_classifier, expectations, set_size
from comp.training.config import fingerprint
from comp.training.images import Images
from comp.training.inputs import to_predict
from comp.training.learner import Learner
from comp.training.state import load_weights
from comp.training.training import Training

Array = npt.NDArray[Any]
# Images, their columns (N, K) if any, and the rows to predict, None for all.
Part = tuple[Paths, Tensor | None, npt.NDArray[np.int64] | None]


@dataclass(frozen=True)
class Trained:
    """A run with weights, and its records: competition and recipe as they were, the inputs and outputs of its model.

    depth: of the images. encoding: of the columns, if any. outputs: what the logits stand for.
    """

    run: Run
    config: Mapping[str, Any]
    competition: Competition
    recipe: Recipe
    depth: Depth
    encoding: Encoding | None
    outputs: Outputs

    @classmethod
    def of(cls, run: Run, competition: Competition) -> Trained:
        """Read a run's records. Raises RunError where it isn't trained, or another version of comp trained it."""
        config = run.record("config")
        competition, recipe = from_config(competition, config, run.record("trained"))
        encoding = Encoding(**config["columns"]["encoding"]) if "columns" in config else None
        with of_this_version():
            outputs = Outputs.from_record(config["outputs"])
        return cls(run, config, competition, recipe, Depth.of(config.get("depth")), encoding, outputs)

    def columns_of(self, table: pd.DataFrame) -> Tensor | None:
        """The columns (N, K) of a table's images in the run's encoding; None where the run has none."""
        return None if self.encoding is None else torch.from_numpy(self.encoding(table))


def predict_after(training: Training) -> Path:
    """Predict with the run of a training; the final weights are not loaded again if they have just been trained."""
    experiment, tables, run = training.prepared.experiment, training.prepared.tables, training.run
    just_trained = training.prepared.learner if training.fitted else None
    return predict(experiment.competition, run, tables, experiment.workspace, training.console, just_trained)


def predict(
    competition: Competition,
    run: Run,
    tables: Tables,
    workspace: Workspace,
    console: Console,
    just_trained: Learner | None = None,
) -> Path:
    """Predict validation and test images with test-time augmentation, tune post-processing, write the submission.

    Raises RunError for a run that has no weights, was trained on other classes, or predicts NaN.
    """
    run.must_have_weights("predict {members} and combine them again")
    trained = Trained.of(run, competition)
    competition, config = trained.competition, trained.config
    run.must_have_classes(tables.classes)
    console.log = run.log
    if just_trained is None and fingerprint(tables) != config["data"]["fingerprint"]:
        console.say(f"images or labels changed since {run.name} was trained; it is scored on the data as they are now")
    validates = answers_of(tables.train).isin(run.validating()).to_numpy()
    rows = validates.nonzero()[0]
    labelled = (tables.train["path"].array, trained.columns_of(tables.train), rows)
    parts = [labelled, _test_images(trained, tables)]
    valid, test = predict_logits(trained, parts, tables.beside, workspace, console, just_trained)
    targets, answers = tables.answered(rows)
    ids = tables.train["id"][validates].to_list() if answers is None else np.unique(answers).tolist()
    views = len(tta_views(trained.recipe, competition.augment))
    with console.waiting("tuning post-processing"):  # a custom metric may be slow
        postprocessing, scores = tune_on_logits(
            competition,
            trained.outputs,
            tables.classes,
            targets,
            valid,
            config["postprocessing"],
            answers,
            views,
            labelled=tables.targets,
            ids=ids,
        )
    # Where no image validates, the config has the decision of the run that this one is like.
    if not scores.setdefault("tta_used", config.get("tta_used", True)):
        valid, test = valid[:, ::views], test[:, ::views]
    shares = class_counts(tables.targets[~validates], len(tables.classes)) / (~validates).sum()
    probabilities = combined(competition, trained.outputs.predictions(valid), answers)
    made = postprocessed(competition, ids, tables.classes, probabilities)
    keep_predictions(run, "valid", ids, tables.classes, made, probabilities)
    # With the shares, so that other images can be predicted without the training images.
    run.write_record("scores", {**scores, "shares": shares.tolist()})
    console.say(describe(scores, "images" if answers is None else "answers"))
    # Folds are judged once they are joined, by all rows.
    if config["folds"] is None and (doubtful := doubt(scores)):
        console.say(doubtful)
    _write_test_predictions(trained, tables, test, shares, postprocessing, console)
    return run.submission


def predict_logits(
    trained: Trained,
    parts: Sequence[Part],
    beside: str,
    workspace: Workspace,
    console: Console,
    just_trained: Learner | None = None,
) -> list[Array]:
    """The logits (N, V, C) of each part's rows: V is the number of kept weights times TTA views.

    beside: as in `Reading`. Raises RunError where a logit is NaN or infinite.
    """
    found: list[list[Array]] = [[] for _ in parts]
    for learner in kept_learners(trained, console, just_trained):
        expected = expectations(learner.model.backbone, trained.depth.channels)
        for (paths, columns, rows), logits in zip(parts, found, strict=True):
            images = Images(
                paths,
                expected,
                trained.competition.augment,
                trained.config["seed"],
                workspace.cache,
                console,
                read=trained.competition.read,
                depth=trained.depth,
                reused=trained.config["folds"] is not None or trained.recipe.snapshots > 1,
                tta=trained.recipe.tta,
                beside=beside,
            )
            own = columns if columns is None or rows is None else columns[rows]
            logits.append(learner.logits(to_predict(images, learner, rows), own))
    stacked = [np.concatenate(logits, axis=1) for logits in found]
    if not all(np.isfinite(logits).all() for logits in stacked):
        raise RunError(f"{trained.run.name} predicts NaN or infinity; train again with a lower learning rate.")
    return stacked


def _test_images(trained: Trained, tables: Tables) -> Part:
    """The test images that can be read."""
    readable = tables.test[tables.readable]
    return readable["path"].array, trained.columns_of(readable), None


def _write_test_predictions(
    trained: Trained, tables: Tables, logits: Array, shares: Array, postprocessing: PostProcessing, console: Console
) -> None:
    """Write the run's test predictions and submission, by the logits (R, V, C) of the test images that can be read.

    shares: the classes' shares (C,) of the training images, or the means of numbers, for images that can't be read.
    """
    run, competition, classes = trained.run, trained.competition, trained.config["classes"]
    answers = tables.test["answer"].to_numpy(object)[tables.readable] if "answer" in tables.test else None
    of_answers = combined(competition, trained.outputs.predictions(logits), answers)
    probabilities, ids = with_prior(tables, of_answers, shares), tables.answers.test["id"].to_list()
    if unread := len(ids) - len(of_answers):
        what = ("test image can't be read and gets", "test images can't be read and get")
        if answers is not None:
            what = ("answer has no readable test image and gets", "answers have no readable test image and get")
        console.say(f"{counted(unread, *what)} the average of the training labels")
    made = postprocessed(competition, ids, classes, probabilities)
    keep_predictions(run, "test", ids, classes, made, probabilities)
    submission = build_submission(competition, classes, tables.sample_submission, ids, postprocessing(made))
    keep_submission(submission, run)
    console.detail(f"wrote {run.submission} with {counted(len(submission), 'row')}")


def predict_test_images(competition: Competition, run: Run, workspace: Workspace, console: Console) -> None:
    """Predict the test images that are in the data folder now, with the run's post-processing.

    They may differ from those at training; no training image is needed. Raises RunError, DataError or SubmissionError.
    """
    scores = run.record("scores")
    if "shares" not in scores:
        raise RunError(f"{run.name} was predicted by an older comp; run `comp predict {run.name}` once more.")
    trained = Trained.of(run, competition)
    if not scores.get("tta_used", True):
        trained = replace(trained, recipe=replace(trained.recipe, tta="none"))
    root = workspace.data(competition.name)
    prepare_files(trained.competition, root, console.say)
    tables = read_test_tables(trained.competition, root, trained.config["classes"])
    if trained.encoding is not None:
        for line in trained.encoding.lines(tables.test, "test images"):
            console.say(line)
    found = check_images(tables, trained.competition, workspace, console, trained.depth)
    for line in lines_of_unlike(found):
        console.say(line)
    tables = replace(tables, data_check=found)
    (logits,) = predict_logits(trained, [_test_images(trained, tables)], tables.beside, workspace, console)
    postprocessing, shares = from_record(scores["postprocessing"]), np.array(scores["shares"])
    _write_test_predictions(trained, tables, logits, shares, postprocessing, console)


def kept_learners(trained: Trained, console: Console, just_trained: Learner | None = None) -> Iterator[Learner]:
    """A learner for each of the run's kept weights, the final ones first; ``just_trained`` has these already."""
    run, recipe, record = trained.run, trained.recipe, trained.run.record("trained")
    snapshots = [run.checkpoint(name) for name in record["snapshots"]]
    at_once = record.get("at_once", {}).get("forward")
    for weights in (run.weights, *snapshots):
        if just_trained is not None and weights == run.weights:
            learner, just_trained.recipe = just_trained, recipe
        else:
            learner = _loaded(trained, weights)
        learner.micro_batches.forward, learner.micro_batches.say = at_once, console.say
        yield learner
        # The next learner would run out of memory at the same batch as this one.
        at_once = learner.micro_batches.forward


def _loaded(trained: Trained, weights: Path) -> Learner:
    """A learner with these weights, at the size of the last stage."""
    recipe, prior = trained.recipe, np.zeros(trained.outputs.width)
    columns = 0 if trained.encoding is None else trained.encoding.width
    model = build_classifier(recipe, prior, trained.depth.channels, columns, to_predict=True)
    set_size(model, recipe.stages[-1].pixels)
    load_weights(model, weights)
    return Learner(model, recipe, trained.competition.layer_lr_ratio)
