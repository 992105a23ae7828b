"""What the data advise before any training, each with the numbers it is based on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import ks_2samp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    from comp.declare.metrics import Metric
    from comp.declare.recipe import Recipe

    Array = npt.NDArray[Any]

# A median this much smaller or larger than the size that is trained at.
ENLARGED, REDUCED = 0.75, 2.0
# As many times smaller or larger than what the backbone was pretrained at.
UNLIKE_PRETRAINING = 1.75
# Sizes that transformers take are multiples of this.
MULTIPLE = 32
# How often the largest class has the images of the smallest, to be called imbalanced.
IMBALANCED = 10.0
# With fewer images of a class its validation score is chance.
FEW_OF_A_CLASS = 20
# With fewer images one split's score is a matter of luck.
FEW_IMAGES = 2_000
# An image this much longer than wide loses a third to its middle square.
LONG = 1.5
MANY = 0.25
# The largest distance of two distributions' shares, to call them different.
UNLIKE = 0.2
# Metrics for which every class counts the same, however rare.
CLASSES_ALIKE = ("macro_f1", "quadratic_kappa", "roc_auc")


@dataclass(frozen=True)
class Advice:
    """One thing to know. change: what to try, as the command line takes it; empty where there is nothing to type."""

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
) -> list[Advice]:
    """What follows from the images, the classes and the recipe.

    images: a row per readable image; ``part`` (train or test), ``width``, ``height``, ``mode``.
    counts: images of each class (C,). pretrained_at: the side in pixels that the backbone was pretrained at.
    """
    train, test = (images[images["part"] == part] for part in ("train", "test"))
    found = [
        _size_of_images(train, recipe),
        _size_of_backbone(recipe, pretrained_at),
        _shape(train, recipe),
        *_unlike(train, test),
        _balance(counts, classes, metric),
        _rare(counts, classes),
        _few(len(train)),
    ]
    return [advice for advice in found if advice is not None]


def _size_of_images(train: pd.DataFrame, recipe: Recipe) -> Advice | None:
    if train.empty:
        return None
    shorter = float(train[["width", "height"]].min(axis=1).median())
    last, size = len(recipe.stages), recipe.stages[-1].size
    if shorter < ENLARGED * size:
        return Advice(
            "small images",
            f"half of the images are less than {shorter:.0f} px wide or high, and the last stage enlarges them to "
            f"{size} px; that often helps a pretrained backbone, but costs time and shows nothing more, so compare",
            f"--set stages.{last}.size={_rounded(shorter)}",
        )
    if shorter > REDUCED * size:
        return Advice(
            "large images",
            f"half of the images are more than {shorter:.0f} px wide and high, and the last stage sees {size} px of "
            "them; where small details count, compare",
            f"--set stages.{last}.size={_rounded(min(1.5 * size, shorter))}",
        )
    return None


def _size_of_backbone(recipe: Recipe, pretrained_at: int | None) -> Advice | None:
    if pretrained_at is None or not recipe.pretrained:
        return None
    last, size = len(recipe.stages), recipe.stages[-1].size
    if max(size / pretrained_at, pretrained_at / size) < UNLIKE_PRETRAINING:
        return None
    return Advice(
        "unlike the pretraining",
        f"the backbone was pretrained at {pretrained_at} px and the last stage trains at {size} px: things appear "
        f"{'larger' if size > pretrained_at else 'smaller'} than it knows them",
        f"--set stages.{last}.size={_rounded(pretrained_at)}",
    )


def _shape(train: pd.DataFrame, recipe: Recipe) -> Advice | None:
    if train.empty:
        return None
    longer = train[["width", "height"]].max(axis=1) / train[["width", "height"]].min(axis=1)
    share = float((longer > LONG).mean())
    if share < MANY:
        return None
    text = (
        f"of {share:.0%} of the images the middle square, which is what one view sees, leaves out more than a third; "
        "what matters may stand there"
    )
    return Advice("long shapes", text, "" if recipe.tta == "random" else "--set tta=random")


def _unlike(train: pd.DataFrame, test: pd.DataFrame) -> list[Advice]:
    found = []
    if train.empty or test.empty:
        return []
    areas = [np.sqrt(part["width"] * part["height"]) for part in (train, test)]
    if ks_2samp(*areas).statistic > UNLIKE:
        medians = " and ".join(f"{np.median(area):.0f} px" for area in areas)
        found.append(
            Advice(
                "unlike test images",
                f"training and test images differ in size, medians of {medians}; they may come from other cameras or "
                "sites, and the validation score may not hold for the test images",
            )
        )
    modes = [part["mode"].value_counts(normalize=True) for part in (train, test)]
    apart = float(modes[0].sub(modes[1], fill_value=0).abs().sum() / 2)
    if apart > UNLIKE:
        named = " and ".join(f"{mode.iloc[0]:.0%} {mode.index[0]}" for mode in modes)
        found.append(
            Advice("unlike test images", f"training and test images differ in colour mode, {named} in the main")
        )
    return found


def _balance(counts: Array, classes: Sequence[str], metric: Metric) -> Advice | None:
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] < IMBALANCED * max(int(counts[least]), 1):
        return None
    text = f"{classes[most]} has {counts[most]:,} images and {classes[least]} {counts[least]:,}"
    if metric.name in CLASSES_ALIKE:
        return Advice("imbalance", f"{text}; in {metric.name} every class counts the same", "--set balance=oversample")
    return Advice(
        "imbalance",
        f"{text}; {metric.name} counts images, not classes, so shares like the test images' are best left as they are",
    )


def _rare(counts: Array, classes: Sequence[str]) -> Advice | None:
    rare = [name for name, count in zip(classes, counts, strict=True) if count < FEW_OF_A_CLASS]
    if not rare:
        return None
    named = ", ".join(rare[:3]) + (f" and {len(rare) - 3} more" if len(rare) > 3 else "")
    few = (
        f"have fewer than {FEW_OF_A_CLASS} images each" if len(rare) > 1 else f"has fewer than {FEW_OF_A_CLASS} images"
    )
    return Advice("rare classes", f"{named} {few}: what they score on one split is chance", "--folds 5")


def _few(images: int) -> Advice | None:
    if images >= FEW_IMAGES:
        return None
    return Advice(
        "few images",
        f"{images:,} images are labelled, and the score of one split of them depends on luck; "
        "with folds each of them validates once",
        "--folds 5",
    )


def _rounded(side: float) -> int:
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)
