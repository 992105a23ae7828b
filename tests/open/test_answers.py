"""Patients with several images, some of which show nothing: one answer each, from files to the leaderboard."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from comp import runner
from comp.console import Console
from comp.data.data_check import check
from comp.errors import DeclarationError
from comp.notebook import Session
from comp.report.explore import explore
from comp.report.report import explain
from comp.runs.choices import Choices
from comp.submission.predictions import combined, read_predictions
from tests.open.conftest import each

SICKEST = """

def sickest(predictions):
    return predictions[predictions[:, 1].argmax()]

"""
FIELDS = """labels=CsvLabels("train.csv", image="{image}", label="sick", {train}), test={test}, combine={combine},
    submission=ProbabilityOf("yes"), augment=top_down(), metric="roc_auc\""""
RECIPE = 'stages=[Stage(size=16, train="head", cached=True, cycle_length=8, learning_rate=1e-2)]'
FOLDERS = {
    "image": "patient",
    "train": 'folder="train", suffix="/*.png"',
    "test": 'TestImages("test", suffix="/*.png")',
}
ROWS = {
    "image": "image",
    "train": 'folder="train/{patient}", suffix=".png", answer="patient"',
    "test": 'CsvImages("test.csv", image="image", folder="test/{patient}", suffix=".png", answer="patient")',
}
GREY = (120, 120, 120)
TRAIN, TEST = 24, 16  # patients


@pytest.fixture
def patients(tiny):
    """Training and test patients with three images each: two are red for a sick patient, else none."""

    def made(layout, combine):
        made = tiny(FIELDS.format(**layout, combine=combine), RECIPE, SICKEST)
        tables = {}
        for part, count in (("train", TRAIN), ("test", TEST)):
            lines = ["image,patient,sick"]
            for number in range(count):
                patient, sick = f"{part[0]}{number}", number % 2
                for image in range(3):
                    made.image(f"{part}/{patient}/{part[0]}{number}_{image}.png", "red" if sick and image else GREY)
                    lines.append(f"{part[0]}{number}_{image},{patient},{('no', 'yes')[sick]}")
            tables[part] = lines
        each = {part: list(dict.fromkeys(line.partition(",")[2] for line in lines)) for part, lines in tables.items()}
        made.text("train.csv", tables["train"] if layout is ROWS else each["train"])
        if layout is ROWS:
            made.text("test.csv", [line.rpartition(",")[0] for line in tables["test"]])
        made.text("sample_submission.csv", ["patient,sick", *(f"t{number},0.5" for number in range(TEST))])
        made.answers(["patient,sick", *(f"t{number},{number % 2}" for number in range(TEST))])
        return made

    return made


LAYOUTS = [(FOLDERS, '"mean"'), (ROWS, '"max"')]


@pytest.mark.parametrize(("layout", "combine"), each(LAYOUTS, LAYOUTS[1:]))
def test_images_of_one_answer_train_alone_and_are_predicted_and_scored_together(patients, opened, layout, combine):
    done = opened(patients(layout, combine))
    assert done.score > 0.9
    run = done.run
    assert run.record("scores")["rows"] == len(run.validating()) == len(read_predictions(run.predictions("valid")))
    assert len(read_predictions(run.predictions("test"))) == TEST
    assert len(pd.read_csv(run.folder / "split.csv")) == TRAIN
    assert done.page
    done.resumes()


@pytest.fixture
def at_home(patients, serving, workspace):
    """One layout of the patients, downloaded."""
    made = patients(ROWS, '"max"')
    with serving(made):
        runner.download(made.competition, workspace, Console())
    return made


def test_folds_and_ensembles_are_of_answers(patients, serving, workspace):
    made = patients(FOLDERS, "sickest")
    with serving(made):
        joined = runner.run(made.competition, Choices(folds=2), workspace, Console(), submitting=True)
    assert joined.record("submitted")["score"] > 0.9
    parts, valid = joined.split(), read_predictions(joined.predictions("valid"))
    assert {id_ for id_, _ in parts} == set(valid.index) == {f"t{number}" for number in range(TRAIN)}
    assert joined.record("scores")["rows"] == TRAIN


@pytest.mark.long
def test_a_rehearsal_hides_whole_answers(at_home, workspace):
    run = runner.rehearse(at_home.competition, Choices(), workspace, Console(), share=0.25)
    assert run.record("rehearsal")["hidden"] == 3 * len(read_predictions(run.predictions("test"))) > 0
    assert run.record("rehearsal")["score"] > 0.9


@pytest.mark.long
def test_pages_and_sessions_are_of_answers(at_home, workspace):
    session = Session("shades", competitions=[at_home.plugins], workspace=workspace.folder)
    session.fit(session.stages[0])
    predicted, validated = session.predict(), session.validated()
    assert len(predicted) == TEST
    assert set(session.top_losses()["id"]) == set(validated.index) == session.run.validating()
    assert session.most_confused()["count"].sum() <= len(validated)
    competition, console = at_home.competition, Console()
    assert explain(competition, session.run, workspace, console).is_file()
    assert explore(competition, Choices(), workspace, console).is_file()
    assert check(competition, workspace, console).is_file()


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("mean", [[0.4, 0.6], [0.9, 0.1]]),
        ("max", [[0.6 / 1.4, 0.8 / 1.4], [0.9, 0.1]]),
        (lambda part: part[0], [[0.2, 0.8], [0.9, 0.1]]),
    ],
)
def test_answers_are_combined_in_their_order(patients, combine, expected):
    competition = replace(patients(FOLDERS, '"mean"').competition, combine=combine)
    predictions = np.array([[0.2, 0.8], [0.9, 0.1], [0.6, 0.4]])
    found = combined(competition, predictions, np.array(["a", "b", "a"], object))
    assert np.allclose(found, expected)


@pytest.mark.parametrize("wrong", [lambda part: part, lambda part: part.max(), lambda part: part[0] * np.nan])
def test_what_combines_to_no_prediction_is_named(patients, wrong):
    competition = replace(patients(FOLDERS, '"mean"').competition, combine=wrong)
    with pytest.raises(DeclarationError, match="`combine`"):
        combined(competition, np.full((2, 2), 0.5), np.array(["a", "a"], object))
