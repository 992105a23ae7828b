"""Images that are the same, or nearly: by digests of their files, and by perceptual hashes of what they show."""

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Thumbnails = npt.NDArray[np.uint8]

LOWEST = 8
# Two images are near-duplicates where at most so many bits of their hashes differ, their thumbnails correlate so much,
# and their aspects differ by so much at most. A copy that was compressed again, resized or made lighter is found. Of
# 8,797 images of dogs, cats, breeds, forests and handwritten digits, the three pairs found are the three true ones; the
# most alike of the others are two handwritten ones, at 0.987.
MOST_BITS = 6
LEAST_CORRELATION = 0.99
MOST_ASPECT = 1.05
# Pixels of the shorter side below which different images look alike, as handwritten digits do.
LEAST_SIDE = 32
AT_ONCE = 1 << 14
# Of the bands of bits of two hashes, the most that are chosen to agree, and the time to sort one hash in comparisons.
MOST_AGREEING = 4
SORTING = 20


def duplicate_sets(found: pd.DataFrame, near: Callable[[Places], Places]) -> tuple[Places, Places]:
    """The number of its set (N,) for each file: of those with the same bytes, and of those that look alike as well.

    found: a row per file with the columns of `FileFacts`, without its thumbnail. near: gives the pairs (P, 2) of
    near-duplicates among some of the rows, as places in these.
    A file that can't be read is in a set of its own.
    """
    contents = np.array(found["content"].to_list(), dtype="S32")
    unreadable = np.flatnonzero(found["problem"] != "")
    contents[unreadable] = [f"-{row}".encode() for row in unreadable]
    _, first, same = np.unique(contents, return_index=True, return_inverse=True)
    large = (found["problem"] == "").to_numpy() & (found[["width", "height"]].min(axis=1) >= LEAST_SIDE).to_numpy()
    compared = first[large[first]]
    pairs = compared[near(compared)]
    copies = np.stack([np.arange(len(found)), first[same]], axis=1)
    return same.astype(np.int64), connected(len(found), np.concatenate([pairs, copies]))


def near_pairs(thumbnails: Thumbnails, width: Places, height: Places) -> Places:
    """Pairs of places (P, 2) of images that look alike, by their thumbnails (N, S, S) and sides (N,) in pixels.

    One of which nothing is to be seen, whose thumbnail is all 0, looks like no other.
    """
    shows = np.flatnonzero(thumbnails.any(axis=(1, 2)))
    pairs = shows[close_pairs(perceptual_hashes(thumbnails)[shows], MOST_BITS)]
    aspects = (width / height)[pairs]
    pairs = pairs[aspects.max(axis=1) <= MOST_ASPECT * aspects.min(axis=1)]
    near: Places = pairs[correlations(thumbnails, pairs) >= LEAST_CORRELATION]
    return near


def perceptual_hashes(thumbnails: Thumbnails) -> Hashes:
    """64 bits (N,) of each grey thumbnail (N, S, S): which of its 64 lowest frequencies lie above their median.

    pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"): what an image shows
    changes many bits; its size, its compression and its brightness change few.
    """
    hashes = np.empty(len(thumbnails), np.uint64)
    for start in range(0, len(thumbnails), AT_ONCE):
        chosen = thumbnails[start : start + AT_ONCE].astype(np.float32)
        lowest = dctn(chosen, axes=(1, 2))[:, :LOWEST, :LOWEST].reshape(len(chosen), -1)
        bits = lowest > np.median(lowest, axis=1, keepdims=True)
        hashes[start : start + AT_ONCE] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    return hashes


def close_pairs(hashes: Hashes, distance: int) -> Places:
    """Pairs of places (P, 2) whose hashes differ in at most ``distance`` of their 64 bits.

    Of places with the same hash each is paired with the first alone, and only that with others. The bits are cut into
    bands; of ``distance + k`` bands two hashes so close agree in ``k`` at least, so only those are compared that agree
    in some ``k`` of them (Manku et al. 2007, 10.1145/1242572.1242592): much less than each with each, as long as most
    differ. With more hashes a larger k is chosen, or the comparisons would grow with the square of their number.
    """
    values, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(hashes)))
    found = [np.stack([first[inverse[again]], again], axis=1)]
    agreeing = min(range(1, MOST_AGREEING + 1), key=lambda count: _work(len(values), distance, count))
    edges = np.linspace(0, 64, distance + agreeing + 1).round().astype(int)
    for bands in combinations(range(distance + agreeing), agreeing):
        mask = np.uint64(sum(2 ** int(edges[band + 1]) - 2 ** int(edges[band]) for band in bands))
        found.append(np.sort(first[_close_where(values, mask, distance)], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _work(count: int, distance: int, agreeing: int) -> float:
    """About how long it takes to compare so many hashes: each is sorted once for each choice of bands, and compared."""
    choices = comb(distance + agreeing, agreeing)
    return choices * count * (SORTING + count * 2 ** (-64 * agreeing / (distance + agreeing)))


def _close_where(values: Hashes, mask: np.uint64, distance: int) -> Places:
    """The pairs of places (P, 2) that are close among those which agree in all bits of the mask."""
    order = np.argsort(values & mask, kind="stable")
    ordered = values[order]
    agreed = ordered & mask
    found = [np.empty((0, 2), np.int64)]
    places, step = np.arange(len(order)), 0
    while len(places):
        step += 1
        places = places[: np.searchsorted(places, len(order) - step)]
        places = places[agreed[places] == agreed[places + step]]
        near = places[np.bitwise_count(ordered[places] ^ ordered[places + step]) <= distance]
        found.append(order[np.stack([near, near + step], axis=1)])
    return np.concatenate(found)


def correlations(thumbnails: Thumbnails, pairs: Places) -> npt.NDArray[np.float32]:
    """Pearson's correlation (P,) of the greys of each pair's thumbnails."""
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), AT_ONCE):
        both = thumbnails[pairs[start : start + AT_ONCE]].astype(np.float32).reshape(-1, 2, thumbnails[0].size)
        both -= both.mean(axis=2, keepdims=True)
        products = (both[:, 0] * both[:, 1]).sum(axis=1)
        found[start : start + AT_ONCE] = products / np.maximum(np.linalg.norm(both, axis=2).prod(axis=1), 1e-9)
    return found


def connected(count: int, pairs: Places) -> Places:
    """The number of its set (N,) for each of ``count`` places: those that pairs lead to, over any others, share one."""
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    numbers: Places = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers
