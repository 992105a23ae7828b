"""Pseudo-labels: another run's predictions of the test images, which a training learns from beside the labelled ones.

They are probabilities. To learn from confident ones only is pseudo-labelling (Lee 2013), to learn from all is
distillation (arXiv:1503.02531).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from comp.data.tables import Tables
from comp.declare.labels.table import answers_of
from comp.declare.recipe import Recipe
from comp.errors import OverrideError, RunError
from comp.runs import Run
from comp.submission.outputs import Outputs
from comp.submission.predictions import read_members

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PseudoLabels:
    """A teacher's probabilities ``targets`` (M, C) for the test images that can be read, the rows (M) of ``table``.

    confident: the rows to learn from. lines: what the console says about them.
    """

    teacher: Run
    table: pd.DataFrame
    targets: Tensor
    confident: Rows
    lines: Sequence[str]

    def record(self) -> dict[str, str]:
        """The teacher's name, and a digest of the pseudo-labels."""
        digest = hashlib.blake2b(self.targets.numpy().tobytes() + self.confident.tobytes(), digest_size=16)
        return {"run": self.teacher.name, "predictions": digest.hexdigest()}

    def added_to(self, targets: Tensor, training: Rows) -> tuple[Tensor, Rows]:
        """The targets (N, C) and training rows of the labelled images, followed by the pseudo-labels from row N on."""
        if targets.ndim == 1:
            targets = one_hot(targets, self.targets.shape[1])
        return torch.cat([targets.float(), self.targets]), np.concatenate([training, len(targets) + self.confident])


def pseudo_labels_of(teacher: Run, recipe: Recipe, tables: Tables, validating: Rows, outputs: Outputs) -> PseudoLabels:
    """The pseudo-labels by a run, or by that one of its members which leaves out the same validation images.

    Raises OverrideError where there are no classes or tags to learn, or no probabilities of an image to learn from,
    RunError for a run of other classes or without predictions.
    """
    if outputs.kind not in ("softmax", "sigmoid"):
        raise OverrideError("--teacher is for classes and tags, but numbers are learned here; leave it out.")
    if recipe.loss == "asymmetric" and outputs.kind == "softmax":
        raise OverrideError("--teacher gives each class a share, but `loss` is 'asymmetric', which takes one class.")
    validates = set(answers_of(tables.train).iloc[validating])
    unaware = _unaware(teacher, validates)
    chosen = teacher if unaware is None else unaware
    if ranked := next((run for run in _with_members(chosen) if run.record("config").get("how") == "ranks"), None):
        raise OverrideError(
            f"{ranked.name} averages ranks, which are no probabilities to learn; name another teacher, such as "
            f"one made by `comp ensemble {' '.join(ranked.members)} --how mean`."
        )
    (member,) = read_members([chosen])
    table = tables.test[tables.readable]
    asked = answers_of(table)
    if list(member.test) != list(tables.classes) or not asked.isin(member.test.index).all():
        raise RunError(
            f"{chosen.name} predicts other classes or images than are here; predict again with it, or name another run."
        )
    if not len(table):
        raise OverrideError("--teacher needs test images to learn from, but none can be read here; leave it out.")
    probabilities = np.array(member.test.loc[asked.to_list()], np.float32)
    confidence = recipe.teacher_confidence
    least = np.maximum(probabilities, 1 - probabilities).min(axis=1)
    confident = (probabilities.max(axis=1) if outputs.kind == "softmax" else least) >= confidence
    if not confident.any():
        raise OverrideError(
            f"{chosen.name} is confident of no test image with `teacher_confidence` {confidence:g}; set a lower one."
        )
    which = f": those of which it is at least {confidence:.0%} confident" if confidence else ""
    lines = [f"{confident.sum()} of {len(confident)} test images are pseudo-labelled by {chosen.name}{which}"]
    if validates and unaware is None:
        lines.append(
            f"{teacher.name} learned from images that validate here, so validation scores are too good; only the "
            "leaderboard shows the gain"
        )
    return PseudoLabels(teacher, table, torch.from_numpy(probabilities), confident.nonzero()[0], lines)


def _with_members(run: Run) -> Iterator[Run]:
    """The run and its members, as far as they are there."""
    yield run
    for member in map(run.beside, run.members):
        if (member.folder / "config.json").is_file():
            yield from _with_members(member)


def _unaware(teacher: Run, validates: set[str]) -> Run | None:
    """The first of the run and its members that learned nothing of these images."""
    return next((run for run in _with_members(teacher) if _left_out(run, validates)), None)


def _left_out(run: Run, validates: set[str]) -> bool:
    """Whether exactly these images validated in a run, and no teacher of it or of its members may have seen them."""
    there = bool(validates) and (run.folder / "split.csv").is_file() and run.validating() == validates
    taught = (one.record("config").get("teacher") for one in _with_members(run)) if there else ()
    return there and all(_unaware(run.beside(one["run"]), validates) is not None for one in taught if one)
