"""The score that fastai's `fine_tune` reaches in a given time, on the rows of comp's own split.

python -m benchmarks.fastai_in_time dogs-vs-cats --backbone local-dir:WEIGHTS --minutes 30

Compare it with `comp run NAME --recipe strong --time 30m`. fastai gets every advantage: comp's augmentations, the
backbone's native size, as many epochs as fit, test-time augmentation, and comp's post-processing of its predictions.
"""

from time import perf_counter
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks.against_fastai import main
from comp.console import Console
from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.reading import sides
from comp.runs import Workspace
from comp.runs.choices import Choices
from comp.runs.resolve import Experiment
from comp.submission.scoring import tune_on_predictions, with_error
from comp.training.prepared import Prepared, prepare

VIEWS = 4


def score_in_time(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A downloaded competition.")],
    backbone: Annotated[str, typer.Option(help="A timm model, or local-dir:PATH.")] = "mobilenetv2_100.ra_in1k",
    minutes: Annotated[float, typer.Option(min=1, help="Time to train and predict.")] = 30,
    seed: Annotated[int, typer.Option(help="Seed of comp's split and of fastai.")] = 0,
) -> None:
    """Train with fastai for a given time, and score it."""
    competition = competition_named(name, REPOSITORY_COMPETITIONS)
    choices = Choices("quick", backbone, seed=seed)
    prepared = prepare(Experiment.of(competition, choices, Workspace.from_environment()), Console())
    probabilities, classes, epochs, seconds = _predictions(prepared, 60 * minutes, seed)
    targets = prepared.tables.targets[prepared.validating]
    ordered = probabilities[:, [classes.index(label) for label in prepared.tables.classes]]
    _, scores = tune_on_predictions(competition, prepared.tables.classes, targets, ordered)
    print(f"fastai, fine_tune({epochs}) in {seconds:.0f} s: {scores['metric']} {with_error(scores)}")


def _predictions(prepared: Prepared, seconds: float, seed: int) -> tuple[Any, list[str], int, float]:
    """The predictions for the validation images (N, C), their classes, the epochs that fit, and the seconds taken.

    An epoch's duration is measured before, outside the counted time.
    """
    from fastai.vision.all import set_seed

    set_seed(seed)
    learner = _learner(prepared)
    began = perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(1)
        # One epoch of the head and one of all layers.
        first = perf_counter() - began
        learner.freeze()
        frozen = _seconds(lambda: learner.fit_one_cycle(1))
        whole = max(first - frozen, frozen)
        predicted = _seconds(lambda: learner.tta(n=VIEWS - 1))
        epochs = max(1, int((seconds - frozen - predicted) / whole))
    set_seed(seed)
    learner = _learner(prepared)
    began = perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
        probabilities, _ = learner.tta(n=VIEWS - 1)
    return probabilities.numpy(), list(map(str, learner.dls.vocab)), epochs, perf_counter() - began


def _learner(prepared: Prepared) -> Any:
    from fastai.vision.all import vision_learner

    from benchmarks.by_fastai import loaders_of

    recipe, tables = prepared.experiment.recipe, prepared.tables
    tags = tables.targets.ndim == 2
    labels = [";".join(np.array(tables.classes)[row == 1]) if tags else tables.classes[row] for row in tables.targets]
    validates = np.isin(np.arange(len(labels)), prepared.validating)
    table = pd.DataFrame({"path": tables.train["path"].map(str), "label": labels, "validates": validates})
    size = sides(recipe.stages[0].pixels)[0]
    loaders = loaders_of(table, prepared.experiment.competition.augment, size, batch_size=32, tags=tags)
    return vision_learner(loaders, recipe.backbone, pretrained=True)


def _seconds(work: Any) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


if __name__ == "__main__":
    main(score_in_time)
