"""The user's choices for a training, and the trainings that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from comp.declare.competition import Competition
from comp.declare.recipe import Ensemble, Recipe
from comp.errors import OverrideError
from comp.runs import Run

# The folds of a recipe under --time, unless given.
FOLDS = 5


@dataclass(frozen=True)
class Choices:
    """The user's choices for a training.

    settings: overridden fields, ``field=value``. all_data: no row validates. folds: the number of folds; fold: the one
    that validates, from 1. like: a run whose recipe, found learning rates and post-processing are used. split_seed: the
    seed of the split, if not ``seed``: trainings with several seeds that share it can be blended. backbones: several
    backbones, each for one training. time: the seconds that all trainings together may take. teacher: a run whose
    predictions of the test images are trained on as well.
    """

    recipe: str = "standard"
    backbone: str | None = None
    settings: Sequence[str] = ()
    seed: int = 0
    all_data: bool = False
    folds: int | None = None
    fold: int | None = None
    like: Run | None = None
    split_seed: int | None = None
    backbones: Sequence[str] = ()
    time: float | None = None
    teacher: Run | None = None

    def __post_init__(self) -> None:
        if self.split_seed == self.seed:
            object.__setattr__(self, "split_seed", None)
        options = {field.name for field in fields(self)} - {"settings", "backbone"}
        for name, setting in ((setting.partition("=")[0].strip(), setting) for setting in self.settings):
            if name in options:
                raise OverrideError(f"--set {setting}: {name} is no field; give the option --{name.replace('_', '-')}.")
        if self.folds is not None and self.folds < 2:
            raise OverrideError(f"--folds is {self.folds}, but it should be at least 2.")
        if self.fold is not None and not 1 <= self.fold <= (self.folds or 0):
            wanted = f"from 1 to {self.folds}" if self.folds else "given together with --folds"
            raise OverrideError(f"--fold is {self.fold}, but it should be {wanted}.")
        if self.all_data and self.folds is not None:
            raise OverrideError("--all-data trains on every image and --folds validates each; give only one.")
        if self.like is not None and (self.backbone is not None or self.backbones):
            raise OverrideError("--like uses learning rates found for the run's backbone; leave --backbone out.")
        if self.like is not None:
            object.__setattr__(self, "recipe", self.like.record("config")["recipe_name"])

    @property
    def splits_by(self) -> int:
        """The seed of the split."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def every_fold(self) -> bool:
        """Whether every fold is trained, each in a training of its own."""
        return self.folds is not None and self.fold is None

    def options(self) -> list[str]:
        """The command-line options that make these choices."""
        chosen: list[tuple[str, object]] = [
            ("--recipe", self.recipe) if self.like is None else ("--like", self.like.name),
            *(("--backbone", backbone) for backbone in self.backbones or (self.backbone,)),
            *(("--set", setting) for setting in self.settings),
            ("--seed", self.seed),
            ("--split-seed", self.split_seed),
            ("--folds", self.folds),
            ("--fold", self.fold),
            ("--teacher", self.teacher and self.teacher.name),
            ("--time", None if self.time is None else f"{self.time:g}s"),
        ]
        words = [str(word) for option, value in chosen if value is not None for word in (option, value)]
        return [*words, "--all-data"] if self.all_data else words


def is_blend(competition: Competition, choices: Choices) -> bool:
    """Whether the choices mean several trainings that are blended."""
    several = isinstance(competition.recipes.get(choices.recipe), Ensemble)
    return several or bool(choices.backbones) or choices.time is not None


def trainings_of(competition: Competition, choices: Choices) -> list[Choices]:
    """The choices of each training; of several to blend, the best first. Raises OverrideError."""
    if not is_blend(competition, choices):
        return [choices]
    for option, chosen in (("--fold", choices.fold), ("--all-data", choices.all_data), ("--like", choices.like)):
        if chosen:
            raise OverrideError(f"{option} is for one training, but several are to be blended; leave it out.")
    declared, folds = competition.recipes.get(choices.recipe), choices.folds
    names, backbones = [choices.recipe], choices.backbones or (choices.backbone,)
    if isinstance(declared, Ensemble):
        names = [f"{choices.recipe}.{number}" for number in range(1, len(declared.members) + 1)]
        backbones = (declared.backbones or (None,)) if backbones == (None,) else backbones
        folds = folds or declared.folds
    elif choices.time is not None:
        folds = folds or FOLDS
    each = replace(choices, folds=folds, backbones=(), time=None)
    return [replace(each, recipe=name, backbone=backbone) for name in names for backbone in dict.fromkeys(backbones)]


def recipe_named(competition: Competition, name: str) -> Recipe:
    """A recipe as declared, or one of an ensemble by its number: ``strong.2``; raises OverrideError."""
    of, _, number = name.rpartition(".")
    several, declared = competition.recipes.get(of), competition.recipes.get(name)
    if isinstance(several, Ensemble) and number.isdecimal() and 1 <= int(number) <= len(several.members):
        return several.members[int(number) - 1]
    if isinstance(declared, Ensemble):
        known = ", ".join(f"{name}.{number}" for number in range(1, len(declared.members) + 1))
        raise OverrideError(f"The recipe {name!r} of {competition.name} is an ensemble; name a member: {known}.")
    if declared is None:
        known = ", ".join(competition.recipes)
        raise OverrideError(f"{competition.name} has no recipe {name!r}; it has {known}.")
    return declared
