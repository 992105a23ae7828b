"""The standard errors of what isn't a mean over rows: the jackknife's, over blocks of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from comp.errors import DeclarationError

Array = npt.NDArray[Any]

BLOCKS = 20


def error_of(of_rows: Callable[[Array], Any], rows: int, groups: Array | None = None, blocks: int = BLOCKS) -> Array:
    """The standard errors of what is computed of some of so many rows, given as a mask (N,): a number, or several (K,).

    By the jackknife of blocks (Efron and Stein 1981, 10.1214/aos/1176345462), which is itself uncertain by a share of
    sqrt(1 / (2 * blocks)); infinite where a block's rest has no such number, as one row's has none. groups: of each row
    (N,); those of one are in one block, as rows that resemble each other say less than as many that don't.
    """
    if groups is not None:
        group = np.unique(groups, return_inverse=True)[1]
        return error_of(lambda some: of_rows(some[group]), group.max() + 1, blocks=blocks)
    try:
        errors = _jackknife([of_rows(rest) for rest in rests_of(rows, blocks)])
    except (ValueError, DeclarationError):
        return np.array(np.inf)
    return np.where(np.isnan(errors), np.inf, errors)


def error_up_to(most: float, of_rests: Iterable[float], blocks: int) -> float:
    """The standard error of what is computed of each block's rest; infinite as soon as it must exceed ``most``."""
    found: list[float] = []
    try:
        for one in of_rests:
            found.append(one)
            # Squared distances from the mean only add up; a little more than that, for rounding.
            if (blocks - 1) / blocks * len(found) * np.var(found) > 1.001 * most**2:
                return np.inf
    except (ValueError, DeclarationError):
        return np.inf
    return float(_jackknife(found))


def rests_of(rows: int, blocks: int = BLOCKS) -> Iterator[Array]:
    """The rows that each block leaves, as masks (N,)."""
    block = np.random.default_rng(0).permutation(rows) % blocks
    return (block != one for one in range(min(blocks, rows) if rows > 1 else 0))


def _jackknife(of_rests: Sequence[Any]) -> Array:
    if not of_rests:
        return np.array(np.inf)
    return np.asarray(np.sqrt((len(of_rests) - 1) * np.var(of_rests, axis=0)))
