"""Recipes: the ordered stages of a training and what they share, and the named ones every competition starts from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise, takewhile
from typing import Annotated, Any, Literal

from comp.declare.brought import short_name
from comp.declare.checks import Declared, above, between, matching, one_of
from comp.declare.metrics import Target
from comp.declare.reading import Size, sides, size_in_words

LAYER_GROUPS = ("early", "late", "head")
# A head on cached features takes so many times the recipe's batch.
HEAD_BATCHES = 4

Count = Annotated[int, between(1, 10_000)]
Amount = Annotated[float, between(0)]
Schedule = Annotated[
    Literal["sgdr", "one_cycle", "flat_cosine", "lbfgs"] | Callable[[int, int], float],
    "'sgdr', 'one_cycle', 'flat_cosine', 'lbfgs', or a function of step and steps that returns a factor of the peak",
]
Side = Annotated[int, between(8, 4096)]
Relative = Annotated[str, matching(r"native|\d+(\.\d+)?x"), "'native' or times that, like '1.15x'"]

# The targets that each is for; the first that is for a target is its own. What it compares: `comp.submission.outputs`.
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
    Literal[""] | Annotated[str, one_of(LOSSES)] | Callable[[Any, Any], Any],
    f"one of {', '.join(LOSSES)}, or a function of logits and targets",
]

TTA = Annotated[
    Literal["none", "fixed", "random"] | Callable[[Any], Sequence[Any]],
    "'none', 'fixed', 'random', or a function of the image size that returns a list of pipelines",
]

HEADS = {
    "linear": "a linear classifier of the standardised features",
    "mlp": "a hidden layer of 512 before it",
    "gem": "linear, on generalised means of the last maps (arXiv:1711.02512); their power trains with the late layers",
    "attention": "linear, on means of the last maps or tokens that are weighted by attention (arXiv:1802.04712)",
    "pretrained": "linear, and starts as the part of the pretrained classifier that is about the classes at hand, for "
    "images like those of the pretraining, at a small learning rate; one class per image",
}


@dataclass(frozen=True)
class Head(Declared):
    """A head of one's own that says what it takes.

    build: a function of features and outputs, F and C, that returns a torch module with logits (B, C).
    pooled: the module takes pooled features (B, F); or else the backbone's last maps (B, F, H, W), of a transformer its
        tokens (B, T, F).
    """

    build: Callable[[int, int], Any]
    pooled: bool = True


@dataclass(frozen=True, kw_only=True)
class Stage(Declared):
    """One entry of a recipe.

    size: pixels of a side of the square images, or their ``(height, width)``; or relative to the size that the
        backbone's weights were pretrained at: that itself, ``native``, or times it, ``1.15x``, as the nearest multiple
        of 32, of a transformer of its patch's side.
    train: ``head`` (the backbone is frozen), ``all`` (with layer-wise learning rates), or how many of the last layer
        groups train: 2 is the late half of the backbone and the head.
    cached: what stays frozen runs once per image and view (lesson 2's precompute): the head trains on cached features,
        or the late half on maps, what the early half makes of images. Where a backbone can't be cut in halves, or the
        disk has no room for its maps, the late half trains on images, which is said.
    views: how many views of each image are cached: the viewpoint's fixed views first, then random augmentations.
    schedule: ``sgdr``; ``one_cycle``, a warm-up over the first quarter, then one descent (arXiv:1708.07120); or
        ``flat_cosine``, the peak for three quarters, then one descent; or a function ``(step, steps)`` of the optimizer
        steps taken in the stage and all that it has, which returns the factor of the peak rate. ``lbfgs`` takes no
        steps by batches: the head's optimum on cached features, with the strength of regularisation by
        cross-validation, in seconds; it knows neither epochs nor a learning rate.
    cycles, cycle_length, cycle_multiplier: how many cosine descents of the learning rate, the epochs of the first, and
        how much longer each next one is: 3, 1 and 2 make 1 + 2 + 4 = 7 epochs (SGDR, arXiv:1608.03983).
    learning_rate: the peak of the head's rate, or ``find``: an LR range test before the stage chooses it
        (arXiv:1506.01186); earlier layer groups get it divided by the layer-LR ratio and its square.
    batch_size: samples per mini-batch, at least 2; if not given, the recipe's. Larger images may need smaller ones.
    needed_above: after a head by ``lbfgs``, the training ends before this stage where that head leaves no more than
        this share of the loss of guessing, by cross-validation (1 minus McFadden's R²): where frozen features do that
        well, training the backbone on few images makes it worse. 0: the stage always trains.
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
        yield "cached", trains_all, "False where all layers train: nothing of the network stays as it is"
        uncached = self.views > 1 and not self.cached
        yield "views", uncached, "1 without `cached`: images are augmented anew in every epoch"
        several = self.schedule != "sgdr" and self.cycles != 1
        yield "cycles", several, f"1 with schedule {short_name(self.schedule)!r}; give its epochs as `cycle_length`"

        solved = self.schedule == "lbfgs" and not self.on_features
        yield "schedule", solved, "another than 'lbfgs', which is for a head alone on cached features"
        batches = self.schedule == "lbfgs" and self.batch_size is not None
        yield "batch_size", batches, "left out with schedule 'lbfgs', which has no batches"

    def is_needed(self, unexplained: float | None) -> bool:
        """Whether it trains after a head that leaves that share of the loss of guessing; None: it isn't known."""
        return not self.needed_above or unexplained is None or unexplained > self.needed_above

    @property
    def on_features(self) -> bool:
        """Whether a head trains on cached features, without the backbone."""
        return self.cached and self.groups == 1

    @property
    def pixels(self) -> Size:
        """The size in pixels; a resolved recipe has no other."""
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
        """How many times the size of the pretraining a relative size is."""
        return 1.0 if self.size == "native" else float(str(self.size).removesuffix("x"))

    @property
    def groups(self) -> int:
        """How many of the last layer groups train, the head's included."""
        if isinstance(self.train, int):
            return self.train
        return 1 if self.train == "head" else len(LAYER_GROUPS)

    @property
    def rate_key(self) -> tuple[int, ...]:
        """What stages have in common that one found learning rate is right for."""
        # What is cached comes in the same views again, and features in larger batches.
        return self.groups, self.cached, *filter(None, [self.batch_size])

    @property
    def trains(self) -> str:
        """What trains, in words."""
        return ("head", "late layers and head", "all layers")[self.groups - 1]

    @property
    def cycle_epochs(self) -> tuple[int, ...]:
        """The epochs of each cycle."""
        if self.schedule == "lbfgs":
            return (1,)
        return tuple(self.cycle_length * self.cycle_multiplier**cycle for cycle in range(self.cycles))

    @property
    def epochs(self) -> int:
        return sum(self.cycle_epochs)


@dataclass(frozen=True, kw_only=True)
class Recipe(Declared):
    """How a competition is trained and predicted. What regularises is off unless it is named.

    backbone: a timm model name, or ``local-dir:PATH`` of a folder with its config.json and weights.
    pretrained: start from the backbone's pretrained weights, or from scratch.
    head: one of `HEADS`, or a function of features and outputs that returns a torch module, or a `Head` of it.
    loss: a name, or a function of logits (B, C) and targets that returns their mean as a scalar; if not given, that
        of the target: ``cross_entropy`` of one class or of shares, ``bce`` of tags and fractions, ``mse`` of numbers.
        Also ``focal`` (arXiv:1708.02002), ``asymmetric`` (arXiv:2009.14119), ``l1``, ``huber``; of numbers ``bce``, of
        their place between their bounds. Where classes are grades, named by numbers, ``mse``, ``l1`` and ``huber``
        learn one number, and ``ordinal`` for each grade whether it is exceeded. A function's targets are classes (B,);
        or floats: tags, shares, fractions (B, C), or standardised numbers (B, K). Of classes it is given shares (B, C)
        as well where batches that train are mixed, and nothing else where a ``--teacher`` gives them.
    batch_size: images per mini-batch of stages on images; a head on cached features takes four times as many. At least
        2, for the head's batch norm. A stage may have its own.
    dropout: of the head's input.
    accumulation: mini-batches whose gradients make one optimizer step.
    clip_norm: the largest norm of a step's gradients, longer ones are scaled down to it; 0 leaves them as they are.
    optimizer: ``adamw``; ``sgd`` (momentum 0.9); one of timm's in ``comp list --what optimizers``, like ``muon``;
        or a function of the parameter groups, dicts with ``params``, ``lr``, ``weight_decay`` and ``name``, that
        returns one of torch's, whose step is given a closure where it needs one, as that of SAM.
    optimizer_options: more arguments of an optimizer by name, like ``{"betas": (0.9, 0.95)}``.
    rate_rule: which rate the finder's range test suggests: ``valley``, ``minimum``, ``steepest``, or a function of the
        rates and the smoothed losses, arrays (N,).
    weight_decay: of all parameters; with ``decay="matrices"`` of none that is a vector: biases and norm layers.
    freeze_batch_norm: a backbone that trains keeps the statistics it was pretrained with (lesson 2's ``bn_freeze``):
        those of small batches are noise.
    drop_path: the rate at which blocks of the backbone are skipped (arXiv:1603.09382).
    label_smoothing: the share of a target spread over the classes (arXiv:1512.00567).
    mixup, cutmix: both parameters of the Beta distribution that pairs of images are mixed (arXiv:1710.09412) or
        pasted (arXiv:1905.04899) by; with both a batch gets one of the two; cached features and maps are only mixed.
    mixing: in their place a function of a batch of images, floats (B, 3, height, width) from 0 to 255, and their
        targets, shares of classes, tags or numbers (B, C), that returns both. It draws from torch's generator. Columns
        stand after the C and are mixed as they are; what is cached is not mixed.
    random_erasing: the chance that a rectangle of a training image is overwritten (arXiv:1708.04896).
    ema: the decay of the moving average of weights that is validated and kept (timm's); 0 keeps the last weights.
    balance: what rare classes get: ``weights`` in the loss, ``oversample``: their images several times an epoch, or
        nothing. Or a function of the training targets, classes (N,) or tags (N, C), that returns how many times an
        epoch each image is shown (N,), whole numbers; 0 leaves it out.
    snapshots: of how many last cycles of the last stage the weights are kept, and their predictions averaged
        (arXiv:1704.00109).
    teacher_confidence: the probability from which a ``--teacher`` is confident of a test image; 0 takes all of them.
    validation: the share of the labelled images that validates.
    tta: the views whose predictions are averaged: ``none`` but the plain one, ``fixed`` (the viewpoint's flips),
        ``random`` (the plain view and ``tta_views`` random ones), or the plain view and those of a function of the last
        stage's size, in pixels or ``(height, width)``, that returns a list of albumentations pipelines. Each makes
        bytes (size, size, C) of the whole image as it is in its file (H, W, C), without chance.
    stages: in order; the weights are carried on from each to the next.
    on_cpu: the recipe in its place on a machine without a GPU.
    """

    backbone: str = "resnet34.a1_in1k"
    pretrained: bool = True
    head: Annotated[
        Annotated[str, one_of(HEADS)] | Head | Callable[[int, int], Any],
        f"one of {', '.join(HEADS)}, or a function of features and outputs",
    ] = "linear"
    loss: Loss = ""
    batch_size: Annotated[int, between(2)] = 64
    dropout: Annotated[float, between(0, 0.95)] = 0.0
    accumulation: Count = 1
    clip_norm: Amount = 0.0
    optimizer: str | Callable[[list[dict[str, Any]]], Any] = "adamw"
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
        solved = any(stage.schedule == "lbfgs" for stage in self.stages)
        other = solved and self.head not in ("linear", "pretrained")
        yield "head", other, "'linear' or 'pretrained' with a stage of schedule 'lbfgs'"
        if all(stage.schedule == "lbfgs" for stage in self.stages):
            yield "mixup", self.mixup, "0 where all heads are solved by 'lbfgs', which has no batches"
            yield "dropout", self.dropout, "0 where all heads are solved by 'lbfgs', which regularises by itself"
            yield "ema", self.ema, "0 where all heads are solved by 'lbfgs': no step is taken"
        if all(stage.cached for stage in self.stages):
            yield "cutmix", self.cutmix, "0 where all stages are cached: features have no area to paste"
            yield "mixing", self.mixing, "left out where all stages are cached: it is given images"
            yield "random_erasing", self.random_erasing, "0 where all stages are cached: no image is augmented"
        if all(stage.groups == 1 for stage in self.stages):
            yield "drop_path", self.drop_path, "0 where only the head trains: no block is skipped"
            frozen = self.freeze_batch_norm
            yield "freeze_batch_norm", frozen, "False where only the head trains: it is frozen anyway"
        yield "mixup", self.mixing and self.mixup, "0 beside `mixing`, which takes its place"
        yield "cutmix", self.mixing and self.cutmix, "0 beside `mixing`, which takes its place"
        options = bool(self.optimizer_options) and not isinstance(self.optimizer, str)
        yield "optimizer_options", options, "left out beside a function, which has its own"
        yield "on_cpu", self.on_cpu and self.on_cpu.on_cpu, "a Recipe without `on_cpu` of its own"
        alone = self.stages[0].needed_above or any(
            stage.needed_above and before.schedule != "lbfgs" for before, stage in pairwise(self.stages)
        )
        yield "stages", alone, "a list with a stage of schedule 'lbfgs' right before one that has `needed_above`"

    def batch_size_of(self, stage: Stage) -> int:
        """Samples per mini-batch of a stage."""
        if stage.batch_size is not None:
            return stage.batch_size
        return self.batch_size * (HEAD_BATCHES if stage.on_features else 1)

    def where_head_leaves(self, unexplained: float) -> Recipe:
        """With the stages that train where a head leaves that share of the loss of guessing."""
        return self.with_stages(tuple(takewhile(lambda stage: stage.is_needed(unexplained), self.stages)))

    def with_stages(self, stages: Sequence[Stage]) -> Recipe:
        """With the stages that a training came to; what none of them uses is as it is by default."""
        trained, other = tuple(replace(stage, needed_above=0.0) for stage in stages), copy(self)
        object.__setattr__(other, "stages", trained)
        # A head has weights, which no other head takes.
        unused = {name for name, wrong, _ in other.contradictions() if wrong} - {"head"}
        changed: dict[str, Any] = {one.name: one.default for one in fields(self) if one.name in unused}
        changed["snapshots"] = min(self.snapshots, trained[-1].cycles)
        return replace(self, **changed, stages=trained)


@dataclass(frozen=True, kw_only=True)
class Ensemble(Declared):
    """A recipe of several trainings that are blended: each member in all its folds, with each backbone.

    members: recipes, those first that are worth most for the time they take. One alone is called by its number, as in
        ``strong.2``.
    backbones: timm model names or ``local-dir:PATH``, each for all members; without any, each member has its own.
    folds: how many each is trained in.
    """

    members: Annotated[Sequence[Recipe], between(1), "a list of at least one Recipe"]
    backbones: Annotated[Sequence[str], "a list of backbones"] = ()
    folds: Annotated[int, between(2, 100)] = 5

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        shares = {recipe.validation for recipe in self.members}
        yield "members", len(shares) > 1, "recipes with the same `validation`, so that they can share a split"
