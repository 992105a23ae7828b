"""What a training learns from another run's predictions of the test images beside the labelled ones.

Pseudo-labels (Lee 2013) where that run must be sure of an image, distillation (arXiv:1503.02531) where it need not be:
the targets are its probabilities in both.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from comp.console import Console
from comp.data.tables import Tables, answers_of
from comp.declare.recipe import Recipe
from comp.errors import OverrideError, RunError
from comp.runs import Run
from comp.submission.outputs import Outputs
from comp.submission.predictions import read_members

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lesson:
    """A teacher's word on the test images that can be read: ``targets`` (M, C), probabilities, of ``table``'s rows (M).

    sure: the rows that are learned from.
    """

    teacher: Run
    table: pd.DataFrame
    targets: Tensor
    sure: Rows

    def record(self) -> dict[str, str]:
        """Of whom it is, and a digest of what is learned."""
        digest = hashlib.blake2b(self.targets.numpy().tobytes() + self.sure.tobytes(), digest_size=16)
        return {"run": self.teacher.name, "predictions": digest.hexdigest()}

    def added_to(self, targets: Tensor, training: Rows) -> tuple[Tensor, Rows]:
        """The targets (N, C) and training rows of the labelled images, with its own after them, from row N on."""
        if targets.ndim == 1:
            targets = one_hot(targets, self.targets.shape[1])
        return torch.cat([targets.float(), self.targets]), np.concatenate([training, len(targets) + self.sure])


def lesson_of(
    teacher: Run, recipe: Recipe, tables: Tables, validating: Rows, outputs: Outputs, console: Console
) -> Lesson:
    """What the run says of the test images, or of its folds the one that leaves the same images to validation.

    Raises OverrideError where there are no classes or tags to learn or it is sure of no image, RunError for a run of
    other classes or without predictions.
    """
    if outputs.kind not in ("softmax", "sigmoid"):
        raise OverrideError("--teacher is for classes and tags, but numbers are learned here; leave it out.")
    if recipe.loss == "asymmetric" and outputs.kind == "softmax":
        raise OverrideError("--teacher gives each class a share, but `loss` is 'asymmetric', which takes one class.")
    validates = set(answers_of(tables.train).iloc[validating])
    folds = [Run(teacher.folder.parent.parent / name) for name in teacher.members]
    unaware = [run for run in (teacher, *folds) if validates and run.validating() == validates]
    chosen = unaware[0] if unaware else teacher
    if validates and not unaware:
        console.say(
            f"{teacher.name} learned from images that validate here, so validation scores flatter; `comp rehearse` or "
            "the leaderboard tells what it gains"
        )
    (member,) = read_members([chosen])
    table = tables.test[tables.readable]
    asked = answers_of(table)
    if list(member.test) != list(tables.classes) or not asked.isin(member.test.index).all():
        raise RunError(
            f"{chosen.name} predicts other classes or images than are here; predict again with it, or name another run."
        )
    probabilities = np.array(member.test.loc[asked.to_list()], np.float32)
    confidence = recipe.teacher_confidence
    least = np.maximum(probabilities, 1 - probabilities).min(axis=1)
    sure = (probabilities.max(axis=1) if outputs.kind == "softmax" else least) >= confidence
    if not sure.any():
        raise OverrideError(
            f"{chosen.name} is sure of no test image with `teacher_confidence` {confidence:g}; set a lower one."
        )
    which = f", of which it is {confidence:.0%} sure," if confidence else ""
    console.say(f"{sure.sum()} of {len(sure)} test images{which} are learned from as {chosen.name} predicts them")
    return Lesson(teacher, table, torch.from_numpy(probabilities), sure.nonzero()[0])
