import json
import pickle
import shutil

import numpy as np
import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models import save_for_hf
from torch import nn

from comp.declare.recipe import LAYER_GROUPS, Recipe, Stage
from comp.errors import BackboneError
from comp.training.backbone import (
    build_classifier,
    digest,
    expectations,
    freeze,
    layer_groups,
    set_size,
    training_mode,
)
from tests.training.conftest import Hostile

EVERY = pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])


def build(name, channels=3, **fields):
    torch.manual_seed(0)
    fields = {"stages": [Stage(size=32, train="all")], "pretrained": False, **fields}
    return build_classifier(Recipe(backbone=name, **fields), np.zeros(3), channels)


def images(*shape):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8))


def parts(model, kind):
    return [module for module in model.backbone.modules() if isinstance(module, kind)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a model saved by timm: config.json and the weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    body = timm.create_model("test_resnet", pretrained=False)
    body.pretrained_cfg.update(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="nearest")
    save_for_hf(body, folder, safe_serialization=True)
    return folder


@EVERY
def test_layer_groups_have_every_parameter_once_in_the_order_of_the_layers(name):
    model = build(name)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {
        group: [names[id(parameter)] for parameter in parameters] for group, parameters in layer_groups(model).items()
    }
    assert tuple(groups) == LAYER_GROUPS
    assert sorted(name for group in groups.values() for name in group) == sorted(names.values())
    first = {"test_resnet": "conv1.", "test_vit": "patch_embed.", "test_convnext": "stem."}[name]
    last = {"test_resnet": "layer4.", "test_vit": "norm.", "test_convnext": "stages.3."}[name]
    for part, layer, other in (("early", first, "late"), ("late", last, "early")):
        assert any(f"backbone.{layer}" in found for found in groups[part])
        assert not any(f"backbone.{layer}" in found for found in groups[other])
    assert set(groups["head"]) == {"head.2.weight", "head.2.bias"}
    if name == "test_vit":
        halves = ({int(one.split(".")[2]) for one in groups[part] if "blocks" in one} for part in ("early", "late"))
        assert list(halves) == [{0, 1, 2}, {3, 4, 5}]


@EVERY
def test_a_backbone_takes_stages_of_growing_size_and_its_halves_make_the_whole(name):
    model = build(name)
    nn.init.normal_(model.head[-1].weight)
    for size in (32, 48, 96):
        set_size(model, size)
        seen = images(2, size, size, 3)
        features = model.features(seen)
        assert features.shape == (2, model.backbone.num_features)
        assert torch.equal(model.head(features), model(seen))


@pytest.mark.parametrize(("name", "channels"), [("test_resnet", 3), ("test_resnet", 5), ("test_vit", 1)])
def test_a_backbone_takes_rectangles_of_any_number_of_channels_scaled_as_its_weights_expect(name, channels):
    model = build(name, channels=channels)
    set_size(model, (64, 96))
    pixels = images(2, 64, 96, channels)
    assert model(pixels).shape == (2, 3)
    seen, expected = [], expectations(model.backbone, channels)
    model.backbone.forward = lambda scaled: seen.append(scaled) or torch.zeros(len(scaled), 96)
    model.features(pixels)
    by_hand = (pixels.numpy() / 255 - expected.mean) / expected.std
    assert seen[0].numpy() == pytest.approx(by_hand.transpose(0, 3, 1, 2), abs=1e-5)


def test_a_folder_of_weights_is_loaded_with_its_own_preprocessing(saved):
    model = build(f"local-dir:{saved}", pretrained=True)
    expected = expectations(model.backbone)
    assert (expected.interpolation, expected.mean, expected.std) == ("nearest", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    torch.manual_seed(1)
    original = timm.create_model("test_resnet", pretrained=False, num_classes=1000)
    assert torch.equal(model.backbone.conv1[0].weight, original.conv1[0].weight)
    assert digest(model.backbone) == digest(build(f"local-dir:{saved}", pretrained=True).backbone)
    assert digest(model.backbone) != digest(build(f"local-dir:{saved}", pretrained=False).backbone)


def test_a_larger_size_keeps_what_a_transformer_has_learned():
    model = build("test_vit")
    set_size(model, 64)
    blocks = {name: value.clone() for name, value in model.backbone.blocks.state_dict().items()}
    before = model.backbone.pos_embed.shape
    set_size(model, 96)
    assert all(torch.equal(blocks[name], value) for name, value in model.backbone.blocks.state_dict().items())
    set_size(model, 64)
    assert model.backbone.pos_embed.shape == before
    assert any(parameter is model.backbone.pos_embed for group in layer_groups(model).values() for parameter in group)


@pytest.mark.parametrize("size", [50, 8])
def test_a_size_that_a_transformer_cannot_take_is_named(size):
    with pytest.raises(BackboneError, match=f"can't take images of {size} pixels"):
        set_size(build("test_vit"), size)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("no_such_backbone", {}, "timm knows no backbone 'no_such_backbone'"),
        ("resnet_9000", {"pretrained": True}, "timm knows no backbone 'resnet_9000'; similar names are .*resnet"),
        ("local-dir:no/such/folder", {}, "The backbone folder no/such/folder doesn't exist"),
        ("test_resnet.no_such_tag", {"pretrained": True}, "knows no weights 'no_such_tag' .*; there are test_resnet.r"),
        ("test_resnet.no_such_tag", {}, "The weights of 'test_resnet.no_such_tag' can't be loaded"),
        ("vgg11", {"drop_path": 0.2}, r"`drop_path` is 0.2, but the backbone 'vgg11' .*; leave it at 0"),
    ],
)
def test_a_backbone_that_can_t_be_made_is_named_with_a_remedy(name, options, said):
    with pytest.raises(BackboneError, match=said):
        build(name, **options)


def test_of_why_weights_can_t_be_loaded_the_first_sentence_is_said(monkeypatch):
    def away(*_, **__):
        raise OSError("Nothing answers at\n the Hub. Please check your connection and try again.")

    monkeypatch.setattr("comp.training.backbone.timm.create_model", away)
    with pytest.raises(BackboneError, match=r"can't be loaded \(Nothing answers at the Hub\); check the network"):
        build("test_resnet", pretrained=True)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))])
def test_weights_that_would_run_code_are_refused_and_run_none(saved, tmp_path, write):
    trace = tmp_path / "trace"
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    write({"conv1.0.weight": Hostile(trace)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"can't be loaded \(.+\); save the folder anew"):
        build(f"local-dir:{tmp_path}", pretrained=True)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Hostile(trace)))
    assert trace.exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{"),
        ("config.json", '{"architecture": "no_such_backbone"}'),
        ("config.json", {"architecture": "test_vit"}),
        ("model.safetensors", None),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_broken_folder_of_weights_is_named(saved, tmp_path, file, content):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    if content is None:
        (tmp_path / file).unlink()
    elif isinstance(content, dict):
        (tmp_path / file).write_text(json.dumps(json.loads((saved / file).read_text()) | content))
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(BackboneError, match=rf"local-dir:{tmp_path}.* can't be loaded \(\w+"):
        build(f"local-dir:{tmp_path}", pretrained=True)


@EVERY
def test_a_backbone_learns_statistics_and_skips_paths_only_where_it_trains(name):
    model = build(name, drop_path=0.9)
    paths, norms = parts(model, DropPath), parts(model, nn.BatchNorm2d)
    assert max(path.drop_prob for path in paths) == pytest.approx(0.9)
    # The whole backbone comes last, when frozen layers train again.
    for groups, modes in ((1, {False}), (2, {True, False}), (3, {True})):
        freeze(model, groups)
        training_mode(model)
        trained = {id(one) for group in LAYER_GROUPS[-groups:] for one in layer_groups(model)[group]}
        assert {id(one) for one in model.parameters() if one.requires_grad} == trained
        assert all(module.training for module in model.head.modules())
        assert {module.training for module in model.backbone.modules()} == modes
        for block in model.backbone.modules():
            for path in [part for part in block.children() if isinstance(part, DropPath)]:
                assert path.training == any(id(one) in trained for one in block.parameters())
        assert {path.training for path in paths} == modes
        assert all(norm.training == norm.weight.requires_grad for norm in norms)
        assert {norm.training for norm in norms} == (modes if name == "test_resnet" else set())


def test_frozen_batch_norm_keeps_its_statistics_while_its_weights_train():
    model = build("test_resnet")
    freeze(model, 3)
    training_mode(model, freeze_batch_norm=True)
    norms = parts(model, nn.BatchNorm2d)
    before = [norm.running_mean.clone() for norm in norms]
    nn.init.normal_(model.head[-1].weight)
    model(images(4, 32, 32, 3)).sum().backward()
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
    assert all(norm.weight.grad is not None for norm in norms)
    assert all(module.training for module in model.head.modules())
    training_mode(model)
    assert all(norm.training for norm in norms)


def test_a_digest_changes_with_any_weight_or_statistic():
    model = build("test_resnet")
    known = {digest(model)}
    assert digest(build("test_resnet")) in known
    with torch.no_grad():
        for value in (model.backbone.conv1[0].weight[0, 0, 0], parts(model, nn.BatchNorm2d)[0].running_mean):
            value[0] += 1e-3
            known.add(digest(model))
        model.head[-1].bias[0] += 1
        known.add(digest(model))
    assert len(known) == 4


def test_the_head_fits_what_a_backbone_pools_and_not_its_last_stage():
    model = build("mobilenetv3_small_050").eval()
    assert model.backbone.num_features != model.width
    assert model(images(2, 32, 32, 3)).shape == (2, 3)
