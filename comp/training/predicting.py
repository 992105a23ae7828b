"""Predicting images with the weights that a run keeps, and writing its submission."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from comp.data.data_check import check_images
from comp.data.reading import Paths
from comp.data.tables import read_test_tables, with_prior
from comp.errors import RunError
from comp.runs.resolve import from_config
from comp.submission.postprocessing import from_record
from comp.submission.predictions import mean_over_views, write_predictions
from comp.submission.submission import build_submission, write_submission
from comp.training.backbone import expectations
from comp.training.inputs import Images
from comp.training.trained import kept_learners

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from comp.console import Console
    from comp.data.tables import Tables
    from comp.declare.competition import Competition
    from comp.declare.recipe import Recipe
    from comp.runs import Run, Workspace
    from comp.submission.postprocessing import PostProcessing

    Array = npt.NDArray[Any]
    # Images, and which of them to predict; None for all.
    Part = tuple[Paths, npt.NDArray[np.int64] | None]


def predict_logits(
    competition: Competition,
    recipe: Recipe,
    trained: Run,
    parts: Sequence[Part],
    workspace: Workspace,
    console: Console,
) -> list[Array]:
    """The logits (N, V, C) of each part's rows; every kept snapshot in every TTA view is one of the V views.

    Raises RunError where one is no number.
    """
    config = trained.record("config")
    found: list[list[Array]] = [[] for _ in parts]
    for learner in kept_learners(competition, recipe, trained, len(config["classes"]), console):
        expected = expectations(learner.model.backbone)
        for (paths, rows), logits in zip(parts, found, strict=True):
            images = Images(paths, expected, competition.augment, config["seed"], workspace.cache, console)
            logits.append(learner.logits(images.to_predict(learner, rows)))
    stacked = [np.concatenate(logits, axis=1) for logits in found]
    if not all(np.isfinite(logits).all() for logits in stacked):
        raise RunError(f"{trained.name} predicts what is no number; train again with a lower learning rate.")
    return stacked


def readable_test_images(tables: Tables) -> Paths:
    paths: Paths = tables.test["path"].array[tables.readable]
    return paths


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

    shares: of the classes (C,) in the images that it was trained on, which the others are given.
    """
    probabilities = with_prior(tables, mean_over_views(logits, competition.target), shares)
    unread = len(tables.test) - int(tables.readable.sum())
    if unread:
        console.say(f"{unread} test images can't be read and are given the classes' shares of the training images")
    ids, classes = tables.test["id"], trained.record("config")["classes"]
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
    root = workspace.data(competition.name)
    tables = read_test_tables(competition, root, config["classes"])
    tables = replace(tables, data_check=check_images(tables, competition, workspace, console))
    (logits,) = predict_logits(competition, recipe, trained, [(readable_test_images(tables), None)], workspace, console)
    postprocessing, shares = from_record(scores["postprocessing"]), np.array(scores["shares"])
    write_test_predictions(competition, trained, tables, logits, shares, postprocessing, console)
