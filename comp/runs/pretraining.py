"""A backbone's pretraining, and the image sizes that it takes, without loading its weights.

timm is imported where it is needed: a recipe that doesn't need it is resolved at once.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from comp.declare.reading import Size, sides, size_in_words
from comp.declare.recipe import Recipe, Stage
from comp.declare.source import source_of
from comp.errors import BackboneError, first_line
from comp.files import write_text

# Image sides are multiples of this for convolutional networks, and of the patch's side for transformers.
STEP = 32
# The key in timm's config.json for the run of a folder's backbone and the images it didn't learn from; timm ignores it.
ORIGIN = "comp"


@dataclass(frozen=True)
class Pretraining:
    """timm's record of a backbone's weights.

    architecture: timm's name, with or without a tag of weights.
    side: the side of the square images, in pixels. fixed: whether the network is built for one size, like transformers.
    options: the arguments of the architecture, as JSON.
    """

    architecture: str
    side: int
    interpolation: str
    fixed: bool
    options: str = "{}"

    @property
    @lru_cache(maxsize=8)  # noqa: B019 - of a few backbones; one for all who ask: `refusal` sets its size each time
    def network(self) -> Any:
        """The network on the meta device: it takes no memory and computes shapes only."""
        import timm
        import torch

        options = json.loads(self.options)
        with torch.device("meta"):
            return timm.create_model(self.architecture, pretrained=False, num_classes=0, **options).eval()

    @lru_cache(maxsize=64)  # noqa: B019 - of a few backbones
    def refusal(self, size: Size) -> str | None:
        """The reason why the network doesn't take images of this size; None where it does."""
        import torch

        network = self.network
        try:
            if hasattr(network, "set_input_size"):
                network.set_input_size(img_size=sides(size))
            with torch.no_grad():
                network(torch.zeros(1, 3, *sides(size), device="meta"))
        except NotImplementedError:  # an operation that the meta device lacks
            return None
        except (AssertionError, RuntimeError, ValueError) as error:
            return first_line(error)
        return None

    def times(self, factor: float) -> int:
        """The side times ``factor``, rounded to a size that the network takes; else the side itself."""
        if factor == 1:
            return self.side
        step = (self.network.feature_info[-1].get("reduction") or STEP) if self.fixed else STEP
        nearest = max(round(self.side * factor / step), 1) * step
        return self.side if self.fixed and self.refusal(nearest) else nearest


def pretraining(backbone: str) -> Pretraining:
    """The pretraining of a backbone, a timm name or ``local-dir:PATH``; raises BackboneError for an unknown one."""
    if backbone.startswith("local-dir:"):
        file = Path(backbone.removeprefix("local-dir:")) / "config.json"
        try:
            described = json.loads(file.read_text(encoding="utf-8"))
            config, architecture = described["pretrained_cfg"], str(described["architecture"])
            side, interpolation = int(config["input_size"][-1]), str(config["interpolation"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackboneError(f"{file} can't be read as timm's description of a backbone ({error}).") from None
        options = json.dumps(described.get("model_args") or {})
        return Pretraining(architecture, side, interpolation, bool(config.get("fixed_input_size")), options)
    import timm

    known = timm.models.get_pretrained_cfg(backbone)
    if known is None:
        raise unknown(backbone)
    return Pretraining(backbone, int(known.input_size[-1]), str(known.interpolation), known.fixed_input_size)


def origin_of(backbone: str) -> dict[str, Any] | None:
    """The run that a folder's backbone was exported from, and images that it didn't learn from; None for any other."""
    with suppress(OSError, ValueError):
        if backbone.startswith("local-dir:"):
            described = Path(backbone.removeprefix("local-dir:")) / "config.json"
            return json.loads(described.read_text(encoding="utf-8")).get(ORIGIN)
    return None


def lines_of_origin(backbone: str, competition: str, validating: set[str]) -> Iterator[str]:
    """A line where an exported backbone learned from images that validate now."""
    origin = origin_of(backbone)
    if origin and origin["competition"] == competition and not validating <= {*origin["left_out"]}:
        yield (
            f"the backbone is that of {origin['run']}, which learned from images that validate here, so validation "
            "scores are too good; export that of a run in which they validate"
        )


def is_known(backbone: str) -> bool:
    """Whether timm knows a backbone of this name, whatever folders are called."""
    import timm

    return timm.is_model(backbone)


def unknown(backbone: str) -> BackboneError:
    """The error for a name that timm doesn't know, with similar names."""
    import timm

    near = ", ".join(difflib.get_close_matches(backbone.partition(".")[0], timm.list_models(), n=3, cutoff=0.5))
    remedy = f"similar names are {near}" if near else "timm.list_models() lists them"
    return BackboneError(f"timm knows no backbone {backbone!r}; {remedy}.")


def source_of_backbone(backbone: str) -> str:
    """A digest of the source of a network that was registered by other code than timm; empty for timm's own."""
    if (models := sys.modules.get("timm.models")) is None:
        return ""  # nothing was registered
    with suppress(BackboneError):
        name = pretraining(backbone).architecture if backbone.startswith("local-dir:") else backbone
        if models.is_model(name) and not (build := models.model_entrypoint(name)).__module__.startswith("timm."):
            return source_of(build)
    return ""


def in_pixels(stages: Sequence[Stage], backbone: str) -> tuple[Stage, ...]:
    """The stages with all sizes in pixels, also those relative to the backbone's pretraining; raises BackboneError."""
    if not any(isinstance(stage.size, str) for stage in stages):
        return tuple(stages)
    known = pretraining(backbone)
    return tuple(
        replace(stage, size=known.times(stage.factor)) if isinstance(stage.size, str) else stage for stage in stages
    )


def refuse_sizes(recipe: Recipe, cache: Path) -> None:
    """Raise BackboneError for the first stage whose images the backbone doesn't take.

    cache: the folder that remembers accepted sizes. If torch is not imported yet, another process tries them, so that
    reading the data does not add to torch's memory.
    """
    tried = recipe.backbone, [sides(stage.pixels) for stage in recipe.stages]
    made_from = json.dumps([*tried, version("timm"), source_of_backbone(recipe.backbone)])
    known = cache / "sizes" / hashlib.blake2b(made_from.encode(), digest_size=16).hexdigest()
    if known.is_file():
        return
    if "torch" in sys.modules:
        refused = _refused(*tried)
    else:
        try_it = (
            "import json, sys; from comp.runs.pretraining import _refused; print(_refused(*json.loads(sys.argv[1])))"
        )
        words = [sys.executable, "-c", try_it, json.dumps(tried)]
        # Other problems of a backbone are reported where it is built.
        refused = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    if refused:
        raise BackboneError(refused)
    write_text(known, "")


def _refused(backbone: str, sizes: Sequence[tuple[int, int]]) -> str:
    """The sentence about the first stage whose size is refused; "" where none is, or where it is unknown."""
    try:
        known = pretraining(backbone)
        known.network  # noqa: B018 - built once, here
    except Exception:  # reported where the model is built
        return ""
    for number, (height, width) in enumerate(sizes, start=1):
        size = height if height == width else (height, width)
        if reason := known.refusal(size):
            return (
                f"Stage {number}: the backbone can't take images of {size_in_words(size)} pixels: {reason}; "
                f"it was pretrained at {known.side}."
            )
    return ""
