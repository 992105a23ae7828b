import json
import os
import pickle

import numpy as np
import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models import save_for_hf
from torch import nn

from comp.declare.recipe import LAYER_GROUPS
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

NAMES = ["test_resnet", "test_vit", "test_convnext"]
EVERY = pytest.mark.parametrize("name", NAMES)
PRIOR = np.log([0.5, 0.3, 0.2])


def build(name, **options):
    torch.manual_seed(0)
    return build_classifier(name, **{"pretrained": False, "dropout": 0.0, "prior": PRIOR, **options})


def images(count=4, size=32):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (count, size, size, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder as timm saves a model: config.json and the weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    body = timm.create_model("test_resnet", pretrained=False)
    body.pretrained_cfg.update(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="nearest")
    save_for_hf(body, folder, safe_serialization=True)
    return folder


@EVERY
def test_layer_groups_cover_every_parameter_once(name):
    model = build(name)
    groups = layer_groups(model)
    assert tuple(groups) == LAYER_GROUPS
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in model.parameters()}
    assert all(groups.values())


@EVERY
def test_layer_groups_follow_the_order_of_the_layers(name):
    model = build(name)
    groups = layer_groups(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    early = [names[id(parameter)] for parameter in groups["early"]]
    late = [names[id(parameter)] for parameter in groups["late"]]
    first = {"test_resnet": "conv1.", "test_vit": "patch_embed.", "test_convnext": "stem."}[name]
    last = {"test_resnet": "layer4.", "test_vit": "norm.", "test_convnext": "stages.3."}[name]
    assert any(f"backbone.{first}" in found for found in early)
    assert not any(f"backbone.{first}" in found for found in late)
    assert any(f"backbone.{last}" in found for found in late)
    assert not any(f"backbone.{last}" in found for found in early)
    assert {names[id(parameter)] for parameter in groups["head"]} == {"head.2.weight", "head.2.bias"}


def test_the_halves_of_the_backbone_have_equally_many_layers():
    model = build("test_vit")
    names = {id(parameter): name for name, parameter in model.backbone.named_parameters()}
    blocks = {
        group: {int(names[id(parameter)].split(".")[1]) for parameter in parameters if "blocks" in names[id(parameter)]}
        for group, parameters in layer_groups(model).items()
        if group != "head"
    }
    assert blocks == {"early": {0, 1, 2}, "late": {3, 4, 5}}


@EVERY
def test_a_new_head_predicts_the_prior_whatever_it_sees(name):
    model = build(name).eval()
    set_size(model, 32)
    probabilities = model(images()).softmax(dim=1)
    assert probabilities.detach().numpy() == pytest.approx(np.tile([0.5, 0.3, 0.2], (4, 1)), abs=1e-6)


@EVERY
def test_the_halves_make_the_whole(name):
    model = build(name).eval()
    set_size(model, 32)
    nn.init.normal_(model.head[-1].weight)
    features = model.features(images())
    assert features.shape == (4, model.backbone.num_features)
    assert torch.equal(model.head(features), model(images()))


def test_bytes_are_scaled_as_the_weights_expect(saved):
    model = build(f"local-dir:{saved}", pretrained=True)
    seen = []
    model.backbone = nn.Module()
    model.backbone.forward = lambda scaled: seen.append(scaled) or torch.zeros(len(scaled), 96)
    model.features(images())
    by_hand = (images().numpy() / 255 - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6]
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


@pytest.mark.parametrize("size", [32, 48, 96])
@EVERY
def test_a_backbone_takes_stages_of_growing_size(name, size):
    model = build(name)
    for pixels in (32, size):
        set_size(model, pixels)
        assert model(images(size=pixels)).shape == (4, 3)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_backbone_takes_rectangles_of_any_number_of_channels(name, channels):
    model = build_classifier(name, pretrained=False, dropout=0.0, prior=np.zeros(3), channels=channels).eval()
    set_size(model, (64, 96))
    pixels = torch.randint(0, 256, (2, 64, 96, channels), dtype=torch.uint8)
    assert model(pixels).shape == (2, 3)
    expected = expectations(model.backbone, channels)
    scaled = pixels.permute(0, 3, 1, 2).float() * model.scale + model.shift
    wanted = (pixels.permute(0, 3, 1, 2) / 255 - torch.tensor(expected.mean).view(1, -1, 1, 1)) / torch.tensor(
        expected.std
    ).view(1, -1, 1, 1)
    assert torch.allclose(scaled, wanted, atol=1e-4)


def test_a_larger_size_keeps_what_a_transformer_has_learned():
    model = build("test_vit")
    set_size(model, 64)
    blocks = {name: value.clone() for name, value in model.backbone.blocks.state_dict().items()}
    before = model.backbone.pos_embed.detach().clone()
    set_size(model, 96)
    assert all(torch.equal(blocks[name], value) for name, value in model.backbone.blocks.state_dict().items())
    set_size(model, 64)
    assert model.backbone.pos_embed.shape == before.shape
    grouped = {id(parameter) for group in layer_groups(model).values() for parameter in group}
    assert id(model.backbone.pos_embed) in grouped


@pytest.mark.parametrize("size", [50, 8])
def test_a_size_that_a_transformer_cannot_take_is_named(size):
    with pytest.raises(BackboneError, match=f"can't take images of {size} pixels"):
        set_size(build("test_vit"), size)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_backbone", "timm knows no backbone 'no_such_backbone'"),
        ("resnet_9000", "timm knows no backbone 'resnet_9000'; near it are .*resnet"),
        ("local-dir:no/such/folder", "The backbone folder no/such/folder doesn't exist"),
    ],
)
@pytest.mark.parametrize("pretrained", [True, False])
def test_an_unknown_backbone_is_named(name, said, pretrained):
    with pytest.raises(BackboneError, match=said):
        build(name, pretrained=pretrained)


class Hostile:
    """Leaves a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("pretrained", "said"),
    [
        (True, "timm knows no weights 'no_such_tag' of 'test_resnet'; there are test_resnet.r160_in1k"),
        (False, "The weights of 'test_resnet.no_such_tag' can't be loaded"),
    ],
)
def test_weights_by_an_unknown_tag_are_told_the_tags_there_are(pretrained, said):
    with pytest.raises(BackboneError, match=said):
        build("test_resnet.no_such_tag", pretrained=pretrained)


def test_a_folder_without_its_prefix_is_told_the_prefix(saved):
    with pytest.raises(BackboneError, match=f"for the folder write local-dir:{saved}"):
        build(str(saved), pretrained=True)


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


def test_of_why_weights_can_t_be_loaded_the_first_sentence_is_said(monkeypatch):
    def away(*_, **__):
        raise OSError("Nothing answers at\n the Hub. Please check your connection and try again.")

    monkeypatch.setattr("comp.training.backbone.timm.create_model", away)
    with pytest.raises(BackboneError, match=r"can't be loaded \(Nothing answers at the Hub\); check the network"):
        build("test_resnet", pretrained=True)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{"),
        ("config.json", '{"architecture": "no_such_backbone"}'),
        ("model.safetensors", None),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_broken_folder_of_weights_is_named(saved, tmp_path, file, content):
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(BackboneError, match=rf"local-dir:{tmp_path}.* can't be loaded \(\w+"):
        build(f"local-dir:{tmp_path}", pretrained=True)


@EVERY
def test_a_frozen_backbone_stays_in_evaluation_while_the_head_trains(name):
    model = build(name)
    freeze(model, 1)
    training_mode(model)
    assert not any(module.training for module in model.backbone.modules())
    assert all(module.training for module in model.head.modules())
    assert {id(parameter) for parameter in model.parameters() if parameter.requires_grad} == {
        id(parameter) for parameter in model.head.parameters()
    }
    freeze(model, 3)
    training_mode(model)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_half_frozen_backbone_learns_statistics_only_where_it_trains():
    model = build("test_resnet")
    for parameter in layer_groups(model)["early"]:
        parameter.requires_grad_(False)
    training_mode(model)
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.training for norm in norms} == {True, False}
    assert all(norm.training == norm.weight.requires_grad for norm in norms)


@EVERY
def test_a_half_frozen_backbone_skips_paths_only_where_it_trains(name):
    model = build(name, drop_path=0.5)
    groups = layer_groups(model)
    for parameter in groups["early"]:
        parameter.requires_grad_(False)
    training_mode(model)
    trained = {id(parameter) for parameter in groups["late"]}
    modes = set()
    for block in model.backbone.modules():
        for path in [part for part in block.children() if isinstance(part, DropPath)]:
            assert path.training == any(id(parameter) in trained for parameter in block.parameters())
            modes.add(path.training)
    assert modes == {True, False}
    late = [module for module in model.backbone.modules() if {id(own) for own in module.parameters()} <= trained]
    assert all(module.training for module in late if list(module.parameters()))


@EVERY
def test_paths_are_skipped_in_training_only_and_not_in_a_frozen_backbone(name):
    model = build(name, drop_path=0.9)
    set_size(model, 32)
    paths = [module for module in model.backbone.modules() if isinstance(module, DropPath)]
    assert max(path.drop_prob for path in paths) == pytest.approx(0.9)
    training_mode(model)
    assert all(path.training for path in paths)
    freeze(model, 1)
    training_mode(model)
    assert not any(path.training for path in paths)
    freeze(model, 3)
    training_mode(model)
    model.eval()
    assert not any(path.training for path in paths)


def test_a_path_is_skipped_at_its_rate_and_expected_as_it_is_in_evaluation():
    # Huang et al., section 3: a block is x + b f(x), with b of the survival rate; scaled here while it trains.
    model = build("test_vit", drop_path=0.5)
    block = model.backbone.blocks[-1]
    assert block.drop_path1.drop_prob == pytest.approx(0.5)
    inputs = torch.randn(1, 5, model.width).expand(2000, 5, model.width)
    torch.manual_seed(0)
    training_mode(model)
    branches = block.drop_path1(inputs)
    skipped = (branches == 0).flatten(1).all(dim=1)
    assert float(skipped.float().mean()) == pytest.approx(0.5, abs=0.04)
    assert torch.allclose(branches[~skipped], inputs[~skipped] * 2)
    model.eval()
    assert torch.allclose(block.drop_path1(inputs), inputs)


def test_the_rates_of_the_blocks_grow_evenly_to_the_one_that_is_named():
    model = build("test_vit", drop_path=0.5)
    rates = [getattr(block.drop_path1, "drop_prob", 0) for block in model.backbone.blocks]
    assert rates == pytest.approx(np.linspace(0, 0.5, 6))


def test_without_drop_path_nothing_is_skipped():
    assert not any(isinstance(module, DropPath) for module in build("test_vit").modules())


def test_a_backbone_that_skips_no_paths_is_named():
    with pytest.raises(BackboneError, match=r"`drop_path` is 0.2, but the backbone 'vgg11' .*; leave it at 0"):
        build("vgg11", drop_path=0.2)


def test_a_digest_changes_with_any_weight_or_statistic():
    model = build("test_resnet")
    known = {digest(model)}
    assert digest(build("test_resnet")) in known
    with torch.no_grad():
        model.backbone.conv1[0].weight[0, 0, 0, 0] += 1e-3
        known.add(digest(model))
        next(module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)).running_mean[0] += 1
        known.add(digest(model))
        model.head[-1].bias[0] += 1
        known.add(digest(model))
    assert len(known) == 4


def test_the_head_fits_what_a_backbone_pools_and_not_its_last_stage():
    model = build_classifier("mobilenetv3_small_050", pretrained=False, dropout=0, prior=np.zeros(3))
    assert model.backbone.num_features != model.width
    model.eval()
    assert model(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).shape == (2, 3)


def test_weights_of_another_architecture_are_refused(tmp_path):
    save_for_hf(timm.create_model("test_resnet"), tmp_path, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architecture": "test_vit"}))
    with pytest.raises(BackboneError, match="can't be loaded"):
        build_classifier(f"local-dir:{tmp_path}", pretrained=True, dropout=0, prior=np.zeros(2))


def test_frozen_batch_norm_keeps_its_statistics_while_its_weights_train():
    model = build("test_resnet")
    freeze(model, 3)
    training_mode(model, freeze_batch_norm=True)
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    nn.init.normal_(model.head[-1].weight)
    model(images()).sum().backward()
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
    assert all(norm.weight.grad is not None for norm in norms)
    assert all(module.training for module in model.head.modules())
    training_mode(model)
    assert all(norm.training for norm in norms)
