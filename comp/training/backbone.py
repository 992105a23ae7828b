"""The network: a timm backbone and a head, and their layer groups."""

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy.typing as npt
import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn
from torch.nn import functional

from comp.declare.reading import Size, sides, size_in_words
from comp.declare.recipe import Recipe
from comp.errors import BackboneError, DeclarationError, first_line
from comp.runs.pretraining import unknown
from comp.training.heads import build_head, joined, pool_generalised, takes_maps

# The largest difference allowed in a feature, relative to the largest feature.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Expectations:
    """The preprocessing that a backbone's weights expect."""

    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Classifier(nn.Module):
    """Images as bytes in, logits out: scaling as the weights expect it, backbone, head.

    ``features`` and ``head`` are separate, so that a frozen backbone's features can be computed once.

    width: F, the number of features. outputs: C, the number of logits. shape: of one image's features: (F,) where they
    are pooled, else as `set_size` finds it. columns: K, the number of a table's inputs that are joined to the features,
    with a dropout of ``column_dropout`` in training.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        backbone: Any,
        head: nn.Module,
        expected: Expectations,
        own_classifier: nn.Linear | None = None,
        *,
        width: int,
        outputs: int,
        pooled: bool = True,
        columns: int = 0,
        column_dropout: float = 0.0,
    ) -> None:
        """``own_classifier``: the backbone's pretrained classifier of its features; neither trained nor saved."""
        super().__init__()
        self.width, self.outputs, self.pooled = width, outputs, pooled
        self.shape: tuple[int, ...] = (width,)
        # In a tuple, or torch would register it as a submodule.
        self.own_classifier = (own_classifier,)
        # A timm model, with methods that torch's type of a module lacks.
        self.backbone: Any = backbone
        self.head = head
        self.columns, self.column_dropout = columns, column_dropout
        mean, std = torch.tensor(expected.mean), torch.tensor(expected.std)
        self.register_buffer("scale", 1 / (255 * std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).view(1, -1, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """Bytes (B, size, size, channels) to pooled features (B, F), or to maps (B, F, H, W) or tokens (B, T, F)."""
        # The bytes are channels last already, the layout in which convolutions are fastest.
        scaled = images.permute(0, 3, 1, 2).float() * self.scale + self.shift
        return self.backbone(scaled) if self.pooled else self.given(self.backbone.forward_features(scaled))

    def given(self, activations: Tensor) -> Tensor:
        """The head's inputs, from the backbone's last activations."""
        if self.pooled:
            return self.backbone.forward_head(activations)
        last = activations.ndim == 4 and activations.shape[1] != self.width
        return activations.permute(0, 3, 1, 2) if last else activations

    def joined(self, features: Tensor, columns: Tensor | None = None) -> Tensor:
        """The head's inputs: features (B, ...) with columns (B, K); unknown columns are zeros: means, no category."""
        if not self.columns:
            return features
        if columns is None:
            columns = features.new_zeros(len(features), self.columns)
        return joined(features, functional.dropout(columns, self.column_dropout, self.training))

    def on_features(self, features: Tensor, columns: Tensor | None = None) -> Tensor:
        """Features and columns to logits (B, C)."""
        return self.head(self.joined(features, columns))

    def forward(self, images: Tensor, columns: Tensor | None = None) -> Tensor:
        """Bytes (B, size, size, channels), and columns (B, K), to logits (B, C)."""
        return self.on_features(self.features(images), columns)


def build_classifier(
    recipe: Recipe,
    prior: npt.NDArray[Any],
    channels: int = 3,
    columns: int = 0,
    column_dropout: float = 0.0,
    *,
    to_predict: bool = False,
) -> Classifier:
    """The recipe's backbone with a new head for the outputs of ``prior``.

    prior: the logits (C,) of the classes' shares, at which the head starts: otherwise its first steps only learn which
        classes are rare (arXiv:1708.02002, section 3.3).
    channels: of the images; for another number than three, timm repeats or adds up the first layer's weights.
    columns, column_dropout: as in `Classifier`.
    to_predict: build without pretrained weights and without drop path, for a run's own weights.
    Raises BackboneError for an unknown name, a backbone without layer groups, weights that can't be loaded, and a
    ``drop_path`` for a backbone without blocks that can be skipped.
    """
    pretrained, drop_path = (False, 0.0) if to_predict else (recipe.pretrained, recipe.drop_path)
    body, own_classifier = _create(recipe.backbone, pretrained=pretrained, drop_path=drop_path, channels=channels)
    pooled = not takes_maps(recipe.head)
    width = body.head_hidden_size if pooled else body.num_features
    if recipe.head == "gem":
        pool_generalised(body)
    return Classifier(
        body,
        build_head(width + columns, prior, recipe.dropout, recipe.head),
        expectations(body, channels),
        own_classifier,
        width=width,
        outputs=len(prior),
        pooled=pooled,
        columns=columns,
        column_dropout=column_dropout,
    )


def expectations(backbone: nn.Module, channels: int = 3) -> Expectations:
    """The preprocessing that timm keeps with the weights; averaged over the colours for other than three channels."""
    config: dict[str, Any] = timm.data.resolve_model_data_config(backbone)  # type: ignore[attr-defined, no-untyped-call]
    mean, std = (tuple(config[name]) for name in ("mean", "std"))
    if len(mean) != channels:
        mean, std = ((sum(values) / len(values),) * channels for values in (mean, std))
    return Expectations(config["interpolation"], mean, std)


def set_size(model: Classifier, size: Size) -> None:
    """Set the image size of a transformer, and ``shape``; convolutional backbones take any size large enough."""
    device = next(model.parameters()).device
    blank = torch.zeros(1, *sides(size), model.scale.shape[1], dtype=torch.uint8, device=device)
    try:
        if hasattr(model.backbone, "set_input_size"):
            model.backbone.set_input_size(img_size=sides(size))
        # Only when given an image does timm say that its side isn't a multiple of the patch's.
        model.eval()
        with torch.no_grad():
            features = model.features(blank)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise BackboneError(
            f"The backbone can't take images of {size_in_words(size)} pixels: {first_line(error)}."
        ) from None
    model.shape = tuple(features.shape[1:])
    _check_head(model, features)


@torch.no_grad()
def _check_head(model: Classifier, features: Tensor) -> None:
    """Raise DeclarationError where the head fails, or its logits have another shape than (B, C)."""
    features = model.joined(features)
    wanted = f"logits (B, {model.outputs}) of features {('B', *features.shape[1:])}".replace("'", "")
    try:
        given = tuple(model.head(features).shape)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise DeclarationError(
            f"Recipe: `head` should give {wanted}, but ends with an error: {first_line(error)}."
        ) from error
    if given != (1, model.outputs):
        found = ("B", *given[1:])
        raise DeclarationError(f"Recipe: `head` gives {found}, but should give {wanted}.".replace("'B'", "B"))


def layer_groups(model: Classifier) -> dict[str, list[nn.Parameter]]:
    """The parameters of the ``early`` and ``late`` halves of the backbone's layers, in timm's order, and the head's."""
    layers = group_parameters(model.backbone, model.backbone.group_matcher(coarse=False))
    parameters, ordered = dict(model.backbone.named_parameters()), sorted(layers)
    middle = (len(ordered) + 1) // 2
    early, late = (
        [parameters[name] for layer in half for name in layers[layer]] for half in (ordered[:middle], ordered[middle:])
    )
    return {"early": early, "late": late, "head": list(model.head.parameters())}


def freeze(model: Classifier, trained: int) -> None:
    """Let only the last ``trained`` layer groups train: 1 is the head, 3 is all."""
    for index, parameters in enumerate(reversed(layer_groups(model).values())):
        for parameter in parameters:
            parameter.requires_grad_(index < trained)


def training_mode(model: Classifier, *, freeze_batch_norm: bool = False) -> None:
    """Put modules whose parameters train in training mode, and frozen modules of the backbone in evaluation.

    Modules without parameters, such as dropout and drop path, are frozen with the module that they are a part of.
    freeze_batch_norm: the backbone normalises by its running statistics, not by those of each batch.
    """
    model.train()
    for module in model.backbone.modules():
        parameters = list(module.parameters())
        frozen = parameters and not any(parameter.requires_grad for parameter in parameters)
        if frozen or (freeze_batch_norm and isinstance(module, nn.modules.batchnorm._BatchNorm)):
            module.eval()


def digest(model: nn.Module) -> str:
    """A fingerprint of all weights and statistics."""
    fingerprint = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        fingerprint.update(name.encode())
        fingerprint.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return fingerprint.hexdigest()


def _create(name: str, *, pretrained: bool, drop_path: float, channels: int) -> tuple[Any, nn.Linear | None]:
    """The timm model without its classifier, and the classifier where it is pretrained and linear."""
    local = name.removeprefix("local-dir:") if name.startswith("local-dir:") else None
    if local is None:
        _must_be_known(name, pretrained=pretrained)
    elif not (Path(local) / "config.json").is_file():
        lacks = "has no config.json" if Path(local).is_dir() else "doesn't exist"
        raise BackboneError(f"The backbone folder {local} {lacks}; local-dir: takes a folder saved by timm.")
    # It logs each retry; the outcome is reported below.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    if channels != 3:
        options["in_chans"] = channels
    try:
        # With its classifier, timm loads weights strictly: those of another architecture are refused, not skipped.
        body: Any = timm.create_model(name, pretrained=pretrained, **options)
        classifier = body.get_classifier()
        body.reset_classifier(0)
    except Exception as error:
        # timm's architectures without drop path refuse the argument.
        if "drop_path_rate" in str(error):
            raise BackboneError(
                f"Recipe: `drop_path` is {drop_path}, but the backbone {name!r} has no blocks that can be skipped; "
                "leave it at 0, or choose another backbone."
            ) from None
        first_sentence = re.split(r"(?<=[.!?]) ", " ".join(str(error).split()))[0].rstrip(".")
        reason = shorten(first_sentence, 200, placeholder=" ...") or type(error).__name__
        remedy = (
            "check the network, from where timm downloads them, or name a folder that has them: --backbone "
            "local-dir:PATH."
            if local is None
            else "save the folder anew, with timm.models.save_for_hf, or name another."
        )
        raise BackboneError(f"The weights of {name!r} can't be loaded ({reason}); {remedy}") from error
    if not hasattr(body, "group_matcher"):
        raise BackboneError(f"The backbone {name!r} has no layer groups in timm; choose one that has.")
    return body, classifier if pretrained and isinstance(classifier, nn.Linear) else None


def _must_be_known(name: str, *, pretrained: bool) -> None:
    """Raise BackboneError for a name that is not one of timm's."""
    architecture, _, tag = name.partition(".")
    if architecture not in timm.list_models():
        raise unknown(name)
    if pretrained and tag and name not in (known := timm.list_pretrained(f"{architecture}.*")):
        there = f"there are {', '.join(known)}." if known else "there are none; set `pretrained` to False."
        raise BackboneError(f"timm knows no weights {tag!r} of {architecture!r}; {there}")


def alike(found: Tensor, expected: Tensor) -> bool:
    """Whether features hardly differ from those expected, or those aren't finite, as with weights that broke.

    Features that aren't finite show nothing, and broken weights shouldn't change how it is computed.
    """
    close = (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
    return bool(close) or not bool(expected.isfinite().all())


def sharing(module: nn.Module) -> Any:
    """A copy of a module and its submodules that shares their tensors; a part replaced in it stays in the original."""
    twin = module.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin._parameters, twin._buffers = dict(module._parameters), dict(module._buffers)
    twin._modules = {name: part and sharing(part) for name, part in module._modules.items()}
    return twin
