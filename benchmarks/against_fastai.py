"""The time that comp and fastai take to train and predict the same images with the same network, by turns.

python -m benchmarks.against_fastai dogs-vs-cats --size 128

Each round runs each side once, in a fresh process, one after the other; docs/performance.md says what is counted.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from pydantic import TypeAdapter

from benchmarks.task import Measured, Task
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.reading import sides
from comp.errors import CompError, OverrideError
from comp.runs import Workspace
from comp.training.launching import SPINS

MISSING = (
    "fastai is not installed, and comp does not need it; install it beside comp for this comparison only: "
    "`.venv/bin/uv pip install --python .venv/bin/python 'fastai==2.8.*'`."
)
SPINNING = {"GOMP_SPINCOUNT": SPINS}  # as the command `comp` sets it
Found = dict[str, list[Measured]]


@dataclass(frozen=True)
class Side:
    """One side of the comparison: a module of this folder, its changes to the task, and its environment."""

    name: str
    module: str
    workers: int = 0
    settings_of_comp: bool = False

    def measure(self, task: Task, folder: Path) -> Measured:
        given, found = folder / "task.json", folder / "measured.json"
        own = replace(task, workers=self.workers, settings_of_comp=self.settings_of_comp)
        given.write_bytes(TypeAdapter(Task).dump_json(own))
        spins = SPINNING if self.module == "by_comp" or self.settings_of_comp else {}
        command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{self.module}", str(given), str(found)]
        ended = subprocess.run(command, env={**os.environ, **spins}, text=True, capture_output=True, check=False)
        if ended.returncode:
            raise CompError(f"{self.name} failed: {ended.stderr.strip() or ended.stdout.strip()}")
        return TypeAdapter(Measured).validate_json(found.read_bytes())


COMP = Side("comp", "by_comp")
FASTAI = (Side("fastai, no worker", "by_fastai"), Side("fastai, 1 worker", "by_fastai", workers=1))
TUNED = Side("fastai, comp's settings", "by_fastai", settings_of_comp=True)
SIDES = (*FASTAI, TUNED, COMP)


def compare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A downloaded competition.")],
    backbone: Annotated[str, typer.Option(help="A timm model, or local-dir:PATH.")] = "mobilenetv2_100.ra_in1k",
    size: Annotated[int, typer.Option(min=32, help="Image size in pixels.")] = 128,
    batch_size: Annotated[int, typer.Option(min=2, help="Images per step.")] = 32,
    images: Annotated[int, typer.Option(min=64, help="Training images; at most half as many validate.")] = 512,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of all layers, in one cycle.")] = 3,
    views: Annotated[list[int], typer.Option(min=1, help="Views of each image in prediction.")] = [5],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    recipe: Annotated[
        str | None, typer.Option(help="Instead, train all images by this recipe of comp and by fastai's fine_tune(1).")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write all numbers.")] = None,
) -> None:
    """Measure comp beside fastai."""
    task = task_for(
        name,
        backbone,
        size=size,
        batch_size=batch_size,
        images=images,
        epochs=epochs,
        views=views,
        recipe=recipe,
    )
    sides = [*FASTAI, COMP] if recipe else SIDES
    found: Found = {side.name: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for side in sides:
                measured = side.measure(task, Path(folder))
                found[side.name].append(measured)
                print(f"round {number + 1}, {side.name}: {measured.training:.1f} s of training", file=sys.stderr)
    print("\n".join(as_table(found)))
    if json is not None:
        json.write_bytes(TypeAdapter(dict[str, Any]).dump_json({"task": task, "measured": found}, indent=1))


def task_for(
    name: str,
    backbone: str,
    *,
    size: int,
    batch_size: int,
    images: int,
    epochs: int,
    views: Sequence[int],
    recipe: str | None = None,
) -> Task:
    """The task of all sides: rows of comp's split, with comp's augmentations.

    Raises OverrideError for a competition whose images can't be given to fastai in the same way.
    """
    from comp.console import Console
    from comp.runs.choices import Choices
    from comp.runs.resolve import Experiment
    from comp.training.prepared import prepare

    competition = competition_named(name, REPOSITORY_COMPETITIONS)
    augment = competition.augment
    if competition.target != "single" or augment.pipeline is not None:
        raise OverrideError(f"{name} has tags or a pipeline of its own; name a competition with one class per image.")
    choices = Choices(recipe or "quick", backbone)
    prepared = prepare(Experiment.of(competition, choices, Workspace.from_environment()), Console())
    draws = np.random.default_rng(0)
    rows = [
        draws.permutation(part)[: None if recipe else most]
        for part, most in ((prepared.training, images), (prepared.validating, images // 2))
    ]
    table = prepared.tables.train.iloc[np.concatenate(rows)]
    return Task(
        competition=name,
        backbone=prepared.experiment.recipe.backbone,
        pretrained=prepared.experiment.recipe.pretrained,
        recipe=recipe or "quick",
        rows=(rows[0].tolist(), rows[1].tolist()),
        paths=list(map(str, table["path"])),
        labels=list(table["label"]),
        validates=[False] * len(rows[0]) + [True] * len(rows[1]),
        size=sides(prepared.experiment.recipe.stages[-1].pixels)[0] if recipe else size,
        batch_size=batch_size,
        epochs=None if recipe else epochs,
        learning_rate=1e-3,
        views=list(views),
        flips=augment.flips,
        max_zoom=augment.max_zoom,
        max_rotation=augment.max_rotation,
        max_light=augment.max_light,
    )


def as_table(found: Found) -> list[str]:
    """Lines of Markdown: each side's median, fewest and most seconds, and comp's median as a share of the others'."""
    views = list(found[COMP.name][0].predicting)
    heads = ["", "an epoch", "training", *(f"predicting, {number} views" for number in views), "log loss"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    lines += [_row([name, *map(_spread, _times(rounds)), _losses(rounds)]) for name, rounds in found.items()]
    of_comp = [median(times) for times in _times(found[COMP.name])]
    for name, rounds in found.items():
        if name != COMP.name:
            shares = [own / median(times) for own, times in zip(of_comp, _times(rounds), strict=True)]
            lines.append(_row([f"comp / {name}", *(f"{share:.2f}" for share in shares), ""]))
    return lines


def _times(rounds: Sequence[Measured]) -> list[list[float]]:
    """The seconds of each column in all rounds."""
    views = list(rounds[0].predicting)
    return [
        [seconds for measured in rounds for seconds in measured.epochs],
        [measured.training for measured in rounds],
        *([measured.predicting[number] for measured in rounds] for number in views),
    ]


def _losses(rounds: Sequence[Measured]) -> str:
    """The log loss for each number of views: the median of the rounds, which differ for fastai."""
    return ", ".join(f"{median(measured.log_loss[views] for measured in rounds):.3f}" for views in rounds[0].log_loss)


def _spread(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f} ({min(seconds):.1f} – {max(seconds):.1f})"


def _row(cells: Sequence[str]) -> str:
    return " ".join(["|", *(f"{cell} |" if cell else "|" for cell in cells)])


def main(command: Callable[..., None] = compare) -> None:
    if find_spec("fastai") is None:
        sys.exit(f"Error: {MISSING}")
    try:
        typer.run(command)
    except CompError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
