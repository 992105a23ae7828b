"""The recipes that a new competition starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comp.declare.recipe import Recipe, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

SMALL_BACKBONE = "mobilenetv2_100.ra_in1k"
BACKBONE = "resnet34.a1_in1k"
# What the backbones were trained at, and the smallest of their sizes that leaves them something to look at.
USUAL_SIZE, SMALLEST_SIZE = 224, 96


def recipes_for(pixels: tuple[int, int] | None) -> tuple[Mapping[str, Recipe], str]:
    """Quick and standard, and in words why they look at images in that size.

    pixels: width and height of an image, if one was seen.
    """
    shorter = min(pixels) if pixels else USUAL_SIZE
    # Twice as large as it is, an image shows no more, but the backbone sees things in the size it knows.
    size = min(USUAL_SIZE, max(SMALLEST_SIZE, -(-2 * shorter // 32) * 32))
    quick = Recipe(
        backbone=SMALL_BACKBONE,
        batch_size=32,
        dropout=0.5,
        stages=[
            Stage(
                size=size, train="head", cached=True, views=2, schedule="one_cycle", cycle_length=20, learning_rate=1e-3
            )
        ],
    )
    standard = Recipe(
        backbone=BACKBONE,
        dropout=0.5,
        stages=[
            Stage(size=size, train="head", cached=True, views=2, cycle_length=5),
            Stage(size=size, train="all", cycles=3, cycle_length=1, cycle_multiplier=2),
        ],
        on_cpu=Recipe(
            backbone=SMALL_BACKBONE,
            batch_size=16,
            dropout=0.5,
            freeze_batch_norm=True,
            stages=[
                Stage(
                    size=size,
                    train="head",
                    cached=True,
                    views=2,
                    schedule="one_cycle",
                    cycle_length=20,
                    learning_rate=1e-3,
                ),
                Stage(size=size, train=2, schedule="one_cycle", cycle_length=8, learning_rate=1e-3),
            ],
        ),
    )
    seen = f"images of {pixels[0]} x {pixels[1]} pixels" if pixels else "images of unknown size"
    return {"quick": quick, "standard": standard}, f"quick and standard at {size} px, for {seen}"
