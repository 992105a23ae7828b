"""After an edit of the code or of a declaration no run is resumed, and no feature used, that the old code made."""

import os
import shutil
import sys
from dataclasses import replace

import pytest

from comp import runner
from comp.console import Console
from comp.declare.recipe import Stage
from comp.errors import RunError
from comp.runs import list_runs
from comp.runs.resolve import Choices
from comp.training import config
from tests.conftest import SHADES

HEAD = Stage(size=16, train="head", cached=True, cycle_length=2, learning_rate=0.01)


@pytest.fixture
def stopped(with_stages, workspace, killed):
    """A training of a head that was killed after its first epoch: the competition and its run."""
    competition = with_stages(HEAD)
    killed(2, runner.train, competition, Choices(), workspace, Console())
    (run,) = list_runs(workspace)
    return competition, run


@pytest.fixture
def edited(monkeypatch):
    """Stands for an edit of the source of a package."""

    def edit(package):
        digest = config.source_digest
        monkeypatch.setattr(config, "source_digest", lambda name: "e" * 16 if name == package else digest(name))

    return edit


@pytest.fixture
def news(capsys):
    """What was said since it was last asked of runs that are not resumed."""
    return lambda: "\n".join(line for line in capsys.readouterr().out.splitlines() if "so this is a new run" in line)


def test_an_edited_field_begins_a_new_run_and_is_named(stopped, goes_on_with, news):
    competition, _ = stopped
    assert goes_on_with(replace(competition, layer_lr_ratio=7)).name == "shades/standard-2"
    said = news()
    assert "layer_lr_ratio" in said
    assert "`comp train --resume shades/standard-1`" in said
    # Another choice of a person's own is no surprise.
    goes_on_with(competition, Choices(settings=["batch_size=4"]))
    assert not news()


def test_of_a_finished_run_it_is_said_what_was_edited_since_or_that_nothing_was(
    with_stages, workspace, goes_on_with, capsys
):
    competition = with_stages(HEAD)
    runner.train(competition, Choices(), workspace, Console())
    edited = goes_on_with(replace(competition, layer_lr_ratio=7))
    said = capsys.readouterr().out
    assert "layer_lr_ratio was 10 in shades/standard-1 and is 7, so this is a new run" in said
    assert "--resume" not in said
    shutil.rmtree(edited.folder)
    assert goes_on_with(competition).name == "shades/standard-2"
    assert "shades/standard-1 is the same training, finished; this is another run of it" in capsys.readouterr().out


def test_edited_data_begin_a_new_run_and_none_is_told_to_resume_the_old_one(stopped, workspace, goes_on_with, news):
    competition, _ = stopped
    table = workspace.data("shades") / "train.csv"
    table.write_text(table.read_text().replace("t00,red", "t00,blue"))
    assert goes_on_with(competition).name == "shades/standard-2"
    said = news()
    assert "images or labels changed" in said
    assert "--resume" not in said


def test_edited_code_begins_a_new_run_and_says_what_changed(stopped, workspace, edited, goes_on_with, news):
    competition, _ = stopped
    edited("comp.training")
    new = runner.train(competition, Choices(), workspace, Console())
    assert new.name == "shades/standard-2"
    line = (
        "comp/training changed since shades/standard-1, so this is a new run; `comp train --resume shades/standard-1`"
    )
    assert line in news()
    assert line in new.log.read_text()
    # From here on, the new one is the same: until the code changes again, also after the training.
    assert goes_on_with(competition, done="predicted") == new
    assert not news()
    edited("comp.data")
    assert goes_on_with(competition, done="predicted") != new
    assert news() == "comp/data changed since shades/standard-2, so this is a new run"


def test_a_run_of_another_recipe_or_other_weights_is_not_resumed_by_its_name(stopped, with_stages, workspace):
    competition, run = stopped
    before = run.last.read_bytes()
    recipe = replace(competition.recipes["standard"], stages=[replace(HEAD, cycle_length=3)])
    with pytest.raises(RunError, match=r"another recipe\.stages\.1\.cycle_length \(2, and now 3\)"):
        runner.resume(replace(competition, recipes={"standard": recipe}), run, workspace, Console())
    run.write_record("config", {**run.record("config"), "weights": "f00d"})
    with pytest.raises(RunError, match=r"another weights \(f00d, and now"):
        runner.resume(competition, run, workspace, Console())
    assert run.last.read_bytes() == before


def test_a_run_of_earlier_code_and_versions_whose_recipes_had_fewer_fields_is_resumed_by_its_name_and_that_is_said(
    stopped, workspace, edited, capsys
):
    competition, run = stopped
    recorded = run.record("config")
    del recorded["recipe"]["teacher_confidence"]
    for stage in recorded["recipe"]["stages"]:
        del stage["needed_above"]
    run.write_record("config", {**recorded, "versions": {**recorded["versions"], "torch": "1.0"}})
    edited("comp.training")
    edited("comp.data")
    assert runner.resume(competition, run, workspace, Console()) == run
    said = capsys.readouterr().out
    assert "comp/training, comp/data changed since shades/standard-1 was begun: it is resumed with the code as" in said
    assert "was begun with another versions.torch: 1.0, and now" in said


OWN = """
import albumentations as A
import numpy as np
from PIL import Image
from torch import nn


def read(path):
    return np.asarray(Image.open(path))


def head(features, outputs):
    return nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, outputs))


def loss(logits, targets):
    return nn.functional.cross_entropy(logits, targets)


def pipeline(size):
    return A.Compose([A.Resize(size, size), A.HorizontalFlip(p=0.5)])


"""
EDITS = {
    "read": ("np.asarray(Image.open(path))", "255 - np.asarray(Image.open(path))"),
    "head": ("nn.Linear(features, outputs)", "nn.Linear(features, outputs, bias=False)"),
    "loss": ("cross_entropy(logits, targets)", "cross_entropy(2 * logits, targets)"),
    "pipeline": ("HorizontalFlip", "VerticalFlip"),
}


def test_an_edited_function_of_a_declaration_meets_no_run_and_no_feature_that_it_made_before(
    shades, at_home, workspace, killed, goes_on_with, capsys
):
    source = OWN + shades.declaration.read_text().replace("side_on()", "side_on(pipeline=pipeline)")
    source = source.replace("cached=True", "cached=True, views=2").replace("metric=", "read=read, metric=")
    shades.declaration.write_text(source.replace("pretrained=", "head=head, loss=loss, pretrained="))
    killed(2, runner.train, shades.competition, Choices(), workspace, Console())
    (run,) = list_runs(workspace)
    for function, edit in EDITS.items():
        features = set((workspace.cache / "features").glob("*.npy"))
        shades.declaration.write_text(shades.declaration.read_text().replace(*edit))
        capsys.readouterr()
        before, run = run, goes_on_with(shades.competition)
        assert run != before
        said = capsys.readouterr().out
        assert f"competition.py or what it uses changed since {before.name}, so this is a new run" in said
        # A head and a loss follow the features, and may be trained on those that are there.
        if function in ("read", "pipeline"):
            assert "found in the cache" not in said
            assert len(set((workspace.cache / "features").glob("*.npy")) - features) == 1


# What a declaration uses that is not in its own file: tables, and a module elsewhere that imports another.
READ = """
from pathlib import Path

import numpy as np
from PIL import Image

from lit import lit


def read(path):
    data = path.parents[1]
    for table in (Path(__file__).with_name("marks.csv"), data / "boxes.csv", data / "more" / "masks.csv"):
        table.read_text()
    return lit(np.asarray(Image.open(path)))


"""
# Its code tells more than its layers do.
BACKBONE = """
import timm
from timm.models.resnet import BasicBlock, ResNet


class Scaled(ResNet):
    def forward_features(self, images):
        return 1 * super().forward_features(images)


@timm.models.register_model
def scaled(pretrained=False, pretrained_cfg=None, **options):
    layers = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8)}
    return timm.models.build_model_with_cfg(Scaled, "scaled", pretrained, {"mean": (0.5,) * 3}, **layers, **options)


"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder that modules are imported from, which is not the competition's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    known = set(sys.modules)
    yield folder
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def declare(shades, at_home, elsewhere, workspace):
    """Writes the declaration anew, with READ or BACKBONE before it, and lays what these use where they find it."""

    def declared(part):
        own = "read=read, metric=" if "def read" in part else "metric="
        backbone = "scaled" if "def scaled" in part else "test_resnet"
        shades.declaration.write_text(part + SHADES.replace("metric=", own).replace("test_resnet", backbone))
        return shades.competition

    (elsewhere / "lit.py").write_text("import tone\n\n\ndef lit(image):\n    return tone.CHANGED - image\n")
    (elsewhere / "tone.py").write_text("CHANGED = 255\n")
    (shades.declaration.parent / "marks.csv").write_text("1\n")
    (workspace.data("shades") / "more").mkdir()
    for table in ("boxes.csv", "more/masks.csv"):
        (workspace.data("shades") / table).write_text("1\n")
    return declared


@pytest.fixture
def begun(declare, workspace, killed):
    """A training as declared by READ, BACKBONE or neither that was killed after its first epoch."""

    def begin(part):
        killed(2, runner.train, declare(part), Choices(), workspace, Console())
        (run,) = list_runs(workspace)
        return run

    return begin


def test_an_edited_file_that_a_reader_uses_meets_no_run_and_no_feature_that_it_made_before(
    begun, declare, shades, elsewhere, workspace, goes_on_with, capsys
):
    run, data = begun(READ), workspace.data("shades")
    for file, said in (
        (data / "boxes.csv", "files in the data folder"),
        (data / "more" / "masks.csv", "files in the data folder"),
        (shades.declaration.with_name("marks.csv"), "competition.py or what it uses"),
        (elsewhere / "tone.py", "competition.py or what it uses"),
    ):
        file.write_text("CHANGED = 127\n")
        capsys.readouterr()
        before, run = run, goes_on_with(declare(READ))
        assert run != before
        told = capsys.readouterr().out
        assert f"{said} changed since" in told
        assert "found in the cache" not in told


def test_an_edited_backbone_meets_no_run_and_no_feature_that_it_made_before(begun, declare, goes_on_with, capsys):
    first = begun(BACKBONE)
    capsys.readouterr()
    assert goes_on_with(declare(BACKBONE.replace("1 * super", "2 * super"))) != first
    told = capsys.readouterr().out
    assert f"competition.py or what it uses changed since {first.name}, so this is a new run" in told
    assert "found in the cache" not in told


@pytest.mark.parametrize("part", [READ, BACKBONE, ""], ids=["read", "backbone", "neither"])
def test_what_makes_no_difference_to_a_run_resumes_it(begun, declare, shades, workspace, goes_on_with, part):
    first = begun(part)
    # The same table downloaded again; without a reader of one's own another one, too.
    table = workspace.data("shades") / "boxes.csv"
    table.write_text("1\n" if part is READ else "2\n")
    os.utime(table, (1, 1))
    (shades.declaration.parent / "README.md").write_text("Other words.")
    assert goes_on_with(declare(part)) == first
