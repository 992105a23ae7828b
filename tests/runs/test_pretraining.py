import json
import subprocess
import sys

import pytest

from comp.declare.recipe import Recipe, Stage
from comp.errors import BackboneError, DeclarationError, OverrideError
from comp.runs.choices import Choices
from comp.runs.pretraining import in_pixels, pretraining, refuse_sizes
from comp.runs.resolve import Experiment, resolve


def sizes(backbone, *declared):
    return [stage.size for stage in in_pixels([Stage(size=size, train="head") for size in declared], backbone)]


@pytest.fixture
def at_260(tmp_path):
    """A folder of a convolutional backbone pretrained at 260 pixels and tested at 300."""
    described = {"input_size": [3, 260, 260], "test_input_size": [3, 300, 300], "interpolation": "bicubic"}
    (tmp_path / "at260").mkdir()
    (tmp_path / "at260" / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "pretrained_cfg": described})
    )
    return f"local-dir:{tmp_path / 'at260'}"


def test_a_size_may_be_relative_to_that_of_the_pretraining(at_260):
    assert sizes(at_260, "native", "1x", "1.15x", "0.5x", 96, (64, 96)) == [260, 260, 288, 128, 96, (64, 96)]


@pytest.mark.parametrize(
    ("backbone", "declared", "pixels"),
    [
        ("test_vit", "1.15x", 192),  # 160 in patches of 16: 1.15x is 184, 11.5 patches
        ("vit_small_patch14_dinov2", "0.5x", 252),  # 518 in patches of 14
        ("cait_xxs24_224", "1.15x", 224),  # takes no other size
        ("resnet10t", "1.15x", 192),
    ],
)
def test_a_transformer_is_given_whole_patches_or_the_size_it_was_built_for(backbone, declared, pixels):
    assert sizes(backbone, declared) == [pixels]


@pytest.mark.parametrize("size", ["nativ", "1.15", "x", "-1x", ""])
def test_what_is_no_relative_size_is_refused(size):
    with pytest.raises(DeclarationError, match=r"'native'.*'1\.15x'"):
        Stage(size=size, train="head")


def test_a_relative_size_is_resolved_after_the_choice_of_a_backbone(shades, workspace, at_260):
    choices = Choices(backbone=at_260, settings=("stages.1.size=native",))
    _, recipe = resolve(shades.competition, choices)
    assert recipe.stages[0].pixels == 260
    experiment = Experiment.of(shades.competition, choices, workspace)
    assert experiment.recipe == recipe
    assert experiment.relative == {"1": "native"}
    with pytest.raises(OverrideError, match=r"stages.1.size=natve"):
        resolve(shades.competition, Choices(settings=("stages.1.size=natve",)))


def test_pixels_in_a_declaration_need_no_backbone_to_be_known():
    stage = Stage(size=16, train="head")
    assert in_pixels([stage], "no_backbone") == (stage,)
    with pytest.raises(BackboneError, match="no_backbone"):
        in_pixels([Stage(size="native", train="head")], "no_backbone")


def test_without_torch_a_folder_of_a_convolutional_backbone_is_known_and_that_no_device_is_there(at_260):
    code = f"""
import sys
from comp.runs import resolve
from comp.runs.pretraining import pretraining
assert pretraining({at_260!r}).times(1.15) == 288
assert not {{"torch", "timm"}} & set(sys.modules)
resolve.DEVICES = ()
print(resolve.has_gpu(), "torch" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", str(sys.platform != "linux")]
    assert pretraining(at_260).interpolation == "bicubic"


def with_sizes(backbone, *sizes):
    return Recipe(backbone=backbone, pretrained=False, stages=[Stage(size=size, train="head") for size in sizes])


def test_the_first_stage_that_a_backbone_refuses_is_named(tmp_path):
    with pytest.raises(BackboneError, match=r"Stage 2.* 50 pixels"):
        refuse_sizes(with_sizes("test_vit", 160, 50), tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_sizes_that_a_backbone_takes_are_tried_once(tmp_path, monkeypatch):
    recipe = with_sizes("test_vit", 160, (64, 96))
    refuse_sizes(recipe, tmp_path)
    monkeypatch.setattr("comp.runs.pretraining._refused", lambda *_: pytest.fail("tried again"))
    refuse_sizes(recipe, tmp_path)


@pytest.mark.long
def test_without_torch_another_process_tries_the_sizes(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(BackboneError, match=r"Stage 1.* 50 pixels"):
        refuse_sizes(with_sizes("test_vit", 50), tmp_path)


def test_a_backbone_that_refuses_a_size_without_a_word_is_told_by_the_kind_of_its_error(tmp_path):
    with pytest.raises(BackboneError, match=r"Stage 1.* 64 pixels: AssertionError; it was pretrained at 256\."):
        refuse_sizes(with_sizes("botnet26t_256", 64), tmp_path)
