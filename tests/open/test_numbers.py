"""Numbers, soft labels and ordered grades, all set by the amount of red in an image."""

import numpy as np
import pytest

from comp import runner
from comp.console import Console
from comp.errors import OverrideError, RunError
from comp.notebook import Session
from comp.report.compare import compare
from comp.report.explore import explore
from comp.report.report import explain
from comp.runs.choices import Choices
from comp.runs.resolve import resolve
from comp.submission.predictions import read_predictions
from comp.tools.ensembles import ensemble
from tests.open.conftest import each

OWN = """

def squared(logits, targets):
    return ((logits - targets) ** 2).mean()


def far(targets, predictions):
    return abs(targets - predictions).mean()

"""
FIELDS = """labels={labels}, folder="train", suffix=".png"{more}), test=TestImages("test", suffix=".png"),
    submission={form}, augment=upright(max_zoom=1, max_rotation=0, max_light=0), metric={metric}"""
RECIPE = "loss={loss}, {fields}"
ONE = 'CsvNumbers("train.csv", "id", ["age"]'
SEVERAL = 'CsvNumbers("train.csv", "id", ["age", "cold"]'
COLOURS = 'CsvColumns("train.csv", "id", ["red", "green"]'
GRADE = 'CsvLabels("train.csv", "id", "grade"'
CACHED = 'stages=[Stage(size=16, train="head", cached=True, cycle_length=40, learning_rate=2e-2)]'
ON_IMAGES = 'stages=[Stage(size=16, train="all", cycle_length=12, learning_rate=4e-3)]'
NUMBERS = {"labels": ONE, "form": "Numbers()", "metric": '"rmse"', "loss": "''", "more": "", "fields": CACHED}
SHARES = {**NUMBERS, "labels": COLOURS, "form": "ProbabilityPerClass()", "metric": '"log_loss"'}
TAGS = {**SHARES, "metric": '"mean_columnwise_roc_auc"', "more": ", target='multi'"}
GRADES = {**NUMBERS, "labels": GRADE, "form": "ClassName()", "metric": '"quadratic_kappa"'}
# For each kind: the columns' values for an image of this redness, from 0 to 1, and a score that chance can't reach.
KINDS = {
    "several": ({**NUMBERS, "labels": SEVERAL}, "numbers", 8),
    "bounded": ({**NUMBERS, "more": ", bounds=(0, 100)", "loss": "'bce'"}, "number", 12),
    "huber": ({**NUMBERS, "loss": "'huber'", "fields": f"mixup=0.2, accumulation=2, {ON_IMAGES}"}, "number", 14),
    "own": ({**NUMBERS, "loss": "squared", "metric": 'Metric("far", "numbers", False, far)'}, "number", 12),
    "shares": ({**SHARES, "more": ", target='shares'"}, "shares", 0.6),
    "fractions": ({**SHARES, "more": ", target='fractions'"}, "fractions", 0.58),
    "tags": ({**TAGS, "loss": "'asymmetric'"}, "tags", 0.9),
    "grades": ({**GRADES, "loss": "'mse'"}, "grade", 0.7),
    "ordinal": ({**GRADES, "loss": "'ordinal'"}, "grade", 0.7),
}
COLUMNS = {
    "numbers": ("age,cold", lambda red: (f"{100 * red:.3f}", f"{-30 * red:.3f}")),
    "number": ("age", lambda red: (f"{100 * red:.3f}",)),
    "shares": ("red,green", lambda red: (f"{red:.4f}", f"{1 - red:.4f}")),
    "fractions": ("red,green", lambda red: (f"{red:.4f}", f"{1 - red / 2:.4f}")),
    "tags": ("red,green", lambda red: (str(int(red > 0.4)), str(int(red < 0.6)))),
    "grade": ("grade", lambda red: (("0", "1", "5")[min(int(3 * red), 2)],)),
}


@pytest.fixture
def declared(tiny):
    """A competition of a kind, without files."""
    return lambda kind: tiny(FIELDS.format(**KINDS[kind][0]), RECIPE.format(**KINDS[kind][0]), OWN)


@pytest.fixture
def reds(declared):
    """80 training and 30 test images, each with a red part and the rest green."""

    def made(kind):
        made = declared(kind)
        names, label = COLUMNS[KINDS[kind][1]]
        rng = np.random.default_rng(0)
        rows = {part: [] for part in ("train", "test")}
        for part, count in (("train", 80), ("test", 30)):
            for number, red in enumerate(rng.permutation(np.linspace(0.02, 0.98, count))):
                made.image(f"{part}/{part}{number:02}.png", (int(255 * red), int(255 * (1 - red)), 40))
                rows[part].append(",".join([f"{part}{number:02}", *label(red)]))
        made.text("train.csv", [f"id,{names}", *rows["train"]])
        made.answers([f"id,{names}", *rows["test"]])
        asked = (f"test{number:02},{','.join(label(0.5))}" for number in range(30))
        made.text("sample_submission.csv", [f"id,{names}", *asked])
        return made

    return made


@pytest.mark.parametrize("kind", each(KINDS, ("several", "shares", "grades")))
def test_it_is_learned_predicted_in_its_own_unit_and_graded(kind, reds, opened):
    made = reds(kind)
    done = opened(made)
    best, higher = KINDS[kind][2], made.competition.scoring.higher_is_better
    assert done.score > best if higher else done.score < best
    assert done.page
    valid = read_predictions(done.run.predictions("valid"))
    if made.competition.target != "number":
        assert ((valid >= 0) & (valid <= 1)).all(axis=None)
        if kind not in ("fractions", "tags"):
            assert valid.sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.long
def test_numbers_are_learned_resumed_shown_compared_blended_rehearsed_and_taken_by_hand(reds, opened):
    made = reds("several")
    done = opened(made)
    assert done.score < KINDS["several"][2]
    assert done.page
    done.resumes()
    competition, workspace = made.competition, done.workspace
    page = explore(competition, done.choices, workspace, Console()).read_text(encoding="utf-8")
    assert 'id="together"' not in page  # quantiles are no tags
    assert "age 2" in page
    again = opened(made, "loss=l1", "stages.cycle_length=6")
    assert "R²" in compare(competition, [done.run, again.run], workspace).read_text(encoding="utf-8")
    blend = ensemble(competition, [done.run, again.run], workspace, Console())
    mean = [read_predictions(run.predictions("test")) for run in (done.run, again.run, blend)]
    assert mean[2].max().max() > 1
    assert "Largest errors" in explain(competition, blend, workspace, Console()).read_text(encoding="utf-8")
    rehearsed = runner.rehearse(competition, done.choices, workspace, Console(), 0.3)
    assert rehearsed.record("rehearsal")["score"] < 18
    session = Session("shades", competitions=[made.plugins], workspace=workspace.folder)
    session.fit(size=16, cycle_length=1, train="head", learning_rate=1e-2)
    session.predict()
    table = session.top_losses()
    assert list(table)[:4] == ["id", "loss", "age", "age predicted"]
    assert table["loss"].is_monotonic_decreasing
    with pytest.raises(RunError, match="top_losses"):
        session.most_confused()


@pytest.mark.parametrize(
    ("kind", "setting", "named"),
    [
        ("several", "loss=cross_entropy", "`loss` is 'cross_entropy'"),
        ("several", "label_smoothing=0.1", "`label_smoothing`"),
        ("several", "balance=oversample", "`balance`"),
        ("shares", "balance=weights", "balance 'weights'"),
        ("own", "balance=weights", "`loss` is 'squared'"),
        ("own", "head=pretrained", "head"),
        ("shares", "loss=mse", "cross_entropy, bce"),
        ("grades", "label_smoothing=0.1", "`label_smoothing`"),
        ("ordinal", "balance=weights", "`loss` is 'ordinal'"),
    ],
)
def test_what_means_nothing_for_a_target_is_refused(kind, setting, named, declared):
    with pytest.raises(OverrideError, match=named):
        resolve(declared(kind).competition, Choices(settings=[setting]))
