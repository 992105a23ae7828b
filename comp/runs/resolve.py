"""What a run is made of, resolved from a declaration and a person's choices; written down, and read back."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

from comp.declare.overrides import apply_overrides
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import Viewpoint
from comp.errors import OverrideError, RunError
from comp.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from comp.data.tables import Tables
    from comp.declare.competition import Competition

# Rows whose values are objects at the same time.
AT_ONCE = 1 << 14
# Those of NVIDIA's and AMD's drivers, of Windows' GPU in Linux, and of Jetson's.
DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvmap", "/dev/nvhost-ctrl")
PACKAGES = ("accelerate", "albumentations", "numpy", "pillow", "scikit-learn", "timm", "torch")


@dataclass(frozen=True)
class Choices:
    """What a person chose for a training.

    settings: fields set by hand, ``field=value``. all_data: no row validates. folds: how many the rows are dealt to;
    fold: which of them validates, from 1. like: a run whose recipe, found learning rates and post-processing are taken
    over.
    """

    recipe: str = "standard"
    backbone: str | None = None
    settings: Sequence[str] = ()
    seed: int = 0
    all_data: bool = False
    folds: int | None = None
    fold: int | None = None
    like: Run | None = None

    def __post_init__(self) -> None:
        if self.folds is not None and self.folds < 2:
            raise OverrideError(f"--folds is {self.folds}, but it should be at least 2.")
        if self.fold is not None and not 1 <= self.fold <= (self.folds or 0):
            wanted = f"from 1 to {self.folds}" if self.folds else "given together with --folds"
            raise OverrideError(f"--fold is {self.fold}, but it should be {wanted}.")
        if self.all_data and self.folds is not None:
            raise OverrideError("--all-data lets no row validate, and --folds every row; give one of the two.")
        if self.like is not None and self.backbone is not None:
            raise OverrideError("--like takes rates that were found for its own backbone; leave --backbone out.")
        if self.like is not None:
            object.__setattr__(self, "recipe", self.like.record("config")["recipe_name"])


def resolve(competition: Competition, choices: Choices) -> tuple[Competition, Recipe]:
    """The competition and the recipe with every choice applied; raises OverrideError for one that doesn't fit."""
    if choices.like is not None:
        competition, recipe = as_trained(competition, choices.like)
    else:
        named = competition.recipes.get(choices.recipe)
        if named is None:
            known = ", ".join(competition.recipes)
            raise OverrideError(f"{competition.name} has no recipe {choices.recipe!r}; it has {known}.")
        recipe = replace(named, on_cpu=None) if named.on_cpu is None or has_gpu() else named.on_cpu
    competition, recipe = apply_overrides(competition, recipe, choices.settings)
    if recipe.head == "pretrained" and competition.target == "multi":
        raise OverrideError(
            f"{competition.name} has tags, but `head` is 'pretrained', which is for one class per image; say head=new."
        )
    if choices.backbone is not None:
        recipe = replace(recipe, backbone=choices.backbone)
    if recipe.backbone.startswith("local-dir:"):
        folder = Path(recipe.backbone.removeprefix("local-dir:")).expanduser().resolve()
        recipe = replace(recipe, backbone=f"local-dir:{folder}")
    return competition, recipe


def as_trained(competition: Competition, run: Run) -> tuple[Competition, Recipe]:
    """The competition and recipe of a run, at the learning rates it trained at; of joined folds, their geometric mean.

    Raises RunError for another competition's run, and for an ensemble: it is several recipes.
    """
    config = run.record("config")
    if config["competition"] != competition.name:
        raise RunError(
            f"{run.name} is a run of {config['competition']}, and not of {competition.name}; name one of its."
        )
    if config.get("kind", "folds") != "folds":
        raise RunError(f"{run.name} blends runs of several recipes; name one of {', '.join(run.members)}.")
    if not run.members:
        return from_config(competition, config, run.record("trained"))
    folds = [Run(run.folder.parent.parent / name) for name in run.members]
    resolved = [from_config(competition, fold.record("config"), fold.record("trained")) for fold in folds]
    competition, recipe = resolved[0]
    rates = [[float(stage.learning_rate) for stage in found.stages] for _, found in resolved]
    # The mean of one number may be off by its last digit.
    means = [
        of_stage[0] if len(set(of_stage)) == 1 else geometric_mean(of_stage) for of_stage in zip(*rates, strict=True)
    ]
    stages = [replace(stage, learning_rate=rate) for stage, rate in zip(recipe.stages, means, strict=True)]
    return competition, replace(recipe, stages=stages)


def has_gpu() -> bool:
    # A machine that has no such device is known without torch, which is not imported before the data are read.
    if "torch" not in sys.modules and sys.platform == "linux" and not any(map(os.path.exists, DEVICES)):
        return False
    import torch

    return torch.cuda.is_available()


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
        "folds": choices.folds,
        "fold": choices.fold,
        "like": None if choices.like is None else choices.like.name,
        # What was tuned on rows that validated is the best there is where none does.
        "postprocessing": choices.like.record("scores")["postprocessing"]
        if choices.like and choices.all_data
        else None,
        "data": {"train": len(tables.train), "test": len(tables.test), "fingerprint": fingerprint(tables)},
        "data_check": None if tables.data_check is None else tables.data_check.counts(),
        "device": device,
        "precision": precision,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def from_config(
    competition: Competition, config: dict[str, Any], trained: dict[str, Any] | None = None
) -> tuple[Competition, Recipe]:
    """The competition and the recipe as they were when the run was trained, whatever was declared since.

    trained: the record of the stages that were trained, at the learning rates they had.
    """
    recipe = recipe_of(config, trained)
    with _of_this_version():
        augment = Viewpoint(**{**config["augment"], "pipeline": competition.augment.pipeline})
        return replace(competition, augment=augment, layer_lr_ratio=config["layer_lr_ratio"]), recipe


def recipe_of(config: dict[str, Any], trained: dict[str, Any] | None = None) -> Recipe:
    """The recipe of a run: with its stages as they were declared, or as they were trained."""
    with _of_this_version():
        stages = [Stage(**stage) for stage in (trained or config["recipe"])["stages"]]
        # A last stage trained by hand may have fewer cycles than the recipe's.
        snapshots = min(config["recipe"].get("snapshots", 1), stages[-1].cycles)
        return Recipe(**{**config["recipe"], "stages": stages, "snapshots": snapshots})


@contextmanager
def _of_this_version() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError) as error:
        raise RunError(f"The run's config.json is of another version of comp ({error}); train again.") from None


def fingerprint(tables: Tables) -> str:
    """A digest of all ids, labels and file sizes: data that changed since a run shows in it."""
    digest = hashlib.blake2b(digest_size=16)
    for table, label in ((tables.train, "label"), (tables.test, "id")):
        for start in range(0, len(table), AT_ONCE):
            rows = table[start : start + AT_ONCE]
            sizes = rows["size"].to_list() if "size" in rows else map(_size, rows["path"])
            # A broken link has no size.
            known = (None if size < 0 else size for size in sizes)
            values = zip(rows["id"].to_list(), rows[label].to_list(), known, strict=True)
            digest.update("".join(map(repr, values)).encode())
    return digest.hexdigest()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116, a Path of each would take longer
    except (OSError, ValueError):
        return -1
