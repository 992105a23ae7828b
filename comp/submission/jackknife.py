"""Jackknife standard errors over blocks of rows, for scores that aren't means over rows, and choosing by them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from comp.errors import DeclarationError

Array = npt.NDArray[Any]
Decision = TypeVar("Decision", bound=Callable[[Array], Array])

BLOCKS = 20
# A threshold is moved only for a gain this many standard errors above zero: with few validation rows the best of 32
# candidates is chance. On 160 rows of planet, choosing the best outright lost 0.009 F2.
STANDARD_ERRORS = 3.0


def error_of(of_rows: Callable[[Array], Any], rows: int, groups: Array | None = None, blocks: int = BLOCKS) -> Array:
    """The standard errors of the number, or the numbers (K,), that `of_rows` computes from a mask of rows (N,).

    By the jackknife of blocks (Efron and Stein 1981, 10.1214/aos/1176345462), whose own relative error is
    sqrt(1 / (2 * blocks)); infinite where the number can't be computed without one of the blocks. groups: the group of
    each row (N,); a group stays in one block, because similar rows hold less information than independent ones.
    """
    if groups is not None:
        group = np.unique(groups, return_inverse=True)[1]
        return error_of(lambda some: of_rows(some[group]), group.max() + 1, blocks=blocks)
    try:
        errors = _jackknife([of_rows(rest) for rest in _rests_of(rows, blocks)])
    except (ValueError, DeclarationError):
        return np.array(np.inf)
    return np.where(np.isnan(errors), np.inf, errors)


def surest(
    start: Decision, candidates: Iterable[Decision], worth: Callable[..., float], probabilities: Array
) -> Decision:
    """The candidate with the surest gain over ``start``, or ``start`` if no gain is sure.

    worth: the score of processed predictions, on all rows or on some; higher is better.
    """
    now, rests = start(probabilities), list(_rests_of(len(probabilities)))
    best, most, before = start, 0.0, worth(now)

    @cache
    def without(block: int) -> float:
        return worth(now, rests[block])

    gains = ((worth(candidate(probabilities)) - before, candidate) for candidate in candidates if rests)
    # The largest gain first: a gain's error takes many scores, and a gain of no more than `most` can't be surer.
    for gain, candidate in sorted((found for found in gains if found[0] > 0), key=itemgetter(0), reverse=True):
        if gain <= most:
            break
        made = candidate(probabilities)
        gained = (worth(made, rest) - without(block) for block, rest in enumerate(rests))
        sure = gain - STANDARD_ERRORS * _error_up_to((gain - most) / STANDARD_ERRORS, gained, len(rests))
        if sure > most:
            best, most = candidate, sure
    return best


def _error_up_to(most: float, of_rests: Iterable[float], blocks: int) -> float:
    """The standard error from the numbers without each block; infinite as soon as it must exceed ``most``."""
    found: list[float] = []
    try:
        for one in of_rests:
            found.append(one)
            # The sum of squared distances from the mean only grows; the factor allows for rounding.
            if (blocks - 1) / blocks * len(found) * np.var(found) > 1.001 * most**2:
                return np.inf
    except (ValueError, DeclarationError):
        return np.inf
    return float(_jackknife(found))


def _rests_of(rows: int, blocks: int = BLOCKS) -> Iterator[Array]:
    """The rows outside each block, as masks (N,)."""
    block = np.random.default_rng(0).permutation(rows) % blocks
    return (block != one for one in range(min(blocks, rows) if rows > 1 else 0))


def _jackknife(of_rests: Sequence[Any]) -> Array:
    if not of_rests:
        return np.array(np.inf)
    return np.asarray(np.sqrt((len(of_rests) - 1) * np.var(of_rests, axis=0)))
