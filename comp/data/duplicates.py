"""Duplicates: exact ones by digests of the files, near ones by perceptual hashes of the images."""

import hashlib
import zipfile
from collections.abc import Callable
from contextlib import suppress
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from comp.files import replacing, source_digest

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Thumbnails = npt.NDArray[np.uint8]

LOWEST = 8
# Near-duplicates have hashes that differ in at most MOST_BITS, thumbnails that correlate by at least LEAST_CORRELATION,
# and aspects with a ratio of at most MOST_ASPECT. Copies that were compressed again, resized or made lighter are found.
# Among 8,797 images of dogs, cats, breeds, forests and handwritten digits, the three true pairs are found and no other;
# the closest other pair, two handwritten digits, correlates by 0.987.
MOST_BITS = 6
LEAST_CORRELATION = 0.99
MOST_ASPECT = 1.05
# Pixels of the shorter side below which different images look alike, as handwritten digits do.
LEAST_SIDE = 32
AT_ONCE = 1 << 14
# The most bands of bits that must agree, see `close_pairs`, and the cost of sorting one hash, in comparisons.
MOST_AGREEING = 4
SORTING = 20


def duplicate_groups(found: pd.DataFrame, near: Callable[[Rows], Rows]) -> tuple[Rows, Rows]:
    """The group numbers (N,) of files with the same bytes, and those (N,) of files that look alike as well.

    found: a row per file with the columns of `FileFacts`, without its thumbnail. near: gives the pairs (P, 2) of
    near-duplicates among some of the rows.
    A file that can't be read is alone in its group.
    """
    contents = np.array(found["content"].to_list(), dtype="S32")
    unreadable = np.flatnonzero(found["problem"] != "")
    contents[unreadable] = [f"-{row}".encode() for row in unreadable]
    _, first, same = np.unique(contents, return_index=True, return_inverse=True)
    large = (found["problem"] == "").to_numpy() & (found[["width", "height"]].min(axis=1) >= LEAST_SIDE).to_numpy()
    copies = np.stack([np.arange(len(found)), first[same]], axis=1)
    return same.astype(np.int64), connected(len(found), np.concatenate([near(first[large[first]]), copies]))


def kept_near_pairs(
    found: pd.DataFrame, rows: Rows, thumbnails: Callable[[], Thumbnails], kept: Path, judge: bytes
) -> Rows:
    """`near_pairs` (P, 2) among some rows, cached in the file ``kept``.

    found, thumbnails: of all rows, as in `comp.data.facts_table.Facts`. judge: as in `judged_by`.
    """
    made_from = hashlib.blake2b(judge + source_digest("comp.data.duplicates").encode(), digest_size=16)
    made_from.update("".join(found["content"].iloc[rows]).encode())
    of = made_from.hexdigest()
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(kept) as file:
        if str(file["of"]) == of:
            return rows[file["pairs"]]
    pairs = near_pairs(thumbnails(), found["width"].to_numpy(), found["height"].to_numpy(), rows)
    # A full disk was reported for the table of facts; the pairs are found again next time.
    with suppress(OSError), replacing(kept) as unfinished, unfinished.open("wb") as written:
        np.savez(written, of=np.array(of), pairs=pairs)
    return rows[pairs]


def near_pairs(thumbnails: Thumbnails, width: Rows, height: Rows, rows: Rows) -> Rows:
    """Pairs (P, 2) of images that look alike, as indices in ``rows``, the images to compare.

    thumbnails, width, height: of all images, (N, S, S) and (N,) in pixels. A blank image, whose thumbnail is all 0,
    looks like no other.
    """
    shows = np.flatnonzero(np.asarray(thumbnails.any(axis=(1, 2)))[rows])
    pairs = shows[close_pairs(perceptual_hashes(thumbnails, rows[shows]), MOST_BITS)]
    aspects = (width / np.maximum(height, 1))[rows[pairs]]
    pairs = pairs[aspects.max(axis=1) <= MOST_ASPECT * aspects.min(axis=1)]
    return pairs[correlations(thumbnails, rows[pairs]) >= LEAST_CORRELATION]


def perceptual_hashes(thumbnails: Thumbnails, rows: Rows) -> Hashes:
    """The hashes (R,) of some rows of grey thumbnails (N, S, S): a bit per low frequency, 1 above their median.

    pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"): other content changes
    many of the 64 bits; another size, compression or brightness changes few.
    """
    hashes = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), AT_ONCE):
        chosen = thumbnails[rows[start : start + AT_ONCE]].astype(np.float32)
        lowest = dctn(chosen, axes=(1, 2))[:, :LOWEST, :LOWEST].reshape(len(chosen), -1)
        bits = lowest > np.median(lowest, axis=1, keepdims=True)
        hashes[start : start + AT_ONCE] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    return hashes


def close_pairs(hashes: Hashes, distance: int) -> Rows:
    """Pairs of indices (P, 2) of hashes that differ in at most ``distance`` of their 64 bits.

    Equal hashes are paired with the first of them only, and only the first is paired with others. The bits are cut into
    ``distance + k`` bands; close hashes agree in at least ``k`` of them, so only hashes that agree in some ``k`` bands
    are compared (Manku et al. 2007, 10.1145/1242572.1242592). Most hashes differ, so these are few. With more hashes a
    larger k is chosen, as the comparisons would grow with the square of their number.
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
    """The estimated cost of comparing ``count`` hashes: sorting them for each choice of bands, and the comparisons."""
    choices = comb(distance + agreeing, agreeing)
    return choices * count * (SORTING + count * 2 ** (-64 * agreeing / (distance + agreeing)))


def _close_where(values: Hashes, mask: np.uint64, distance: int) -> Rows:
    """The pairs of indices (P, 2) of close hashes that agree in all bits of the mask."""
    order = np.argsort(values & mask, kind="stable")
    ordered = values[order]
    agreed = ordered & mask
    found = [np.empty((0, 2), np.int64)]
    firsts, step = np.arange(len(order)), 0
    while len(firsts):
        step += 1
        firsts = firsts[: np.searchsorted(firsts, len(order) - step)]
        firsts = firsts[agreed[firsts] == agreed[firsts + step]]
        near = firsts[np.bitwise_count(ordered[firsts] ^ ordered[firsts + step]) <= distance]
        found.append(order[np.stack([near, near + step], axis=1)])
    return np.concatenate(found)


def correlations(thumbnails: Thumbnails, pairs: Rows) -> npt.NDArray[np.float32]:
    """Pearson's correlation (P,) of the greys of each pair's thumbnails."""
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), AT_ONCE):
        both = thumbnails[pairs[start : start + AT_ONCE]].astype(np.float32).reshape(-1, 2, thumbnails[0].size)
        both -= both.mean(axis=2, keepdims=True)
        products = (both[:, 0] * both[:, 1]).sum(axis=1)
        found[start : start + AT_ONCE] = products / np.maximum(np.linalg.norm(both, axis=2).prod(axis=1), 1e-9)
    return found


def joined(groups: npt.ArrayLike, duplicates: Rows | None) -> Rows:
    """The groups as numbers (N,) from 0; groups that share duplicates become one."""
    numbered: Rows = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
    if duplicates is None:
        return numbered
    # Each row connects its group and its duplicate group.
    others = numbered.max() + 1 + np.unique(duplicates, return_inverse=True)[1]
    together = connected(int(others.max()) + 1, np.stack([numbered, others], axis=1))[numbered]
    # In the groups' order, so that the same split is drawn as without duplicates.
    least = np.full(together.max() + 1, numbered.max())
    np.minimum.at(least, together, numbered)
    return np.unique(least[together], return_inverse=True)[1].astype(np.int64)


def connected(count: int, pairs: Rows) -> Rows:
    """The group number (N,) of each of ``count`` indices: the connected components of the graph of pairs."""
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)
