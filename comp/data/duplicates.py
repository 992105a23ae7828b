"""Images that are the same, or nearly: by digests of their files, and by perceptual hashes of what they show."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from comp.data.screening import THUMBNAIL, Screened

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


def duplicate_sets(found: Sequence[Screened]) -> tuple[Places, Places]:
    """The number of its set (N,) for each file: of those with the same bytes, and of those that look alike as well.

    A file that can't be read is in a set of its own.
    """
    contents = np.array([one.content if not one.problem else f"-{place}" for place, one in enumerate(found)])
    _, first, same = np.unique(contents, return_index=True, return_inverse=True)
    compared = np.array([place for place in first if _shows_enough(found[place])], np.int64)
    pairs = compared[_near_pairs([found[place] for place in compared])]
    copies = np.stack([np.arange(len(found)), first[same]], axis=1)
    return same.astype(np.int64), connected(len(found), np.concatenate([pairs, copies]))


def _shows_enough(one: Screened) -> bool:
    return not one.problem and min(one.width, one.height) >= LEAST_SIDE and any(one.thumbnail)


def _near_pairs(found: Sequence[Screened]) -> Places:
    if not found:
        return np.empty((0, 2), np.int64)
    thumbnails = np.frombuffer(b"".join(one.thumbnail for one in found), np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL)
    pairs = close_pairs(perceptual_hashes(thumbnails), MOST_BITS)
    aspects = np.array([one.width / one.height for one in found])[pairs]
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

    Of places with the same hash each is paired with the first alone, and only that with others. Two hashes so close
    agree in one of ``distance + 1`` bands of bits at least, so only those are compared that share a band (Manku et al.
    2007, 10.1145/1242572.1242592): much less than each with each, as long as most differ.
    """
    values, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(hashes)))
    found = [np.stack([first[inverse[again]], again], axis=1)]
    edges = np.linspace(0, 64, distance + 2).round().astype(int)
    for low, high in pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64(2 ** int(high - low) - 1)
        order = np.argsort(band, kind="stable")
        band, sorted_values = band[order], values[order]
        places = np.arange(len(order))
        step = 0
        while len(places):
            step += 1
            places = places[: np.searchsorted(places, len(order) - step)]
            places = places[band[places] == band[places + step]]
            near = places[np.bitwise_count(sorted_values[places] ^ sorted_values[places + step]) <= distance]
            found.append(np.sort(first[order[np.stack([near, near + step], axis=1)]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


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
