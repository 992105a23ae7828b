"""Viewpoints: how the images of a competition may be augmented without changing what they show.

A declaration only; `comp.data.augmenting` turns it into an albumentations pipeline.
The three families come from fast.ai's lesson 2 (transforms_side_on, transforms_top_down, transforms_basic).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from comp.declare.checks import MAKES, Declared, between
from comp.declare.reading import Fit, Size, sides
from comp.errors import DeclarationError

# Elements of the square's symmetry group: quarter turns 0 to 3, then 4 to 7 for those of the mirror image.
SYMMETRIES = {"none": (0,), "horizontal": (0, 4), "both": (0, 2, 4, 6), "dihedral": (0, 1, 2, 3, 4, 5, 6, 7)}

Flips = Literal["none", "horizontal", "both", "dihedral"]
Pipeline = Annotated[Callable[[Any], Any], MAKES, "a function of the image size that returns a pipeline"]


@dataclass(frozen=True)
class View:
    """One view of an image: a symmetry of the plain centre view, a random augmentation, or a custom pipeline.

    symmetry: quarter turns counter-clockwise, plus 4 for the mirror image.
    draw: the number of a random augmentation; the same number gives the same augmentation.
    own: the number, from 1, of a pipeline that the recipe's `tta` returns; 0 is none of them.
    """

    symmetry: int = 0
    draw: int | None = None
    own: int = 0


@dataclass(frozen=True, kw_only=True)
class Viewpoint(Declared):
    """How training images are augmented, and the fixed views of test-time augmentation.

    flips: ``none``, ``horizontal`` (mirror images), ``both`` (upside down as well) or ``dihedral`` (the eight
        symmetries of a square; of a rectangle ``both``).
    max_zoom: the largest magnification before a random square is cut out; 1 is none.
    max_rotation: degrees to either side.
    max_light: the largest relative change of brightness and of contrast; 0 is none.
    pipeline: a function of a stage's size, in pixels or ``(height, width)``, that returns an albumentations pipeline,
        which replaces the random augmentations above. It is given the whole image as it is in its file, upright, as
        bytes (H, W, C) of any size, and must return bytes (size, size, C); comp normalises them.
    fit: how an image becomes a square or rectangle where no custom pipeline does it: ``crop`` keeps its middle, ``pad``
        keeps all of it and fills the rest with its reflection.
    """

    flips: Flips
    max_zoom: Annotated[float, between(1, 4)] = 1.1
    max_rotation: Annotated[float, between(0, 180)] = 10.0
    max_light: Annotated[float, between(0, 1)] = 0.05
    pipeline: Pipeline | None = None
    fit: Fit = "crop"

    def __init_subclass__(cls) -> None:
        raise DeclarationError(
            f"{cls.__name__} is a subclass of Viewpoint, but a run records only Viewpoint's fields; give a function as "
            "`pipeline` of side_on, top_down or upright for the training images, or as `tta` of a Recipe for the views "
            "that are predicted."
        )

    def at(self, size: Size) -> Viewpoint:
        """Return the viewpoint for images of this size: a quarter turn of a rectangle has another shape."""
        height, width = sides(size)
        return self if height == width or self.flips != "dihedral" else replace(self, flips="both")

    @property
    def fixed_views(self) -> tuple[View, ...]:
        """The plain centre view, then its flips: one, two, four or eight views."""
        return tuple(View(symmetry) for symmetry in SYMMETRIES[self.flips])

    def views(self, count: int) -> tuple[View, ...]:
        """Return this many different views: the fixed ones first, then random augmentations."""
        drawn = tuple(View(draw=draw) for draw in range(count - len(self.fixed_views)))
        return (self.fixed_views + drawn)[:count]


def side_on(
    *,
    max_zoom: float = 1.1,
    max_rotation: float = 10,
    max_light: float = 0.05,
    pipeline: Pipeline | None = None,
    fit: Fit = "crop",
) -> Viewpoint:
    """Photos taken standing up: cats, cars, plates of food. A mirror image is as likely as the image itself."""
    return Viewpoint(flips="horizontal", **locals())


def top_down(
    *,
    max_zoom: float = 1.05,
    max_rotation: float = 10,
    max_light: float = 0.05,
    pipeline: Pipeline | None = None,
    fit: Fit = "crop",
) -> Viewpoint:
    """Pictures without an up: satellites, microscopes. Quarter turns and flips in both directions."""
    return Viewpoint(flips="dihedral", **locals())


def upright(
    *,
    max_zoom: float = 1.1,
    max_rotation: float = 5,
    max_light: float = 0.05,
    pipeline: Pipeline | None = None,
    fit: Fit = "crop",
) -> Viewpoint:
    """Pictures whose meaning a flip would change: digits, text, traffic signs."""
    return Viewpoint(flips="none", **locals())
