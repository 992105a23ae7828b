"""How a network is trained, by other names and by functions of a competition's own: three colours, told apart."""

import pytest

from comp import runner
from comp.cli.options import Here
from comp.console import Console
from comp.errors import OverrideError
from comp.notebook import Session
from comp.runs.resolve import Choices, resolve
from tests.open.conftest import each

OWN = """
import albumentations as A
import torch
from torch import nn

from comp import Head


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

"""
DECLARED = 'Stage(size=16, train="head", cached=True, cycle_length=8, learning_rate=1e-2)'
STAGE = DECLARED.replace("8", "25")
FUNCTIONS = """head=Head(two_layers, pooled=False), optimizer=radam, rate_rule=lowest, tta=whole_and_corner,
            stages=[Stage(size=16, train="head", cached=True, views=3, cycle_length=25, schedule=linear)],"""
UNUSED = "no training image goes through"
PARTS = {
    "functions": FUNCTIONS,
    "a hidden layer, Lion": f'head="mlp", optimizer="lion", stages=[{STAGE.replace("1e-2", "1e-3")}],',
    "attention, Muon": f"""head="attention", optimizer="muon", optimizer_options={{"momentum": 0.9}},
            stages=[{STAGE}],""",
    "asymmetric loss": f'loss="asymmetric", label_smoothing=0.1, stages=[{STAGE}],',
    "means of powers": f"""head="gem", freeze_batch_norm=True, tta=whole_and_corner, snapshots=2,
            stages=[{STAGE}, Stage(size=16, train="all", cycles=2, learning_rate=1e-3)],""",
}


@pytest.fixture
def colours(shades):
    """The competition with these fields of its recipe."""

    def declared(fields):
        source = shades.declaration.read_text()
        source = source.replace(f"stages=[{DECLARED}],", fields).replace("side_on()", "side_on(pipeline=painted)")
        shades.declaration.write_text(OWN + source)
        return shades

    return declared


@pytest.mark.parametrize("name", each(PARTS, ["functions"]))
def test_it_tells_colours_apart_and_resumes_byte_for_byte(colours, opened, name):
    ended = opened(colours(PARTS[name]), charts=name == "functions")
    assert ended.score > 0.7  # a third is chance
    assert ended.page
    assert name != "functions" or UNUSED not in ended.run.log.read_text()
    ended.resumes()


@pytest.mark.long
def test_names_that_were_set_and_functions_hold_when_a_run_is_read_back(colours, opened, workspace):
    made = colours(FUNCTIONS)
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
