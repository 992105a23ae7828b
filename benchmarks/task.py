"""The task that each library does in its own process, and the measurements; both as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter


@dataclass(frozen=True)
class Task:
    """Train a classifier of these images, and predict the validation images.

    backbone: a timm model, or ``local-dir:PATH``. pretrained: with its weights. recipe: comp's recipe.
    rows: the training and the validation rows of comp's table. paths, labels, validates: the same images, for libraries
    without that table.
    size: image size in pixels. epochs: for all layers; None trains by comp's recipe or by fastai's ``fine_tune``.
    learning_rate: the head's peak; the first layers' is a hundredth.
    views: the numbers of views to predict each image in, the plain view included.
    flips, max_zoom, max_rotation, max_light: the augmentations, see `comp.declare.viewpoint.Viewpoint`.
    workers: fastai's reading processes. settings_of_comp: fastai gets the settings that comp makes itself.
    """

    competition: str
    backbone: str
    pretrained: bool
    recipe: str
    rows: tuple[list[int], list[int]]
    paths: list[str]
    labels: list[str]
    validates: list[bool]
    size: int
    batch_size: int
    epochs: int | None
    learning_rate: float
    views: list[int]
    flips: str
    max_zoom: float
    max_rotation: float
    max_light: float
    workers: int = 0
    settings_of_comp: bool = False

    def table(self) -> pd.DataFrame:
        """A row per image with ``path``, ``label`` and ``validates``."""
        return pd.DataFrame({"path": self.paths, "label": self.labels, "validates": self.validates})


@dataclass(frozen=True)
class Measured:
    """The seconds that a task took, and its result.

    epochs: without validation. training: all of it, including the time before the first epoch and validation.
    predicting, log_loss: of the validation images, by the number of views.
    """

    setting: dict[str, str]
    epochs: list[float]
    training: float
    predicting: dict[int, float]
    log_loss: dict[int, float]


def answer(measure: Callable[[Task], Measured], arguments: Sequence[str]) -> None:
    """Do the task in the first file, and write the measurements to the second."""
    task, measured = map(Path, arguments)
    found = measure(TypeAdapter(Task).validate_json(task.read_bytes()))
    measured.write_bytes(TypeAdapter(Measured).dump_json(found))
