"""A training's recipe, resolved from a declaration and the user's choices, read back from runs, and compared."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import geometric_mean
from textwrap import shorten
from typing import Any

from comp.declare.columns import Columns
from comp.declare.competition import Competition
from comp.declare.custom import NoLongerDeclared, recorded, with_parts
from comp.declare.losses import misfit
from comp.declare.metrics import METRICS
from comp.declare.overrides import apply_overrides
from comp.declare.recipe import Recipe, Stage
from comp.declare.viewpoint import Viewpoint
from comp.errors import DeclarationError, OverrideError, RunError, counted
from comp.runs import Run, Workspace, find_run
from comp.runs.choices import Choices, recipe_named
from comp.runs.pretraining import in_pixels, is_known

# The device files of NVIDIA's and AMD's drivers, of WSL and of Jetson.
DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvmap", "/dev/nvhost-ctrl")


@dataclass(frozen=True)
class Experiment:
    """A training to do: a competition and its recipe with every choice applied, and the workspace.

    relative: the sizes that are declared relative to the backbone's pretraining, by stage number.
    """

    competition: Competition
    recipe: Recipe
    choices: Choices
    workspace: Workspace
    relative: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, competition: Competition, choices: Choices, workspace: Workspace) -> Experiment:
        """Resolve the choices; raises OverrideError for one that doesn't fit."""
        competition, declared = _chosen(competition, choices)
        sizes = {str(number): stage.size for number, stage in enumerate(declared.stages, start=1)}
        relative = {number: size for number, size in sizes.items() if isinstance(size, str)}
        recipe = replace(declared, stages=in_pixels(declared.stages, declared.backbone))
        return cls(competition, recipe, choices, workspace, relative)

    @classmethod
    def of_run(cls, competition: Competition, run: Run, workspace: Workspace) -> Experiment:
        """The experiment of a stopped run, as declared now.

        Raises RunError where the run has ended, was trained by hand, or by another version of comp.
        """
        run.must_have_weights("train one of {members}")
        if run.trained:
            raise RunError(f"The training of {run.name} has ended; predict with it by `comp predict {run.name}`.")
        config = run.record("config")
        if config.get("by_hand"):
            raise RunError(f"{run.name} was trained by hand, so there is no recipe to resume.")
        with of_this_version():
            like = None if config["like"] is None else find_run(workspace, config["like"])
            teacher = find_run(workspace, config["teacher"]["run"]) if "teacher" in config else None
            choices = Choices(
                recipe=config["recipe_name"],
                backbone=None if like else config["recipe"]["backbone"],
                settings=tuple(config["settings"]),
                seed=config["seed"],
                all_data=config["all_data"],
                folds=config["folds"],
                fold=config["fold"],
                like=like,
                split_seed=config.get("split_seed"),
                teacher=teacher,
            )
        return cls.of(competition, choices, workspace)

    def choosing(self, **choices: Any) -> Experiment:
        """The experiment with other choices that don't change competition or recipe, like the fold."""
        return replace(self, choices=replace(self.choices, **choices))

    @property
    def name(self) -> str:
        """Recipe and backbone, for messages."""
        return f"{self.choices.recipe} with {Path(self.recipe.backbone.removeprefix('local-dir:')).name}"


def resolve(competition: Competition, choices: Choices) -> tuple[Competition, Recipe]:
    """The competition and the recipe with every choice applied and sizes in pixels.

    Raises OverrideError for a choice that doesn't fit, BackboneError where a size is relative to an unknown backbone.
    """
    competition, recipe = _chosen(competition, choices)
    return competition, replace(recipe, stages=in_pixels(recipe.stages, recipe.backbone))


def _chosen(competition: Competition, choices: Choices) -> tuple[Competition, Recipe]:
    """The competition and the recipe with every choice applied, with sizes as declared."""
    if choices.backbones:
        raise OverrideError(f"--backbone is given {len(choices.backbones)} times, but this is one training; name one.")
    if choices.like is not None:
        declared = competition.metric
        competition, recipe = as_trained(competition, choices.like)
        competition = competition if chose_metric(choices.like) else replace(competition, metric=declared)
    else:
        named = recipe_named(competition, choices.recipe)
        recipe = replace(named, on_cpu=None) if named.on_cpu is None or has_gpu() else named.on_cpu
    competition, recipe = apply_overrides(competition, recipe, choices.settings)
    tuned_for = choices.like.known("scores").get("metric") if choices.like and choices.all_data else None
    if choices.like and tuned_for not in (None, competition.scoring.name):
        raise OverrideError(
            f"--like: the post-processing of {choices.like.name} was tuned for {tuned_for}, not for "
            f"{competition.scoring.name}, the metric now; train it again."
        )
    if wrong := misfit(recipe, competition.target):
        raise OverrideError(f"{competition.name} {wrong}.")
    if choices.backbone is not None:
        recipe = replace(recipe, backbone=choices.backbone)
    if (Path(recipe.backbone).expanduser() / "config.json").is_file() and not is_known(recipe.backbone):
        recipe = replace(recipe, backbone=f"local-dir:{recipe.backbone}")
    if recipe.backbone.startswith("local-dir:"):
        folder = Path(recipe.backbone.removeprefix("local-dir:")).expanduser().resolve()
        recipe = replace(recipe, backbone=f"local-dir:{folder}")
    return competition, recipe


def chose_metric(run: Run) -> bool:
    """Whether a run's metric was set by its user, there or in the run that it is like."""
    config = run.record("config")
    if run.members:
        return chose_metric(run.beside(run.members[0]))
    if any(setting.partition("=")[0].strip() == "metric" for setting in config.get("settings", ())):
        return True
    origin = None if config.get("like") is None else run.beside(config["like"])
    return origin is not None and origin.has("config") and chose_metric(origin)


def lines_of_recipe(competition: Competition, choices: Choices) -> list[str]:
    """A line where the recipe's variant for machines without a GPU is used, or where stages of a run are left out."""
    if (like := choices.like) is not None:
        first = like.beside(like.members[0]) if like.members else like
        _, recipe = as_trained(competition, like)
        if not (left := len(first.record("config")["recipe"]["stages"]) - len(recipe.stages)):
            return []
        return [f"left out, as undone or not needed in {like.name}: {counted(left, 'stage')}"]
    if has_gpu() or recipe_named(competition, choices.recipe).on_cpu is None:
        return []
    return [f"there is no GPU here, so {choices.recipe!r} is trained as it is declared for a CPU"]


def as_trained(competition: Competition, run: Run) -> tuple[Competition, Recipe]:
    """The competition and recipe of a run, with the learning rates used; joined folds give their geometric mean.

    A stage or cycle that diverged or was undone in some folds is as in the others; a stage that more than half of the
    folds lost so is left out, as with all data nothing would show that it does harm. The stages end before the first
    that at least half of the other folds didn't need.
    Raises RunError for another competition's run, and for an ensemble, which has several recipes.
    """
    config = run.record("config")
    if config["competition"] != competition.name:
        raise RunError(
            f"{run.name} is a run of {config['competition']}, not of {competition.name}; name one of its runs."
        )
    if config.get("kind", "folds") != "folds":
        named = ", ".join(run.members or [str(run.split_of)])
        raise RunError(f"{run.name} has no recipe of its own; name one of {named}.")
    if not run.members:
        return from_config(competition, config, run.record("trained"))
    folds = [*map(run.beside, run.members)]
    resolved = [from_config(competition, fold.record("config"), fold.record("trained")) for fold in folds]
    competition, _ = resolved[0]
    of_number: dict[int, list[Stage]] = defaultdict(list)
    had: Counter[int] = Counter()
    for fold, (_, found) in zip(folds, resolved, strict=True):
        lost = {number for number, cycles in fold.lost.items() if not cycles}
        kept = [number for number in range(1, len(fold.record("config")["recipe"]["stages"]) + 1) if number not in lost]
        had.update(kept)
        for number, stage in zip(kept, found.stages, strict=False):
            of_number[number].append(stage)
    stages = []
    for number, several in sorted(of_number.items()):
        if 2 * len(several) <= had[number]:
            break
        if 2 * had[number] < len(folds):
            continue
        rates = [float(stage.learning_rate) for stage in several]
        # The mean of equal numbers may be off in the last digit.
        mean = rates[0] if len(set(rates)) == 1 else geometric_mean(rates)
        stages.append(replace(max(several, key=lambda stage: stage.cycles), learning_rate=mean))
    return competition, recipe_of(folds[0].record("config"), None, competition).with_stages(stages)


def has_gpu() -> bool:
    # No device file, no GPU: so torch needn't be imported, which must wait until the data are read.
    if "torch" not in sys.modules and sys.platform == "linux" and not any(map(os.path.exists, DEVICES)):
        return False
    import torch

    return torch.cuda.is_available()


def from_config(
    competition: Competition, config: dict[str, Any], trained: dict[str, Any] | None = None
) -> tuple[Competition, Recipe]:
    """The competition and the recipe as they were when the run was trained, whatever is declared now.

    trained: the record of the trained stages, with the learning rates used.
    """
    recipe, competition = recipe_of(config, trained, competition), with_names_of(competition, config)
    for name in ("read", "combine"):
        if config.get(name, declared := recorded(getattr(competition, name))) != declared:
            NoLongerDeclared(name, config[name])()
    with of_this_version():
        augment = Viewpoint(**with_parts(config["augment"], competition.augment))
        columns = _columns_as(competition, config)
        return replace(competition, augment=augment, columns=columns, layer_lr_ratio=config["layer_lr_ratio"]), recipe


def with_names_of(competition: Competition, config: dict[str, Any]) -> Competition:
    """The competition with the run's metric, reader and way to combine images, where the run chose them by name."""
    named = {name: config[name] for name in ("read", "combine") if isinstance(config.get(name), str)}
    chosen = config.get("scoring", config.get("metric"))
    metric = METRICS.get(chosen) if isinstance(chosen, str) else None
    # A competition whose form was edited since is scored as it is declared now.
    fits = metric and metric.takes == competition.submission.takes and competition.target in metric.targets
    if metric and fits and metric is not competition.scoring:
        named["metric"] = metric.name
    return replace(competition, **named)


def _columns_as(competition: Competition, config: dict[str, Any]) -> Columns | None:
    """The columns as declared, with the run's dropout; raises RunError where some of the run's columns are gone."""
    columns = competition.columns
    if "columns" not in config:
        return columns
    trained = Columns(**config["columns"]["declared"])
    gone = [name for name in trained.names if columns is None or name not in columns.names]
    if columns is None or gone:
        raise RunError(
            f"The run was trained with the columns {', '.join(gone)}, which `columns` in competition.py does not name "
            "any more; put them back, or train again."
        )
    return replace(columns, dropout=trained.dropout)


def recipe_of(
    config: dict[str, Any], trained: dict[str, Any] | None = None, competition: Competition | None = None
) -> Recipe:
    """The recipe of a run, with its stages as declared or, given ``trained``, as trained.

    competition: declares the recipe's functions; using a function that it doesn't declare raises RunError.
    """
    declared = {} if competition is None else competition.recipes
    with of_this_version():
        own = with_parts({name: value for name, value in config["recipe"].items() if name != "stages"}, declared)
        recipe = Recipe(**{**own, "stages": [stage_of(stage, declared) for stage in config["recipe"]["stages"]]})
        if trained is None:
            return recipe
        return recipe.with_stages([stage_of(stage, declared) for stage in trained["stages"]])


def stage_of(record: dict[str, Any], *declared: Any) -> Stage:
    """A recorded stage, with the functions of the declarations."""
    return Stage(**with_parts(record, *declared))


@contextmanager
def of_this_version() -> Iterator[None]:
    """Raise RunError where a run's config, read in the block, has unknown fields or lacks some."""
    try:
        yield
    except (KeyError, TypeError, DeclarationError) as error:
        raise RunError(f"The run's config.json is of another version of comp ({error}); train again.") from None


@dataclass(frozen=True)
class Difference:
    """A field, named like ``recipe.stages.1.size``, and its two values as text."""

    field: str
    one: str
    other: str


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> Difference | None:
    """The first field in which two records differ; None if they are equal."""
    mine, theirs = dict(flat(one)), dict(flat(other))
    for name in [*mine, *(theirs.keys() - mine.keys())]:
        if mine.get(name) != theirs.get(name):
            return Difference(name, *(shorten(str(values.get(name)), 40) for values in (mine, theirs)))
    return None


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested records and lists of records, with their fields' names: ``recipe.stages.1.size``."""
    if isinstance(value, dict):
        named = list(value.items())
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        named = list(enumerate(value, start=1))
    else:
        yield name, value
        return
    for key, part in named:
        yield from flat(part, f"{name}.{key}".lstrip("."))
