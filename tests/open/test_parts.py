"""Named and custom parts of training and submission, in a competition that tells three colours apart."""

import pytest

from comp import runner
from comp.cli.options import Here
from comp.console import Console
from comp.errors import OverrideError
from comp.notebook import Session
from comp.runs.choices import Choices
from comp.runs.resolve import resolve
from tests.open.conftest import each

OWN = """
import albumentations as A
import numpy as np
import pandas as pd
import torch
from torch import nn

from comp import ClassWithConfidence, Head, Metric, TopClasses


def two_layers(features, outputs):
    pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    return nn.Sequential(pool, nn.LayerNorm(features), nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, outputs))


def radam(groups):
    return torch.optim.RAdam(groups, betas=(0.8, 0.99))


def linear(step, steps):
    return 1 - step / steps


def lowest(rates, losses):
    return rates[losses.argmin()] / 3


def paint(image, **_):
    return image


def painted(size):
    return A.Compose([A.Resize(size, size), A.Lambda(image=paint, name="paint")])


def whole_and_corner(size):
    return [A.Resize(size, size), A.Compose([A.CropAndPad(px=(0, 0, 3, 3)), A.Resize(size, size)])]


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
DECLARED = 'Stage(size=16, train="head", cached=True, cycle_length=8, learning_rate=1e-2)'
STAGE = DECLARED.replace("8", "25")
FUNCTIONS = """head=Head(two_layers, pooled=False), optimizer=radam, rate_rule=lowest, tta=whole_and_corner,
            stages=[Stage(size=16, train="head", cached=True, views=3, cycle_length=25, schedule=linear)],"""
UNUSED = "no training image goes through"
# Fields of the recipe, form and metric, and the least score, far above chance.
KINDS = {
    "functions": (FUNCTIONS, 'submission=Numbered(), metric=Metric("nearly", "ranking", True, nearly_right)', 0.8),
    "a hidden layer, Lion, grades": (
        f'head="mlp", optimizer="lion", stages=[{STAGE.replace("1e-2", "1e-3")}],',
        'submission=ClassName(), metric="quadratic_kappa"',
        0.7,
    ),
    "attention, Muon, rankings": (
        f'head="attention", optimizer="muon", optimizer_options={{"momentum": 0.9}}, stages=[{STAGE}],',
        'submission=TopClasses(2), metric="map_at_k"',
        0.8,
    ),
    "asymmetric loss, sure answers": (
        f'loss="asymmetric", label_smoothing=0.1, stages=[{STAGE}],',
        'submission=ClassWithConfidence(), metric="gap"',
        0.7,
    ),
    "means of powers": (
        f"""head="gem", freeze_batch_norm=True, tta=whole_and_corner, snapshots=2,
            stages=[{STAGE}, Stage(size=16, train="all", cycles=2, learning_rate=1e-3)],""",
        'submission=ClassName(), metric="accuracy"',
        0.7,
    ),
}
GRADES = {"red": "0", "green": "4", "blue": "1"}


@pytest.fixture
def colours(shades):
    """The competition of three colours with these fields; for grades, each colour is a grade."""

    def declared(kind):
        of_recipe, decided, _ = KINDS[kind]
        source = shades.declaration.read_text()
        for before, after in (
            ("    submission=ClassName(),\n", ""),
            ('    metric="accuracy",\n', f"    {decided},\n"),
            (f"stages=[{DECLARED}],", of_recipe),
            ("side_on()", "side_on(pipeline=painted)"),
        ):
            assert before in source
            source = source.replace(before, after)
        shades.declaration.write_text(OWN + source)
        if "grades" in kind:
            for path in (*shades.files.glob("*.csv"), *(shades.served / ".answers").glob("*.csv")):
                text = path.read_text()
                for colour, grade in GRADES.items():
                    text = text.replace(f",{colour}\n", f",{grade}\n")
                path.write_text(text)
        return shades

    return declared


@pytest.mark.parametrize("kind", each(KINDS, ["functions"]))
def test_it_beats_chance_and_resumes_byte_for_byte(colours, opened, kind):
    ended = opened(colours(kind))
    assert ended.score > KINDS[kind][2]
    assert ended.page
    assert kind != "functions" or UNUSED not in ended.run.log.read_text()
    ended.resumes()


@pytest.mark.long
def test_names_that_were_set_and_functions_hold_when_a_run_is_read_back(colours, opened, workspace):
    made = colours("functions")
    source = made.declaration.read_text().replace(KINDS["functions"][1], 'submission=ClassName(), metric="accuracy"')
    made.declaration.write_text(source)
    made.declaration.write_text(made.declaration.read_text().replace("metric=", 'read="npy", metric='))
    settings = (
        "metric=macro_f1",
        "read=images",
        "combine=max",
        "loss=focal",
        "stages.cycle_length=2",
        "stages.views=1",
    )
    run = opened(made, *settings).run
    assert UNUSED in run.log.read_text()
    written = run.submission.read_bytes()
    here = Here([made.plugins], workspace)
    for competition in (made.competition, here.competition(run)):
        run.submission.unlink()
        runner.predict(competition, run, workspace, Console())
        assert run.submission.read_bytes() == written
        assert run.record("scores")["metric"] == "macro_f1"
    like = runner.run(made.competition, Choices(like=run), workspace, Console())
    for kept in (run.record("config"), like.record("config")):
        assert (kept["metric"], kept["read"], kept["recipe"]["loss"]) == ("macro_f1", "images", "focal")
    assert like.record("config")["recipe"]["head"] == run.record("config")["recipe"]["head"]
    competition, recipe = resolve(made.competition, Choices(like=like, settings=("optimizer=lion", "head=mlp")))
    assert (competition.scoring.name, competition.read) == ("macro_f1", "images")
    assert (recipe.loss, recipe.optimizer, recipe.head) == ("focal", "lion", "mlp")


def test_a_session_s_own_recipe_takes_the_place_of_no_declared_one(shades, workspace):
    recipe = shades.competition.recipes["standard"]
    with shades.declaration.open("a") as file:
        file.write('\ncompetition.recipes["own"] = competition.recipes["standard"]\n')
    with pytest.raises(OverrideError, match="'own'"):
        Session("shades", recipe=recipe, competitions=[shades.plugins], workspace=workspace.folder)


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
