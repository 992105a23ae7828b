"""The steps of a run, in order: download, train, predict, submit.

Nothing is computed here: tables, arrays and files are carried from room to room. A step imports the rooms it needs, so
that one without torch starts at once.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from comp.errors import RunError
from comp.run import Home, Run, create_run

if TYPE_CHECKING:
    from pathlib import Path

    from comp.competition import Competition
    from comp.console import Console
    from comp.kaggle.client import SubmissionRow
    from comp.steps.resolve import Choices


def run(competition: Competition, choices: Choices, home: Home, console: Console, *, submitting: bool = False) -> Run:
    """All steps, from Kaggle to the CSV; with ``submitting`` back to Kaggle and its score."""
    from comp.steps.resolve import resolve

    resolve(competition, choices)  # what can't be is said before gigabytes are downloaded
    download(competition, home, console)
    trained = train(competition, choices, home, console)
    predict(competition, trained, home, console)
    if submitting:
        submit(competition, trained, home, console)
    return trained


def download(competition: Competition, home: Home, console: Console) -> Path:
    """The competition's files and its data sets', unpacked in one folder; does nothing where they already are."""
    from comp.kaggle.fetch import fetch
    from comp.steps.sources import kaggle_of

    handles = [dataset.handle for dataset in competition.extra_data]
    with kaggle_of(competition, home) as connect, console.downloads() as progress:
        report = fetch(connect, competition.kaggle, handles, home.data(competition.name), progress)
    if not report.was_there:
        console.say(f"downloaded {', '.join(archive.name for archive in report.archives)} to {report.folder}")
    return report.folder


def train(competition: Competition, choices: Choices, home: Home, console: Console) -> Run:
    """Train a recipe stage by stage, in a new run folder; the data must have been downloaded."""
    import numpy as np
    import torch

    from comp.data.splitting import draw_split
    from comp.steps.inputs import Images
    from comp.steps.resolve import resolve, to_config
    from comp.steps.scoring import score_logits
    from comp.steps.tables import read_tables
    from comp.training.backbone import build_classifier, expectations, prior_logits, set_size
    from comp.training.checkpoints import save_weights
    from comp.training.learner import Learner, Step, choose_device

    competition, recipe = resolve(competition, choices)
    tables = read_tables(competition, home.data(competition.name))
    rows = np.arange(len(tables.train))
    validates = np.zeros(len(rows), bool)
    if not choices.all_data:
        validates = draw_split(tables.targets, recipe.validation, choices.seed)
    training, validating = rows[~validates], rows[validates]

    torch.manual_seed(choices.seed)
    prior = prior_logits(tables.targets[training], len(tables.classes), competition.target)
    model = build_classifier(recipe.backbone, pretrained=recipe.pretrained, dropout=recipe.dropout, prior=prior)
    accelerator = choose_device()
    learner = Learner(model, recipe, competition.target, competition.layer_lr_ratio, accelerator)
    paths, expected = list(tables.train["path"]), expectations(model.backbone)
    images = Images(paths, expected, competition.augment, choices.seed, home.cache / "features", console)

    config = to_config(competition, recipe, choices, tables, str(accelerator.device), accelerator.mixed_precision)
    trained = create_run(home, competition.name, choices.recipe)
    try:
        trained.write_record("config", config)
        trained.write_split(tables.train["id"], validates)
    except OSError:
        shutil.rmtree(trained.folder, ignore_errors=True)
        raise
    console.log = trained.log
    console.say(
        f"{competition.name}: {len(training)} images train and {len(validating)} validate, "
        f"{len(tables.test)} to predict, {len(tables.classes)} classes; "
        f"{recipe.backbone} on {accelerator.device}, run {trained.name}"
    )
    if tables.ignored:
        console.say(f"{tables.ignored} test images are not in the sample submission and are left out")
    for number, stage in enumerate(recipe.stages, start=1):
        set_size(model, stage.size)
        # Each stage draws orders, alterations and dropout of its own.
        seed = 1000 * choices.seed + number
        epochs, validation = images.for_stage(
            learner, stage, torch.from_numpy(tables.targets), training, validating, seed
        )
        console.stage(number, len(recipe.stages), stage, competition.metric)
        with console.bar("training", stage.epochs * len(epochs), "steps") as bar:
            for event in learner.fit(stage, epochs, validation, seed):
                if isinstance(event, Step):
                    bar.advance(1)
                    continue
                score = score_logits(competition, tables.targets[validating], event.logits)
                trained.append_epoch(number, event, competition.metric, score)
                console.epoch(event, score)
    save_weights(model, trained.weights)
    diagnose(trained, console)
    return trained


def diagnose(trained: Run, console: Console) -> None:
    """Say in words what the losses of a run show, and the one change to try; the run may have ended early."""
    from comp.steps.diagnosing import diagnosis_of

    for line in diagnosis_of(trained):
        console.say(line)


def predict(competition: Competition, trained: Run, home: Home, console: Console) -> Path:
    """Predict validation and test images with test-time augmentation, tune the decision, write the submission."""
    import numpy as np

    from comp.prediction.predictions import write_predictions
    from comp.prediction.submission import build_submission, write_submission
    from comp.prediction.tta import mean_over_views
    from comp.steps.inputs import Images
    from comp.steps.resolve import from_config
    from comp.steps.scoring import decide, describe
    from comp.steps.tables import read_tables
    from comp.steps.trained import load_learner
    from comp.training.backbone import expectations

    config = trained.record("config")
    competition, recipe = from_config(competition, config)
    tables = read_tables(competition, home.data(competition.name))
    if list(tables.classes) != config["classes"]:
        raise RunError(f"{trained.name} was trained on other classes than the data now has; train again.")
    learner = load_learner(competition, recipe, trained, len(tables.classes))
    console.log = trained.log

    validates = tables.train["id"].isin(trained.validating()).to_numpy()
    expected, cache = expectations(learner.model.backbone), home.cache / "features"
    labelled = Images(list(tables.train["path"]), expected, competition.augment, config["seed"], cache, console)
    unlabelled = Images(list(tables.test["path"]), expected, competition.augment, config["seed"], cache, console)
    logits = learner.logits(labelled.to_predict(learner, validates.nonzero()[0]))
    decision, scores = decide(competition, tables.targets[validates], logits)
    probabilities = mean_over_views(learner.logits(unlabelled.to_predict(learner)), competition.target)
    if not np.isfinite(probabilities).all():
        raise RunError(f"{trained.name} predicts what is no number; train again with a lower learning rate.")

    valid = mean_over_views(logits, competition.target)
    write_predictions(trained.predictions("valid"), tables.train["id"][validates], valid, tables.classes)
    write_predictions(trained.predictions("test"), tables.test["id"], probabilities, tables.classes)
    trained.write_record("scores", scores)
    submission = build_submission(
        list(tables.test["id"]),
        decision(probabilities),
        tables.classes,
        tables.sample,
        competition.submission,
        competition.target,
    )
    write_submission(submission, trained.submission)
    console.say(describe(scores))
    console.say(f"wrote {trained.submission} with {len(submission)} rows")
    return trained.submission


def submit(
    competition: Competition, trained: Run, home: Home, console: Console, message: str | None = None
) -> SubmissionRow:
    """Check the run's submission once more, upload it, wait for its score and say where it stands."""
    from comp.labels import read_csv
    from comp.prediction.submission import check_submission, read_sample
    from comp.steps.sources import kaggle_of

    if not trained.submission.is_file():
        raise RunError(f"The run {trained.name} has no submission.csv; make it with `comp predict {trained.name}`.")
    config, scores = trained.record("config"), trained.record("scores")
    console.log = trained.log
    sample = read_sample(home.data(competition.name) / competition.sample_submission)
    written = read_csv(trained.submission)
    check_submission(written, config["classes"], sample, competition.submission, competition.target)
    with kaggle_of(competition, home) as connect:
        kaggle = connect()
        note = message or f"{trained.name} {scores['metric']} {scores.get('decided', '')}".strip()
        reference = kaggle.submit(competition.kaggle, trained.submission, note)
        trained.write_record("submitted", {"reference": reference, "status": "pending", "score": None})
        console.say(f"submitted {trained.submission.name} to {competition.kaggle}")
        graded = kaggle.wait_for_score(competition.kaggle, reference)
        board = kaggle.leaderboard(competition.kaggle)
    trained.write_record("submitted", {"reference": reference, "status": graded.status, "score": graded.public_score})
    place = next((f", place {row.rank} of {len(board)}" for row in board if row.score == graded.public_score), "")
    score = "no score" if graded.public_score is None else f"{competition.metric} {graded.public_score:.5f}"
    console.say(f"leaderboard: {score}{place}")
    return graded
