"""Predicting images with the weights that a run keeps, and writing its submission."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from comp.console import Console
from comp.data.columns import Encoding
from comp.data.data_check import check_images
from comp.data.findings import lines_of_unlike
from comp.data.preparing import prepare_files
from comp.data.reading import Depth, Paths
from comp.data.tables import Tables, answers_of, class_counts, read_test_tables, with_prior
from comp.declare.competition import Competition
from comp.declare.recipe import Recipe
from comp.errors import RunError
from comp.runs import Run, Workspace
from comp.runs.resolve import from_config
from comp.submission.outputs import Outputs
from comp.submission.postprocessing import PostProcessing, from_record
from comp.submission.predictions import combined, write_predictions
from comp.submission.scoring import describe, tune_on_logits
from comp.submission.submission import build_submission, write_submission
from comp.training.backbone import build_classifier, expectations, set_size
from comp.training.inputs import Images, tta_views
from comp.training.learner import Learner
from comp.training.state import load_weights
from comp.training.training import Training

Array = npt.NDArray[Any]
# Images, their columns (N, K) if any, and which of them to predict; None for all.
Part = tuple[Paths, Tensor | None, npt.NDArray[np.int64] | None]


def predict_after(training: Training) -> Path:
    """Predict with what has just been trained, as `predict` does; the last weights are those of the learner."""
    experiment, tables, run = training.prepared.experiment, training.prepared.tables, training.run
    just_trained = training.prepared.learner if training.fitted else None
    return predict(experiment.competition, run, tables, experiment.workspace, training.console, just_trained)


def predict(
    competition: Competition,
    trained: Run,
    tables: Tables,
    workspace: Workspace,
    console: Console,
    just_trained: Learner | None = None,
) -> Path:
    """Predict validation and test images with test-time augmentation, tune post-processing, write the submission.

    Raises RunError for a run that has no weights, was trained on other classes, or predicts NaN.
    """
    if trained.members:
        raise RunError(
            f"{trained.name} is made of other runs and has no weights to predict with; predict "
            f"{', '.join(trained.members)} and combine them again."
        )
    config = trained.record("config")
    competition, recipe = from_config(competition, config, trained.record("trained"))
    if list(tables.classes) != config["classes"]:
        raise RunError(f"{trained.name} was trained on other classes than the data now has; train again.")
    console.log = trained.log
    validates = answers_of(tables.train).isin(trained.validating()).to_numpy()
    labelled = (tables.train["path"].array, inputs_of(config, tables.train), validates.nonzero()[0])
    unlabelled = readable_test_images(config, tables)
    valid, test = predict_logits(competition, recipe, trained, [labelled, unlabelled], workspace, console, just_trained)
    targets, answers = tables.answered(validates.nonzero()[0])
    outputs = outputs_of(trained)
    views = len(tta_views(recipe, competition.augment))
    postprocessing, scores = tune_on_logits(
        competition, outputs, tables.classes, targets, valid, config["postprocessing"], answers, views
    )
    # Where no image validates, as the run that it is like found.
    if not scores.setdefault("tta_used", config.get("tta_used", True)):
        valid, test = valid[:, ::views], test[:, ::views]
    shares = class_counts(tables.targets[~validates], len(tables.classes)) / (~validates).sum()
    probabilities = combined(competition, outputs.predictions(valid), answers)
    ids = tables.train["id"][validates] if answers is None else np.unique(answers)
    write_predictions(trained.predictions("valid"), ids, probabilities, tables.classes)
    # With what predicts other images without the training images at hand.
    trained.write_record("scores", {**scores, "shares": shares.tolist()})
    console.say(describe(scores, "images" if answers is None else "answers"))
    write_test_predictions(competition, trained, tables, test, shares, postprocessing, console)
    return trained.submission


def predict_logits(
    competition: Competition,
    recipe: Recipe,
    trained: Run,
    parts: Sequence[Part],
    workspace: Workspace,
    console: Console,
    just_trained: Learner | None = None,
) -> list[Array]:
    """The logits (N, V, C) of each part's rows; every kept snapshot in every TTA view is one of the V views.

    Raises RunError where one is NaN or infinite.
    """
    config = trained.record("config")
    found: list[list[Array]] = [[] for _ in parts]
    for learner in kept_learners(competition, recipe, trained, console, just_trained):
        depth = Depth.of(config.get("depth"))
        expected = expectations(learner.model.backbone, depth.channels)
        for (paths, columns, rows), logits in zip(parts, found, strict=True):
            images = Images(
                paths,
                expected,
                competition.augment,
                config["seed"],
                workspace.cache,
                console,
                read=competition.read,
                depth=depth,
            )
            own = columns if columns is None or rows is None else columns[rows]
            logits.append(learner.logits(images.to_predict(learner, rows), own))
    stacked = [np.concatenate(logits, axis=1) for logits in found]
    if not all(np.isfinite(logits).all() for logits in stacked):
        raise RunError(f"{trained.name} predicts NaN or infinity; train again with a lower learning rate.")
    return stacked


def outputs_of(trained: Run) -> Outputs:
    """What the logits of a run's model stand for; raises RunError for a run of an older version."""
    try:
        return Outputs.from_record(trained.record("config")["outputs"])
    except (KeyError, TypeError):
        raise RunError(f"{trained.name} was trained by another version of comp; train again.") from None


def readable_test_images(config: dict[str, Any], tables: Tables) -> Part:
    readable = tables.test[tables.readable]
    return readable["path"].array, inputs_of(config, readable), None


def inputs_of(config: dict[str, Any], table: pd.DataFrame) -> Tensor | None:
    """The columns (N, K) of a table's images as the run with this config.json encoded them; None where it has none."""
    return torch.from_numpy(Encoding(**config["columns"]["encoding"])(table)) if "columns" in config else None


def write_test_predictions(
    competition: Competition,
    trained: Run,
    tables: Tables,
    logits: Array,
    shares: Array,
    postprocessing: PostProcessing,
    console: Console,
) -> None:
    """The run's test predictions and submission, of the logits (R, V, C) of the test images that can be read.

    shares: of the classes (C,) in the images that it was trained on, or the means of numbers, for the others.
    """
    answers = tables.test["answer"].to_numpy(object)[tables.readable] if "answer" in tables.test else None
    of_answers = combined(competition, outputs_of(trained).predictions(logits), answers)
    probabilities = with_prior(tables, of_answers, shares)
    ids, classes = tables.answers.test["id"], trained.record("config")["classes"]
    if unread := len(ids) - len(of_answers):
        what = "test images can't" if answers is None else "answers have no test image that can"
        console.say(f"{unread} {what} be read and are given what the training images have on average")
    write_predictions(trained.predictions("test"), ids, probabilities, classes)
    submission = build_submission(
        competition, classes, tables.sample_submission, list(ids), postprocessing(probabilities)
    )
    write_submission(submission, trained.submission)
    console.say(f"wrote {trained.submission} with {len(submission)} rows")


def predict_test_images(competition: Competition, trained: Run, workspace: Workspace, console: Console) -> None:
    """Predict the test images that are in the data folder now, by the post-processing that the run has.

    They may be others than when it was trained, and no training image needs to be there. Raises RunError, DataError or
    SubmissionError.
    """
    config, scores = trained.record("config"), trained.record("scores")
    if "shares" not in scores:
        raise RunError(f"{trained.name} was predicted by an older comp; run `comp predict {trained.name}` once more.")
    competition, recipe = from_config(competition, config, trained.record("trained"))
    if not scores.get("tta_used", True):
        recipe = replace(recipe, tta="none")
    root = workspace.data(competition.name)
    prepare_files(competition, root, console.say)
    tables = read_test_tables(competition, root, config["classes"])
    if "columns" in config:
        for line in Encoding(**config["columns"]["encoding"]).lines(tables.test, "test images"):
            console.say(line)
    found = check_images(tables, competition, workspace, console, Depth.of(config.get("depth")))
    for line in lines_of_unlike(found):
        console.say(line)
    tables = replace(tables, data_check=found)
    parts = [readable_test_images(config, tables)]
    (logits,) = predict_logits(competition, recipe, trained, parts, workspace, console)
    postprocessing, shares = from_record(scores["postprocessing"]), np.array(scores["shares"])
    write_test_predictions(competition, trained, tables, logits, shares, postprocessing, console)


def kept_learners(
    competition: Competition,
    recipe: Recipe,
    trained: Run,
    console: Console,
    just_trained: Learner | None = None,
) -> Iterator[Learner]:
    """A learner with each of the run's kept weights, the last ones first.

    just_trained: has the last ones already.
    Raises RunError where its training did not end.
    """
    record, config = trained.record("trained"), trained.record("config")
    channels = Depth.of(config.get("depth")).channels
    columns = Encoding(**config["columns"]["encoding"]).width if "columns" in config else 0
    snapshots = [trained.checkpoint(name) for name in record["snapshots"]]
    at_once = record.get("at_once", {}).get("forward")
    for weights in (trained.weights, *snapshots):
        if just_trained is not None and weights == trained.weights:
            learner, just_trained.recipe = just_trained, recipe
        else:
            learner = load_learner(competition, recipe, weights, outputs_of(trained).width, channels, columns)
        learner.micro_batches.forward, learner.micro_batches.say = at_once, console.say
        yield learner
        # The next one would run out of memory with what this one did.
        at_once = learner.micro_batches.forward


def load_learner(
    competition: Competition, recipe: Recipe, weights: Path, width: int, channels: int = 3, columns: int = 0
) -> Learner:
    """The model with these weights, at the size of the last stage."""
    model = build_classifier(
        recipe.backbone,
        pretrained=False,
        dropout=recipe.dropout,
        prior=np.zeros(width),
        channels=channels,
        head=recipe.head,
        columns=columns,
    )
    set_size(model, recipe.stages[-1].pixels)
    load_weights(model, weights)
    return Learner(model, recipe, competition.layer_lr_ratio)
