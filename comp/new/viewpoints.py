"""Choose a competition's viewpoint, by words about it, else by whether its images have an up and a middle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import numpy as np
from PIL import Image

from comp.declare.viewpoint import Viewpoint, side_on, top_down, upright

TOP_DOWN = r"satellite|aerial|amazon|planet|histopath|microscop|cells?\b|protein|tissue|galax|retin|blindness|melanoma"
UPRIGHT = r"\b(?:digit|character)s?\b|mnist|handwrit|\btext\b|\bocr\b|traffic.?sign|kuzushiji|grapheme"
UNLIKE_PHOTOS = TOP_DOWN + r"|x-?ray|catheter|chest|radiograph|pneumo|\bscans?\b|\bmri\b|spectrogram|" + UPRIGHT
ELSE = "side_on() where they have"
BY_WORDS = (
    (UPRIGHT, upright(), "upright(), as a mirror image would mean something else", "side_on() where it would not"),
    (TOP_DOWN, top_down(), "top_down(), as the images have no up", ELSE),
)
# Images looked at, for so many seconds at most, and the fewest that allow a judgement.
MOST_SEEN, MOST_SECONDS, FEWEST_SEEN = 96, 1.0, 32
SIDE = 32  # pixels of a thumbnail
# How much the middle's brightness differs from the image's: 0.4 standard deviations for photographs of dogs, 0.2 for
# satellite chips. How surely rows and columns differ in variance, in standard errors.
MIDDLE, SURELY = 0.28, 3.0


def viewpoint_of(words: str, *, has_up: bool = True) -> tuple[Viewpoint, str]:
    """The viewpoint, and in words why, with the alternatives. words: slug, title and description in lower case."""
    for pattern, viewpoint, because, other in BY_WORDS:
        if found := re.search(pattern, words):
            return viewpoint, f"{because}, going by the word {found.group()!r}; {other}"
    if not has_up:
        return top_down(), f"top_down(), as the images seem to have neither an up nor a subject in the middle; {ELSE}"
    others = "top_down() where they have none, like aerial ones, upright() where a mirror image would be wrong"
    return side_on(), f"side_on(), for images that have an up; {others}"


def have_up(images: Sequence[Path]) -> bool:
    """Whether images may have an up: False where enough were seen, without a subject and with rows like columns."""
    began, middles, ratios = monotonic(), [], []
    for path in images[:: max(1, len(images) // MOST_SEEN)][:MOST_SEEN]:
        if monotonic() - began > MOST_SECONDS:
            break
        try:
            with Image.open(path) as image:
                image.draft("L", (2 * SIDE, 2 * SIDE))
                grey = np.asarray(image.convert("L").resize((SIDE, SIDE)), float)
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        if np.diff(grey, axis=0).var() > grey.var():  # noise, or nothing at all
            continue
        inside = grey[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
        middles.append(abs(inside.mean() - grey.mean()) / (grey.std() + 1))
        ratios.append(np.log((grey.mean(axis=1).var() + 1) / (grey.mean(axis=0).var() + 1)))
    if len(middles) < FEWEST_SEEN:
        return True
    error = np.std(ratios) / np.sqrt(len(ratios))
    return bool(np.mean(middles) > MIDDLE or abs(np.mean(ratios)) > SURELY * error)
