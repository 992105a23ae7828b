"""What each library is given to do in a process of its own, and what is measured of it; both as JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter


@dataclass(frozen=True)
class Task:
    """Train a classifier of these images, and predict those that validate.

    backbone: a timm model, or ``local-dir:PATH``. pretrained: with its weights. recipe: of comp.
    rows: of comp's table, those that train and those that validate. paths, labels, validates: the same images, for who
    doesn't know that table.
    size: of the images, in pixels. epochs: of all layers; None trains by comp's recipe or by fastai's ``fine_tune``.
    learning_rate: the peak of the head's; the first layers' is a hundredth.
    views: in how many views each image is predicted, the plain one included; once for each number.
    flips, max_zoom, max_rotation, max_light: how images are augmented, see `comp.declare.viewpoint.Viewpoint`.
    workers: processes that read for fastai. settings_of_comp: whether fastai is given, too, what comp sets by itself.
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
    """What it took, in seconds, and what came of it.

    epochs: each without its validation. training: all of it, with what is done before its first epoch and with
    validation. predicting, log_loss: of the images that validate, by the number of views.
    """

    setting: dict[str, str]
    epochs: list[float]
    training: float
    predicting: dict[int, float]
    log_loss: dict[int, float]


def answer(measure: Callable[[Task], Measured], arguments: Sequence[str]) -> None:
    """Do the task in the file that is named first, and write what was measured to the second."""
    task, measured = map(Path, arguments)
    found = measure(TypeAdapter(Task).validate_json(task.read_bytes()))
    measured.write_bytes(TypeAdapter(Measured).dump_json(found))
