"""The recipes that a new competition starts with, chosen by the size, number and look of its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from comp.declare.recipe import Ensemble, Recipe, Stage

SMALL_BACKBONE = "mobilenetv2_100.ra_in1k"
OTHER_BACKBONE = "tf_efficientnet_lite2.in1k"
BACKBONE = "resnet34.a1_in1k"
# The size in pixels that backbones are usually trained at, and the smallest size at which they still work.
USUAL_SIZE = 224
SMALLEST_SIZE = 96
# With more images, half as many epochs are enough.
MANY_IMAGES = 5_000
# The loss of a head on frozen features, as a share of the loss of guessing: 4 to 6 % where training the backbone made
# it worse (photos of cats and dogs, of breeds), 16 % and more where it helped (aerial scenes; satellite chips, 50 %).
NEEDED_ABOVE = 0.1
# The late layers' learning rate at any layer-LR ratio: tried with 10 on clothes and with 3 on satellite chips.
LATE_RATE = 1e-4

# The comment above each recipe in a new declaration.
WHAT_IT_DOES = {
    "quick": "A head on frozen features; where that is not enough (`needed_above`), the late half of the backbone too.",
    "cycles": "A head, then the late half of the backbone in three cycles; the snapshots at their ends are averaged.",
    "standard": "On a GPU, a head, then all layers in three cycles; without a GPU, `cycles` instead.",
    "strong": "Each member with each backbone in five folds, blended; with --time 30m, as many of them as fit.",
}


def recipes_for(
    pixels: tuple[int, int] | None, images: int, layer_lr_ratio: float, *, like_photographs: bool
) -> tuple[Mapping[str, Recipe | Ensemble], str]:
    """The recipes quick, standard and strong, and a line on what they are based on.

    A head on frozen features trains first. If its loss stays too high, as for images unlike the photographs that
    backbones are pretrained on, the late half of the backbone trains as well.

    pixels: width and height of an image, if one was seen. images: the number of images.
    layer_lr_ratio: the competition's, by which the head's rate is divided for the late layers.
    like_photographs: whether `standard` takes the larger backbone on a CPU: its features are better and may be enough
        for photographs, but its late half trains a third as many images per second as the smaller backbone's.
    """
    shorter = min(pixels) if pixels else USUAL_SIZE
    # An enlarged image shows no more, but things appear in the size that the backbone knows.
    doubled = max(SMALLEST_SIZE, -(-2 * shorter // 32) * 32)
    size, larger = (doubled, doubled) if doubled < USUAL_SIZE else ("native", "1.15x")
    length = 4 if images > MANY_IMAGES else 8
    head = Stage(size=size, train="head", cached=True, views=2, schedule="lbfgs")
    large_head = Stage(size=larger, train="head", cached=True, views=2, schedule="lbfgs")
    # As many views as epochs, so the frozen early half sees no more images than without cached features.
    late_half = Stage(
        size=size,
        train=2,
        cached=True,
        views=length,
        schedule="one_cycle",
        cycle_length=length,
        learning_rate=round(LATE_RATE * layer_lr_ratio, 6),
        needed_above=NEEDED_ABOVE,
    )
    cycles = replace(late_half, schedule="sgdr", cycles=3)
    other = (
        (OTHER_BACKBONE, [large_head, replace(cycles, cycle_length=length // 2)])
        if like_photographs
        else (SMALL_BACKBONE, [head, cycles])
    )
    quick, on_cpu = (
        Recipe(
            backbone=backbone,
            batch_size=16,
            dropout=0.5,
            freeze_batch_norm=True,
            snapshots=stages[-1].cycles,
            stages=stages,
        )
        for backbone, stages in ((SMALL_BACKBONE, [head, late_half]), other)
    )
    standard = Recipe(
        backbone=BACKBONE,
        dropout=0.5,
        stages=[head, Stage(size=size, train="all", cycles=3, cycle_length=1, cycle_multiplier=2)],
        on_cpu=on_cpu,
    )
    frozen = Recipe(backbone=OTHER_BACKBONE, stages=[large_head])
    strong = Ensemble(members=[quick, frozen, on_cpu], backbones=[SMALL_BACKBONE, OTHER_BACKBONE])
    seen = f"images of {pixels[0]} x {pixels[1]} pixels" if pixels else "images of unknown size"
    at = "the backbone's own size" if size == "native" else f"{size} px"
    recipes: dict[str, Recipe | Ensemble] = {"quick": quick, "standard": standard, "strong": strong}
    return recipes, f"quick, standard and strong at {at}, for {seen}"
