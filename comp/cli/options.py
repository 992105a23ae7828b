"""Arguments and options that several commands share, and `Here`, where a command works."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from comp.declare.competition import REPOSITORY_COMPETITIONS, Competition, competition_named, declaration_of
from comp.errors import OverrideError
from comp.runs import Run, Workspace, find_run

if TYPE_CHECKING:  # they take longer to import than `comp --help` may take
    from comp.console import Console
    from comp.runs.choices import Choices

Command = Callable[..., None]


def option(metavar: str | None, text: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, **limits)


Name = Annotated[str, typer.Argument(metavar="NAME", help="A competition, as `comp list` names it.")]
RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run: its folder, COMPETITION/RUN, or COMPETITION for the last finished run."),
]
RunNames = Annotated[list[str], typer.Argument(metavar="RUN…", help="Runs, each a folder or COMPETITION/RUN.")]
Processes = Annotated[int, option("N", "Share every batch among N processes, one per GPU.", min=1)]
DeleteArchives = Annotated[bool, option(None, "Delete downloaded archives once unpacked.", "--delete-archives")]
Port = Annotated[int, option("PORT", "The port to serve at; 0 takes any free one.", "--port", min=0, max=65535)]

RECIPE = "A recipe of the competition, as `comp list` names it"
SEED = "The random seed of data order, augmentations and split"
EACH = "; give several for one run each."
Text, Number = str | None, int | None
# The options that make a training's `Choices`: type, default, placeholder and help of each.
CHOICES: dict[str, tuple[Any, Any, str | None, str]] = {
    "recipe": (str, "standard", "RECIPE", f"{RECIPE}."),
    "backbone": (
        list[str],
        [],
        "MODEL",
        "Train this timm model or local-dir:PATH instead of the recipe's; run and train blend several.",
    ),
    "settings": (list[str], [], "FIELD=VALUE", "Change a field of the recipe, like batch_size=32; may be repeated."),
    "seed": (int, 0, "N", f"{SEED}."),
    "split_seed": (Number, None, "N", "The random seed of the split, if not that of --seed."),
    "all_data": (bool, False, None, "Train on every labelled image, without validation."),
    "folds": (Number, None, "K", "Split the labelled images into K folds; each validates in turn."),
    "fold": (Number, None, "I", "Train only the fold with this number, from 1 to K."),
    "time": (Text, None, "TIME", "Blend as many folds and backbones as fit in 30m, 90s or 1h30m, best first."),
    "like": (Text, None, "RUN", "Use this run's recipe and learning rates; with --all-data its post-processing too."),
    "teacher": (Text, None, "RUN", "Also train on the test images, with classes or tags as this run predicts them."),
}
SEVERAL: dict[str, tuple[Any, Any, str | None, str]] = {
    "recipe": (list[str], ["standard"], "RECIPE", RECIPE + EACH),
    "seed": (list[int], [0], "N", SEED + EACH),
}
# The value limits of some options, and the names of those that differ from their field's.
LIMITS: dict[str, dict[str, int]] = {"seed": {"min": 0}, "split_seed": {"min": 0}}
NAMES = {"settings": "--set"}


def seconds_of(text: str) -> float:
    """The seconds in a time like 30m, 90s or 1h30m; raises OverrideError."""
    number = r"(\d+\.?\d*|\.\d+)"
    found = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s)?", text.strip().lower())
    parts = zip(found.groups(), (3600, 60, 1), strict=True) if found else ()
    seconds = sum(float(part) * unit for part, unit in parts if part)
    if seconds <= 0:
        raise OverrideError(f"--time is {text!r}, but it should be like 30m, 90s or 1h30m.")
    return seconds


@dataclass(frozen=True)
class Here:
    """The workspace of a command, and its folders of competitions besides the repository's."""

    more: Sequence[Path]
    workspace: Workspace

    @property
    def folders(self) -> list[Path]:
        # When installed from a wheel, comp has no repository.
        return [*([REPOSITORY_COMPETITIONS] if REPOSITORY_COMPETITIONS.is_dir() else []), *self.more]

    @cached_property
    def console(self) -> Console:
        from comp.console import Console

        return Console()

    def competition(self, of: str | Run) -> Competition:
        """The competition of this name, or that of a run with the parts that the run chose by name."""
        if isinstance(of, str):
            return competition_named(of, *self.folders)
        from comp.runs.resolve import with_names_of

        return with_names_of(competition_named(of.competition, *self.folders), of.record("config"))

    def declaration(self, of: str | Run) -> Path:
        return declaration_of(of if isinstance(of, str) else of.competition, *self.folders)

    def run(self, text: str) -> Run:
        found = find_run(self.workspace, text)
        if found.folder.parent.name == text:
            scores = found.known("scores")
            score = f", {scores['metric']} {scores['tuned']:.5f}" if "tuned" in scores else ""
            self.console.say(f"the run: {found.name}{score}")
        return found

    def runs(self, texts: Sequence[str]) -> tuple[Competition, list[Run]]:
        """The competition of the first run, and all runs."""
        found = [self.run(text) for text in texts]
        return self.competition(found[0]), found

    def choices(
        self,
        settings: Sequence[str] = (),
        like: str | None = None,
        backbone: Sequence[str] = (),
        time: str | None = None,
        teacher: str | None = None,
        **chosen: Any,
    ) -> Choices:
        from comp.runs.choices import Choices

        several = tuple(dict.fromkeys(backbone))
        return Choices(
            settings=tuple(settings),
            like=self.run(like) if like else None,
            teacher=self.run(teacher) if teacher else None,
            backbone=several[0] if len(several) == 1 else None,
            backbones=several if len(several) > 1 else (),
            time=None if time is None else seconds_of(time),
            **chosen,
        )

    def several(self, recipe: Sequence[str], seed: Sequence[int], **chosen: Any) -> list[Choices]:
        """Each recipe with each seed, once."""
        each = (self.choices(recipe=name, seed=number, **chosen) for name, number in product(recipe, seed))
        return list(dict.fromkeys(each))


def command(*fields: str, several: bool = False) -> Callable[[Command], Command]:
    """Turn a function that takes `here` first into a typer command.

    fields: the fields of `Choices` that the command has options for. The function is given ``choices`` made from them,
    or the list ``several`` where recipe and seed may be repeated.
    """
    options = {name: (CHOICES | SEVERAL if several else CHOICES)[name] for name in fields}

    def decorate(function: Command) -> Command:
        def called(context: typer.Context, **given: Any) -> None:
            here: Here = context.obj
            chosen = {name: given.pop(name) for name in options}
            if several:
                given["several"] = here.several(**chosen)
            elif options:
                given["choices"] = here.choices(**chosen)
            function(here, **given)

        called.__doc__ = function.__doc__
        called.__signature__ = _signature(function, options)  # type: ignore[attr-defined]
        return called

    return decorate


def _signature(function: Command, options: Mapping[str, tuple[Any, Any, str | None, str]]) -> inspect.Signature:
    """The signature that typer reads: the function's own arguments, the shared options, then its own options."""
    kind = inspect.Parameter.KEYWORD_ONLY
    # `Choices` isn't imported here, and no option has its type.
    hints = get_type_hints(function, localns={"Choices": object}, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name], kind=kind)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("here", "choices", "several")
    ]
    shared = []
    for name, (type_, default, metavar, text) in options.items():
        named = NAMES.get(name, f"--{name.replace('_', '-')}")
        made = option(metavar, text, named, **LIMITS.get(name, {}))
        shared.append(inspect.Parameter(name, kind, default=default, annotation=Annotated[type_, made]))
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    required = [parameter for parameter in own if parameter.default is parameter.empty]
    return inspect.Signature([context, *required, *shared, *(one for one in own if one not in required)])
