"""What is submitted, as the metric asks for it: rankings, grades, sure answers, and a metric and form of one's own."""

import pytest

from comp import runner
from comp.cli.options import Here
from comp.console import Console
from comp.errors import DeclarationError
from comp.runs.resolve import Choices
from tests.open.conftest import each

OWN = """
import numpy as np
import pandas as pd

from comp import ClassWithConfidence, Metric, TopClasses


def nearly_right(targets, ranking):
    return np.mean(ranking[:, :2] == targets[:, None]) * 2


class Numbered:
    takes, targets, count = "ranking", ("single",), 3

    def encode(self, predictions, classes, columns):
        return pd.DataFrame({columns[0]: ["".join(classes[place][0] for place in row) for row in predictions]})

    def decode(self, frame, classes):
        letters = "".join(name[0] for name in classes)
        rows = (text[0] * 3 if text in classes else text for text in frame.iloc[:, 0])
        return np.array([[letters.index(letter) for letter in row] for row in rows])

    def classes_in(self, *frames):
        return ("blue", "green", "red")


"""
# The least score, which chance is well below.
MADE = {
    "ranked": ('submission=TopClasses(2), metric="map_at_k"', 0.8),
    "sure": ('submission=ClassWithConfidence(), metric="gap"', 0.7),
    "graded": ('submission=ClassName(), metric="quadratic_kappa"', 0.7),
    "own": ('submission=Numbered(), metric=Metric("nearly", "ranking", True, nearly_right)', 0.8),
}
GRADES = {"red": "0", "green": "4", "blue": "1"}


@pytest.fixture
def decided(shades):
    """The competition of three colours with this form and metric; of grades, each colour is one."""

    def declared(name):
        source = shades.declaration.read_text()
        for line in ("    submission=ClassName(),\n", '    metric="accuracy",\n'):
            assert line in source
            source = source.replace(line, "")
        source = source.replace("    recipes=", f"    {MADE[name][0]},\n    recipes=")
        shades.declaration.write_text(OWN + source)
        if name == "graded":
            for path in (*shades.files.glob("*.csv"), *(shades.served / ".answers").glob("*.csv")):
                text = path.read_text()
                for colour, grade in GRADES.items():
                    text = text.replace(f",{colour}\n", f",{grade}\n")
                path.write_text(text)
        return shades

    return declared


@pytest.mark.parametrize("name", each(MADE, ["own"]))
def test_it_beats_chance_and_resumes_byte_for_byte(decided, opened, name):
    ended = opened(decided(name), "stages.size=24", "stages.cycle_length=40", charts=True)
    assert ended.score > MADE[name][1]
    assert ended.page
    ended.resumes()


def test_a_metric_of_one_s_own_that_gives_no_number_is_refused_before_training(decided, serving, workspace):
    made = decided("own")
    made.declaration.write_text(made.declaration.read_text().replace("return np.mean(", "return ("))
    with serving(made), pytest.raises(DeclarationError, match="`score` of 'nearly' returns an array"):
        runner.run(made.competition, Choices("standard"), workspace, Console())
    assert not list(workspace.runs.rglob("config.json"))


@pytest.mark.long
def test_a_metric_of_the_same_name_that_was_set_is_another_than_the_declared_one(shades, opened, workspace):
    source = shades.declaration.read_text()
    source = source.replace("ClassName()", "ProbabilityPerClass()").replace("ClassName", "ProbabilityPerClass")
    source = source.replace('"accuracy"', 'weighted_log_loss({"red": 50})').replace("cycle_length=8", "cycle_length=2")
    shades.declaration.write_text(source.replace("import ", "import weighted_log_loss, ", 1))
    colours = ["red", "green", "blue"]
    for name in ("sample_submission.csv", ".answers/shades.csv"):
        path = (shades.served if name[0] == "." else shades.files) / name
        rows = (line.split(",") for line in path.read_text().splitlines()[1:])
        one_hot = (",".join([id_, *(str(int(colour == one)) for one in colours)]) for id_, colour in rows)
        path.write_text("\n".join(["id,red,green,blue", *one_hot, ""]))
    declared = opened(shades)
    scores = [declared.run.record("scores")]
    declared.resumes()
    for name in ("weighted_log_loss", "log_loss"):
        run = opened(shades, f"metric={name}").run
        written = (run.folder / "scores.json").read_bytes()
        for competition in (shades.competition, Here([shades.plugins], workspace).competition(run)):
            runner.predict(competition, run, workspace, Console())
            assert (run.folder / "scores.json").read_bytes() == written
        scores.append(run.record("scores"))
    weighted, balanced, plain = (record["tuned"] for record in scores)
    assert len({weighted, balanced, plain}) == 3
