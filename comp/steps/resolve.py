"""What a run is made of, resolved from a declaration and a person's choices; written down, and read back."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comp.errors import OverrideError, RunError
from comp.recipe import Recipe, Stage
from comp.steps.overrides import apply_overrides
from comp.viewpoint import Viewpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comp.competition import Competition
    from comp.steps.tables import Tables

PACKAGES = ("accelerate", "albumentations", "numpy", "pillow", "scikit-learn", "timm", "torch")


@dataclass(frozen=True)
class Choices:
    """What a person chose for a training: the recipe, fields set by hand, the seed, and whether all rows train."""

    recipe: str = "standard"
    backbone: str | None = None
    settings: Sequence[str] = ()
    seed: int = 0
    all_data: bool = False


def resolve(competition: Competition, choices: Choices) -> tuple[Competition, Recipe]:
    """The competition and the recipe with every choice applied; raises OverrideError for one that doesn't fit."""
    recipe = competition.recipes.get(choices.recipe)
    if recipe is None:
        known = ", ".join(competition.recipes)
        raise OverrideError(f"{competition.name} has no recipe {choices.recipe!r}; it has {known}.")
    competition, recipe = apply_overrides(competition, recipe, choices.settings)
    if choices.backbone is not None:
        recipe = replace(recipe, backbone=choices.backbone)
    if recipe.backbone.startswith("local-dir:"):
        folder = Path(recipe.backbone.removeprefix("local-dir:")).expanduser().resolve()
        recipe = replace(recipe, backbone=f"local-dir:{folder}")
    return competition, recipe


def to_config(
    competition: Competition, recipe: Recipe, choices: Choices, tables: Tables, device: str, precision: str
) -> dict[str, Any]:
    """Everything that a run's results follow from, as JSON can hold it."""
    augment = {field.name: getattr(competition.augment, field.name) for field in fields(Viewpoint)}
    augment["pipeline"] = getattr(augment["pipeline"], "__qualname__", None)
    return {
        "command": shlex.join(["comp", *sys.argv[1:]]),
        "competition": competition.name,
        "kaggle": competition.kaggle,
        "metric": competition.metric,
        "classes": list(tables.classes),
        "recipe_name": choices.recipe,
        "settings": list(choices.settings),
        "recipe": asdict(recipe),
        "augment": augment,
        "layer_lr_ratio": competition.layer_lr_ratio,
        "seed": choices.seed,
        "all_data": choices.all_data,
        "data": {"train": len(tables.train), "test": len(tables.test), "fingerprint": fingerprint(tables)},
        "device": device,
        "precision": precision,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def from_config(competition: Competition, config: dict[str, Any]) -> tuple[Competition, Recipe]:
    """The competition and the recipe as they were when the run was trained, whatever was declared since."""
    try:
        stages = [Stage(**stage) for stage in config["recipe"]["stages"]]
        recipe = Recipe(**{**config["recipe"], "stages": stages})
        augment = Viewpoint(**{**config["augment"], "pipeline": competition.augment.pipeline})
        return replace(competition, augment=augment, layer_lr_ratio=config["layer_lr_ratio"]), recipe
    except (KeyError, TypeError) as error:
        raise RunError(f"The run's config.json is of another version of comp ({error}); train again.") from None


def recipe_of(config: dict[str, Any]) -> Recipe:
    """The recipe that a run was trained by, without the rates that were found."""
    try:
        stages = [Stage(**stage) for stage in config["recipe"]["stages"]]
        # It was already put in its place when the run began.
        return Recipe(**{**config["recipe"], "stages": stages, "on_cpu": None})
    except (KeyError, TypeError) as error:
        raise RunError(f"The run's config.json is of another version of comp ({error}); train again.") from None


def fingerprint(tables: Tables) -> str:
    """A digest of all ids, labels and file sizes: data that changed since a run shows in it."""
    digest = hashlib.blake2b(digest_size=16)
    for table, label in ((tables.train, "label"), (tables.test, "id")):
        for id_, path, named in zip(table["id"], table["path"], table[label], strict=True):
            digest.update(repr((id_, named, path.stat().st_size)).encode())
    return digest.hexdigest()
