"""Recipes: the ordered stages of a training and what they share, and the named ones every competition starts from."""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - overrides resolve the fields' types
from dataclasses import dataclass
from typing import Literal

from comp.declared import check, check_sequence, wrong


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One entry of a recipe.

    size: pixels of a side of the square images.
    train: ``head`` (the backbone is frozen) or ``all`` (with layer-wise learning rates).
    cycles, cycle_length, cycle_multiplier: how many cosine descents of the learning rate, the epochs of the first, and
        how much longer each next one is: 3, 1 and 2 make 1 + 2 + 4 = 7 epochs (SGDR, arXiv:1608.03983).
    learning_rate: the peak of the head's rate; earlier layer groups get it divided by the layer-LR ratio and its
        square.
    schedule: ``sgdr``, or ``one_cycle``: a warm-up over the first quarter, then one descent (arXiv:1708.07120).
    cached: train the head on features computed once per image and view instead of on images (lesson 2's precompute).
    views: how many views of each image are cached: the viewpoint's fixed views first, then random alterations.
    """

    size: int
    train: Literal["head", "all"]
    cycles: int = 1
    cycle_length: int = 1
    cycle_multiplier: int = 1
    learning_rate: float = 1e-3
    schedule: Literal["sgdr", "one_cycle"] = "sgdr"
    cached: bool = False
    views: int = 1

    def __post_init__(self) -> None:
        check(self, "size", int, at_least=8, at_most=4096)
        check(self, "train", str, one_of=("head", "all"))
        for field in ("cycles", "cycle_length", "cycle_multiplier", "views"):
            check(self, field, int, at_least=1, at_most=10_000)
        check(self, "learning_rate", float, above=0)
        check(self, "schedule", str, one_of=("sgdr", "one_cycle"))
        check(self, "cached", bool)
        if self.cached and self.train != "head":
            raise wrong(self, "cached", True, "False where the backbone trains: its features change with every step")
        if self.views > 1 and not self.cached:
            raise wrong(self, "views", self.views, "1 without `cached`: images are altered anew in every epoch")
        if self.schedule == "one_cycle" and self.cycles != 1:
            raise wrong(self, "cycles", self.cycles, "1 with schedule 'one_cycle'; give its epochs as `cycle_length`")

    @property
    def cycle_epochs(self) -> tuple[int, ...]:
        """The epochs of each cycle."""
        return tuple(self.cycle_length * self.cycle_multiplier**cycle for cycle in range(self.cycles))

    @property
    def epochs(self) -> int:
        return sum(self.cycle_epochs)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a competition is trained and predicted.

    stages: in order; the weights are carried on from each to the next.
    backbone: a timm model name, or ``local-dir:PATH`` of a folder with its config.json and weights.
    pretrained: start from the backbone's pretrained weights, or from scratch.
    batch_size: images per step of stages on images; a head on cached features takes four times as many. At least 2, for
        the head's batch norm.
    optimizer: ``adamw`` or ``sgd`` (momentum 0.9).
    weight_decay, dropout, label_smoothing: the usual regularisation; dropout is the head's.
    validation: the share of the labelled rows that validates.
    tta: ``none``, ``fixed`` (the viewpoint's flips) or ``random`` (the plain view and ``tta_views`` random ones).
    """

    stages: Sequence[Stage]
    backbone: str = "resnet34.a1_in1k"
    pretrained: bool = True
    batch_size: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.01
    dropout: float = 0.0
    label_smoothing: float = 0.0
    validation: float = 0.2
    tta: Literal["none", "fixed", "random"] = "fixed"
    tta_views: int = 4

    def __post_init__(self) -> None:
        check_sequence(self, "stages", Stage, "a list of at least one Stage", at_least=1)
        check(self, "backbone", str)
        check(self, "pretrained", bool)
        check(self, "batch_size", int, at_least=2)
        check(self, "optimizer", str, one_of=("adamw", "sgd"))
        check(self, "weight_decay", float, at_least=0)
        check(self, "dropout", float, at_least=0, at_most=0.95)
        check(self, "label_smoothing", float, at_least=0, at_most=0.5)
        check(self, "validation", float, at_least=0.01, at_most=0.5)
        check(self, "tta", str, one_of=("none", "fixed", "random"))
        check(self, "tta_views", int, at_least=1, at_most=64)
