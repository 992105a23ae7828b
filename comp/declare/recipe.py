"""Recipes: the ordered stages of a training and the settings that the stages share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from itertools import takewhile
from typing import Annotated, Any, Literal

from comp.declare.checks import MAKES, NO_CLASS, Declared, above, between, matching, one_of
from comp.declare.custom import short_name
from comp.declare.metrics import Target
from comp.declare.reading import Size, sides, size_in_words

LAYER_GROUPS = ("early", "late", "head")
# The batch of a head on cached features, as a multiple of the recipe's.
HEAD_BATCHES = 4

Count = Annotated[int, between(1, 10_000)]
Amount = Annotated[float, between(0)]
Schedule = Annotated[
    Literal["sgdr", "one_cycle", "flat_cosine", "lbfgs"] | Callable[[int, int], float],
    "'sgdr', 'one_cycle', 'flat_cosine', 'lbfgs', or a function of step and steps that returns a factor of the peak",
]
Side = Annotated[int, between(8, 4096)]
Relative = Annotated[str, matching(r"native|\d+(\.\d+)?x"), "'native' or times that, like '1.15x'"]

# The targets that each loss is for. A target's default is the first loss with it. See `comp.submission.outputs`.
LOSSES: dict[str, tuple[Target, ...]] = {
    "cross_entropy": ("single", "shares"),
    "mse": ("number", "single"),
    "bce": ("single", "multi", "number", "shares", "fractions"),
    "focal": ("single", "multi"),
    "asymmetric": ("single", "multi"),
    "l1": ("number", "single"),
    "huber": ("number", "single"),
    "ordinal": ("single",),
}
Loss = Annotated[
    Literal[""] | Annotated[str, one_of(LOSSES)] | Annotated[Callable[[Any, Any], Any], NO_CLASS],
    f"one of {', '.join(LOSSES)}, or a function of logits and targets",
]

TTA = Annotated[
    Literal["none", "fixed", "random"] | Annotated[Callable[[Any], Sequence[Any]], MAKES],
    "'none', 'fixed', 'random', or a function of the image size that returns a list of pipelines",
]

HEADS = {
    "linear": "a linear classifier of the standardised features",
    "mlp": "a hidden layer of 512, then a linear classifier",
    "gem": "linear, on generalised means of the last maps (arXiv:1711.02512); their power trains with the late layers",
    "attention": "linear, on means of the last maps or tokens weighted by attention (arXiv:1802.04712)",
    "pretrained": "linear, starts from the pretrained classifier's weights of these classes: for images like those of "
    "the pretraining, at a small learning rate; one class per image",
}


@dataclass(frozen=True)
class Head(Declared):
    """A custom head, with the kind of features that it takes.

    build: a function of the numbers of features and outputs, F and C, that returns a torch module with logits (B, C).
    pooled: the module takes pooled features (B, F); otherwise the backbone's last maps (B, F, H, W), or a transformer's
        tokens (B, T, F).
    """

    build: Annotated[Callable[[int, int], Any], MAKES, "a function of features and outputs"]
    pooled: bool = True


@dataclass(frozen=True, kw_only=True)
class Stage(Declared):
    """One entry of a recipe.

    size: the side of square images in pixels, ``(height, width)``, or a size relative to the pretraining's: ``native``,
        or ``1.15x``, rounded to a multiple of 32 (for a transformer, of its patch's side).
    train: ``head`` (the backbone is frozen), ``all`` (with layer-wise learning rates), or the number of the last layer
        groups that train: 2 is the late half of the backbone and the head.
    cached: the frozen layers run once per image and view (lesson 2's precompute): the head trains on cached features,
        or the late half on cached maps of the early half. Where a backbone can't be cut in halves, or the disk has no
        room for its maps, the late half trains on images, and the log says so.
    views: the number of cached views of each image: the viewpoint's fixed views first, then random augmentations.
    schedule: ``sgdr``; ``one_cycle``, a warm-up over the first quarter, then one descent (arXiv:1708.07120);
        ``flat_cosine``, the peak for three quarters, then one descent; or a function ``(step, steps)`` of the optimizer
        steps taken and to take in the stage, which returns a factor of the peak rate. ``lbfgs`` solves the head on
        cached features in seconds and chooses its regularisation by cross-validation, without batches, epochs or a
        learning rate.
    cycles, cycle_length, cycle_multiplier: the number of cosine descents of the learning rate, the epochs of the first,
        and how many times longer each next one is: 3, 1 and 2 make 1 + 2 + 4 = 7 epochs (SGDR, arXiv:1608.03983).
    learning_rate: the head's peak rate, or ``find`` for an LR range test before the stage (arXiv:1506.01186); earlier
        layer groups get it divided by the layer-LR ratio and its square.
    batch_size: samples per mini-batch, at least 2; if not given, the recipe's. Larger images may need a smaller batch.
    needed_above: the training ends before this stage if the ``lbfgs`` head before it leaves at most this share of the
        loss of guessing, by cross-validation (1 minus McFadden's R²): where frozen features do that well, training the
        backbone on few images makes it worse. 0: the stage always trains.
    """

    size: Side | Annotated[tuple[Side, Side], "(height, width)"] | Relative
    train: Annotated[Literal["head", "all", 1, 2, 3], "'head', 'all', or how many of the last layer groups: 1, 2 or 3"]
    cached: bool = False
    views: Count = 1
    schedule: Schedule = "sgdr"
    cycles: Count = 1
    cycle_length: Count = 1
    cycle_multiplier: Count = 1
    learning_rate: Literal["find"] | Annotated[float, above(0)] = "find"
    batch_size: Annotated[int, between(2)] | None = None
    needed_above: Annotated[float, between(0, 1)] = 0.0

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        trains_all = self.cached and self.groups == len(LAYER_GROUPS)
        yield "cached", trains_all, "False where all layers train: no layer stays frozen"
        uncached = self.views > 1 and not self.cached
        yield "views", uncached, "1 without `cached`: images are augmented anew in every epoch"
        several = self.schedule != "sgdr" and self.cycles != 1
        yield "cycles", several, f"1 with schedule {short_name(self.schedule)!r}; give its epochs as `cycle_length`"

        solved = self.schedule == "lbfgs" and not self.on_features
        yield "schedule", solved, "another than 'lbfgs', which is only for a head on cached features"
        batches = self.schedule == "lbfgs" and self.batch_size is not None
        yield "batch_size", batches, "left out with schedule 'lbfgs', which has no batches"

    def is_needed(self, unexplained: float | None) -> bool:
        """Whether the stage trains after a head that leaves this share of the loss of guessing; None: unknown."""
        return not self.needed_above or unexplained is None or unexplained > self.needed_above

    @property
    def on_features(self) -> bool:
        """Whether a head trains on cached features, without the backbone."""
        return self.cached and self.groups == 1

    @property
    def pixels(self) -> Size:
        """The size in pixels, which every stage of a resolved recipe has."""
        assert not isinstance(self.size, str), f"{self.size} is relative to a backbone"
        return self.size

    @property
    def pixels_in_words(self) -> str:
        return size_in_words(self.pixels)

    @property
    def area(self) -> int:
        """Pixels of an image."""
        return math.prod(sides(self.pixels))

    @property
    def factor(self) -> float:
        """A relative size as a multiple of the pretraining's."""
        return 1.0 if self.size == "native" else float(str(self.size).removesuffix("x"))

    @property
    def groups(self) -> int:
        """The number of the last layer groups that train, including the head."""
        if isinstance(self.train, int):
            return self.train
        return 1 if self.train == "head" else len(LAYER_GROUPS)

    @property
    def rate_key(self) -> tuple[int, ...]:
        """The settings that stages share if one found learning rate is right for all of them."""
        # Caching repeats the same views, and features come in larger batches.
        return self.groups, self.cached, *filter(None, [self.batch_size])

    @property
    def trains(self) -> str:
        """The layers that train, in words."""
        return ("head", "late layers and head", "all layers")[self.groups - 1]

    @property
    def cycle_epochs(self) -> tuple[int, ...]:
        if self.schedule == "lbfgs":
            return (1,)
        return tuple(self.cycle_length * self.cycle_multiplier**cycle for cycle in range(self.cycles))

    @property
    def epochs(self) -> int:
        return sum(self.cycle_epochs)


@dataclass(frozen=True, kw_only=True)
class Recipe(Declared):
    """How a competition is trained and predicted. Regularisation is off by default, except weight decay.

    backbone: a timm model name, or ``local-dir:PATH`` of a folder with its config.json and weights.
    pretrained: start from the backbone's pretrained weights, or from scratch.
    head: one of `HEADS`, a function of the numbers of features and outputs that returns a torch module, or a `Head`.
    loss: a name, or a function of logits (B, C) and targets that returns their mean as a scalar. Defaults:
        ``cross_entropy`` for one class or shares, ``bce`` for tags and fractions, ``mse`` for numbers.
        Also ``focal`` (arXiv:1708.02002), ``asymmetric`` (arXiv:2009.14119), ``l1``, ``huber``; ``bce`` for numbers
        learns their place between their bounds. Where classes are grades, named by numbers, ``mse``, ``l1`` and
        ``huber`` learn one number, and ``ordinal`` learns for each grade whether it is exceeded. A function gets
        classes (B,), or floats: tags, shares, fractions (B, C), or standardised numbers (B, K). Classes come as shares
        (B, C) in mixed training batches, and always with a ``--teacher``.
    batch_size: images per mini-batch of stages on images; a head on cached features takes four times as many. At least
        2, for the head's batch norm. A stage may have its own.
    dropout: of the head's input.
    accumulation: mini-batches whose gradients make one optimizer step.
    clip_norm: the largest norm of a step's gradients; larger gradients are scaled down to it. 0: no clipping.
    optimizer: ``adamw``; ``sgd`` (momentum 0.9); one of timm's in ``comp list --what optimizers``, like ``muon``;
        or a function of the parameter groups, dicts with ``params``, ``lr``, ``weight_decay`` and ``name``, that
        returns a torch optimizer; its step is given a closure where it needs one, as SAM does.
    optimizer_options: more arguments of an optimizer by name, like ``{"betas": (0.9, 0.95)}``.
    rate_rule: how the range test chooses a rate: ``valley``, ``minimum``, ``steepest``, or a function of the rates and
        the smoothed losses, arrays (N,).
    weight_decay: of all parameters; with ``decay="matrices"`` biases and norm layers have none.
    freeze_batch_norm: a backbone that trains keeps its pretrained statistics (lesson 2's ``bn_freeze``): the statistics
        of small batches are noise.
    drop_path: the rate at which blocks of the backbone are skipped (arXiv:1603.09382).
    label_smoothing: the share of a target spread over the classes (arXiv:1512.00567).
    mixup, cutmix: both parameters of the Beta distribution by which pairs of images are mixed (arXiv:1710.09412) or
        pasted (arXiv:1905.04899). With both, a batch gets one of the two; cached features and maps are only mixed.
    mixing: in place of both, a function of a batch of images, floats (B, 3, height, width) from 0 to 255, and their
        targets, shares of classes, tags or numbers (B, C), that returns both. It draws from torch's generator. Columns
        stand after the C and are mixed as they are. Cached features and maps are not mixed.
    random_erasing: the chance that a rectangle of a training image is overwritten (arXiv:1708.04896).
    ema: the decay of the moving average of weights that is validated and kept (timm's); 0 keeps the last weights.
    balance: ``weights`` gives rare classes more weight in the loss, ``oversample`` shows their images several times an
        epoch. Or a function of the training targets, classes (N,) or tags (N, C), that returns how many times an epoch
        each image is shown (N,), whole numbers; 0 leaves an image out.
    snapshots: the number of the last stage's last cycles whose weights are kept, and whose predictions are averaged
        (arXiv:1704.00109).
    teacher_confidence: the probability from which a ``--teacher`` is confident of a test image; 0 takes every image.
    validation: the share of the labelled images that validates.
    tta: the views whose predictions are averaged: ``none`` (the plain view alone), ``fixed`` (the viewpoint's flips),
        ``random`` (the plain view and ``tta_views`` random ones), or the plain view and the views of a function of the
        last stage's size, in pixels or ``(height, width)``, that returns a list of albumentations pipelines. Each turns
        the whole image as it is in its file (H, W, C) into bytes (size, size, C), without chance.
    stages: in order; each starts from the weights of the previous stage.
    on_cpu: the recipe used instead on a machine without a GPU.
    """

    backbone: str = "resnet34.a1_in1k"
    pretrained: bool = True
    head: Annotated[
        Annotated[str, one_of(HEADS)] | Head | Annotated[Callable[[int, int], Any], MAKES],
        f"one of {', '.join(HEADS)}, or a function of features and outputs",
    ] = "linear"
    loss: Loss = ""
    batch_size: Annotated[int, between(2)] = 64
    dropout: Annotated[float, between(0, 0.95)] = 0.0
    accumulation: Count = 1
    clip_norm: Amount = 0.0
    optimizer: Annotated[
        str | Annotated[Callable[[list[dict[str, Any]]], Any], MAKES], "a name, or a function of the parameter groups"
    ] = "adamw"
    optimizer_options: Annotated[Mapping[str, Any], "arguments by name, like {'momentum': 0.95}"] = field(
        default_factory=dict
    )
    rate_rule: Annotated[
        Literal["valley", "minimum", "steepest"] | Callable[[Any, Any], float],
        "'valley', 'minimum', 'steepest', or a function of rates and losses that returns a rate",
    ] = "valley"
    weight_decay: Amount = 0.01
    decay: Literal["all", "matrices"] = "all"
    freeze_batch_norm: bool = False
    drop_path: Annotated[float, between(0, 0.95)] = 0.0
    label_smoothing: Annotated[float, between(0, 0.5)] = 0.0
    mixup: Amount = 0.0
    cutmix: Amount = 0.0
    mixing: Annotated[
        Literal[""] | Callable[[Any, Any], tuple[Any, Any]], "a function of images and targets that returns both"
    ] = ""
    random_erasing: Annotated[float, between(0, 1)] = 0.0
    ema: Annotated[float, between(0, 0.99999)] = 0.0
    balance: Annotated[
        Literal["none", "weights", "oversample"] | Callable[[Any], Any],
        "'none', 'weights', 'oversample', or a function of the targets that returns how often each image is shown",
    ] = "none"
    snapshots: Annotated[int, between(1)] = 1
    teacher_confidence: Annotated[float, between(0, 1)] = 0.0
    validation: Annotated[float, between(0.01, 0.5)] = 0.2
    tta: TTA = "fixed"
    tta_views: Annotated[int, between(1, 64)] = 4
    stages: Annotated[Sequence[Stage], between(1), "a list of at least one Stage"]
    on_cpu: Recipe | None = None

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        from_scratch = self.head == "pretrained" and not self.pretrained
        yield "head", from_scratch, "'linear' where the backbone is not pretrained"
        cycles = self.stages[-1].cycles
        yield "snapshots", self.snapshots > cycles, f"at most {cycles}, the cycles of the last stage"
        numbered = [*enumerate(self.stages, start=1)]
        solved = [number for number, stage in numbered if stage.schedule == "lbfgs"]
        changes = [f"stages.{number}.schedule=one_cycle and its cycle_length" for number in solved]
        changes += [f"stages.{number}.needed_above=0" for number, stage in numbered if stage.needed_above]
        other = solved and self.head not in ("linear", "pretrained")
        remedy = f"; to train another, set {', '.join(changes)}"
        yield "head", other, f"'linear' or 'pretrained', which 'lbfgs' solves{remedy}"
        given = {"lr", "weight_decay"} & set(self.optimizer_options)
        yield "optimizer_options", given, "without 'lr' and 'weight_decay', as stages and recipe have fields for them"
        if len(solved) == len(self.stages):
            yield "mixup", self.mixup, "0 where all heads are solved by 'lbfgs', which has no batches"
            yield "dropout", self.dropout, "0 where all heads are solved by 'lbfgs', which regularises by itself"
            yield "ema", self.ema, "0 where all heads are solved by 'lbfgs', which takes no steps"
        if all(stage.cached for stage in self.stages):
            yield "cutmix", self.cutmix, "0 where all stages are cached: features have no area to paste"
            yield "mixing", self.mixing, "left out where all stages are cached: it mixes images only"
            yield "random_erasing", self.random_erasing, "0 where all stages are cached: no image is augmented"
        if all(stage.groups == 1 for stage in self.stages):
            yield "drop_path", self.drop_path, "0 where only the head trains: no block is skipped"
            frozen = self.freeze_batch_norm
            yield "freeze_batch_norm", frozen, "False where only the head trains: batch norm is frozen anyway"
        yield "mixup", self.mixing and self.mixup, "0 beside `mixing`, which takes its place"
        yield "cutmix", self.mixing and self.cutmix, "0 beside `mixing`, which takes its place"
        options = bool(self.optimizer_options) and not isinstance(self.optimizer, str)
        yield "optimizer_options", options, "left out beside a function, which has its own"
        yield "on_cpu", self.on_cpu and self.on_cpu.on_cpu, "a Recipe without `on_cpu` of its own"
        for number, stage in numbered:
            alone = stage.needed_above and number - 1 not in solved
            yield f"stages.{number}.needed_above", alone, "0 without a stage of schedule 'lbfgs' right before"

    def batch_size_of(self, stage: Stage) -> int:
        if stage.batch_size is not None:
            return stage.batch_size
        return self.batch_size * (HEAD_BATCHES if stage.on_features else 1)

    def where_head_leaves(self, unexplained: float) -> Recipe:
        """Return the recipe with the stages that train after a head that leaves this share of the loss of guessing."""
        return self.with_stages(tuple(takewhile(lambda stage: stage.is_needed(unexplained), self.stages)))

    def with_stages(self, stages: Sequence[Stage]) -> Recipe:
        """Return the recipe with the stages that trained; fields that no such stage uses get their defaults."""
        trained, other = tuple(replace(stage, needed_above=0.0) for stage in stages), copy(self)
        object.__setattr__(other, "stages", trained)
        # The weights of a head fit no other head.
        unused = {name for name, wrong, _ in other.contradictions() if wrong} - {"head"}
        changed: dict[str, Any] = {one.name: one.default for one in fields(self) if one.name in unused}
        changed["snapshots"] = min(self.snapshots, trained[-1].cycles)
        return replace(self, **changed, stages=trained)


@dataclass(frozen=True, kw_only=True)
class Ensemble(Declared):
    """A recipe of several trainings that are blended: each member in all its folds, with each backbone.

    members: recipes, first those that gain most for the time they take. A single member is run by its number, as in
        ``strong.2``.
    backbones: timm model names or ``local-dir:PATH``, each for all members; without any, each member has its own.
    folds: the number of folds of each member.
    """

    members: Annotated[Sequence[Recipe], between(1), "a list of at least one Recipe"]
    backbones: Annotated[Sequence[str], "a list of backbones"] = ()
    folds: Annotated[int, between(2, 100)] = 5

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        shares = {recipe.validation for recipe in self.members}
        yield "members", len(shares) > 1, "recipes with the same `validation`, so that they can share a split"
