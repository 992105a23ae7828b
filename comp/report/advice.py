"""Advice from the data before any training, each with the numbers it is based on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import ks_2samp

from comp.data.findings import DataCheck
from comp.declare.metrics import METRICS, Metric
from comp.declare.reading import Fit
from comp.declare.recipe import Recipe
from comp.errors import counted

Array = npt.NDArray[Any]

# Ratios of the median shorter side to the training size, below and above which there is advice.
ENLARGED, REDUCED = 0.75, 2.0
# The ratio of training size to pretraining size, or its inverse, from which on there is advice.
UNLIKE_PRETRAINING = 1.75
# Transformers take sizes that are multiples of this.
MULTIPLE = 32
# The ratio of the largest class to the smallest from which on classes are called imbalanced.
IMBALANCED = 10.0
# With fewer images of a class its validation score is chance.
FEW_OF_A_CLASS = 20
# With fewer images one split's score is a matter of luck.
FEW_IMAGES = 2_000
# The middle square leaves out a third of an image with the aspect ratio LONG; advice if a share of MANY are longer.
LONG = 1.5
MANY = 0.25
# Distributions are called different above this distance.
UNLIKE = 0.2
# Metrics in which every class counts the same, however rare.
CLASSES_ALIKE = tuple(
    METRICS[name]
    for name in (
        *("macro_f1", "macro_f1_of_tags", "balanced_accuracy", "weighted_log_loss"),
        *("roc_auc", "mean_columnwise_roc_auc", "average_precision", "pauc"),
    )
)


@dataclass(frozen=True)
class Advice:
    """One piece of advice. change: the command-line options to try; may be empty."""

    kind: str
    evidence: str
    change: str = ""


def advise(
    images: pd.DataFrame,
    counts: Array,
    classes: Sequence[str],
    metric: Metric,
    recipe: Recipe,
    pretrained_at: int | None,
    fit: Fit = "crop",
) -> list[Advice]:
    """Advice on the images, the classes and the recipe.

    images: a row per readable image; ``part`` (train or test), ``width``, ``height``, ``mode``.
    counts: the number of images per class (C,). classes: none where labels are numbers.
    pretrained_at: the backbone's pretraining size in pixels.
    """
    train, test = (images[images["part"] == part] for part in ("train", "test"))
    found = list(_of_classes(counts, classes, metric)) if classes else []
    if len(train):
        found = [*_of_sizes(train, recipe, pretrained_at, fit), *_unlike(train, test), *found]
    if len(train) < FEW_IMAGES:
        evidence = (
            f"{len(train):,} images are labelled, and the score of one split of them depends on luck; "
            "with folds each of them validates once"
        )
        found.append(Advice("few images", evidence, "--folds 5"))
    return found


def advice_on_files(check: DataCheck) -> Iterator[Advice]:
    """Advice on files that should be mended before a training."""
    counts = check.counts()
    if conflicts := counts["conflicts"]:
        evidence = f"{counted(conflicts, 'labelled image has', 'labelled images have')} a duplicate with another label"
        yield Advice("conflicting labels", f"{evidence}, so one of the two is wrong")
    if leaks := counts["leaks"]:
        evidence = f"{counted(leaks, 'test image has', 'test images have')} a labelled duplicate"
        yield Advice("leaks", f"{evidence}, so the score on test images says less about new ones")
    if counts["unreadable_train"] + counts["unreadable_test"]:
        evidence = counted(counts["unreadable_train"], "labelled image")
        yield Advice("unreadable", f"{evidence} and {counts['unreadable_test']} of the test images can't be read")


def _of_sizes(train: pd.DataFrame, recipe: Recipe, pretrained_at: int | None, fit: Fit) -> Iterator[Advice]:
    last, size = len(recipe.stages), recipe.stages[-1].pixels
    if not isinstance(size, int):  # a user who chose a shape has looked at the images
        return
    sides = train[["width", "height"]]
    shorter = float(sides.min(axis=1).median())
    smaller, larger = _rounded(shorter), _rounded(min(1.5 * size, shorter))
    if enlarged := shorter < ENLARGED * size and smaller != size:
        yield Advice(
            "small images",
            f"half of the images are at most {shorter:.0f} px wide or high, and the last stage enlarges them to "
            f"{size} px; that often helps a pretrained backbone, but costs time and adds no detail, so compare",
            f"--set stages.{last}.size={smaller}",
        )
    elif shorter > REDUCED * size:
        yield Advice(
            "large images",
            f"half of the images are at least {shorter:.0f} px wide and high, and the last stage reduces them to "
            f"{size} px; where small details count, compare",
            f"--set stages.{last}.size={larger}",
        )
    native = pretrained_at if recipe.pretrained else None
    # Enlarged images that are still below the pretraining's size are a compromise already.
    if native and not (enlarged and size < native) and max(size / native, native / size) >= UNLIKE_PRETRAINING:
        yield Advice(
            "unlike the pretraining",
            f"the backbone was pretrained at {native} px and the last stage trains at {size} px: things look "
            f"{'larger' if size > native else 'smaller'} than in pretraining",
            f"--set stages.{last}.size={_rounded(native)}",
        )
    share = float((sides.max(axis=1) / sides.min(axis=1) > LONG).mean())
    if share >= MANY and fit == "crop":
        evidence = (
            f"one view sees the middle square, which leaves out more than a third of {share:.0%} of the images; what "
            "matters may be there"
        )
        yield Advice("long shapes", evidence, "--set tta=random" if recipe.tta in ("none", "fixed") else "")


def _unlike(train: pd.DataFrame, test: pd.DataFrame) -> Iterator[Advice]:
    if test.empty:
        return
    areas = [np.sqrt(part["width"] * part["height"]) for part in (train, test)]
    if ks_2samp(*areas).statistic > UNLIKE:
        medians = " and ".join(f"{np.median(area):.0f} px" for area in areas)
        yield Advice(
            "unlike test images",
            f"training and test images differ in size, medians of {medians}; they may come from other cameras or "
            "sites, and the validation score may not hold for the test images",
        )
    modes = [part["mode"].value_counts(normalize=True) for part in (train, test)]
    if float(modes[0].sub(modes[1], fill_value=0).abs().sum() / 2) > UNLIKE:
        named = " and ".join(f"{mode.iloc[0]:.0%} {mode.index[0]}" for mode in modes)
        yield Advice("unlike test images", f"training and test images differ in colour mode, mostly {named}")


def _of_classes(counts: Array, classes: Sequence[str], metric: Metric) -> Iterator[Advice]:
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] >= IMBALANCED * max(int(counts[least]), 1):
        text = f"{classes[most]} has {counts[most]:,} images and {classes[least]} {counts[least]:,}"
        if metric in CLASSES_ALIKE:
            yield Advice(
                "imbalance", f"{text}; in {metric.name} every class counts the same", "--set balance=oversample"
            )
        else:
            follows = "counts images, not classes, so keep the classes' shares if the test images have the same ones"
            yield Advice("imbalance", f"{text}; {metric.name} {follows}")
    rare = [name for name, count in zip(classes, counts, strict=True) if count < FEW_OF_A_CLASS]
    if rare:
        named = ", ".join(rare[:3]) + (f" and {len(rare) - 3} more" if len(rare) > 3 else "")
        evidence = f"there are fewer than {FEW_OF_A_CLASS} images of {named}: their score on one split is chance"
        yield Advice("rare classes", evidence, "--folds 5")


def _rounded(side: float) -> int:
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)
