"""After an edit of the code or of a declaration no run is resumed, and no feature used, that the old code made."""

import os
import shutil
import sys
from dataclasses import replace

import pytest

from comp import Columns, runner
from comp.console import Console
from comp.errors import RunError
from comp.training import config
from tests.training.conftest import HEAD


@pytest.fixture
def edited(monkeypatch):
    """Stands for an edit of the source of a package."""

    def edit(package):
        digest = config.source_digest
        monkeypatch.setattr(config, "source_digest", lambda name: "e" * 16 if name == package else digest(name))

    return edit


@pytest.fixture
def news(capsys):
    """What was said of runs that are not resumed, since the last call."""
    return lambda: "\n".join(line for line in capsys.readouterr().out.splitlines() if "so this is a new run" in line)


def test_an_edited_field_begins_a_new_run_and_is_named_and_another_choice_is_no_surprise(
    head, stopped, goes_on_with, news
):
    assert goes_on_with(replace(head, layer_lr_ratio=7)).name == "shades/standard-2"
    said = news()
    assert "layer_lr_ratio" in said
    assert "`comp train --resume shades/standard-1`" in said
    for number, other in enumerate(({"seed": 1}, {"settings": ["dropout=0.1"]}, {"all_data": True}), start=3):
        assert goes_on_with(head, **other).name == f"shades/standard-{number}"
    assert goes_on_with(head, backbone="test_vit").name == "shades/standard-6"
    assert not news()


def test_of_a_finished_run_it_is_said_what_was_edited_since_or_that_nothing_was(head, train, goes_on_with, capsys):
    train(head)
    edited = goes_on_with(replace(head, layer_lr_ratio=7))
    said = capsys.readouterr().out
    assert "layer_lr_ratio was 10.0 in shades/standard-1 and is 7.0, so this is a new run" in said
    assert "--resume" not in said
    shutil.rmtree(edited.folder)
    assert goes_on_with(head).name == "shades/standard-2"
    assert "shades/standard-1 is the same training, finished; this is a new run of it" in capsys.readouterr().out


def test_edited_data_begin_a_new_run_and_none_is_told_to_resume_the_old_one(
    head, stopped, workspace, goes_on_with, news
):
    table = workspace.data("shades") / "train.csv"
    table.write_text(table.read_text().replace("t00,red", "t00,blue"))
    assert goes_on_with(head).name == "shades/standard-2"
    said = news()
    assert "images or labels changed" in said
    assert "--resume" not in said


def test_columns_that_are_declared_begin_a_new_run_and_are_named(head, stopped, workspace, goes_on_with, news):
    for name in ("train", "sample_submission"):
        table = workspace.data("shades") / f"{name}.csv"
        ids = [line.split(",")[0] for line in table.read_text().splitlines()[1:]]
        (workspace.data("shades") / f"of_{name}.csv").write_text(
            "id,age\n" + "".join(f"{one},{len(ids)}\n" for one in ids)
        )
    columns = Columns("of_train.csv", "of_sample_submission.csv", image="id", numbers=["age"])
    assert goes_on_with(replace(head, columns=columns)).name == "shades/standard-2"
    said = news()
    assert "`columns` changed since shades/standard-1" in said
    assert "--resume" not in said


def test_edited_code_begins_a_new_run_and_says_what_changed(head, stopped, train, edited, goes_on_with, news):
    edited("comp.training")
    new = train(head)
    assert new.name == "shades/standard-2"
    line = (
        "comp/training changed since shades/standard-1, so this is a new run; `comp train --resume shades/standard-1`"
    )
    assert line in news()
    assert line in new.log.read_text()
    # From here on the new run is resumed, also after the training, until the code changes again.
    assert goes_on_with(head, done="predicted") == new
    assert not news()
    edited("comp.data")
    assert goes_on_with(head, done="predicted") != new
    assert news() == "comp/data changed since shades/standard-2, so this is a new run"


def test_a_run_of_another_recipe_or_other_weights_is_not_resumed_by_its_name(stopped, with_stages, workspace):
    before = stopped.last.read_bytes()
    longer = with_stages(replace(HEAD, cycle_length=3))
    with pytest.raises(RunError, match=r"another recipe\.stages\.1\.cycle_length \(2, and now 3\)"):
        runner.resume(longer, stopped, workspace, Console())
    stopped.write_record("config", {**stopped.record("config"), "weights": "f00d"})
    with pytest.raises(RunError, match=r"another weights \(f00d, and now"):
        runner.resume(with_stages(HEAD), stopped, workspace, Console())
    assert stopped.last.read_bytes() == before


def test_a_run_of_earlier_code_and_versions_whose_recipes_had_fewer_fields_is_resumed_by_its_name_and_that_is_said(
    head, stopped, workspace, edited, capsys
):
    recorded = stopped.record("config")
    del recorded["recipe"]["teacher_confidence"]
    for stage in recorded["recipe"]["stages"]:
        del stage["needed_above"]
    stopped.write_record("config", {**recorded, "versions": {**recorded["versions"], "torch": "1.0"}})
    edited("comp.training")
    edited("comp.data")
    assert runner.resume(head, stopped, workspace, Console()) == stopped
    said = capsys.readouterr().out
    assert "comp/training, comp/data changed since shades/standard-1 was begun: it is resumed with the code as" in said
    assert "was begun with another versions.torch: 1.0, and now" in said


# Custom functions of a declaration, a backbone whose code tells more than its layers do, and what these use outside
# their own file: tables, and a module elsewhere that imports another.
OWN = """
from pathlib import Path

import albumentations as A
import numpy as np
import timm
from PIL import Image
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from lit import lit


def read(path):
    data = path.parents[1]
    for table in (Path(__file__).with_name("marks.csv"), data / "boxes.csv", data / "more" / "masks.csv"):
        table.read_text()
    return lit(np.asarray(Image.open(path)))


def head(features, outputs):
    return nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, outputs))


def loss(logits, targets):
    return nn.functional.cross_entropy(logits, targets)


def pipeline(size):
    return A.Compose([A.Resize(size, size), A.HorizontalFlip(p=0.5)])


class Scaled(ResNet):
    def forward_features(self, images):
        return 1 * super().forward_features(images)


@timm.models.register_model
def scaled(pretrained=False, pretrained_cfg=None, **options):
    layers = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (8, 8, 8, 8)}
    return timm.models.build_model_with_cfg(Scaled, "scaled", pretrained, {"mean": (0.5,) * 3}, **layers, **options)


"""
# One part at a time: its own key has to show that it was edited.
BROUGHT = {
    "read": {"metric=": "read=read, metric=", "pretrained=": "head=head, loss=loss, pretrained="},
    "pipeline": {"side_on()": "side_on(pipeline=pipeline)", "cached=True": "cached=True, views=3"},
    "backbone": {"test_resnet": "scaled"},
}
DECLARED, DATA = "plugins/shades/competition.py", "home/data/shades"
FILES = {
    "plugins/shades/marks.csv": "1",
    f"{DATA}/boxes.csv": "1",
    f"{DATA}/more/masks.csv": "1",
    "elsewhere/lit.py": "import tone\n\n\ndef lit(image):\n    return tone.CHANGED - image\n",
    "elsewhere/tone.py": "CHANGED = 255\n",
}
USES, OF_DATA = "competition.py or what it uses", "files in the data folder"
# An edited head or loss may train on features cached before, as they come after the features.
EDITS = [
    ("read", DECLARED, "return lit(", "return 255 - lit(", USES, True),
    ("read", "plugins/shades/marks.csv", "1", "2", USES, True),
    ("read", "elsewhere/tone.py", "255", "127", USES, True),
    ("read", f"{DATA}/boxes.csv", "1", "2", OF_DATA, True),
    ("read", f"{DATA}/more/masks.csv", "1", "2", OF_DATA, True),
    ("read", DECLARED, "nn.Linear(features, outputs)", "nn.Linear(features, outputs, bias=False)", USES, False),
    ("read", DECLARED, "cross_entropy(logits,", "cross_entropy(2 * logits,", USES, False),
    ("pipeline", DECLARED, "HorizontalFlip", "VerticalFlip", USES, True),
    ("backbone", DECLARED, "1 * super", "2 * super", USES, True),
]


@pytest.fixture
def edit(tmp_path):
    """Replaces a text in a file of the test's own folder."""

    def call(file, old, new):
        text = (tmp_path / file).read_text()
        assert old in text
        (tmp_path / file).write_text(text.replace(old, new))

    return call


@pytest.fixture
def used(at_home, tmp_path, monkeypatch):
    """Writes FILES where declarations find them, and forgets the modules imported from them."""
    for file, text in FILES.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    yield
    for name in ("lit", "tone"):
        sys.modules.pop(name, None)


@pytest.fixture
def bring(shades, used, edit):
    """The competition with this part of OWN, or with none."""

    def call(part):
        for old, new in BROUGHT.get(part, {}).items():
            edit(DECLARED, old, new)
        shades.declaration.write_text((OWN if part else "") + shades.declaration.read_text())
        return shades

    return call


@pytest.mark.parametrize("part", BROUGHT)
def test_an_edit_of_anything_that_a_declaration_brings_meets_no_run_and_no_feature_that_it_made_before(
    bring, edit, workspace, killed, train, goes_on_with, capsys, part
):
    made = bring(part)
    run = killed(2, train, made.competition)
    for file, old, new, said, anew in [others for of, *others in EDITS if of == part]:
        before, known = run, set((workspace.cache / "features").glob("*.npy"))
        edit(file, old, new)
        capsys.readouterr()
        run = goes_on_with(made.competition)
        assert run != before
        assert f"{said} changed since {before.name}, so this is a new run" in capsys.readouterr().out
        assert not anew or len(set((workspace.cache / "features").glob("*.npy")) - known) == 1


@pytest.mark.parametrize("part", ["read", "backbone", None])
def test_what_makes_no_difference_to_a_run_resumes_it(bring, tmp_path, killed, train, goes_on_with, part):
    made = bring(part)
    first = killed(2, train, made.competition)
    # The same table downloaded again; without a custom reader even a changed one.
    table = tmp_path / DATA / "boxes.csv"
    table.write_text("1" if part == "read" else "2")
    os.utime(table, (1, 1))
    (made.declaration.parent / "README.md").write_text("Other words.")
    assert goes_on_with(made.competition) == first
